package proto

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// fragment is a piece of an IPv4 packet to b.
func fragment(id uint16, protocol wire.Protocol, offset, length int, more bool) []byte {
	frame := forge(ipA, ipB, protocol, bytes.Repeat([]byte{byte(offset)}, length))
	h := wire.IPv4(frame[wire.EthernetLen:])
	h.SetID(id)
	h.SetFragment(offset, false, more)
	h.Seal()
	return frame
}

// The sets of fragments that have brought systems down, or got past those who guard them. Each
// is a counted drop with a name; none draws an answer, and none of their memory stays.
func TestFragmentAttacks(t *testing.T) {
	const tcp, udp, icmp = wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMP
	type step struct {
		frame []byte
		want  drop.Reason
	}
	for name, steps := range map[string][]step{
		"teardrop":           {{fragment(1, udp, 0, 40, true), drop.None}, {fragment(1, udp, 24, 4, false), drop.FragmentOverlap}},
		"newtear, bonk":      {{fragment(1, udp, 0, 28, true), drop.FragmentBad}, {fragment(1, udp, 32, 4, false), drop.None}, {fragment(1, udp, 24, 16, true), drop.FragmentOverlap}},
		"syndrop":            {{fragment(1, tcp, 0, 32, true), drop.None}, {fragment(1, tcp, 24, 20, false), drop.FragmentOverlap}},
		"nestea":             {{fragment(1, udp, 0, 16, true), drop.None}, {fragment(1, udp, 48, 216, false), drop.None}, {fragment(1, udp, 0, 288, true), drop.FragmentOverlap}},
		"ping of death":      {{fragment(1, icmp, 0, 1480, true), drop.None}, {fragment(1, icmp, 65528, 1480, false), drop.FragmentTooLong}},
		"jolt":               {{fragment(1, icmp, 8184*8, 8, true), drop.None}, {fragment(1, icmp, 8190*8, 8, true), drop.FragmentTooLong}},
		"tiny":               {{fragment(1, tcp, 0, 8, true), drop.FragmentHeaders}, {fragment(1, tcp, 8, 24, false), drop.FragmentHeaders}},
		"a header in pieces": {{fragment(1, tcp, 0, 16, true), drop.FragmentHeaders}},
		"rewritten header":   {{fragment(1, tcp, 0, 24, true), drop.None}, {fragment(1, tcp, 0, 24, false)[:0:0], drop.EthernetShort}, {fragment(1, tcp, 16, 24, true), drop.FragmentOverlap}},
		"empty":              {{fragment(1, udp, 8, 0, true), drop.FragmentBad}, {fragment(1, udp, 8, 0, false), drop.FragmentBad}},
		"rose":               {{fragment(1, udp, 0, 32, true), drop.None}, {fragment(1, udp, 64800, 32, false), drop.None}},
		"two ends":           {{fragment(1, udp, 64, 8, false), drop.None}, {fragment(1, udp, 96, 8, false), drop.FragmentOverlap}, {fragment(1, udp, 0, 64, true), drop.FragmentOverlap}},
		"no transport":       {{fragment(1, 99, 0, 8, true), drop.None}, {fragment(1, 99, 8, 8, true), drop.None}},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVictim(t)
			for i, s := range steps {
				v.want(fmt.Sprint("fragment ", i), v.hit(s.frame), s.want, 0)
			}
			v.b.Advance(v.now().Add(31 * time.Second)) // past the timeout
			if n, used := v.b.reassembly.Len(), v.b.reassembly.Used(); n != 0 || used != 0 {
				t.Errorf("%d datagrams and %d bytes are left", n, used)
			}
		})
	}
}

// fragment6 is a piece of an IPv6 packet to b, behind other headers if there are any.
func fragment6(next wire.Protocol, offset, length int, more bool, headers ...extension) []byte {
	data := bytes.Repeat([]byte{byte(offset)}, length)
	rest := make([]byte, wire.FragmentLen)
	wire.PutFragment(rest, 0, offset, more, 9)
	p := packet6{src: ipA6, dst: ipB6, next: next, payload: data}
	return p.behind(append(headers, extension{wire.ProtoFragment, rest[1:]})...).frame()
}

