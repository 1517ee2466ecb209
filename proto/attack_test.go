package proto

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A victim is host b of a simulation, with a listener at port 80, a socket at UDP port 7 and a
// connection that has to go on whatever is done to b.
type victim struct {
	*sim
	c *connection
}

// victimBacklog is that of the victim's listener: Linux's somaxconn.
const victimBacklog = 4096

func newVictim(t *testing.T) *victim { return family4.victim(t) }

func (f *family) victim(t *testing.T) *victim {
	v := &victim{sim: f.sim(t, 31, trouble{Delay: time.Millisecond}, tcp.Params{}, nil)}
	newSocket(v.b.Stack, &v.b.UDP, at(f.any, 7))
	d := v.listen(v.b, v.a, 80)
	d.l.SetBacklog(victimBacklog)
	v.c = d.dial(0, 0)
	v.c.client.stay, v.c.server.stay = true, true // neither ends its side
	v.alive()
	return v
}

// alive has the connection carry something more, both ways.
func (v *victim) alive() {
	v.t.Helper()
	const more = 20_000
	c := v.c
	c.client.size += more
	c.server.want += more
	c.server.size += more
	c.client.want += more
	v.until(time.Minute, "the connection goes on", func() bool {
		c.check(v.now())
		return c.server.in.off == c.client.size && c.client.in.off == c.server.size
	})
}

// hit gives the victim a frame and returns what it was counted as.
func (v *victim) hit(frame []byte) drop.Reason {
	v.t.Helper()
	return input(v.t, v.b.Stack, frame, v.now())
}

// draws says how many frames the victim has to say for itself.
func (v *victim) draws() int {
	v.t.Helper()
	return drain(v.t, v.b.Stack, v.now())
}

// forge is a frame to b.
func forge(src, dst netip.Addr, protocol wire.Protocol, payload []byte) []byte {
	b := make([]byte, wire.EthernetLen+wire.IPv4Len+len(payload))
	n := wire.PutEthernet(b, macB, macA, wire.EtherTypeIPv4)
	n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: protocol, Src: src, Dst: dst, PayloadLen: len(payload)})
	copy(b[n:], payload)
	reseal(b)
	return b
}

func forgeTCP(src, dst netip.AddrPort, flags wire.Flags, seq, ack wire.Seq, payload string) []byte {
	b := make([]byte, wire.TCPLen)
	wire.PutTCP(b, &wire.TCPFields{SrcPort: src.Port(), DstPort: dst.Port(), Seq: seq, Ack: ack, Flags: flags, Window: 1000})
	return forge(src.Addr(), dst.Addr(), wire.ProtoTCP, append(b, payload...))
}

func forgeUDP(src, dst netip.AddrPort, payload string) []byte {
	b := make([]byte, wire.UDPLen)
	wire.PutUDP(b, src.Port(), dst.Port(), len(payload))
	return forge(src.Addr(), dst.Addr(), wire.ProtoUDP, append(b, payload...))
}

func forgeICMP(src, dst netip.Addr, typ wire.ICMP4Type, code uint8, rest uint32, payload []byte) []byte {
	b := make([]byte, wire.ICMP4Len)
	wire.PutICMP4(b, typ, code, rest)
	return forge(src, dst, wire.ProtoICMP, append(b, payload...))
}

func forgeARP(dst wire.MAC, f *wire.ARPFields) []byte {
	b := make([]byte, wire.EthernetLen+28)
	n := wire.PutEthernet(b, dst, macA, wire.EtherTypeARP)
	return b[:n+wire.PutARP(b[n:], f)]
}

var (
	portA     = netip.AddrPortFrom(ipA, 4000)
	portB     = func(port uint16) netip.AddrPort { return netip.AddrPortFrom(ipB, port) }
	port80    = netip.AddrPortFrom(ipB, 80)
	directed  = netip.MustParseAddr("10.9.0.255") // everyone on the link
	elsewhere = netip.MustParseAddr("192.0.2.1")
)

