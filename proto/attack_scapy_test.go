package proto

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/gopacket/pcapgo"
)

// The classic attacks as scapy makes them (testdata/attacks.py): each frame is counted as what testdata/attacks.golden says and
// draws as many answers, nothing of them stays, and the attacked host goes on.
func TestScapyAttacks(t *testing.T) {
	names, err := os.ReadFile("testdata/attacks.txt")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("testdata/attacks.pcap")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := pcapgo.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	var v *victim
	set := ""
	over := func() {
		if v == nil {
			return
		}
		v.alive()
		v.b.Advance(v.now().Add(61 * time.Second)) // past the timeouts of fragments
		if n, used := v.b.reassembly.Len(), v.b.reassembly.Used(); n != 0 || used != 0 {
			t.Errorf("%s: %d datagrams and %d bytes are left", set, n, used)
		}
	}
	for name := range strings.Lines(string(names)) {
		name = strings.TrimSuffix(name, "\n")
		if name != set {
			over()
			set = name
			family := family4
			if strings.HasPrefix(name, "6") {
				family = family6
			}
			v = family.victim(t)
		}
		frame, _, err := r.ReadPacketData()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		reason := v.hit(frame)
		fmt.Fprintf(&got, "IPv%s: %v, %d answers\n", name, reason, v.draws())
	}
	over()
	const golden = "testdata/attacks.golden"
	if *updateFlag {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	wants := strings.Split(string(want), "\n")
	for i, line := range strings.Split(got.String(), "\n") {
		if i >= len(wants) || line != wants[i] {
			t.Errorf("frame %d: %s, and not %s", i, line, append(wants, "nothing")[min(i, len(wants))])
		}
	}
}
