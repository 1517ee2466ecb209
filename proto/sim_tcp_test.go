package proto

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/simnet"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// mbit is a rate, in bits a second.
const mbit = 1_000_000

// rough is a path on which everything goes wrong, but not too often.
var rough = trouble{
	Rate: 20 * mbit, QueuePackets: 50, Delay: 5 * time.Millisecond, Jitter: time.Millisecond,
	Loss: 0.02, Corrupt: 0.005, Duplicate: 0.01, Reorder: 0.01, ReorderDelay: 3 * time.Millisecond,
}

func TestEveryByteArrivesBothWaysOnARoughPath(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		seeds := 20
		if testing.Short() {
			seeds = 3
		}
		for seed := range uint64(seeds) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				s := f.sim(t, seed, rough, tcp.Params{}, nil)
				c := s.listen(s.b, s.a, 80).dial(400_000+int(seed), 300_000)
				s.until(300*time.Second, "transfer", func() bool { c.check(s.now()); return c.over() })
				if c.client.errno != 0 || c.server.errno != 0 {
					t.Errorf("ended with %v and %v", c.client.errno, c.server.errno)
				}
				s.empty(10 * time.Minute)
			})
		}
	})
}

func TestOtherParams(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for _, params := range []tcp.Params{
			{NoSACK: true}, {NoTimestamps: true}, {NoSACK: true, NoTimestamps: true, NoWindowScaling: true},
			{Congestion: tcp.NewReno}, {Piggyback: 40 * time.Microsecond},
		} {
			s := f.sim(t, 5, rough, params, nil)
			c := s.listen(s.b, s.a, 80).dial(200_000, 200_000)
			s.until(300*time.Second, "transfer", func() bool { c.check(s.now()); return c.over() })
			s.empty(10 * time.Minute)
		}
	})
}

// TestReplay: what passes on the wire is a function of the seed.
func TestReplay(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		capture := func(seed uint64) []byte {
			var out bytes.Buffer
			pcap := simnet.NewPcap(&out, false)
			s := f.sim(t, seed, rough, tcp.Params{}, pcap)
			d := s.listen(s.b, s.a, 80)
			var all []*connection
			for i := range 5 {
				all = append(all, d.dial(20_000*i, 30_000))
			}
			for _, c := range all {
				s.until(300*time.Second, "transfer", c.over)
			}
			s.empty(10 * time.Minute)
			if pcap.Err() != nil {
				t.Fatal(pcap.Err())
			}
			return out.Bytes()
		}
		first, again, other := capture(7), capture(7), capture(8)
		if !bytes.Equal(first, again) {
			t.Errorf("the same seed twice: %d and %d bytes that differ", len(first), len(again))
		}
		if *seedFlag == 0 && bytes.Equal(first, other) {
			t.Error("another seed changed nothing")
		}
		if len(first) < 200_000 {
			t.Errorf("only %d bytes passed", len(first))
		}
	})
}

// resolves says whether a frame asks for a neighbour or answers, by ARP or NDP.
func resolves(frame []byte) bool {
	if len(frame) < wire.EthernetLen+wire.ARPLen {
		return false
	}
	eth, _ := wire.ParseEthernet(frame)
	switch eth.Type() {
	case wire.EtherTypeARP:
		return true
	case wire.EtherTypeIPv6:
		ip, ok := wire.ParseIPv6(eth.Payload())
		return ok && ip.HopLimit() == ndpHopLimit && ip.NextHeader() == wire.ProtoICMPv6
	}
	return false
}

func TestFirstQuestionOfEachSideIsLost(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		lost := [2]int{}
		p := [2]trouble{}
		for i := range p {
			p[i] = trouble{Delay: time.Millisecond, Drop: func(_ int, frame []byte) bool {
				if resolves(frame) && lost[i] < 1 {
					lost[i]++
					return true
				}
				return false
			}}
		}
		s := f.sim(t, 1, trouble{}, tcp.Params{}, nil)
		if err := s.wire.A.Impair(p[0]); err != nil {
			t.Fatal(err)
		}
		if err := s.wire.B.Impair(p[1]); err != nil {
			t.Fatal(err)
		}
		c := s.listen(s.b, s.a, 80).dial(1000, 1000)
		s.until(20*time.Second, "transfer", c.over)
		if lost != [2]int{1, 1} {
			t.Errorf("lost %v", lost)
		}
		s.empty(10 * time.Minute)
	})
}