func (v *victim) want(what string, got, want drop.Reason, frames int) {
	v.t.Helper()
	if got != want {
		v.t.Errorf("%s: counted as %v, not %v", what, got, want)
	}
	if n := v.draws(); n != frames {
		v.t.Errorf("%s: drew %d frames, not %d", what, n, frames)
	}
}

func TestLand(t *testing.T) {
	v := newVictim(t)
	v.want("TCP from itself", v.hit(forgeTCP(port80, port80, wire.SYN, wire.SeqOf(1), wire.SeqOf(0), "")), drop.Martian, 0)
	seven := netip.AddrPortFrom(ipB, 7)
	v.want("UDP from itself", v.hit(forgeUDP(seven, seven, "x")), drop.Martian, 0)
	loop := netip.MustParseAddrPort("127.0.0.1:80")
	v.want("from loopback", v.hit(forgeTCP(loop, port80, wire.SYN, wire.SeqOf(1), wire.SeqOf(0), "")), drop.Martian, 0)
	v.want("to loopback", v.hit(forgeTCP(portA, loop, wire.SYN, wire.SeqOf(1), wire.SeqOf(0), "")), drop.Martian, 0)
	for _, src := range []string{"0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "10.9.0.255"} {
		a := netip.AddrPortFrom(netip.MustParseAddr(src), 80)
		v.want("from "+src, v.hit(forgeTCP(a, port80, wire.SYN, wire.SeqOf(1), wire.SeqOf(0), "")), drop.IP4BadSource, 0)
	}
	v.alive()
}

func TestSmurf(t *testing.T) {
	v := newVictim(t)
	toAll := func(frame []byte) []byte { copy(frame, wire.Broadcast[:]); return frame }
	v.want("echo request to the broadcast address", v.hit(toAll(forgeICMP(ipA, directed, wire.ICMP4Echo, 0, 1, nil))), drop.ICMP4Broadcast, 0)
	v.want("by unicast", v.hit(forgeICMP(ipA, directed, wire.ICMP4Echo, 0, 1, nil)), drop.ICMP4Broadcast, 0)
	v.want("echo request to a group", v.hit(toAll(forgeICMP(ipA, netip.MustParseAddr("224.0.0.1"), wire.ICMP4Echo, 0, 1, nil))), drop.ICMP4Broadcast, 0)
	v.want("unicast in a broadcast", v.hit(toAll(forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, 1, nil))), drop.IP4BadDestination, 0)
	v.want("fraggle", v.hit(toAll(forgeUDP(portA, netip.AddrPortFrom(directed, 19), "x"))), drop.UDPNoSocket, 0)
	v.want("SYN to everyone", v.hit(toAll(forgeTCP(portA, netip.AddrPortFrom(directed, 80), wire.SYN, wire.SeqOf(1), wire.SeqOf(0), ""))), drop.TCPNotUnicast, 0)
	v.want("unknown protocol to everyone", v.hit(toAll(forge(ipA, directed, 99, nil))), drop.IP4UnknownProtocol, 0)
	v.alive()
}

