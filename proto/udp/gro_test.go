package udp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// came is a datagram of so many bytes that comes to a socket with UDP_GRO.
type came struct {
	n    int
	from string
	ttl  uint8
}

// gathered says how the datagrams of one batch are read: each with its length, and that of its pieces if it has several.
func gathered(t *testing.T, header int, batch ...came) string {
	t.Helper()
	s := &Socket{Gate: new(ring.Gate), GRO: new(GRO)}
	s.Recv.Init(ring.NewPool(1<<20), 1<<20)
	var wakes ring.Wakes
	to := netip.MustParseAddrPort("10.0.0.1:7")
	for _, c := range batch {
		m := ring.Datagram{From: netip.MustParseAddrPort("10.0.0.2:" + c.from), To: to, TTL: c.ttl}
		if r := s.Gather(&m, make([]byte, c.n), header, &wakes); r != drop.None {
			t.Fatal(r)
		}
	}
	if waits := s.Recv.Len(); waits >= len(batch) || !s.Gathering() {
		t.Errorf("%d are seen before the end of the batch, gathering: %v", waits, s.Gathering())
	}
	s.Release()
	var read []string
	var m ring.Datagram
	for {
		if _, ok := s.Recv.Get(&m, nil, false); !ok {
			break
		}
		what := fmt.Sprint(m.Len)
		if m.Segment != 0 {
			what += fmt.Sprint("/", m.Segment)
		}
		read = append(read, what)
	}
	if int(s.Delivered) != len(batch) || s.Gathering() {
		t.Errorf("%d of %d were delivered, gathering: %v", s.Delivered, len(batch), s.Gathering())
	}
	return strings.Join(read, " ")
}

// What is joined is what udp_gro_receive_segment joins.
func TestGather(t *testing.T) {
	many := func(count, n int) (batch []came) {
		for range count {
			batch = append(batch, came{n, "9", 64})
		}
		return batch
	}
	for _, c := range []struct {
		name  string
		batch []came
		want  string
	}{
		{"one", many(1, 100), "100"},
		{"equal ones", many(5, 100), "500/100"},
		{"a shorter one is the last", append(many(2, 100), append(many(1, 60), many(2, 60)...)...), "260/100 120/60"},
		{"a longer one begins anew", append(many(2, 100), many(2, 101)...), "200/100 202/101"},
		{"an empty one is alone", append(many(2, 100), append(many(2, 0), many(2, 100)...)...), "200/100 0 0 200/100"},
		{"of another port", append(many(2, 100), came{100, "8", 64}, came{100, "8", 64}, came{100, "9", 64}), "200/100 200/100 100"},
		{"from further away", append(many(2, 100), came{100, "9", 63}), "200/100 100"},
		{"64 at most", many(130, 10), "640/10 640/10 20/10"},
		{"64 KiB at most", many(48, 1400), "64400/1400 2800/1400"}, // 46 of them, and 28 bytes
		{"64 KiB at most, just below", many(10, 13101), "65505/13101 65505/13101"},
		{"64 KiB at most, just not", many(10, 13102), "52408/13102 52408/13102 26204/13102"},
	} {
		if got := gathered(t, 28, c.batch...); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// What finds no room is lost alone, and is counted; what comes by the other way is behind what waits.
func TestGatherWithoutRoom(t *testing.T) {
	s := &Socket{Gate: new(ring.Gate), GRO: new(GRO)}
	s.Recv.Init(ring.NewPool(1<<20), 1000)
	var wakes ring.Wakes
	m := ring.Datagram{From: netip.MustParseAddrPort("10.0.0.2:9"), To: netip.MustParseAddrPort("10.0.0.1:7")}
	take := func(want drop.Reason) {
		t.Helper()
		if r := s.Gather(&m, make([]byte, 300), 28, &wakes); r != want {
			t.Errorf("%v, want %v", r, want)
		}
	}
	take(drop.None)
	take(drop.None)
	take(drop.UDPSocketFull) // 900 bytes and the overhead
	if s.Release(); s.Recv.Len() != 1 || s.Dropped != 1 || s.Delivered != 2 {
		t.Errorf("%d wait, %d are lost, %d delivered", s.Recv.Len(), s.Dropped, s.Delivered)
	}
	s.Recv.SetLimit(1 << 20)
	take(drop.None)
	if r := s.Deliver(&m, make([]byte, 5), &wakes); r != drop.None || s.Recv.Len() != 3 {
		t.Errorf("%v, %d wait", r, s.Recv.Len())
	}
	for _, want := range []int{600, 300, 5} {
		if s.Recv.Get(&m, nil, false); m.Len != want {
			t.Errorf("%d bytes, want %d", m.Len, want)
		}
	}
}