func TestNeighbourChangesItsAddressMidTransfer(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for _, announce := range []bool{true, false} {
			s := f.sim(t, 3, trouble{Rate: 50 * mbit, Delay: time.Millisecond}, tcp.Params{}, nil)
			c := s.listen(s.b, s.a, 80).dial(8<<20, 1<<20)
			s.until(10*time.Second, "begin", func() bool { return c.server.in.off > 1<<20 })
			s.b.mac = wire.MAC{2, 0, 0, 0, 0, 77}
			s.b.ports[0].MAC = s.b.mac
			if announce {
				s.b.Announce(0, s.b.addr)
			}
			s.until(5*time.Minute, "the rest", c.over)
			if e := s.a.Neigh.Lookup(0, f.b); e == nil || e.MAC != s.b.mac {
				t.Errorf("announced %v: a still knows %v", announce, e)
			}
			s.empty(10 * time.Minute)
		}
	})
}

func TestSilentLinkComesBack(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for _, silent := range []time.Duration{3 * time.Second, 30 * time.Second, 3 * time.Minute} {
			s := f.sim(t, 4, trouble{Rate: 50 * mbit, Delay: 5 * time.Millisecond}, tcp.Params{}, nil)
			c := s.listen(s.b, s.a, 80).dial(4<<20, 4<<20)
			s.until(10*time.Second, "begin", func() bool { return c.server.in.off > 1<<20 })
			s.impair(silence)
			s.pass(silent)
			if c.over() || c.client.errno != 0 || c.server.errno != 0 {
				t.Fatalf("silent for %v: ended with %v and %v", silent, c.client.errno, c.server.errno)
			}
			s.impair(trouble{Rate: 50 * mbit, Delay: 5 * time.Millisecond})
			s.until(5*time.Minute, "the rest", func() bool { c.check(s.now()); return c.over() })
			s.empty(10 * time.Minute)
		}
	})
}

// TestDataWrittenWhileTheNeighbourIsGone: nothing was on its way when the link fell
// silent, so no retransmission asks for the neighbour again.
func TestDataWrittenWhileTheNeighbourIsGone(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.sim(t, 4, trouble{Delay: time.Millisecond}, tcp.Params{}, nil)
		c := s.listen(s.b, s.a, 80).dial(100_000, 0)
		c.client.mute = true
		s.until(10*time.Second, "connect", func() bool { return c.client.c.Connected() && c.server.c != nil })
		s.pass(2 * time.Minute)
		s.impair(silence)
		if e := s.a.Neigh.Lookup(0, f.b); e == nil {
			t.Fatal("the neighbour was forgotten")
		}
		s.a.Neigh.Flush(0, s.now()) // as when the link goes down
		c.client.mute = false
		c.client.run(s.now())
		s.pass(20 * time.Second)
		if c.client.errno != 0 {
			t.Fatalf("ended with %v", c.client.errno)
		}
		s.impair(trouble{Delay: time.Millisecond})
		s.until(time.Minute, "the rest", c.over)
		s.empty(10 * time.Minute)
	})
}

func TestOneSideIsRestarted(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.sim(t, 5, trouble{Delay: time.Millisecond}, tcp.Params{}, nil)
		d := s.listen(s.b, s.a, 80)
		busy, idle, unread := d.dial(-1, 0), d.dial(1000, 1000), d.dial(0, -1)
		busy.server.stay = true // or a reset in CLOSE-WAIT would be EPIPE
		idle.client.mute, idle.server.mute = true, true
		s.until(10*time.Second, "begin", func() bool {
			return busy.server.in.off > 1<<20 && idle.server.c != nil && unread.client.in.off > 1<<20
		})
		s.b.boot() // and nobody listens
		s.until(time.Minute, "the busy one hears of it", func() bool { return busy.client.closed })
		if busy.client.errno != unix.ECONNRESET {
			t.Errorf("the writer ended with %v", busy.client.errno)
		}
		// The reader waits for what never comes, as long as it says nothing itself.
		s.pass(time.Minute)
		if idle.client.closed || unread.client.closed {
			t.Error("an idle connection ended by itself")
		}
		idle.client.mute = false
		s.until(time.Minute, "the idle one asks", func() bool { idle.client.run(s.now()); return idle.client.closed })
		if idle.client.errno != unix.ECONNRESET {
			t.Errorf("the idle one ended with %v", idle.client.errno)
		}
		unread.client.c.Abort(s.now())
		// The same ports are used again: an answer to the new SYN must not come from the past.
		d = s.listen(s.b, s.a, 80)
		again := d.dial(100_000, 100_000)
		s.until(time.Minute, "again", again.over)
		s.empty(10 * time.Minute)
	})
}