func TestSpoofedARP(t *testing.T) {
	v := newVictim(t)
	evil := wire.MAC{2, 6, 6, 6, 6, 6}
	arp := func(op wire.ARPOp, mac wire.MAC, sender, target netip.Addr) []byte {
		return forgeARP(wire.Broadcast, &wire.ARPFields{Op: op, SenderMAC: mac, SenderIP: sender, TargetMAC: macB, TargetIP: target})
	}
	stranger := netip.MustParseAddr("10.9.0.50")
	v.want("our own address", v.hit(arp(wire.ARPReply, evil, ipB, ipB)), drop.ARPConflict, 0)
	v.want("our own question", v.hit(arp(wire.ARPRequest, macB, ipB, ipA)), drop.Looped, 0)
	v.want("from a group", v.hit(arp(wire.ARPReply, wire.MAC{1, 0, 0x5e, 0, 0, 1}, ipA, ipB)), drop.ARPBadSender, 0)
	v.want("from everyone", v.hit(arp(wire.ARPRequest, wire.Broadcast, ipA, ipB)), drop.ARPBadSender, 0)
	v.want("for the broadcast address", v.hit(arp(wire.ARPReply, evil, directed, ipB)), drop.ARPBadSender, 0)
	v.want("between strangers", v.hit(arp(wire.ARPReply, evil, stranger, netip.MustParseAddr("10.9.0.51"))), drop.ARPNotForUs, 0)
	v.want("to us, but nobody asked", v.hit(arp(wire.ARPReply, evil, stranger, ipB)), drop.ARPUnsolicited, 0)
	if e := v.b.Neigh.Lookup(0, stranger); e != nil {
		t.Error("an answer that nobody asked for made a neighbour")
	}
	// A flood of those who ask for us fills the table up to its limit and throws out
	// nobody who is in use.
	for i := range 5000 {
		sender := netip.AddrFrom4([4]byte{10, 9, byte(1 + i>>8), byte(i)})
		v.hit(arp(wire.ARPRequest, evil, sender, ipB))
		v.draws()
	}
	if n := v.b.Neigh.Len(); n > 1024 {
		t.Errorf("%d neighbours", n)
	}
	v.alive()
}

func TestICMPErrorStorm(t *testing.T) {
	v := newVictim(t)
	client, server := v.c.client.c.Local(), v.c.server.c.Local()
	quote := func(seq wire.Seq, from, to netip.AddrPort) []byte {
		return forgeTCP(from, to, wire.ACK, seq, wire.SeqOf(0), "")[wire.EthernetLen:][:28]
	}
	errors := []struct {
		typ  wire.ICMP4Type
		code uint8
	}{{wire.ICMP4Unreachable, 0}, {wire.ICMP4Unreachable, 1}, {wire.ICMP4Unreachable, 2}, {wire.ICMP4Unreachable, 3},
		{wire.ICMP4Unreachable, 4}, {wire.ICMP4Unreachable, 13}, {wire.ICMP4TimeExceeded, 0}, {wire.ICMP4ParamProblem, 0}}
	for i := range 4000 {
		e := errors[i%len(errors)]
		frame := forgeICMP(ipA, ipB, e.typ, e.code, 68, quote(wire.SeqOf(uint32(i)<<20), server, client))
		if r := v.hit(frame); r != drop.ICMP4QuoteImplausible && r != drop.None {
			t.Fatalf("%v/%d: counted as %v", e.typ, e.code, r)
		}
	}
	if n := v.draws(); n != 0 {
		t.Errorf("errors drew %d frames", n)
	}
	if mss := v.c.server.c.MSS(); mss < 1400 {
		t.Errorf("an error about nothing on its way made the MSS %d", mss)
	}
	other := netip.AddrPortFrom(ipB, 9999)
	v.want("about nothing of ours", v.hit(forgeICMP(ipA, ipB, 3, 3, 0, quote(wire.SeqOf(1), netip.AddrPortFrom(elsewhere, 1), client))), drop.ICMP4QuoteUnknown, 0)
	v.want("about no connection", v.hit(forgeICMP(ipA, ipB, 3, 3, 0, quote(wire.SeqOf(1), other, client))), drop.ICMP4QuoteImplausible, 0)
	v.want("about too little", v.hit(forgeICMP(ipA, ipB, 3, 3, 0, quote(wire.SeqOf(1), server, client)[:22])), drop.ICMP4QuoteShort, 0)
	v.want("about nothing", v.hit(forgeICMP(ipA, ipB, 3, 3, 0, nil)), drop.ICMP4QuoteShort, 0)
	v.alive()
}

// errorsAtOnce is how many ICMP errors one destination has at once.
const errorsAtOnce = 6

