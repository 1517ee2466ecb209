package tcp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// FuzzModel plays a peer and a program, both without sense, to a TCP and to the model of §3.10.7: after every step
// both are in the same state, what comes out is what the model expects, no window moves back, and each byte
// that the program reads is the peer's, once and in order. ECN is agreed on or not, data is urgent, and connections are made by
// Fast Open both ways.
func FuzzModel(f *testing.F) {
	for seed := range uint64(32) {
		f.Add(randomScript(seed, 600))
	}
	f.Fuzz(func(t *testing.T, script []byte) { runModel(t, script) })
}

// arrows are the changes of state of RFC 9293 figure 5, with those of a reset and of a call that ends everything.
var arrows = [][2]State{
	{Listen, SynReceived}, {Listen, SynSent}, {SynSent, SynReceived}, {SynSent, Established}, {SynSent, Listen},
	{SynReceived, Established}, {SynReceived, FinWait1}, {SynReceived, Listen}, {Established, FinWait1},
	{Established, CloseWait}, {Established, Listen}, {FinWait1, FinWait2}, {FinWait1, Closing}, {FinWait1, TimeWait},
	{FinWait1, Listen}, {FinWait2, TimeWait}, {FinWait2, Listen}, {CloseWait, LastAck}, {CloseWait, Listen},
	{Closing, TimeWait}, {Closing, Listen}, {LastAck, Listen}, {TimeWait, Listen}, {TimeWait, SynReceived},
	{TimeWait, SynSent}, {Closed, SynSent},
}

// TestModel is the fuzz target with seeds that CI runs each time, and it sees to it that nothing was left out: each
// change of state has happened.
func TestModel(t *testing.T) {
	seeds := uint64(1000)
	if testing.Short() {
		seeds = 400
	}
	var seen [TimeWait + 1][TimeWait + 1]int
	var events [modelEvents]int
	for seed := range seeds {
		z := runModel(t, randomScript(seed, 4000))
		if t.Failed() {
			t.Fatal("seed", seed)
		}
		for from := range seen {
			for to := range seen {
				seen[from][to] += z.seen[from][to]
			}
		}
		for i, n := range z.events {
			events[i] += n
		}
	}
	for _, a := range arrows {
		if seen[a[0]][a[1]] == 0 {
			t.Errorf("never went from %v to %v", a[0], a[1])
		}
	}
	for i, n := range events {
		if n < int(seeds)/10 {
			t.Errorf("event %d was seen %d times in %d scripts", i, n, seeds)
		}
	}
}