// The same sets over IPv6, where RFC 8200 §4.5 has some of them answered.
func TestFragmentAttacks6(t *testing.T) {
	const tcp, udp, icmp = wire.ProtoTCP, wire.ProtoUDP, wire.ProtoICMPv6
	options := extension{wire.ProtoDestOpts, append([]byte{29}, make([]byte, 238)...)} // of 240 bytes
	for _, at := range []int{1, 120} {                                                 // two that may be skipped
		copy(options.rest[at:], []byte{0x1e, 117})
	}
	type step struct {
		frame  []byte
		want   drop.Reason
		frames int
	}
	for name, steps := range map[string][]step{
		"teardrop":                   {{fragment6(udp, 0, 40, true), drop.None, 0}, {fragment6(udp, 24, 4, false), drop.FragmentOverlap, 0}, {fragment6(udp, 40, 8, false), drop.FragmentOverlap, 0}},
		"bonk":                       {{fragment6(udp, 32, 4, false), drop.None, 0}, {fragment6(udp, 24, 16, true), drop.FragmentOverlap, 0}},
		"nestea":                     {{fragment6(udp, 0, 16, true), drop.None, 0}, {fragment6(udp, 48, 216, false), drop.None, 0}, {fragment6(udp, 0, 288, true), drop.FragmentOverlap, 0}},
		"rewritten header":           {{fragment6(tcp, 0, 24, true), drop.None, 0}, {fragment6(tcp, 16, 24, true), drop.FragmentOverlap, 0}},
		"ping of death":              {{fragment6(icmp, 0, 1200, true), drop.None, 0}, {fragment6(icmp, 65528, 1200, false), drop.FragmentTooLong, 0}}, // of an error, perhaps
		"jolt":                       {{fragment6(udp, 8184*8, 8, true), drop.None, 0}, {fragment6(udp, 8190*8, 24, true), drop.FragmentTooLong, 1}},
		"tiny, RFC 7112":             {{fragment6(tcp, 0, 8, true), drop.FragmentHeaders, 1}, {fragment6(tcp, 8, 24, false), drop.None, 0}},
		"no multiple of 8":           {{fragment6(udp, 0, 28, true), drop.FragmentBad, 1}},
		"empty":                      {{fragment6(udp, 8, 0, true), drop.FragmentBad, 1}, {fragment6(udp, 8, 0, false), drop.FragmentBad, 1}},
		"two ends":                   {{fragment6(udp, 64, 8, false), drop.None, 0}, {fragment6(udp, 96, 8, false), drop.FragmentOverlap, 0}, {fragment6(udp, 0, 64, true), drop.FragmentOverlap, 0}},
		"atomic ones are each alone": {{fragment6(99, 0, 8, false), drop.IP6UnknownNextHeader, 1}, {fragment6(99, 0, 16, false), drop.IP6UnknownNextHeader, 1}},
		"an atomic one among others": {{fragment6(udp, 0, 40, true), drop.None, 0}, {fragment6(99, 0, 8, false), drop.IP6UnknownNextHeader, 1}, {fragment6(udp, 40, 8, false), drop.UDPLength, 0}},
		"behind long options":        {{fragment6(udp, 0, 40, true, options), drop.None, 0}, {fragment6(udp, 0, 48, true), drop.FragmentOverlap, 0}},
		"of a routing header":        {{fragment6(udp, 8, 40, true, extension{wire.ProtoRouting, []byte{0, 0, 1, 0, 0, 0, 0}}), drop.IP6RoutingHeader, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			v := family6.victim(t)
			for i, s := range steps {
				v.pass(2 * time.Second) // so that an error may be sent again
				v.want(fmt.Sprint("fragment ", i), v.hit(s.frame), s.want, s.frames)
			}
			v.b.Advance(v.now().Add(61 * time.Second)) // past the timeout
			if n, used := v.b.reassembly.Len(), v.b.reassembly.Used(); n != 0 || used != 0 {
				t.Errorf("%d datagrams and %d bytes are left", n, used)
			}
		})
	}
}