// TestHalfOpenPeerIsFoundByANewSYN: the client restarts and dials from the same port while
// the server still has the old connection (RFC 9293 §3.5.1, figure 9).
func TestHalfOpenPeerIsFoundByANewSYN(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.sim(t, 6, trouble{Delay: time.Millisecond}, tcp.Params{}, nil)
		d := s.listen(s.b, s.a, 80)
		old := d.dial(1000, 1000)
		old.client.mute, old.server.mute = true, true
		s.until(10*time.Second, "connect", func() bool { return old.server.c != nil && old.client.c.Connected() })
		s.pass(3 * time.Second)
		s.a.boot()
		s.a.nextPort = 1024
		again := d.dial(50_000, 50_000)
		s.until(time.Minute, "again", again.over)
		if !old.server.closed || old.server.errno != unix.ECONNRESET {
			t.Errorf("the old connection: closed %v, %v", old.server.closed, old.server.errno)
		}
		s.empty(10 * time.Minute)
	})
}

func TestZeroWindowForTenMinutes(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for _, p := range []trouble{{Delay: time.Millisecond}, rough} {
			s := f.sim(t, 7, p, tcp.Params{}, nil)
			c := s.listen(s.b, s.a, 80).dial(12<<20, 0)
			c.server.deaf = true
			s.until(time.Minute, "full", func() bool {
				return c.server.c != nil && c.client.c.Info(s.now()).SndWnd == 0
			})
			before := s.wire.A.Stats().Sent
			s.pass(10 * time.Minute)
			if c.client.errno != 0 || c.client.closed {
				t.Fatalf("ended with %v", c.client.errno)
			}
			// At a probe each two minutes, from 200 ms on: some fifteen, and answers to ARP.
			if probes := s.wire.A.Stats().Sent - before; probes < 5 || probes > 200 {
				t.Errorf("%d frames in ten minutes", probes)
			}
			c.server.deaf = false
			c.server.run(s.now()) // its read opens the window; nothing else would
			s.until(2*time.Minute, "the rest", c.over)
			s.empty(10 * time.Minute)
		}
	})
}

func TestSimultaneousOpen(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for seed, p := range []trouble{{Delay: 10 * time.Millisecond}, {Delay: 10 * time.Millisecond, Loss: 0.2}, rough} {
			s := f.sim(t, uint64(seed)+8, p, tcp.Params{}, nil)
			x, y := netip.AddrPortFrom(f.a, 1000), netip.AddrPortFrom(f.b, 2000)
			ca, ea := s.a.TCP.Connect(x, y, tcp.Options{}, s.now())
			cb, eb := s.b.TCP.Connect(y, x, tcp.Options{}, s.now())
			if ea != 0 || eb != 0 {
				t.Fatal(ea, eb)
			}
			ca.Gate.Init(silent{})
			cb.Gate.Init(silent{})
			c := &connection{
				&talker{t: t, h: s.a, c: ca, size: 100_000, want: 70_000, out: stream{key: 1}, in: stream{key: 2}},
				&talker{t: t, h: s.b, c: cb, size: 70_000, want: 100_000, out: stream{key: 2}, in: stream{key: 1}},
			}
			s.a.programs = append(s.a.programs, c.client)
			s.b.programs = append(s.b.programs, c.server)
			s.until(5*time.Minute, "transfer", func() bool { c.check(s.now()); return c.over() })
			if c.client.errno != 0 || c.server.errno != 0 {
				t.Errorf("ended with %v and %v", c.client.errno, c.server.errno)
			}
			s.empty(10 * time.Minute)
		}
	})
}

