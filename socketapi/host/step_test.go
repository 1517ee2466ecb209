package host

import (
	"net/netip"
	"testing"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/simnet"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// BenchmarkSocketsStep is how long a core's lock is held at most while sockets are listed: a step
// through as many connections, datagram sockets or empty ports as stepMax.
func BenchmarkSocketsStep(b *testing.B) {
	r := benchHost(b)
	c := r.Cores()[0]
	for i := range stepMax {
		c.Stack.TCP.Connect(netip.AddrPortFrom(ourAddr, uint16(1+i)), netip.AddrPortFrom(peerAddr, 80), tcp.Options{}, mono.Time(1e9))
		c.Stack.UDP.Add(&udp.Socket{Local: netip.AddrPortFrom(ourAddr, uint16(i)), Gate: new(ring.Gate)})
	}
	l := listing{most: 1 << 20, sole: true}
	reset := func() {
		l.list, l.shared = l.list[:0], make(map[*ring.Gate]int, stepMax)
		l.grow()
	}
	b.Run("listeners", func(b *testing.B) {
		for b.Loop() {
			c.Stack.TCP.Walk(tcp.Cursor{}, stepMax, func(tcp.Row) {})
		}
	})
	b.Run("connections", func(b *testing.B) {
		var at tcp.Cursor
		for port := 0; port <= 65535; port++ { // there are no listeners
			at = c.Stack.TCP.Walk(at, 1, func(tcp.Row) { b.Fatal("a row") })
		}
		at = c.Stack.TCP.Walk(at, 1, func(tcp.Row) {}) // where the connections begin
		for b.Loop() {
			b.StopTimer()
			reset()
			b.StartTimer()
			c.Stack.TCP.Walk(at, stepMax, func(r tcp.Row) { l.add(Socket{Local: r.Local, Remote: r.Remote}, r.Gate) })
		}
	})
	b.Run("datagrams", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			reset()
			b.StartTimer()
			c.Stack.UDP.Walk(0, stepMax, func(s *udp.Socket) { l.add(Socket{Protocol: wire.ProtoUDP, Local: s.Local}, s.Gate) })
		}
	})
}

// benchHost is a host of one core over a queue where nothing happens.
func benchHost(b *testing.B) *Host {
	clock := &simnet.Clock{}
	h, err := Open(Config{
		Interfaces: []Interface{{Devices: []engine.Device{&queue{clock: clock}}, Addrs: []netip.Prefix{netip.PrefixFrom(ourAddr, 24)}}},
		Clock:      clock, Manual: true, Seed: &[2]uint64{1, 2},
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { h.Close() })
	return h
}