// A flood of fragments that never become whole holds the memory that is set aside for them and
// no more, and the rest of the stack goes on. So do those that come meanwhile and are whole.
func TestFragmentFlood(t *testing.T) {
	v := newVictim(t)
	sock := newSocket(v.b.Stack, &v.b.UDP, "10.9.0.2:9")
	for i := range 20_000 {
		v.hit(fragment(uint16(i), wire.ProtoUDP, 8*(1+i%100), 1400, true))
		if i%1000 == 999 {
			p := forgeUDP(portA, sock.Local, string(streamBytes[:2000]))
			h := wire.IPv4(p[wire.EthernetLen:])
			for _, at := range []int{1000, 0} {
				piece := append(bytes.Clone(p[:wire.EthernetLen+wire.IPv4Len]), h.Payload()[at:min(at+1000, len(h.Payload()))]...)
				if at > 0 {
					piece = append(piece[:wire.EthernetLen+wire.IPv4Len], h.Payload()[1000:]...)
				}
				ph := wire.IPv4(piece[wire.EthernetLen:])
				ph.SetTotalLen(len(ph))
				ph.SetID(uint16(i + 30_000))
				ph.SetFragment(at, false, at == 0)
				ph.Seal()
				if r := v.hit(piece); r != drop.None {
					t.Fatalf("piece at %d: %v", at, r)
				}
			}
		}
	}
	if used := v.b.reassembly.Used(); used > 4<<20 || v.b.reassembly.Len() > 1024 {
		t.Errorf("%d bytes and %d datagrams are held", used, v.b.reassembly.Len())
	}
	if v.b.Count[drop.FragmentTableFull] == 0 {
		t.Error("nothing was given up")
	}
	if n := sock.Recv.Len(); n != 20 {
		t.Errorf("%d of 20 datagrams came through; drops %v", n, drops(v.b.Stack))
	}
	var m ring.Datagram
	if n, _ := sock.Recv.Get(&m, talkBuf[:], false); !bytes.Equal(talkBuf[:n], streamBytes[:2000]) {
		t.Errorf("%d bytes, or others", n)
	}
	closeSocket(v.b.Stack, sock)
	v.alive()
}

// A packet too big is believed only if it quotes something that a live socket has sent (RFC 5927 §4), and
// never above what is known or below what a link has.
func TestForgedFragmentationNeeded(t *testing.T) {
	v := newVictim(t)
	client, server := v.c.client.c.Local(), v.c.server.c.Local()
	sock := newSocket(v.b.Stack, &v.b.UDP, "10.9.0.2:5000")
	quote := func(f []byte) []byte { return f[wire.EthernetLen:][:28] }
	big := func(mtu uint32, quoted []byte) []byte {
		return forgeICMP(elsewhere, ipB, wire.ICMP4Unreachable, wire.ICMP4FragNeeded, mtu, quoted)
	}
	mtu := func() int { m, _ := v.b.MTU(ipA, v.now()); return m }
	dead := quote(forgeUDP(portB(77), portA, "x"))
	v.want("a socket that is not there", v.hit(big(600, dead)), drop.ICMP4QuoteUnknown, 0)
	v.want("a segment that is not in flight", v.hit(big(600, quote(forgeTCP(server, client, wire.ACK, wire.SeqOf(99), wire.SeqOf(0), "")))), drop.ICMP4QuoteImplausible, 0)
	v.want("what another host sent", v.hit(big(600, quote(forgeUDP(portA, portB(5000), "x")))), drop.ICMP4QuoteUnknown, 0)
	live := quote(forgeUDP(sock.Local, portA, "x"))
	v.want("more than the link has", v.hit(big(9000, live)), drop.ICMP4QuoteImplausible, 0)
	v.want("what the link has", v.hit(big(1500, live)), drop.ICMP4QuoteImplausible, 0)
	v.want("a cut quote", v.hit(big(600, live[:24])), drop.ICMP4QuoteShort, 0)
	if mtu() != 1500 {
		t.Fatalf("a forged report made the MTU %d", mtu())
	}
	// A socket without a peer may have sent to anybody; the report makes us look for nobody.
	stranger := quote(forgeUDP(sock.Local, netip.AddrPortFrom(netip.MustParseAddr("10.9.0.200"), 9), "x"))
	v.want("of a stranger", v.hit(big(600, stranger)), drop.None, 0)
	v.want("of where no route leads", v.hit(big(600, quote(forgeUDP(sock.Local, netip.AddrPortFrom(elsewhere, 9), "x")))), drop.ICMP4QuoteImplausible, 0)
	v.want("one that can be true", v.hit(big(60, live)), drop.None, 0)
	if mtu() != 552 {
		t.Errorf("the smallest report made the MTU %d", mtu())
	}
	v.alive() // in smaller segments
	if mss := v.c.server.c.MSS(); mss > 552-40 {
		t.Errorf("the connection sends segments of %d bytes", mss)
	}
	v.pass(11 * time.Minute)
	if mtu() != 1500 {
		t.Errorf("the MTU is %d after its age", mtu())
	}
	v.alive()
	if e := unix.Errno(sock.Error.Take()); e != 0 {
		t.Errorf("the unconnected socket has %v", e)
	}
	closeSocket(v.b.Stack, sock)
}

