package tcp

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// FuzzSegments plays a peer that sends anything at any state to a TCP whose program does anything: no
// panic, the invariants hold after each step, the window never moves back, and in
// the end nothing is left.
func FuzzSegments(f *testing.F) {
	for seed := range uint64(64) {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := make([]byte, 400)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, script []byte) { runFuzz(t, script) })
}

// TestRandomSegments is the fuzz target with seeds that CI runs each time.
func TestRandomSegments(t *testing.T) {
	for seed := range uint64(150) {
		rng := rand.New(rand.NewPCG(seed, 6))
		b := make([]byte, 3000)
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		runFuzz(t, b)
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

// fuzzer reads decisions from a script; at its end all are 0.
type fuzzer struct {
	t      *testing.T
	script []byte
	h      *host
	now    mono.Time
	remote netip.Addr
	l      *Listener
	held   []*Conn // the program's
	edges  map[*Conn]wire.Seq
	buf    []byte
}

func (z *fuzzer) byte() int {
	if len(z.script) == 0 {
		return 0
	}
	b := z.script[0]
	z.script = z.script[1:]
	return int(b)
}

func (z *fuzzer) word() int { return z.byte()<<8 | z.byte() }

func runFuzz(t *testing.T, script []byte) {
	z := &fuzzer{t: t, script: script, now: 1e9, remote: netip.MustParseAddr("192.0.2.2"), edges: map[*Conn]wire.Seq{}, buf: make([]byte, 1480)}
	p := Params{MaxConns: 12, MaxTimeWait: 4, SynRetries: 2, Retries2: 3, FinTimeout: 3 * time.Second, Piggyback: 40 * time.Microsecond}
	z.h = newHost(t, "192.0.2.1", z.now, 1, p)
	account(t, z.h)
	z.listen()
	for len(z.script) > 0 {
		z.step()
		z.verify()
	}
	// Everything ends once the program has closed all.
	z.l.Close(z.now)
	for _, c := range z.held {
		c.Close(z.now)
	}
	for range 100000 {
		z.drain()
		d := z.h.deadline()
		if d == mono.Never {
			break
		}
		z.now = max(z.now, d)
		z.h.advance(z.now)
	}
	if z.h.tcp.Len() != 0 || z.h.tcp.table.used != 0 || z.h.pool.Used() != 0 {
		t.Fatalf("left: %d connections (%s), %d entries, %d bytes", z.h.tcp.Len(), z.h.states(), z.h.tcp.table.used, z.h.pool.Used())
	}
}

func (z *fuzzer) listen() {
	l, errno := z.h.tcp.Listen(z.h.at(80), ListenConfig{Backlog: 3, Options: Options{RcvBuf: 8000, KeepAlive: true, KeepIdle: time.Second, KeepInterval: time.Second}})
	if errno != 0 {
		z.t.Fatal(errno)
	}
	z.l = l
}

// step does one thing.
func (z *fuzzer) step() {
	switch b := z.byte(); b % 16 {
	case 0:
		if c := z.l.Accept(); c != nil {
			z.held = append(z.held, z.h.own(c))
		}
	case 1:
		if c, errno := z.h.tcp.Connect(z.h.at(uint16(81+b/16%3)), netip.AddrPortFrom(z.remote, 5000), Options{NoDelay: b&64 != 0}, z.now); errno == 0 {
			z.held = append(z.held, z.h.own(c))
		}
	case 2:
		z.now = z.now.Add(time.Duration(z.word()) * time.Duration(z.word()+1) * time.Microsecond / 10)
		z.h.advance(z.now)
	case 3, 4:
		z.program()
	case 5:
		z.drain()
	default:
		z.segment()
	}
}

func (z *fuzzer) program() {
	if len(z.held) == 0 {
		return
	}
	i := z.byte() % len(z.held)
	c := z.held[i]
	b := z.byte()
	gone := false
	switch b % 12 {
	case 0, 1, 2:
		p := make([]byte, z.word()%9000)
		if _, _, tell := c.Write(p); tell {
			c.Kick(z.now)
		}
	case 3, 4, 5:
		if _, _, tell := c.Read(make([]byte, z.word()%9000)); tell {
			c.Kick(z.now)
		}
	case 6:
		c.Shutdown(b/12%3, z.now)
	case 7:
		c.Close(z.now)
		gone = true
	case 8:
		c.Abort(z.now)
		gone = true
	case 9:
		c.SetOptions(Options{NoDelay: b&16 != 0, Cork: b&32 != 0, RcvBuf: z.word(), SndBuf: z.word(), MaxSeg: uint16(z.word()), KeepAlive: b&64 != 0, OOBInline: b&128 != 0,
			WindowClamp: z.word() & 0xffff, NotSentLow: uint32(z.word()) & 0xffff, RcvLow: z.word(), ThinTimeouts: b&128 != 0}, z.now)
	case 10:
		c.SetPMTU(z.word(), z.now)
	case 11:
		c.Info(z.now)
		c.Readiness()
		c.QuickACK(int(b>>4), z.now)
		c.AtMark()
		c.Urgent(b&32 != 0)
		if b&64 != 0 {
			c.MarkUrgent(z.now)
		}
	}
	if gone {
		z.held = append(z.held[:i], z.held[i+1:]...)
		delete(z.edges, c)
	}
}

// segment sends one that is near to what some connection expects, or nonsense.
func (z *fuzzer) segment() {
	b := z.byte()
	f := wire.TCPFields{SrcPort: uint16(5000 + b%3), DstPort: uint16(80 + b/4%4), Flags: wire.Flags(z.byte()), Window: uint16(z.word()), Urgent: uint16(z.byte())}
	if z.byte()%4 != 0 {
		f.Flags = [...]wire.Flags{wire.ACK, wire.ACK | wire.PSH, wire.ACK | wire.FIN, wire.SYN, wire.SYN | wire.ACK, wire.ACK | wire.URG, wire.RST, wire.ACK}[b/16%8]
	}
	k := keyOf(z.h.addr, f.DstPort, z.remote, f.SrcPort)
	near := [...]int{0, 0, 0, 0, -1, 1, 1000, 1460, -1460, 100000, -100000, 1 << 30, 20, 40, 3000, 0}
	var c *Conn
	if r := z.h.tcp.find(&k); r != 0 && r&refTimeWait == 0 {
		c = z.h.tcp.conn(uint32(r) - 1)
		f.Seq, f.Ack = c.rcv.nxt, c.snd.nxt
		if z.byte()%2 == 0 {
			f.Ack = c.snd.una
		}
	} else if r != 0 {
		e := z.h.tcp.tw.at(uint32(r &^ refTimeWait))
		f.Seq, f.Ack = e.rcvNxt, e.sndNxt
	}
	f.Seq = f.Seq.Add(near[z.byte()%16])
	f.Ack = f.Ack.Add(near[z.byte()%16])
	o := wire.NoTCPOptions
	switch ob := z.byte(); {
	case f.Flags.Any(wire.SYN):
		o.MSS, o.SACKPermitted, o.TS, o.WScale = uint16(z.word()), ob&1 != 0, ob&2 != 0, int8(ob/4%16-1)
		o.TSVal = uint32(5000 + z.byte())
	case c != nil && c.tsOK && ob%8 != 0:
		o.TS, o.TSVal, o.TSEcr = true, c.ts.recent+uint32(z.byte()%16)-2, c.tsNow(z.now)
	}
	if c != nil && c.sackOK && z.byte()%2 == 0 && !f.Flags.Any(wire.SYN) {
		o.SACKCount = uint8(z.byte()%3 + 1)
		for i := range o.SACKCount {
			start := c.snd.una.Add(near[z.byte()%16])
			o.SACK[i] = [2]wire.Seq{start, start.Add(near[z.byte()%16])}
		}
	}
	seg := make([]byte, 60+3000)
	if f.Flags.Any(wire.SYN) {
		f.OptionsLen = wire.PutSYNOptions(seg[20:], &o)
	} else {
		f.OptionsLen = wire.PutTCPOptions(seg[20:], &o)
	}
	n := wire.PutTCP(seg, &f)
	payload := 0
	if z.byte()%3 == 0 {
		payload = z.word() % 3000
	}
	z.h.tcp.Input(z.h.addr, z.remote, seg[:n+payload], wire.ECN(z.byte()&3), z.now)
}

// drain takes what is to be sent.
func (z *fuzzer) drain() {
	for steps := 0; ; steps++ {
		if n, _, _ := z.h.tcp.Reply(z.buf, z.now); n > 0 {
			continue
		}
		c := z.h.tcp.Front(0)
		if c == nil {
			break
		}
		z.h.output(c, z.buf, z.byte()<<10, z.now)
		z.verify()
		if steps > 10000 {
			z.t.Fatal("Output never ends")
		}
	}
	z.h.wakes.Flush()
}

func (z *fuzzer) verify() {
	for _, slab := range z.h.tcp.slabs {
		for i := range slab {
			c := &slab[i]
			if c.t == nil || c.state == Closed {
				delete(z.edges, c)
				continue
			}
			verifyConn(z.t, c)
			if c.state < Established {
				continue
			}
			if old, ok := z.edges[c]; ok && c.rcv.adv.Before(old) {
				z.t.Fatalf("%v: the window moved back from %v to %v", c.state, old, c.rcv.adv)
			}
			z.edges[c] = c.rcv.adv
		}
	}
}
