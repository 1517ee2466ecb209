package tcp

import (
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A script plays the peer of one TCP, segment by segment:
//
//	s.in("S 0:0(0) win 1000 <mss 1000>")
//	s.out("S. 0:0(0) ack 1 <mss 1460>")
//	s.in(". 1:1(0) ack 1 win 1000")
//
// Flags are S, F, R, P, U, E, C and '.' for ACK. Sequence numbers are relative: 0 is the SYN of
// whoever sends, and acknowledgements are relative to the other side. What an expected segment does
// not mention is not compared, but flags, numbers and length; "<>" is no options at all. A timestamp is
// "TS val ecr", where "_" is any. "urg" is the urgent pointer, "ecn ce" and "ecn ect0" are of the IP header; of what is sent, "ecn" that is not
// mentioned must be none.
type script struct {
	t      *testing.T
	h      *host
	ledger *ledger // of h
	now    mono.Time
	c      *Conn
	l      *Listener
	remote netip.Addr
	lport  uint16
	rport  uint16
	irs    uint32 // the peer's SYN
	iss    uint32 // ours, as its SYN has told
	last   drop.Reason
	tsval  uint32 // the peer's clock, for "TS +n"
	ourTS  uint32 // of our last segment, for echoes written as "_"
	wrote  uint64
	tos    uint8 // of the last segment that was sent
}

func newScript(t *testing.T, p Params) *script {
	s := &script{t: t, now: 1e9, remote: netip.MustParseAddr("192.0.2.2"), lport: 80, rport: 5000, irs: 0xfffffff0, tsval: 5000}
	if strings.HasPrefix(t.Name(), ipv6Prefix) {
		s.remote = netip.MustParseAddr("2001:db8::2")
		s.h = newHost(t, "2001:db8::1", s.now, 1, p)
		s.h.tcp.cfg.MSS = func(_, _ netip.Addr) uint16 { return 1460 } // of a path with an MTU that is 20 larger, for the script's sake
	} else {
		s.h = newHost(t, "192.0.2.1", s.now, 1, p)
	}
	s.ledger = account(t, s.h)
	t.Cleanup(func() {
		if !t.Failed() {
			s.none()
			s.ledger.check()
		}
	})
	return s
}

// seg is a segment as a script writes it.
type seg struct {
	flags                  wire.Flags
	seq, end, ack, win     int
	hasAck, hasWin, hasOpt bool
	opt                    wire.TCPOptions
	tsAny, ecrAny          bool
	ecn                    wire.ECN
	urg                    int
	reserved               byte // bits of the header
}

var flagLetters = map[rune]wire.Flags{'S': wire.SYN, 'F': wire.FIN, 'R': wire.RST, 'P': wire.PSH, 'U': wire.URG, '.': wire.ACK, 'E': wire.ECE, 'W': wire.CWR}

func (s *script) parse(text string) (g seg) {
	s.t.Helper()
	bad := func(what any) { s.t.Helper(); s.t.Fatalf("script %q: %v", text, what) }
	num := func(v string) int {
		n, err := strconv.Atoi(v)
		if err != nil {
			bad(err)
		}
		return n
	}
	g.opt = wire.NoTCPOptions
	head, opts, found := strings.Cut(text, "<")
	f := strings.Fields(head)
	for _, l := range f[0] {
		bit, ok := flagLetters[l]
		if !ok {
			bad("flag")
		}
		g.flags |= bit
	}
	from, rest, _ := strings.Cut(f[1], ":")
	to, size, _ := strings.Cut(rest, "(")
	g.seq, g.end = num(from), num(to)
	if n := num(strings.TrimSuffix(size, ")")); n != g.end-g.seq {
		bad("length")
	}
	for i := 2; i+1 < len(f); i += 2 {
		switch f[i] {
		case "ack":
			g.hasAck, g.ack = true, num(f[i+1])
		case "win":
			g.hasWin, g.win = true, num(f[i+1])
		case "urg":
			g.urg = num(f[i+1])
		case "ecn":
			g.ecn = map[string]wire.ECN{"ce": wire.CE, "ect0": wire.ECT0, "ect1": wire.ECT1}[f[i+1]]
		case "reserved":
			g.reserved = byte(num(f[i+1]))
		default:
			bad(f[i])
		}
	}
	if !found {
		return g
	}
	g.hasOpt = true
	for _, o := range strings.Split(strings.TrimSuffix(strings.TrimSpace(opts), ">"), ",") {
		f := strings.Fields(o)
		if len(f) == 0 {
			continue
		}
		switch f[0] {
		case "mss":
			g.opt.MSS = uint16(num(f[1]))
		case "wscale":
			g.opt.WScale = int8(num(f[1]))
		case "fo": // Fast Open: a cookie in hex, none to ask for one
			g.opt.FastOpen = []byte{}
			if len(f) > 1 {
				cookie, err := hex.DecodeString(f[1])
				if err != nil {
					bad(err)
				}
				g.opt.FastOpen = cookie
			}
		case "sackOK":
			g.opt.SACKPermitted = true
		case "TS":
			g.opt.TS = true
			if g.tsAny = f[1] == "_"; !g.tsAny {
				g.opt.TSVal = uint32(num(f[1]))
			}
			if g.ecrAny = f[2] == "_"; !g.ecrAny {
				g.opt.TSEcr = uint32(num(f[2]))
			}
		case "sack":
			for _, b := range f[1:] {
				l, r, _ := strings.Cut(b, ":")
				g.opt.SACK[g.opt.SACKCount] = [2]wire.Seq{wire.SeqOf(uint32(num(l))), wire.SeqOf(uint32(num(r)))}
				g.opt.SACKCount++
			}
		default:
			bad(f[0])
		}
	}
	return g
}

// in lets a segment of the peer arrive.
func (s *script) in(text string) drop.Reason {
	s.t.Helper()
	s.none()
	g := s.parse(text)
	buf := make([]byte, 70000)
	f := wire.TCPFields{
		SrcPort: s.rport, DstPort: s.lport, Flags: g.flags, Window: uint16(g.win), Urgent: uint16(g.urg),
		Seq: wire.SeqOf(s.irs + uint32(g.seq)),
	}
	if g.flags.Has(wire.ACK) {
		f.Ack = wire.SeqOf(s.iss + uint32(g.ack))
	}
	if g.opt.TS {
		if g.tsAny {
			g.opt.TSVal = s.tsval
		}
		if g.ecrAny {
			g.opt.TSEcr = s.ourTS
		}
	}
	for i := range g.opt.SACK {
		for j := range 2 {
			g.opt.SACK[i][j] = wire.SeqOf(g.opt.SACK[i][j].Uint32() + s.iss)
		}
	}
	if g.flags.Has(wire.SYN) {
		f.OptionsLen = wire.PutSYNOptions(buf[wire.TCPLen:], &g.opt)
	} else {
		f.OptionsLen = wire.PutTCPOptions(buf[wire.TCPLen:], &g.opt)
	}
	n := wire.PutTCP(buf, &f)
	buf[12] |= g.reserved
	fill(buf[n:n+g.end-g.seq], uint64(max(0, g.seq-1)))
	s.last = s.h.tcp.Input(s.h.addr, s.remote, buf[:n+g.end-g.seq], g.ecn, s.now)
	s.check()
	return s.last
}

// drops is in, for a segment that is dropped for reason.
func (s *script) drops(text string, reason drop.Reason) {
	s.t.Helper()
	if got := s.in(text); got != reason {
		s.t.Fatalf("%q: dropped for %v, want %v", text, got, reason)
	}
}

func (s *script) check() {
	s.t.Helper()
	for _, slab := range s.h.tcp.slabs {
		for i := range slab {
			if c := &slab[i]; c.t != nil && c.state != Closed {
				verifyConn(s.t, c)
			}
		}
	}
}

// pull takes the next segment that TCP has to send, nil if it has none.
func (s *script) pull() wire.TCP {
	s.t.Helper()
	buf := make([]byte, 1480)
	s.tos = 0
	if n, local, remote := s.h.tcp.Reply(buf, s.now); n > 0 {
		if local != s.h.addr || remote != s.remote {
			s.t.Fatalf("a reply between %v and %v", local, remote)
		}
		return buf[:n]
	}
	for c := s.h.tcp.Front(0); c != nil; c = s.h.tcp.Front(0) {
		if n := s.h.tcp.Output(c, buf, s.now); n > 0 {
			s.check()
			s.tos = c.TOS()
			return buf[:n]
		}
	}
	return nil
}

// out expects TCP to send a segment.
func (s *script) out(text string) {
	s.t.Helper()
	g := s.parse(text)
	h := s.pull()
	if h == nil {
		s.t.Fatalf("nothing was sent, want %q", text)
	}
	if g.flags.Has(wire.SYN) {
		s.iss = h.Seq().Uint32()
	}
	if err := s.compare(g, h); err != nil {
		s.t.Fatalf("sent %s\nwant %s\n%v", s.format(h), text, err)
	}
}

func (s *script) compare(g seg, h wire.TCP) error {
	iss := s.iss
	if g.flags == wire.RST || g.flags == wire.RST|wire.ACK {
		if g.seq == 0 && h.Seq().Uint32() == 0 {
			iss = 0 // <SEQ=0>, literally
		}
	}
	seq := int(int32(h.Seq().Uint32() - iss))
	switch {
	case h.Check(wire.PseudoSum(s.h.addr, s.remote, wire.ProtoTCP, len(h))) != wire.ChecksumGood:
		return fmt.Errorf("bad checksum")
	case wire.ECN(s.tos&3) != g.ecn:
		return fmt.Errorf("sent as %v", wire.ECN(s.tos&3))
	case int(h.Urgent()) != g.urg:
		return fmt.Errorf("the urgent pointer is %d", h.Urgent())
	case h.Flags() != g.flags:
		return fmt.Errorf("flags are %v", h.Flags())
	case seq != g.seq || len(h.Payload()) != g.end-g.seq:
		return fmt.Errorf("seq %d, length %d", seq, len(h.Payload()))
	case g.flags.Has(wire.ACK) != g.hasAck:
		return fmt.Errorf("the script must say what is acknowledged")
	case g.hasAck && int(int32(h.Ack().Uint32()-s.irs)) != g.ack:
		return fmt.Errorf("ack %d", int32(h.Ack().Uint32()-s.irs))
	case g.hasWin && int(h.Window()) != g.win:
		return fmt.Errorf("win %d", h.Window())
	case wrongAt(h.Payload(), uint64(max(0, g.seq-1))) >= 0:
		return fmt.Errorf("wrong bytes")
	case h.SrcPort() != s.lport || h.DstPort() != s.rport:
		return fmt.Errorf("ports %d %d", h.SrcPort(), h.DstPort())
	}
	o, ok := wire.ParseTCPOptions(h.Options())
	if o.TS {
		s.ourTS = o.TSVal
	}
	if !g.hasOpt {
		return nil
	}
	if g.tsAny {
		g.opt.TSVal = o.TSVal
	}
	if g.ecrAny {
		g.opt.TSEcr = o.TSEcr
	}
	for i := range o.SACKCount {
		for j := range 2 {
			o.SACK[i][j] = wire.SeqOf(o.SACK[i][j].Uint32() - s.irs)
		}
	}
	if !ok || fmt.Sprint(o) != fmt.Sprint(g.opt) {
		return fmt.Errorf("options %+v\nwant    %+v", o, g.opt)
	}
	return nil
}

func (s *script) format(h wire.TCP) string {
	seq := int(int32(h.Seq().Uint32() - s.iss))
	o, _ := wire.ParseTCPOptions(h.Options())
	return fmt.Sprintf("%v %d:%d(%d) ack %d win %d %+v", h.Flags(), seq, seq+len(h.Payload()), len(h.Payload()), int32(h.Ack().Uint32()-s.irs), h.Window(), o)
}

// none expects that TCP has nothing to send.
func (s *script) none() {
	s.t.Helper()
	if h := s.pull(); h != nil {
		s.t.Fatalf("sent %s, want nothing", s.format(h))
	}
}

// after lets d pass, in which TCP sends nothing; what it sends at the end of it is for out.
func (s *script) after(d time.Duration) {
	s.t.Helper()
	s.none()
	end := s.now.Add(d)
	for {
		next := s.h.deadline()
		if next > end {
			break
		}
		s.now = max(s.now, next)
		s.h.advance(s.now)
		s.check()
		if s.now < end-20*timerSlack {
			s.none()
		}
	}
	s.now = end
}

// timeout lets time pass until TCP has something to say, which must be after d.
func (s *script) timeout(d time.Duration) {
	s.t.Helper()
	s.none()
	start := s.now
	for s.h.tcp.Front(0) == nil && !s.h.tcp.Replies() {
		next := s.h.deadline()
		if next > start.Add(d+4*timerSlack) {
			s.t.Fatalf("nothing was sent after %v, the next timer is in %v", d, next.Sub(s.now))
		}
		s.now = max(s.now, next)
		s.h.advance(s.now)
		s.check()
	}
	if took := s.now.Sub(start); took < d-2*timerSlack {
		s.t.Fatalf("something is sent after %v, want %v", took, d)
	}
}

// timerSlack is how much later than asked timers may fire.
const timerSlack = 65536

// soon is what an exact timeout is written as: it fires within a tick.
const soon = 2 * timerSlack * time.Nanosecond

func (s *script) listen(backlog int) {
	s.t.Helper()
	l, errno := s.h.tcp.Listen(s.h.at(s.lport), ListenConfig{Backlog: backlog})
	if errno != 0 {
		s.t.Fatal(errno)
	}
	s.l = l
}

// accept takes the connection that must be waiting.
func (s *script) accept() *Conn {
	s.t.Helper()
	s.c = s.l.Accept()
	if s.c == nil {
		s.t.Fatal("nothing to accept")
	}
	return s.h.own(s.c)
}

// mtu is that of an IPv4 path, or of an IPv6 path with the same MSS.
func (s *script) mtu(mtu int) int {
	if s.h.addr.Is6() {
		return mtu + wire.IPv6Len - wire.IPv4Len
	}
	return mtu
}

func (s *script) remoteAt() netip.AddrPort { return netip.AddrPortFrom(s.remote, s.rport) }

func (s *script) connect(o Options) {
	s.t.Helper()
	c, errno := s.h.tcp.Connect(s.h.at(s.lport), netip.AddrPortFrom(s.remote, s.rport), o, s.now)
	if errno != 0 {
		s.t.Fatal(errno)
	}
	s.c = s.h.own(c)
}

// established opens a connection passively, without options but an MSS of 1000; the peer's window is win.
func (s *script) established(win int) *script {
	s.t.Helper()
	s.listen(5)
	s.in(fmt.Sprintf("S 0:0(0) win %d <mss 1000>", win))
	s.out("S. 0:0(0) ack 1 <mss 1460>")
	s.in(fmt.Sprintf(". 1:1(0) ack 1 win %d", win))
	s.accept()
	s.state(Established)
	return s
}

// establishedSACK is established with SACK, over a path with a round trip of 10 ms.
func (s *script) establishedSACK(win int) *script {
	s.t.Helper()
	s.listen(5)
	s.in(fmt.Sprintf("S 0:0(0) win %d <mss 1000,sackOK>", win))
	s.out("S. 0:0(0) ack 1 <mss 1460,sackOK>")
	s.after(10 * time.Millisecond)
	s.in(fmt.Sprintf(". 1:1(0) ack 1 win %d", win))
	s.accept()
	return s
}

// establishedTS is established with timestamps.
func (s *script) establishedTS(win int) *script {
	s.t.Helper()
	s.listen(5)
	s.in(fmt.Sprintf("S 0:0(0) win %d <mss 1000,TS 5000 0>", win))
	s.out("S. 0:0(0) ack 1 <mss 1460,TS _ 5000>")
	s.in(fmt.Sprintf(". 1:1(0) ack 1 win %d <TS 5000 _>", win))
	s.accept()
	return s
}

func (s *script) state(want State) {
	s.t.Helper()
	if got := s.c.State(); got != want {
		s.t.Fatalf("state is %v, want %v", got, want)
	}
}

// timeWait expects the connection to be in TIME-WAIT.
func (s *script) timeWait(n int) {
	s.t.Helper()
	if got := s.h.tcp.Count(TimeWait); got != n {
		s.t.Fatalf("%d connections are in TIME-WAIT, want %d; %v", got, n, s.h.states())
	}
}

// write lets the program write n bytes of the stream.
func (s *script) write(n int) {
	s.t.Helper()
	p := make([]byte, n)
	fill(p, s.wrote)
	got, errno, tell := s.c.Write(p)
	if got != n {
		s.t.Fatalf("Write took %d of %d: %v", got, n, errno)
	}
	s.wrote += uint64(n)
	if tell {
		s.c.Kick(s.now)
	}
}

// read lets the program read n bytes, the next of the peer's stream.
func (s *script) read(n int) {
	s.t.Helper()
	p := make([]byte, n)
	at := s.c.rx.Head()
	got, errno, tell := s.c.Read(p)
	if got != n {
		s.t.Fatalf("Read gave %d of %d: %v", got, n, errno)
	}
	if i := wrongAt(p, at); i >= 0 {
		s.t.Fatalf("byte %d is wrong", i)
	}
	if tell {
		s.c.Kick(s.now)
	}
}

// readFails expects Read to give nothing but errno; 0 is the end of the stream.
func (s *script) readFails(want unix.Errno) {
	s.t.Helper()
	if n, errno, _ := s.c.Read(make([]byte, 1)); n != 0 || errno != want {
		s.t.Fatalf("Read gave %d, %v; want %v", n, errno, want)
	}
}

func (s *script) writeFails(want unix.Errno) {
	s.t.Helper()
	if n, errno, _ := s.c.Write(make([]byte, 1)); n != 0 || errno != want {
		s.t.Fatalf("Write took %d, %v; want %v", n, errno, want)
	}
}

// gone expects that nothing is left after the TIME-WAIT, if there is one.
func (s *script) gone() {
	s.t.Helper()
	if s.l != nil {
		s.l.Close(s.now)
	}
	s.after(120 * time.Second)
	if s.h.tcp.Len() != 0 || s.h.tcp.table.used != 0 || s.h.pool.Used() != 0 || s.h.deadline() != mono.Never {
		s.t.Fatalf("left: %d connections, %d entries, %d bytes, timer %v", s.h.tcp.Len(), s.h.tcp.table.used, s.h.pool.Used(), s.h.deadline())
	}
}

func sprintf(format string, a ...any) string { return fmt.Sprintf(format, a...) }