// Malformed options draw a parameter problem that points at them; a source route is refused
// without a word (RFC 1122 §3.2.2.5, RFC 7126 §4.3).
func TestOptions(t *testing.T) {
	v := newVictim(t)
	with := func(options ...byte) []byte {
		payload := forgeUDP(portA, portB(7), "x")[wire.EthernetLen+wire.IPv4Len:]
		b := make([]byte, wire.EthernetLen+wire.IPv4Len+len(options)+len(payload))
		n := wire.PutEthernet(b, macB, macA, wire.EtherTypeIPv4)
		n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: wire.ProtoUDP, Src: ipA, Dst: ipB, Options: options, PayloadLen: len(payload)})
		copy(b[n:], payload)
		return b
	}
	v.want("none to speak of", v.hit(with(1, 1, 1, 0)), drop.None, 0)
	v.want("timestamps that nobody takes", v.hit(with(68, 8, 5, 0, 0, 0, 0, 0)), drop.None, 0)
	v.want("loose source route", v.hit(with(131, 7, 4, 1, 2, 3, 4, 0)), drop.IP4SourceRoute, 0)
	v.want("strict source route", v.hit(with(1, 137, 3, 4)), drop.IP4SourceRoute, 0)
	if r := v.hit(with(1, 1, 7, 200)); r != drop.IP4OptionsBad {
		t.Errorf("an option beyond the header: %v", r)
	}
	later := with(1, 1, 7, 200)
	wire.IPv4(later[wire.EthernetLen:]).SetFragment(80, false, true)
	wire.IPv4(later[wire.EthernetLen:]).Seal()
	everyone := with(1, 1, 7, 200)
	copy(everyone, wire.Broadcast[:])
	wire.IPv4(everyone[wire.EthernetLen:]).SetDst(directed)
	wire.IPv4(everyone[wire.EthernetLen:]).Seal()
	if v.hit(later) != drop.IP4OptionsBad || v.hit(everyone) != drop.IP4OptionsBad || v.b.Count[drop.ICMPSuppressed] != 2 {
		t.Errorf("a later fragment and a broadcast: drops %v", drops(v.b.Stack))
	}
	var buf [2048]byte
	n := v.b.Output(0, buf[:], v.now())
	icmp, ok := wire.ParseICMP4(wire.IPv4(buf[wire.EthernetLen:n]).Payload())
	if !ok || icmp.Type() != wire.ICMP4ParamProblem || icmp.Pointer() != 22 || !icmp.ChecksumOK() {
		t.Errorf("answer %x", buf[:n])
	}
	if n := v.draws(); n != 0 {
		t.Errorf("%d answers more than one", n)
	}
	v.alive()
}
