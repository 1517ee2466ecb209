package proto

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A scene is a stack in the middle of everything: a connection in each state, sockets of each
// kind, neighbours known and asked for. It is made the same way each time, so a frame that
// fits one scene fits all.
type scene struct {
	f     *family
	a, b  *Stack
	now   mono.Time
	conns map[tcp.State]*tcp.Conn // b's
	said  [][]byte                // what b has had of a
	next  [][]byte                // what a would say next; b has not had it
	base  int                     // memory that b's queues hold
}

const sceneStart = mono.Time(time.Second)

// newScene makes one. Only one goroutine uses it.
func (f *family) scene(t testing.TB) *scene {
	s := &scene{f: f, now: sceneStart, conns: map[tcp.State]*tcp.Conn{}}
	s.a, s.b = f.hosts()
	for port := uint16(80); port < 82; port++ {
		for _, h := range []struct {
			s *Stack
			a netip.Addr
		}{{s.a, f.a}, {s.b, f.b}} {
			if _, errno := h.s.TCP.Listen(netip.AddrPortFrom(h.a, port), tcp.ListenConfig{Backlog: 10}); errno != 0 {
				t.Fatal(errno)
			}
		}
	}
	s.datagrams()
	s.exchange(t)
	pairs := map[tcp.State][2]*tcp.Conn{}
	for i, st := range []tcp.State{tcp.Established, tcp.CloseWait, tcp.LastAck, tcp.FinWait1, tcp.FinWait2, tcp.TimeWait} {
		pairs[st] = s.pair(t, uint16(1000+i))
		s.conns[st] = pairs[st][1]
	}
	pairs[tcp.CloseWait][0].Shutdown(unix.SHUT_WR, s.now)
	pairs[tcp.LastAck][0].Shutdown(unix.SHUT_WR, s.now)
	pairs[tcp.FinWait2][1].Shutdown(unix.SHUT_WR, s.now)
	pairs[tcp.TimeWait][1].Shutdown(unix.SHUT_WR, s.now)
	s.exchange(t)
	pairs[tcp.TimeWait][0].Shutdown(unix.SHUT_WR, s.now)
	s.exchange(t)

	// From here on b hears nothing more.
	pairs[tcp.LastAck][1].Close(s.now)
	pairs[tcp.FinWait1][1].Shutdown(unix.SHUT_WR, s.now)
	for _, st := range []tcp.State{tcp.Established, tcp.FinWait2, tcp.FinWait1} {
		pairs[st][0].Write(streamBytes[:4000])
		pairs[st][0].Kick(s.now)
	}
	pairs[tcp.Established][1].Write(streamBytes[:20_000])
	pairs[tcp.Established][1].Kick(s.now)
	pairs[tcp.FinWait2][0].Shutdown(unix.SHUT_WR, s.now)
	s.conns[tcp.SynSent] = s.connect(t, s.b, netip.AddrPortFrom(f.b, 2000), netip.AddrPortFrom(f.a, 80))
	s.connect(t, s.a, netip.AddrPortFrom(f.a, 3000), netip.AddrPortFrom(f.b, 81))
	s.deafen()
	s.base = s.b.Pool.Used()
	return s
}

// datagrams gives b sockets and a something to say to them, an error and echoes included.
func (s *scene) datagrams() {
	f := s.f
	newSocket(s.b, &s.b.UDP, at(f.any, 7))
	curious := newSocket(s.b, &s.b.UDP, at(f.b, 1001))
	curious.Remote = netip.AddrPortFrom(f.a, 9)
	send(s.b, curious, curious.Remote, []byte("anyone?"), s.now)
	lost := newSocket(s.b, &s.b.UDP, at(f.b, 1002))
	send(s.b, lost, netip.AddrPortFrom(f.dead, 9), []byte("nobody"), s.now)
	asks := newSocket(s.a, &s.a.UDP, at(f.a, 1000))
	send(s.a, asks, netip.AddrPortFrom(f.b, 7), []byte("hello"), s.now)
	for _, h := range []*Stack{s.a, s.b} {
		ping := newSocket(h, &h.Ping, at(f.any, 77))
		to := f.a
		if h == s.a {
			to = f.b
		}
		h.Offer(f.icmp, ping, netip.AddrPortFrom(to, 0), f.echoRequest(77, 1, make([]byte, 40)), s.now)
		h.Settle()
	}
}