func randomScript(seed uint64, size int) []byte {
	rng := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

// A modeled is a TCP, the model of its one connection, and whoever drives both by a script.
type modeled struct {
	fuzzer
	m    model
	c    *Conn // the program's, nil: none
	key  key
	prog reader // what the program has read of
	got  int    // bytes that the model says were there, while there was a connection

	heard  mono.Time // the last segment of the peer
	left   mono.Time // when the program has left
	waits  mono.Time // when TIME-WAIT began
	was    State
	seen   [TimeWait + 1][TimeWait + 1]int
	action string
	past   []string
	events [modelEvents]int
}

// What a script is to have in it beside the changes of state.
const (
	eventECN         = iota // a segment told of congestion, by either side
	eventUrgentSent         // the program has sent urgent data
	eventUrgentRead         // and read some
	eventFastPassive        // a connection was made by a SYN with a cookie
	eventFastActive         // data went out with a SYN
	modelEvents
)

const (
	modelPort = 80
	peerPort  = 5000
)

func runModel(t *testing.T, script []byte) *modeled {
	z := &modeled{fuzzer: fuzzer{t: t, script: script, now: 1e9, remote: netip.MustParseAddr("192.0.2.2"), buf: make([]byte, 1480)}}
	choice := z.byte()
	z.prog.inline = choice&1 != 0
	z.m.modelled = modelled{ecn: choice / 2 % 3, fastOpen: choice&64 != 0, prog: &z.prog, cookie: z.isCookie}
	p := Params{ECN: z.m.ecn, FastOpen: -1, TimeWaitReuse: 1}
	if p.ECN == ECNOff {
		p.ECN = -1
	}
	if z.m.fastOpen {
		p.FastOpen = FastOpenClient | FastOpenServer
	}
	z.h = newHost(t, "192.0.2.1", z.now, 1, p)
	ledger := account(t, z.h)
	defer func() {
		if t.Failed() {
			t.Logf("before that:\n%s", strings.Join(z.past[max(0, len(z.past)-20):], "\n"))
		}
	}()
	z.key = keyOf(z.h.addr, modelPort, z.remote, peerPort)
	if z.byte()%4 != 0 {
		l, errno := z.h.tcp.Listen(z.h.at(modelPort), ListenConfig{Backlog: 3, Options: Options{RcvBuf: z.word() % 20000, OOBInline: z.prog.inline}})
		if errno != 0 {
			t.Fatal(errno)
		}
		l.SetFastOpen(1000, nil)
		z.l, z.m.listening = l, true
	}
	z.m.dead()
	z.was = z.m.state
	for len(z.script) > 0 && !t.Failed() {
		z.act()
		z.follow()
		if st := z.m.state; z.byte()%8 != 0 || st < Established || st == TimeWait { // nobody answers a SYN before it is sent
			z.out()
		}
		z.verify()
		ledger.check()
	}
	return z
}

// act does one thing to both.
func (z *modeled) act() {
	switch b := z.byte() % 16; b {
	case 0:
		z.connect()
	case 1:
		z.pass()
	case 2, 3:
		z.write()
	case 4:
		z.readSome()
	case 5:
		if z.byte()%2 == 0 {
			z.readUrgent()
		} else {
			z.readSome()
		}
	case 6:
		if z.byte()%4 == 0 {
			z.leave()
		}
	default:
		z.arrive()
	}
}

// follow looks for what the act has made of the connection.
func (z *modeled) follow() {
	got := z.state()
	if (got == SynReceived || got == SynSent) && z.m.iss == (wire.Seq{}) {
		r := z.h.tcp.find(&z.key)
		z.m.begin(z.h.tcp.conn(uint32(r) - 1).snd.iss)
		z.got = 0
	}
	if got != z.m.state {
		z.t.Fatalf("%s: from %v to %v, want %v", z.action, z.was, got, z.m.state)
	}
	z.seen[z.was][got]++
	z.past = append(z.past, fmt.Sprintf("%v: %s: %v", z.was, z.action, got))
	if z.m.waits {
		z.m.waits, z.waits = false, z.now
	}
	if got >= Established || got == SynReceived && z.m.fast {
		z.got = z.m.received()
	}
	if ended := got == Closed || got == Listen || got == TimeWait; ended && z.was != got || got == SynReceived && z.was == TimeWait {
		z.retire(got)
	}
	if z.l != nil && z.c == nil {
		if c := z.l.Accept(); c != nil {
			z.c = z.h.own(c)
			if got == SynReceived {
				z.events[eventFastPassive]++
			}
			if ended := got < SynReceived || got == TimeWait; ended { // in the same act
				z.retire(got)
			}
		}
	}
	z.was = got
}

// retire lets the program read the rest of a connection that has ended, and close it.
func (z *modeled) retire(state State) {
	if z.c == nil {
		return
	}
	if !z.m.orphan && z.left == 0 {
		for n := 1; n > 0; {
			n = z.take(1 << 16)
		}
		if z.prog.pos != z.got {
			z.t.Fatalf("%s: %d bytes were read, %d had come", z.action, z.prog.pos, z.got)
		}
		z.c.Close(z.now)
	}
	z.c, z.got, z.left = nil, 0, 0
	z.prog = reader{inline: z.prog.inline}
	z.m.orphan = state == TimeWait
	z.h.advance(z.now)
}

// state is the TCP's.
func (z *modeled) state() State {
	switch r := z.h.tcp.find(&z.key); {
	case r == 0 && z.l != nil:
		return Listen
	case r == 0:
		return Closed
	case r&refTimeWait != 0:
		return TimeWait
	default:
		return z.h.tcp.conn(uint32(r) - 1).state
	}
}

func (z *modeled) connect() {
	z.action = "connect"
	if z.c != nil {
		return
	}
	local, remote := z.h.at(modelPort), netip.AddrPortFrom(z.remote, peerPort)
	opt := Options{NoDelay: true, RcvBuf: z.word() % 20000, OOBInline: z.prog.inline}
	var c *Conn
	var errno unix.Errno
	sent := 0
	if z.m.fastOpen && z.byte()%2 == 0 {
		p := make([]byte, z.word()%2000)
		for i := range p {
			p[i] = ourByte(i)
		}
		c, sent, errno = z.h.tcp.ConnectData(local, remote, opt, p, z.now)
	} else {
		c, errno = z.h.tcp.Connect(local, remote, opt, z.now)
	}
	may := z.m.state == Closed || z.m.state == Listen || z.m.state == TimeWait && z.m.tsOK && z.now.Sub(z.waits) >= z.h.tcp.params.ReuseDelay
	if may != (errno == 0) {
		z.t.Fatalf("connect in %v: %v", z.m.state, errno)
	}
	if errno != 0 {
		return
	}
	z.m.dead()
	z.m.state, z.m.written = SynSent, sent
	z.c, z.heard, z.left = z.h.own(c), z.now, 0
	if sent > 0 {
		z.events[eventFastActive]++
	}
}

// pass lets time pass: seldom so much that the TCP gives up, as it may after a minute.
func (z *modeled) pass() {
	z.action = "time"
	d := time.Duration(z.word()) * 20 * time.Microsecond
	if b := z.byte(); b == 0 {
		d = 30 * time.Second
	} else if b < 16 {
		d = time.Second
	}
	for until := z.now.Add(d); ; {
		next := min(z.h.deadline(), until)
		z.now = max(z.now, next)
		z.h.advance(z.now)
		got := z.state()
		if ended := got == Closed || got == Listen; ended && got != z.m.state {
			if z.m.state == TimeWait {
				if z.now.Sub(z.waits) < timeWait {
					z.t.Fatalf("TIME-WAIT ended after %v", z.now.Sub(z.waits))
				}
			} else if silent := z.now.Sub(z.heard); silent < 59*time.Second && !(z.m.orphan && z.now.Sub(z.left) > 59*time.Second) {
				z.t.Fatalf("given up in %v after %v", z.m.state, silent)
			}
			last := reset{z.m.nxt, z.m.rcvNxt, wire.RST | wire.ACK}
			z.m.dead()
			if n := z.h.tcp.replyLast; n != z.h.tcp.replyFirst { // of probes without an answer
				if r := &z.h.tcp.replies[(n-1)%repliesMax]; r.flags == last.flags && r.seq == last.seq && r.ack == last.ack {
					z.m.resets = append(z.m.resets, last)
				}
			}
		}
		if z.m.state == TimeWait && z.now.Sub(z.waits) > timeWait+time.Second {
			z.t.Fatal("TIME-WAIT does not end")
		}
		z.follow()
		z.out()
		if z.now >= until {
			return
		}
	}
}

// The bytes of both streams.
func ourByte(off int) byte     { return byte(off*167 + off>>8*31) }
func peerByte(off uint32) byte { return byte(off*89 + off>>8*13) }

func (z *modeled) write() {
	z.action = "write"
	if z.c == nil || z.m.orphan {
		return
	}
	p := make([]byte, z.word()%6000)
	for i := range p {
		p[i] = ourByte(z.m.written + i)
	}
	n, errno, tell := z.c.Write(p)
	if sends := z.m.state == Established || z.m.state == CloseWait || z.m.state == SynReceived && z.m.fast; n > 0 && (!sends || z.m.shut) || errno == 0 && len(p) > 0 && n == 0 {
		z.t.Fatalf("%v: %d bytes written, %v", z.m.state, n, errno)
	}
	z.m.written += n
	if n > 0 && z.byte()%4 == 0 {
		z.action = "urgent write"
		z.c.MarkUrgent(z.now)
		if z.m.state != SynReceived {
			z.m.urgent, z.m.up = true, z.m.ourFIN()
			z.events[eventUrgentSent]++
		}
	}
	if tell {
		z.c.Kick(z.now)
	}
}

// take reads, and looks at what it is.
func (z *modeled) take(n int) int {
	p := make([]byte, n)
	n, _, tell := z.c.Read(p)
	from, want := z.prog.read(len(p), z.got)
	if n != want {
		z.t.Fatalf("%s: %d bytes were read at %d, want %d", z.action, n, from, want)
	}
	for i, b := range p[:n] {
		if b != peerByte(uint32(from+i)) {
			z.t.Fatalf("%s: byte %d is wrong", z.action, from+i)
		}
	}
	if tell {
		z.c.Kick(z.now)
	}
	return n
}

func (z *modeled) readSome() {
	z.action = "read"
	if z.c == nil || z.m.orphan {
		return
	}
	z.take(z.word()%9000 + 1)
}

// readUrgent asks for the urgent byte, and whether the program is at the mark.
func (z *modeled) readUrgent() {
	z.action = "read of the urgent byte"
	if z.c == nil || z.m.orphan {
		return
	}
	r := &z.prog
	if pri := z.c.Polled()&ring.Pri != 0; pri != (r.mark == validMark) {
		z.t.Fatalf("POLLPRI %v at %d, the mark is %d at %d", pri, r.pos, r.mark, r.at)
	}
	if at := z.c.AtMark(); at != (r.mark != noMark && r.at == r.pos) {
		z.t.Fatalf("at the mark: %v at %d, the mark is %d at %d", at, r.pos, r.mark, r.at)
	}
	want := [...]unix.Errno{noMark: unix.EINVAL, awaitedMark: unix.EAGAIN, validMark: 0, takenMark: unix.EINVAL}[r.mark]
	switch {
	case r.inline:
		want = unix.EINVAL
	case r.mark == awaitedMark && z.m.finTaken: // the end of the stream
		want = 0
	}
	peek := z.byte()%2 == 0
	b, ok, errno := z.c.Urgent(peek)
	if errno != want || ok != (errno == 0 && r.mark == validMark) || ok && b != peerByte(uint32(r.at)) {
		z.t.Fatalf("the urgent byte is %v %#x, %v; want %v, the mark is %d at %d", ok, b, errno, want, r.mark, r.at)
	}
	if ok && !peek {
		r.mark = takenMark
		z.events[eventUrgentRead]++
	}
}

// leave is one of the calls that end a connection (§3.10.4, §3.10.5).
func (z *modeled) leave() {
	if z.c == nil || z.m.orphan {
		return
	}
	m := &z.m
	switch z.byte() % 6 {
	case 0, 1, 2:
		z.action = "shutdown"
		z.c.Shutdown(unix.SHUT_WR, z.now)
		if m.state == SynSent {
			m.dead()
		} else {
			z.ends()
		}
	case 3, 4:
		z.action = "close"
		unread := z.prog.pos < z.got
		z.c.Close(z.now)
		m.orphan, z.left = true, max(z.now, 1)
		switch {
		case m.state == SynSent:
			m.dead()
		case unread: // RFC 2525 §2.17
			m.abort()
		default:
			z.ends()
		}
	case 5:
		z.action = "abort"
		z.c.Abort(z.now)
		z.left = max(z.now, 1)
		m.aborted(z.prog.pos < z.got)
	}
}

// ends is the CLOSE call.
func (z *modeled) ends() {
	m := &z.m
	m.shut = true
	switch m.state {
	case Established:
		m.state = FinWait1
	case CloseWait:
		m.state = LastAck
	}
}

// arrive makes a segment, near to what fits or not, and gives it to both.
func (z *modeled) arrive() {
	m := &z.m
	f := wire.TCPFields{SrcPort: peerPort, DstPort: modelPort, Flags: wire.ACK, Seq: m.rcvNxt, Ack: m.nxt}
	f.Window = [...]uint16{0, 1, 100, 600, 5000, 20000, 65535, 65535}[z.byte()%8]
	payload := 0
	if z.byte()%2 == 0 {
		payload = [...]int{1, 2, 10, 100, 536, 1000, 1460, 3000}[z.byte()%8]
	}
	if n := m.nxt.Sub(m.una); n > 0 && z.byte()%3 == 0 {
		f.Ack = m.una.Add(z.word() % (n + 1))
	}
	pick := func(of ...wire.Seq) wire.Seq { return of[z.byte()%len(of)] }
	kind := z.byte() % 32
	switch {
	case m.state == Listen || m.state == Closed || m.state == SynSent:
		z.opening(&f)
	case kind < 2:
		f.Flags |= wire.FIN
	case kind < 6:
		f.Seq = f.Seq.Add(z.word() % 4000)
	case kind < 8:
		f.Seq = f.Seq.Add(-(z.word() % 3000))
	case kind < 10:
		f.Seq = pick(m.rcvNxt.Add(-1), m.rcvNxt.Add(1), m.adv.Add(-1), m.adv, m.adv.Add(1), m.irs, m.wup, m.fin, m.adv.Add(-payload), m.adv.Add(1-payload), m.rcvNxt.Add(1<<30))
		f.Flags |= [...]wire.Flags{0, 0, wire.FIN}[z.byte()%3]
	case kind < 12:
		f.Ack = pick(m.una.Add(-1), m.una.Add(-m.maxWnd), m.una.Add(-m.maxWnd-1), m.nxt.Add(1), m.nxt.Add(1<<20), m.iss, m.iss.Add(1))
	case kind == 12 && z.byte()%4 == 0:
		f.Flags = wire.RST | [...]wire.Flags{0, wire.ACK}[z.byte()%2]
		f.Seq = pick(m.rcvNxt, m.rcvNxt.Add(1), m.adv, m.adv.Add(1), m.rcvNxt.Add(-1))
	case kind == 13:
		f.Flags = wire.SYN | [...]wire.Flags{0, wire.ACK, wire.FIN}[z.byte()%3]
		f.Seq = pick(m.irs, m.rcvNxt, m.rcvNxt.Add(100), m.adv.Add(1000), m.rcvNxt.Add(-100))
	case kind == 14:
		f.Flags = wire.Flags(z.byte()) & (wire.FIN | wire.SYN | wire.RST | wire.PSH | wire.ACK)
	case kind == 15 && m.state == SynReceived:
		f.Flags, f.Seq = wire.SYN|wire.ACK, m.irs
	}
	switch b := z.byte() % 32; {
	case f.Flags&wire.SYN != 0:
		payload = min(payload, 1000) // so that a listener has room for it in any case
	case b < 4:
		f.Flags |= wire.URG
		f.Urgent = uint16([...]int{0, 1, 2, payload, payload + 1, payload + 100, z.word()}[z.byte()%7])
	case b < 8:
		f.Flags |= wire.ECE
	case b < 12:
		f.Flags |= wire.CWR
	}
	z.input(&f, payload, wire.ECN(z.byte()&3))
}

// opening is a segment for who has no connection, or has only asked for one.
func (z *modeled) opening(f *wire.TCPFields) {
	m := &z.m
	f.Seq = wire.SeqOf(uint32(z.word()) << 16)
	defer func() {
		if f.Flags&wire.SYN != 0 {
			f.Flags |= [...]wire.Flags{0, wire.ECE, wire.ECE | wire.CWR, wire.ECE | wire.CWR}[z.byte()%4]
		}
	}()
	switch b := z.byte() % 16; {
	case m.state == SynSent && b < 6:
		f.Flags = wire.SYN | wire.ACK
	case m.state == SynSent && b < 8:
		f.Flags = wire.RST | [...]wire.Flags{0, wire.ACK}[z.byte()%2]
	case m.state == SynSent && b < 10:
		f.Flags, f.Ack = wire.SYN|wire.ACK, f.Ack.Add(z.byte()%3-1)
	case b < 14:
		f.Flags = wire.SYN
	default:
		f.Flags = wire.Flags(z.byte()) & (wire.FIN | wire.SYN | wire.RST | wire.PSH | wire.ACK)
	}
}

// isCookie says whether a cookie is the peer's.
func (z *modeled) isCookie(cookie []byte) bool {
	want := fastCookieOf(&z.h.tcp.fastKeys[0], &z.key)
	return string(cookie) == string(want[:])
}

func (z *modeled) input(f *wire.TCPFields, payload int, ecn wire.ECN) {
	m := &z.m
	o := wire.NoTCPOptions
	echoOK := true
	seg := make([]byte, 60+payload)
	switch b := z.byte(); {
	case f.Flags&wire.SYN != 0:
		o.MSS, o.SACKPermitted, o.TS, o.WScale = [...]uint16{0, 40, 536, 1460}[b%4], b&4 != 0, b&8 != 0, [...]int8{-1, 0, 3, 14}[b/16%4]
		if o.TS {
			o.TSVal = m.recent + uint32(z.byte()%8) - 1
			o.TSEcr = m.lastVal
			if echoOK = z.byte()%8 != 0; !echoOK {
				o.TSEcr += 1 << 20
			}
		}
		switch z.byte() % 6 {
		case 0, 1:
			cookie := fastCookieOf(&z.h.tcp.fastKeys[0], &z.key)
			o.FastOpen = cookie[:]
		case 2:
			o.FastOpen = []byte{}
		case 3:
			o.FastOpen = make([]byte, 8)
		}
		f.OptionsLen = wire.PutSYNOptions(seg[wire.TCPLen:], &o)
	case m.tsOK && b%16 != 0 || b == 1:
		o.TS, o.TSVal, o.TSEcr = true, m.recent+uint32(z.byte()%16)/5, m.lastVal
		if z.byte()%16 == 0 {
			o.TSVal = m.recent - 1
		}
		fallthrough
	default:
		if z.byte()%4 == 0 { // of blocks that may be true or not
			o.SACKCount = uint8(z.byte()%3 + 1)
			for i := range o.SACKCount {
				start := m.una.Add(z.word() % 4000)
				o.SACK[i] = [2]wire.Seq{start, start.Add(z.word() % 3000)}
			}
		}
		f.OptionsLen = wire.PutTCPOptions(seg[wire.TCPLen:], &o)
	}
	if m.state < Established && f.Flags&wire.SYN == 0 {
		echoOK = true
	}
	n := wire.PutTCP(seg, f)
	seg = seg[:n+payload]
	first := f.Seq
	if f.Flags&wire.SYN != 0 {
		first = first.Add(1)
	}
	irs := m.irs
	if m.state <= SynSent || f.Flags&(wire.SYN|wire.ACK) == wire.SYN {
		irs = f.Seq
	}
	for i := range payload {
		seg[n+i] = peerByte(first.Add(i).Uint32() - irs.Uint32() - 1)
	}
	h, _ := wire.ParseTCP(seg)
	s := segment{ecn: ecn}
	s.parse(h)
	if s.flags&wire.ECE != 0 && m.ecnOK || ecn == wire.CE && m.ecnOK {
		z.events[eventECN]++
	}
	z.action = fmt.Sprintf("%v %d bytes at rcv.nxt%+d (adv %+d) ack %+d of %d window %d", h.Flags(), payload, f.Seq.Sub(m.rcvNxt), m.adv.Sub(m.rcvNxt), f.Ack.Sub(m.una), m.nxt.Sub(m.una), f.Window)
	reason := z.h.tcp.Input(z.h.addr, z.remote, seg, ecn, z.now)
	z.action += " (" + reason.String() + ")"
	m.arrives(&s, echoOK)
	z.heard = z.now
}

// out lets everything out that is to be said, which settles what is owed.
func (z *modeled) out() {
	for {
		n, _, _ := z.h.tcp.Reply(z.buf, z.now)
		if n == 0 {
			break
		}
		z.sent(z.buf[:n], wire.NotECT)
	}
	for steps := 0; z.h.tcp.Front(0) != nil; steps++ {
		c := z.h.tcp.Front(0)
		for _, seg := range z.h.output(c, z.buf, z.byte()<<10, z.now) {
			z.sent(seg, wire.ECN(c.ecn.codepoint()))
		}
		if steps > 10000 {
			z.t.Fatal("Output never ends")
		}
	}
	z.h.wakes.Flush()
	if z.m.mustACK || z.m.mustSYN || len(z.m.resets) > 0 {
		z.t.Fatalf("%s in %v: nothing came of an acknowledgement %v, a SYN %v, resets %v", z.action, z.m.state, z.m.mustACK, z.m.mustSYN, z.m.resets)
	}
}

func (z *modeled) sent(b []byte, ecn wire.ECN) {
	h, _ := wire.ParseTCP(b)
	s := segment{ecn: ecn}
	s.parse(h)
	err := z.m.sends(&s, func(from wire.Seq, p []byte) bool {
		for i, b := range p {
			if b != ourByte(from.Sub(z.m.iss)-1+i) {
				return false
			}
		}
		return true
	})
	if err != nil {
		z.t.Fatalf("%s in %v: %v %v-%v ack %v: %v", z.action, z.m.state, s.flags, s.seq, s.end(), s.ack, err)
	}
}

func (z *modeled) verify() {
	r := z.h.tcp.find(&z.key)
	if r == 0 || r&refTimeWait != 0 {
		return
	}
	c := z.h.tcp.conn(uint32(r) - 1)
	verifyConn(z.t, c)
	if c.snd.una != z.m.una || c.state > SynSent && c.rcv.nxt != z.m.rcvNxt {
		z.t.Fatalf("%s in %v: una %v, rcv.nxt %v, want %v, %v", z.action, c.state, c.snd.una, c.rcv.nxt, z.m.una, z.m.rcvNxt)
	}
}
