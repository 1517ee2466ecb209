package drop

import (
	"regexp"
	"strings"
	"testing"
)

func TestEveryReasonHasANameAndAnExplanation(t *testing.T) {
	kebab := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	names := map[string]Reason{}
	explanations := map[string]Reason{}
	for i := range Reasons {
		r := Reason(i)
		name, explain := r.String(), r.Explain()
		if !kebab.MatchString(name) {
			t.Errorf("reason %d: name %q is not words joined by '-'", r, name)
		}
		if old, dup := names[name]; dup {
			t.Errorf("reasons %d and %d are both called %q", old, r, name)
		}
		if old, dup := explanations[explain]; dup {
			t.Errorf("reasons %v and %v have the same explanation", old, r)
		}
		names[name], explanations[explain] = r, r
		if !strings.HasSuffix(explain, ".") || strings.Count(explain, ". ") > 0 || len(explain) < 20 {
			t.Errorf("%v: %q is not one sentence", r, explain)
		}
		if first := explain[:min(1, len(explain))]; first != strings.ToUpper(first) {
			t.Errorf("%v: %q does not start with a capital", r, explain)
		}
	}
	if None.String() != "none" || None != 0 {
		t.Errorf("None is %d %q", None, None)
	}
}

func TestReasonsFitTheirType(t *testing.T) {
	if Reasons > len(Counters{}) {
		t.Fatalf("%d reasons do not fit a Reason", Reasons)
	}
	made := Reason(255)
	if Reasons == 256 {
		t.Skip("every value is a reason")
	}
	if made.String() != "unknown" || made.Explain() == "" {
		t.Errorf("a number that names no reason prints %q, %q", made, made.Explain())
	}
	var c Counters
	c.Count(made)
	if c.Dropped() != 1 {
		t.Error("a number that names no reason was not counted")
	}
}

func TestCounters(t *testing.T) {
	var a, b Counters
	a.Count(None)
	a.Count(UDPNoSocket)
	a.Count(IP4Checksum)
	a.Count(UDPNoSocket)
	before := a.Snapshot()
	a.CountN(UDPNoSocket, 3)
	b.Count(TCPPAWS)
	a.Add(&b)

	if got := before.Dropped(); got != 3 {
		t.Errorf("snapshot has %d drops, want 3", got)
	}
	since := a.Since(&before)
	if since[UDPNoSocket] != 3 || since[TCPPAWS] != 1 || since.Dropped() != 4 {
		t.Errorf("since the snapshot: %d, %d of %d", since[UDPNoSocket], since[TCPPAWS], since.Dropped())
	}
	var order []string
	for r := range a.All() {
		order = append(order, r.String())
	}
	if got, want := strings.Join(order, " "), "ip4-checksum udp-no-socket tcp-paws"; got != want {
		t.Errorf("All yields %q, want %q", got, want)
	}
	for r, n := range a.All() {
		if r != IP4Checksum || n != 1 {
			t.Errorf("first is %v %d", r, n)
		}
		break
	}
}

func TestCountDoesNotAllocate(t *testing.T) {
	var c Counters
	if n := testing.AllocsPerRun(100, func() { c.Count(TCPPAWS); _ = TCPPAWS.String() }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