func (s *scene) connect(t testing.TB, h *Stack, local, remote netip.AddrPort) *tcp.Conn {
	c, errno := h.TCP.Connect(local, remote, tcp.Options{}, s.now)
	if errno != 0 {
		t.Fatal(errno)
	}
	c.Gate.Init(silent{})
	return c
}

// pair makes a connection from a to b.
func (s *scene) pair(t testing.TB, port uint16) [2]*tcp.Conn {
	local, remote := netip.AddrPortFrom(s.f.a, port), netip.AddrPortFrom(s.f.b, 80)
	x := s.connect(t, s.a, local, remote)
	s.exchange(t)
	y := s.b.TCP.Lookup(remote, local)
	if y == nil || y.State() != tcp.Established {
		t.Fatal("no connection")
	}
	return [2]*tcp.Conn{x, y}
}

// exchange carries frames until both are silent.
func (s *scene) exchange(t testing.TB) {
	var buf [2048]byte
	for work := true; work; {
		work = false
		for n := s.a.Output(0, buf[:], s.now); n > 0; n = s.a.Output(0, buf[:], s.now) {
			s.said = append(s.said, bytes.Clone(buf[:n]))
			s.b.Input(0, buf[:n], s.now)
			work = true
		}
		for n := s.b.Output(0, buf[:], s.now); n > 0; n = s.b.Output(0, buf[:], s.now) {
			s.a.Input(0, buf[:n], s.now)
			work = true
		}
	}
}

// deafen carries what b says to a, and notes what a answers.
func (s *scene) deafen() {
	var buf [2048]byte
	for work := true; work; {
		work = false
		for n := s.a.Output(0, buf[:], s.now); n > 0; n = s.a.Output(0, buf[:], s.now) {
			s.next = append(s.next, bytes.Clone(buf[:n]))
			if h, ok := tcpOf(buf[:n]); ok && h.SrcPort() == 3000 && h.Flags() == wire.SYN {
				s.b.Input(0, buf[:n], s.now) // for a connection in SYN-RECEIVED
			}
			work = true
		}
		for n := s.b.Output(0, buf[:], s.now); n > 0; n = s.b.Output(0, buf[:], s.now) {
			s.a.Input(0, buf[:n], s.now)
			work = true
		}
	}
}

// tcpOf is the segment in a frame without options or extension headers.
func tcpOf(frame []byte) (wire.TCP, bool) {
	if len(frame) >= 34 && frame[12] == 8 && frame[13] == 0 && frame[23] == byte(wire.ProtoTCP) {
		return wire.ParseTCP(frame[34:])
	}
	if len(frame) >= 54 && frame[12] == 0x86 && frame[13] == 0xdd && frame[20] == byte(wire.ProtoTCP) {
		return wire.ParseTCP(frame[54:])
	}
	return nil, false
}

// reseal makes the checksums of a frame right again, where there are any to be found.
func reseal(frame []byte) {
	if len(frame) < wire.EthernetLen {
		return
	}
	if ip, ok := wire.ParseIPv6(frame[wire.EthernetLen:]); ok {
		reseal6(ip)
		return
	}
	ip, ok := wire.ParseIPv4(frame[wire.EthernetLen:])
	if !ok {
		return
	}
	ip.Seal()
	switch p := ip.Payload(); ip.Protocol() {
	case wire.ProtoTCP:
		if h, ok := wire.ParseTCP(p); ok {
			h.Seal(ip.PseudoSum())
		}
	case wire.ProtoUDP:
		if h, ok := wire.ParseUDP(p); ok && len(h) == len(p) {
			h.SealSum(ip.PseudoSum(), wire.SumOf(h.Payload()))
		}
	case wire.ProtoICMP:
		if h, ok := wire.ParseICMP4(p); ok {
			h.Seal()
		}
	}
}

