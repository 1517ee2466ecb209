package proto

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A duo is two stacks with an established connection and nothing between them.
type duo struct {
	a, b   *Stack
	ca, cb *tcp.Conn
	now    mono.Time
	frame  [2048]byte
	frames int
}

func newDuo(t testing.TB) *duo {
	d := &duo{a: newHost(macA, ipA), b: newHost(macB, ipB), now: sceneStart}
	l, errno := d.b.TCP.Listen(netip.AddrPortFrom(ipB, 80), tcp.ListenConfig{Backlog: 1})
	if errno != 0 {
		t.Fatal(errno)
	}
	d.ca, errno = d.a.TCP.Connect(netip.AddrPortFrom(ipA, 1000), netip.AddrPortFrom(ipB, 80), tcp.Options{NoDelay: true}, d.now)
	if errno != 0 {
		t.Fatal(errno)
	}
	d.ca.Gate.Init(silent{})
	d.carry()
	if d.cb = l.Accept(); d.cb == nil {
		t.Fatal("no connection")
	}
	d.cb.Gate.Init(silent{})
	return d
}

// carry brings what each has to say to the other, until both are silent.
func (d *duo) carry() {
	for quiet := 0; quiet < 2; {
		quiet++
		for n := d.a.Output(0, d.frame[:], d.now); n > 0; n = d.a.Output(0, d.frame[:], d.now) {
			d.b.Input(0, d.frame[:n], d.now)
			d.frames++
			quiet = 0
		}
		for n := d.b.Output(0, d.frame[:], d.now); n > 0; n = d.b.Output(0, d.frame[:], d.now) {
			d.a.Input(0, d.frame[:n], d.now)
			d.frames++
			quiet = 0
		}
	}
}

// pass lets timers run, as they do between packets.
func (d *duo) pass(by time.Duration) {
	d.now = d.now.Add(by)
	d.a.Advance(d.now)
	d.b.Advance(d.now)
}

// request is one request and its response, of so many bytes.
func (d *duo) request(t testing.TB, body, got []byte) {
	for _, way := range [2][2]*tcp.Conn{{d.ca, d.cb}, {d.cb, d.ca}} {
		way[0].Write(body)
		way[0].Kick(d.now)
		d.carry()
		if n, errno, _ := way[1].Read(got); n != len(body) {
			t.Fatalf("%d of %d bytes, %v", n, len(body), errno)
		}
	}
	d.pass(20 * time.Microsecond)
}

// bulk moves so many bytes one way.
func (d *duo) bulk(t testing.TB, body, got []byte) {
	for sent, read := 0, 0; read < len(body); {
		n, _, tell := d.ca.Write(body[sent:])
		sent += n
		if tell {
			d.ca.Kick(d.now)
		}
		d.carry()
		m := 0
		for {
			n, _, tell := d.cb.Read(got)
			if tell {
				d.cb.Kick(d.now)
			}
			if n == 0 {
				break
			}
			m += n
		}
		if read += m; m == 0 && n == 0 {
			d.pass(time.Millisecond)
		}
		d.pass(20 * time.Microsecond)
	}
}

func TestTCPDoesNotAllocate(t *testing.T) {
	d := newDuo(t)
	body, got := bytes.Repeat([]byte{1}, 1000), make([]byte, 1<<16)
	large := make([]byte, 200_000)
	for range 100 { // buffers and windows grow first
		d.request(t, body, got)
		d.bulk(t, large, got)
	}
	if n := testing.AllocsPerRun(200, func() { d.request(t, body, got) }); n != 0 {
		t.Errorf("a request and its response: %v allocations", n)
	}
	if n := testing.AllocsPerRun(20, func() { d.bulk(t, large, got) }); n != 0 {
		t.Errorf("200 kB: %v allocations", n)
	}
}

func TestFloodsDoNotAllocate(t *testing.T) {
	s := family4.scene(t)
	closed := netip.AddrPortFrom(ipB, 9)
	floods := map[string][]byte{
		"UDP to a closed port": forgeUDP(portA, closed, "x"),
		"TCP to a closed port": forgeTCP(portA, closed, wire.ACK, wire.SeqOf(1), wire.SeqOf(1), ""),
		"echo request":         forgeICMP(ipA, ipB, 8, 0, 1, make([]byte, 1000)),
		"not for us":           forgeUDP(portA, netip.MustParseAddrPort("10.9.0.77:9"), "x"),
		"garbage":              make([]byte, 60),
	}
	out := make([]byte, 2048)
	for name, frame := range floods {
		f := func() {
			s.now = s.now.Add(2 * time.Millisecond)
			s.b.Input(0, frame, s.now)
			for s.b.Output(0, out, s.now) > 0 {
			}
		}
		for range 100 {
			f()
		}
		if n := testing.AllocsPerRun(200, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkTCPRequestResponse(b *testing.B) {
	d := newDuo(b)
	body, got := make([]byte, 64), make([]byte, 4096)
	d.request(b, body, got)
	d.frames = 0
	for b.Loop() {
		d.request(b, body, got)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(d.frames), "ns/segment")
}

func BenchmarkTCPBulk(b *testing.B) {
	d := newDuo(b)
	body, got := make([]byte, 1<<20), make([]byte, 1<<16)
	for range 10 {
		d.bulk(b, body, got)
	}
	d.frames = 0
	b.SetBytes(1 << 20)
	for b.Loop() {
		d.bulk(b, body, got)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(d.frames), "ns/segment")
}