func TestFloodOfAClosedPortIsAnsweredSeldom(t *testing.T) {
	v := newVictim(t)
	for range 5000 {
		if r := v.hit(forgeUDP(portA, netip.AddrPortFrom(ipB, 9), "x")); r != drop.UDPNoSocket {
			t.Fatal(r)
		}
	}
	if n := v.draws(); n > errorsAtOnce {
		t.Errorf("%d errors at once", n)
	}
	if n := v.b.Count[drop.ICMPRateLimited]; n < 5000-errorsAtOnce {
		t.Errorf("%d were held back", n)
	}
	v.alive()
}

func TestFloodOfEchoRequestsIsBounded(t *testing.T) {
	v := newVictim(t)
	request := forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, 1, make([]byte, 1400))
	used := v.b.Pool.Used()
	for range 5000 { // and nobody pulls
		v.hit(request)
	}
	if more := v.b.Pool.Used() - used; more > 2*outboxMax {
		t.Errorf("%d bytes of answers wait", more)
	}
	if v.b.Count[drop.OutboxFull] < 4000 {
		t.Errorf("%d were too many", v.b.Count[drop.OutboxFull])
	}
	v.alive()
}

func TestSYNFlood(t *testing.T) {
	v := newVictim(t)
	count, most := 20_000, 0
	if testing.Short() {
		count = 6000
	}
	for i := range count {
		// From the live neighbour, from dead ones, and from where no route leads.
		src := [3]netip.Addr{ipA, netip.AddrFrom4([4]byte{10, 9, 0, byte(10 + i%200)}), elsewhere}[i%3]
		v.hit(forgeTCP(netip.AddrPortFrom(src, uint16(10_000+i)), port80, wire.SYN, wire.SeqOf(uint32(i)*7919), wire.SeqOf(0), ""))
		if i%64 == 0 {
			v.draws()
			v.pass(100 * time.Microsecond)
		}
		if i == count/2 {
			v.alive()
		}
		most = max(most, v.b.TCP.Count(tcp.SynReceived))
	}
	v.alive()
	if most > victimBacklog+1 { // as Linux: then there are cookies
		t.Errorf("%d half-open connections", most)
	}
	// A half-open connection holds no buffer.
	if used := v.b.Pool.Used(); used > 64<<10 {
		t.Errorf("%d bytes are lent", used)
	}
	v.pass(5 * time.Minute)
	if n := v.b.TCP.Count(tcp.SynReceived); n != 0 {
		t.Errorf("%d half-open connections are left", n)
	}
	c := v.listen(v.b, v.a, 81).dial(1000, 1000)
	v.until(time.Minute, "a new connection", c.over)
	v.alive()
}

func TestResetGuesses(t *testing.T) {
	v := newVictim(t)
	client, server := v.c.client.c.Local(), v.c.server.c.Local()
	before := v.b.TCP.Stats()
	for i := range 60_000 { // a window of 64 KiB is hit now and then, its edge by chance of 1 in 70,000
		flags := []wire.Flags{wire.RST, wire.RST | wire.ACK, wire.SYN}[i%3]
		v.hit(forgeTCP(client, server, flags, wire.SeqOf(uint32(i)*71_582+1), wire.SeqOf(uint32(i)), ""))
		if i%1000 == 0 {
			v.draws()
		}
	}
	after := v.b.TCP.Stats()
	if after.EstabResets != before.EstabResets {
		t.Error("a guess has reset the connection")
	}
	if n := after.ChallengeACKs - before.ChallengeACKs; n > 1000 {
		t.Errorf("%d challenges in a second", n)
	}
	v.alive()
}