// reseal6 does so for what comes behind the extension headers.
func reseal6(ip wire.IPv6) {
	e := wire.WalkExtensions(ip)
	if e.Fault != wire.ExtOK {
		return
	}
	p := ip[e.Offset:]
	pseudo := ip.PseudoSum(e.Protocol, len(p))
	switch e.Protocol {
	case wire.ProtoTCP:
		if h, ok := wire.ParseTCP(p); ok {
			h.Seal(pseudo)
		}
	case wire.ProtoUDP:
		if h, ok := wire.ParseUDP(p); ok && len(h) == len(p) {
			h.SealSum(pseudo, wire.SumOf(h.Payload()))
		}
	case wire.ProtoICMPv6:
		if h, ok := wire.ParseICMP6(p); ok {
			h.Seal(pseudo)
		}
	}
}

// ofOurs says whether a reason is about what the stack would have sent, so that it may be counted
// besides the verdict about a frame that came in.
func ofOurs(r drop.Reason) bool {
	switch r {
	case drop.ICMPRateLimited, drop.ICMPSuppressed, drop.TCPChallengeLimited, drop.TCPFastOpenCookieBad, drop.OutboxFull,
		drop.NeighbourParkingFull, drop.NeighbourFailed, drop.NeighbourTableFull, drop.NoRoute, drop.NoSourceAddress, drop.RouteProhibited, drop.TooBig,
		drop.FragmentTableFull, drop.FragmentMemory: // of others, which had to go
		return true
	}
	return false
}

// input gives a stack a frame and returns what it was counted as: exactly once, but for what
// concerns an answer.
func input(t testing.TB, h *Stack, frame []byte, now mono.Time) (verdict drop.Reason) {
	t.Helper()
	before := h.Count
	h.Input(0, frame, now)
	verdicts, answers := 0, 0
	for r := range h.Count {
		n := int(h.Count[r] - before[r])
		if n > 0 && ofOurs(drop.Reason(r)) {
			answers += n
			if verdicts == 0 {
				verdict = drop.Reason(r)
			}
			continue
		}
		if verdicts += n; n > 0 {
			verdict = drop.Reason(r)
		}
	}
	if verdicts > 1 || verdicts+answers < 1 || verdicts+answers > 2 {
		t.Fatalf("counted %d times, and %d times for answers: %x", verdicts, answers, frame)
	}
	return verdict
}

// outputMax is how many frames one frame may draw from the scene: an acknowledgement can let all
// that is queued go, in the smallest segments there are.
const outputMax = 20_000/(88-12) + 20

// drain takes everything that a stack has to say.
func drain(t testing.TB, h *Stack, now mono.Time) (n int) {
	t.Helper()
	var buf [2048]byte
	for h.Output(0, buf[:], now) > 0 {
		if n++; n > outputMax {
			t.Fatalf("more than %d frames at once", outputMax)
		}
	}
	return n
}

func TestSceneHasEveryState(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.scene(t)
		for st, c := range s.conns {
			if st != tcp.TimeWait && c.State() != st {
				t.Errorf("a connection is in %v, not %v", c.State(), st)
			}
		}
		for _, st := range []tcp.State{tcp.SynReceived, tcp.TimeWait} {
			if s.b.TCP.Count(st) != 1 {
				t.Errorf("%d connections are in %v", s.b.TCP.Count(st), st)
			}
		}
		accepted := 0
		for _, frame := range s.next {
			if input(t, s.b, frame, s.now) == drop.None {
				accepted++
			}
		}
		if accepted < 10 {
			t.Errorf("%d of %d frames that are next fit", accepted, len(s.next))
		}
	})
}

// Every kind of frame is counted once, and none for being malformed: they are what they are meant to be.
func TestEveryKindOfFrameIsAccountedFor(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.scene(t)
		verdicts := map[drop.Reason]int{}
		kinds := f.kinds()
		for _, frame := range kinds {
			verdicts[input(t, s.b, frame, s.now)]++
			drain(t, s.b, s.now)
		}
		if verdicts[drop.None] < 10 || len(verdicts) < 8 {
			t.Errorf("%d kinds: %v", len(kinds), verdicts)
		}
		for _, broken := range []drop.Reason{
			drop.IP4Checksum, drop.IP4Short, drop.IP4TotalLen, drop.UDPChecksum, drop.UDPLength, drop.TCPChecksum, drop.ICMP4Checksum, drop.ICMP6Checksum,
			drop.IP6Short, drop.IP6PayloadLen, drop.NDPShort, drop.NDPOptionBad, drop.IGMPChecksum, drop.IGMPShort, drop.MLDShort, drop.ARPShort,
		} {
			if verdicts[broken] > 0 {
				t.Errorf("%d are malformed: %v", verdicts[broken], broken)
			}
		}
		s.bounded(t, len(kinds))
	})
}