// TestTwentyConnectionsShareAPath: all get through, none is starved.
func TestTwentyConnectionsShareAPath(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		rate := int64(100 * mbit)
		if testing.Short() {
			rate = 20 * mbit
		}
		s := f.sim(t, 9, trouble{Rate: rate, QueuePackets: 100, Delay: 5 * time.Millisecond}, tcp.Params{}, nil)
		d, e := s.listen(s.b, s.a, 80), s.listen(s.a, s.b, 80)
		var all []*connection
		for i := range 10 {
			all = append(all, d.dial(-1, 10_000*i), e.dial(-1, 10_000*i))
		}
		s.pass(4 * time.Second)
		for range 6 {
			s.pass(500 * time.Millisecond)
			for _, c := range all {
				c.check(s.now())
			}
		}
		least, most := 1<<62, 0
		for _, c := range all {
			least, most = min(least, c.server.in.off), max(most, c.server.in.off)
			c.client.size = c.client.out.off
			c.server.want = -1
			c.client.run(s.now())
		}
		t.Logf("the slowest got %d bytes, the fastest %d", least, most)
		if least*20 < most {
			t.Errorf("the slowest got %d bytes, the fastest %d", least, most)
		}
		for _, c := range all {
			s.until(time.Minute, "the rest", c.over)
			if c.server.in.off != c.client.out.off {
				t.Errorf("%d of %d bytes arrived", c.server.in.off, c.client.out.off)
			}
		}
		s.empty(10 * time.Minute)
	})
}

// churn opens connections as others end, until so many have been.
type churn struct {
	s    *sim
	d    *dialer
	left int
	open []*connection
	done int
	bad  map[unix.Errno]int
}

func (c *churn) run(now mono.Time) (work int) {
	for i := 0; i < len(c.open); {
		k := c.open[i]
		if !k.client.closed || k.client.errno == 0 && !k.server.closed {
			i++
			continue
		}
		if k.client.errno != 0 {
			c.bad[k.client.errno]++
		}
		c.done++
		c.open[i] = c.open[len(c.open)-1]
		c.open = c.open[:len(c.open)-1]
		c.forget(c.d.off, k.client)
		c.forget(c.d.on, k.server)
		work++
	}
	for len(c.open) < 50 && c.left > 0 {
		c.left--
		c.open = append(c.open, c.d.dial(c.s.rand.IntN(3000), c.s.rand.IntN(3000)))
		work++
	}
	return work
}

func (c *churn) forget(h *simHost, p *talker) {
	for i := range h.programs {
		if h.programs[i] == p {
			h.programs = append(h.programs[:i:i], h.programs[i+1:]...)
			return
		}
	}
}

// soakFlag is for the long form: go test ./proto -run LeaveNothing -soak 10000000 -timeout 0.
var soakFlag = flag.Int("soak", 0, "how many connections TestConnectionsLeaveNothing opens, uses and closes; 0: a few")

func TestConnectionsLeaveNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		count := 10_000
		switch {
		case *soakFlag > 0:
			count = *soakFlag / 2 // each family its half
		case testing.Short():
			count = 1000
		}
		s := f.sim(t, 10, trouble{Delay: time.Millisecond, Loss: 0.02, Rate: 1000 * mbit}, tcp.Params{}, nil)
		c := &churn{s: s, d: s.listen(s.b, s.a, 80), left: count, bad: map[unix.Errno]int{}}
		s.a.programs = append(s.a.programs, c)
		s.until(time.Duration(count)*10*time.Millisecond+time.Hour, "all", func() bool { return c.done == count })
		if len(c.bad) > 0 {
			t.Errorf("failed: %v", c.bad)
		}
		c.d.l.Close(s.now())
		s.empty(10 * time.Minute)
		if n := s.a.TCP.Stats().ActiveOpens; n != uint64(count) {
			t.Errorf("%d connections were opened", n)
		}
	})
}

// TestRouteIsGoneAndComesBack: a connection without a route is not dead, and what has
// none when it is being opened says so at once.
func TestRouteIsGoneAndComesBack(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.sim(t, 11, trouble{Delay: time.Millisecond, Rate: 50 * mbit}, tcp.Params{}, nil)
		d := s.listen(s.b, s.a, 80)
		busy, idle := d.dial(4<<20, 0), d.dial(1000, 1000)
		idle.client.mute = true
		s.until(10*time.Second, "begin", func() bool { return busy.server.in.off > 1<<20 && idle.server.c != nil })
		routes := s.a.Routes
		s.a.SetRoutes(route.New(nil))
		idle.client.mute = false
		idle.client.run(s.now())
		for range 100 {
			c := d.dial(0, 0)
			s.until(time.Second, "refusal", func() bool { return c.client.closed })
			if c.client.errno != unix.ENETUNREACH {
				t.Fatalf("a connection without a route ended with %v", c.client.errno)
			}
		}
		s.pass(20 * time.Second)
		s.a.SetRoutes(routes)
		s.until(2*time.Minute, "the rest", func() bool { return busy.over() && idle.over() })
		s.empty(10 * time.Minute)
	})
}