func TestGuessedData(t *testing.T) {
	v := newVictim(t)
	client, server := v.c.client.c.Local(), v.c.server.c.Local()
	random := v.rand
	for range 20_000 {
		r := v.hit(forgeTCP(client, server, wire.ACK|wire.PSH, wire.SeqOf(random.Uint32()), wire.SeqOf(random.Uint32()), "evil"))
		if r == drop.None {
			t.Fatal("a guess was taken")
		}
	}
	v.draws()
	v.alive() // and not one byte of it was read
}

func TestSegmentsOfNoConnection(t *testing.T) {
	v := newVictim(t)
	closed := netip.AddrPortFrom(ipB, 9)
	one := wire.SeqOf(1)
	v.want("SYN to a closed port", v.hit(forgeTCP(portA, closed, wire.SYN, one, one, "")), drop.TCPNoListener, 1)
	v.want("ACK to a closed port", v.hit(forgeTCP(portA, closed, wire.ACK, one, one, "")), drop.TCPNoConnection, 1)
	v.want("RST to a closed port", v.hit(forgeTCP(portA, closed, wire.RST, one, one, "")), drop.TCPNoConnection, 0)
	v.want("ACK to a listener", v.hit(forgeTCP(portA, port80, wire.ACK, one, one, "")), drop.TCPNoConnection, 1)
	v.want("RST to a listener", v.hit(forgeTCP(portA, port80, wire.RST, one, one, "")), drop.TCPNoConnection, 0)
	v.want("null scan", v.hit(forgeTCP(portA, port80, 0, one, one, "")), drop.TCPFlagsBad, 0)
	v.want("SYN and FIN", v.hit(forgeTCP(portA, port80, wire.SYN|wire.FIN, one, one, "")), drop.TCPFlagsBad, 0)
	v.want("port 0", v.hit(forgeTCP(netip.AddrPortFrom(ipA, 0), port80, wire.SYN, one, one, "")), drop.TCPPortZero, 0)
	if v.b.TCP.Count(tcp.SynReceived) != 0 {
		t.Error("one of them opened a connection")
	}
	v.alive()
}

// TestTruncatedFrames: every frame of live conversations, cut after each byte, is dropped; only
// what has lost nothing but padding is taken.
func TestTruncatedFrames(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.scene(t)
		frames := append(append([][]byte{}, s.said...), s.next...)
		for _, frame := range frames {
			for n := range len(frame) {
				if r := input(t, s.b, frame[:n], s.now); r == drop.None {
					t.Fatalf("%d of %d bytes were taken: %x", n, len(frame), frame[:n])
				}
			}
			if n := drain(t, s.b, s.now); n > 40 { // the scene has 20 segments to say by itself
				t.Fatalf("the pieces of one frame drew %d frames", n)
			}
		}
		s.bounded(t, 0)
		taken := 0
		for _, frame := range s.next {
			if input(t, s.b, frame, s.now) == drop.None {
				taken++
			}
		}
		if taken < 10 {
			t.Errorf("after all that, %d of %d whole frames were taken", taken, len(s.next))
		}
	})
}

// TestFlippedBits: a frame with one wrong bit is dropped by a checksum, unless the bit is in
// the Ethernet header, in ARP, or in what no checksum of IPv6 covers: the class, the flow label and
// the hop limit.
func TestFlippedBits(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.scene(t)
		for _, frame := range append(append([][]byte{}, s.said...), s.next...) {
			for bit := range 8 * len(frame) {
				frame[bit/8] ^= 0x80 >> (bit % 8)
				r := input(t, s.b, frame, s.now)
				covered := bit >= 8*wire.EthernetLen
				if at := bit/8 - wire.EthernetLen; f == family6 && (at < 4 || at == 7) {
					covered = false
				}
				if etherType := binary.BigEndian.Uint16(frame[12:]); etherType != 0x0800 && etherType != 0x86dd {
					covered = false
				}
				if covered && r == drop.None {
					t.Fatalf("bit %d: taken: %x", bit, frame)
				}
				frame[bit/8] ^= 0x80 >> (bit % 8)
			}
			drain(t, s.b, s.now)
		}
	})
}