// FuzzConversation changes frames: those of live conversations, and one of every kind that there is.
// The script is read in steps of six bytes: which frame (two), what to do, where (two), and a value.
// Every frame is counted, exactly once (input), draws a limited number of others (drain) and holds
// a limited amount of memory (bounded).
func FuzzConversation(f *testing.F) {
	frames := map[bool][][]byte{}
	for six, fam := range map[bool]*family{false: family4, true: family6} {
		s := fam.scene(f)
		frames[six] = slices.Concat(s.said, s.next, fam.kinds())
		for i := range frames[six] {
			f.Add(six, []byte{byte(i), byte(i >> 8), 0, 0, 0, 0})                                                           // as it is
			f.Add(six, []byte{byte(i), byte(i >> 8), 1, 0, 47, 0x3f, byte(i), byte(i >> 8), 0x80, 0, 0, 0})                 // other flags, sealed
			f.Add(six, []byte{byte(i), byte(i >> 8), 1, 0, 38, 0x80, byte(i), byte(i >> 8), 1, 0, 42, 0x80})                // another sequence, another acknowledgement
			f.Add(six, []byte{byte(i), byte(i >> 8), 3, 0, 60, 0, byte(i), byte(i >> 8), 4, 0, 0, 200, 0, 0, 5, 0, 255, 0}) // cut, later, again
		}
	}
	f.Fuzz(func(t *testing.T, six bool, script []byte) {
		fam := family4
		if six {
			fam = family6
		}
		s := fam.scene(t)
		before := s.b.Count.Snapshot()
		inputs := 0
		for len(script) >= 6 && inputs < 100 {
			step := script[:6]
			script = script[6:]
			inputs++
			frame := bytes.Clone(frames[six][(int(step[0])|int(step[1])<<8)%len(frames[six])])
			at, value := (int(step[3])<<8|int(step[4]))%len(frame), step[5]
			switch step[2] & 0x7f % 6 {
			case 0:
			case 1:
				frame[at] ^= value
			case 2:
				frame[at] = value
			case 3:
				frame = frame[:at]
			case 4:
				frame = append(frame, bytes.Repeat([]byte{value}, at%64)...)
			case 5:
				s.now = s.now.Add(time.Duration(value) * time.Duration(value) * time.Millisecond)
				s.b.Advance(s.now)
				drain(t, s.b, s.now)
			}
			if step[2]&0x80 == 0 {
				reseal(frame)
			}
			input(t, s.b, frame, s.now)
			drain(t, s.b, s.now)
			s.b.Advance(s.now)
			s.bounded(t, inputs)
		}
		// What was counted is the frames, besides what became of answers and of what was held for a while.
		since := s.b.Count.Since(&before)
		verdicts, others := 0, 0
		for r, n := range since {
			if ofOurs(drop.Reason(r)) {
				others += int(n)
			} else if drop.Reason(r) != drop.FragmentTimeout {
				verdicts += int(n)
			}
		}
		if verdicts > inputs || inputs > verdicts+others {
			t.Fatalf("%d frames are %d verdicts, and %d about others: %v", inputs, verdicts, others, drops(s.b))
		}
	})
}

// bounded checks that a frame makes b hold no more than itself, in two queues' chunks at most.
func (s *scene) bounded(t testing.TB, inputs int) {
	t.Helper()
	b := s.b
	if used := b.Pool.Used(); used > s.base+(inputs+8)*2*4096 {
		t.Fatalf("%d bytes are lent after %d frames", used, inputs)
	}
	if b.TCP.Len() > 8+inputs || b.Neigh.Len() > 4+inputs || len(b.waiting) > b.Neigh.Len() {
		t.Fatalf("%d connections, %d neighbours, %d waited for", b.TCP.Len(), b.Neigh.Len(), len(b.waiting))
	}
}
