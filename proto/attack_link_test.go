package proto

import (
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Who floods a host with questions from addresses of its link that nobody has makes it look for each; what its
// programs send to others is looked for all the same.
func TestAnswersToNobodyLeaveRoomForPrograms(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		nobody := func(i int) netip.Addr {
			a := f.b.AsSlice()
			a[len(a)-2], a[len(a)-1] = byte(i>>8), byte(i)
			addr, _ := netip.AddrFromSlice(a)
			return addr
		}
		for name, frame := range map[string]func(i int) []byte{
			"echo requests": func(i int) []byte {
				if f == family4 {
					return forgeICMP(nobody(i), ipB, wire.ICMP4Echo, 0, 1, nil)
				}
				return icmp6(nobody(i), ipB6, wire.ICMP6Echo, 0, 1, nil).frame()
			},
			"SYNs": func(i int) []byte {
				if f == family4 {
					return forgeTCP(netip.AddrPortFrom(nobody(i), 9), port80, wire.SYN, wire.SeqOf(1), wire.SeqOf(0), "")
				}
				return tcp6(netip.AddrPortFrom(nobody(i), 9), port80v6, wire.SYN).frame()
			},
			"segments of no connection": func(i int) []byte {
				if f == family4 {
					return forgeTCP(netip.AddrPortFrom(nobody(i), 9), portB(81), wire.ACK, wire.SeqOf(1), wire.SeqOf(0), "")
				}
				return tcp6(netip.AddrPortFrom(nobody(i), 9), netip.AddrPortFrom(ipB6, 81), wire.ACK).frame()
			},
		} {
			b := newHost(macB, f.b)
			if _, errno := b.TCP.Listen(netip.AddrPortFrom(f.any, 80), tcp.ListenConfig{Backlog: 1000}); errno != 0 {
				t.Fatal(errno)
			}
			sock := newSocket(b, &b.UDP, at(f.any, 7))
			// The link prefix of IPv4 has 254 hosts: one of 16 bits.
			b.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(f.b, f.prefix&^15), LinkLocal(&b.ports[0].PortConfig)})
			b.SetRoutes(route.New([]route.Route{{Prefix: netip.PrefixFrom(f.b, f.prefix&^15)}}))
			for i := range 600 {
				b.Input(0, frame(256+i), 1)
				drain(t, b, 1)
			}
			for i := range 100 {
				if errno := send(b, sock, netip.AddrPortFrom(nobody(4096+i), 9), []byte("x"), 1); errno != 0 {
					t.Fatalf("%s: %d neighbours of %d that are looked for, and the program's is refused: %v", name, i, b.Neigh.Len(), errno)
				}
			}
			if name == "echo requests" && b.Count[drop.NeighbourTableFull] == 0 {
				t.Errorf("%s: %v", name, drops(b))
			}
		}
	})
}

// Strangers that come and go do not have each way found anew.
func TestStrangersDoNotDisturbPaths(t *testing.T) {
	b := newHost(macB, ipB)
	b.SetAddrs(0, []netip.Prefix{netip.PrefixFrom(ipB, 16)})
	b.SetRoutes(route.New([]route.Route{{Prefix: netip.PrefixFrom(ipB, 16)}}))
	if _, errno := b.path(ipA, 1); errno != 0 {
		t.Fatal(errno)
	}
	before := b.pathGen
	for i := range 5000 {
		who := netip.AddrFrom4([4]byte{10, 9, byte(1 + i>>8), byte(i)})
		b.Input(0, forgeARP(macB, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: macA, SenderIP: who, TargetIP: ipB}), 1)
		drain(t, b, 1)
	}
	if b.Neigh.Len() != 1024 || b.pathGen != before {
		t.Errorf("%d neighbours; the ways were void %d times", b.Neigh.Len(), b.pathGen-before)
	}
}

// ARP that no station sends by itself: each piece is refused for what is wrong with it, draws no answer
// that it should not, and changes nobody's address.
func TestOddARP(t *testing.T) {
	v := newVictim(t)
	evil := wire.MAC{2, 6, 6, 6, 6, 6}
	stranger := netip.MustParseAddr("10.9.0.50")
	known := v.b.Neigh.Lookup(0, ipA)
	if known == nil || known.MAC != macA {
		t.Fatal("the peer is no neighbour")
	}
	request := func() []byte {
		return forgeARP(wire.Broadcast, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: evil, SenderIP: stranger, TargetIP: ipB})
	}
	const at = wire.EthernetLen
	for _, row := range []struct {
		name   string
		change func(frame []byte) []byte
		want   drop.Reason
		frames int
	}{
		{"as it should be", func(b []byte) []byte { return b }, drop.None, 1},
		{"padded to the least frame", func(b []byte) []byte { return append(b, make([]byte, 60-len(b))...) }, drop.None, 1},
		{"cut", func(b []byte) []byte { return b[:len(b)-1] }, drop.ARPShort, 0},
		{"of another hardware", func(b []byte) []byte { b[at+1] = 6; return b }, drop.ARPUnsupported, 0},
		{"about another protocol", func(b []byte) []byte { b[at+2] = 0x86; return b }, drop.ARPUnsupported, 0},
		{"with long hardware addresses", func(b []byte) []byte { b[at+4] = 255; return b }, drop.ARPUnsupported, 0},
		{"with no addresses", func(b []byte) []byte { b[at+4], b[at+5] = 0, 0; return b }, drop.ARPUnsupported, 0},
		{"with IPv6 addresses", func(b []byte) []byte { b[at+5] = 16; return b }, drop.ARPUnsupported, 0},
		{"operation 0", func(b []byte) []byte { b[at+7] = 0; return b }, drop.ARPBadOp, 0},
		{"reverse ARP", func(b []byte) []byte { b[at+7] = 3; return b }, drop.ARPBadOp, 0},
		{"inverse ARP", func(b []byte) []byte { b[at+7] = 8; return b }, drop.ARPBadOp, 0},
		{"from MAC zero", func(b []byte) []byte { clear(b[at+8 : at+14]); return b }, drop.ARPBadSender, 0},
		{"from a group's MAC", func(b []byte) []byte { b[at+8] |= 1; return b }, drop.ARPBadSender, 0},
		{"from a group's address", func(b []byte) []byte { copy(b[at+14:], []byte{224, 0, 0, 1}); return b }, drop.ARPBadSender, 0},
		{"from everyone's address", func(b []byte) []byte { copy(b[at+14:], []byte{255, 255, 255, 255}); return b }, drop.ARPBadSender, 0},
		{"from the link's broadcast address", func(b []byte) []byte { b[at+17] = 255; return b }, drop.ARPBadSender, 0},
		{"from loopback", func(b []byte) []byte { b[at+14] = 127; return b }, drop.ARPBadSender, 0},
		{"of a stranger for a group", func(b []byte) []byte { b[at+17] = 51; copy(b[at+24:], []byte{224, 0, 0, 1}); return b }, drop.ARPNotForUs, 0},
		{"of a stranger for everyone", func(b []byte) []byte { b[at+17], b[at+27] = 51, 255; return b }, drop.ARPNotForUs, 0},
		{"of a stranger for another", func(b []byte) []byte { b[at+17], b[at+27] = 51, 99; return b }, drop.ARPNotForUs, 0},
		{"of one that is known, for another", func(b []byte) []byte { b[at+27] = 99; return b }, drop.None, 0}, // RFC 826: it is where it says
		{"in a frame for another", func(b []byte) []byte { copy(b, evil[:]); return b }, drop.EthernetNotForUs, 0},
		{"in a frame from a group", func(b []byte) []byte { b[6] |= 1; return b }, drop.EthernetSource, 0},
		{"on a VLAN", func(b []byte) []byte { return tagged(b)[1] }, drop.VLANNotForUs, 0},
		{"with a priority tag", func(b []byte) []byte { return tagged(b)[0] }, drop.None, 1},
	} {
		v.want(row.name, v.hit(row.change(request())), row.want, row.frames)
	}
	for _, a := range []netip.Addr{directed, netip.MustParseAddr("10.9.0.51"), netip.IPv4Unspecified(), netip.MustParseAddr("224.0.0.1")} {
		if v.b.Neigh.Lookup(0, a) != nil {
			t.Errorf("%v has become a neighbour", a)
		}
	}
	if known.MAC != macA {
		t.Error("the peer has moved")
	}
	v.alive()
}

// Addresses that no packet on a wire may have (RFC 1122 §3.2.1.3, RFC 1812 §5.3.7, RFC 6890).
func TestMartians(t *testing.T) {
	v := newVictim(t)
	for _, row := range []struct {
		src, dst string
		want     drop.Reason
	}{
		{"127.0.0.1", "10.9.0.2", drop.Martian}, {"127.255.255.254", "10.9.0.2", drop.Martian},
		{"10.9.0.1", "127.0.0.1", drop.Martian}, {"10.9.0.1", "127.1.2.3", drop.Martian}, {"10.9.0.2", "10.9.0.2", drop.Martian},
		{"0.0.0.0", "10.9.0.2", drop.IP4BadSource}, {"224.0.0.5", "10.9.0.2", drop.IP4BadSource}, {"239.255.255.255", "10.9.0.2", drop.IP4BadSource},
		{"240.0.0.1", "10.9.0.2", drop.IP4BadSource}, {"255.255.255.255", "10.9.0.2", drop.IP4BadSource}, {"10.9.0.255", "10.9.0.2", drop.IP4BadSource},
		{"10.9.0.1", "0.0.0.0", drop.IP4NotForUs}, {"10.9.0.1", "240.0.0.1", drop.IP4NotForUs}, {"10.9.0.1", "10.9.0.0", drop.IP4NotForUs},
		{"10.9.0.1", "192.0.2.1", drop.IP4NotForUs},
	} {
		src, dst := netip.MustParseAddr(row.src), netip.MustParseAddr(row.dst)
		for _, frame := range [][]byte{
			forgeUDP(netip.AddrPortFrom(src, 4000), netip.AddrPortFrom(dst, 9), "x"),
			forgeTCP(netip.AddrPortFrom(src, 4000), netip.AddrPortFrom(dst, 80), wire.SYN, wire.SeqOf(1), wire.SeqOf(0), ""),
			forgeICMP(src, dst, wire.ICMP4Echo, 0, 1, nil), forge(src, dst, 99, nil),
		} {
			v.want(row.src+" to "+row.dst, v.hit(frame), row.want, 0)
		}
	}
	v.alive()
}

// Options that want something of a host, or are no options. What is understood asks for nothing that
// is done, whatever it says inside.
func TestOptionAbuse(t *testing.T) {
	v := newVictim(t)
	with := func(protocol wire.Protocol, payload []byte, options ...byte) []byte {
		b := make([]byte, wire.EthernetLen+wire.IPv4Len+len(options)+len(payload))
		n := wire.PutEthernet(b, macB, macA, wire.EtherTypeIPv4)
		n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 64, Protocol: protocol, Src: ipA, Dst: ipB, Options: options, PayloadLen: len(payload)})
		copy(b[n:], payload)
		reseal(b)
		return b
	}
	datagram := forgeUDP(portA, netip.AddrPortFrom(ipB, 7), "x")[wire.EthernetLen+wire.IPv4Len:]
	for _, row := range []struct {
		name    string
		options []byte
		want    drop.Reason
		frames  int
	}{
		{"record route", []byte{7, 7, 4, 0, 0, 0, 0, 0}, drop.None, 0},
		{"record route, full", []byte{7, 7, 8, 1, 2, 3, 4, 0}, drop.None, 0},
		{"record route, pointer far beyond", []byte{7, 7, 200, 0, 0, 0, 0, 0}, drop.None, 0},
		{"record route, pointer into itself", []byte{7, 7, 0, 0, 0, 0, 0, 0}, drop.None, 0},
		{"timestamps, overflown", []byte{68, 4, 5, 0xf0}, drop.None, 0},
		{"timestamps of hosts that are named", []byte{68, 12, 5, 3, 10, 9, 0, 2, 0, 0, 0, 0}, drop.None, 0},
		{"timestamps, pointer far beyond", []byte{68, 8, 255, 0xf1, 0, 0, 0, 0}, drop.None, 0},
		{"unknown", []byte{30, 4, 1, 2}, drop.None, 0},
		{"forty bytes of nothing", make([]byte, 40), drop.None, 0},
		{"garbage after the end", []byte{0, 131, 3, 4}, drop.None, 0},
		{"loose source route", []byte{131, 11, 4, 192, 0, 2, 1, 10, 9, 0, 2, 0}, drop.IP4SourceRoute, 0},
		{"strict source route", []byte{137, 7, 4, 192, 0, 2, 1, 0}, drop.IP4SourceRoute, 0},
		{"source route behind others", []byte{1, 1, 7, 3, 4, 131, 3, 4}, drop.IP4SourceRoute, 0},
		{"source route that has been gone", []byte{131, 7, 8, 192, 0, 2, 1, 0}, drop.IP4SourceRoute, 0},
		{"two source routes", []byte{131, 3, 4, 137, 3, 4, 0, 0}, drop.IP4SourceRoute, 0},
		{"no length", []byte{1, 1, 1, 7}, drop.IP4OptionsBad, 1},
		{"length 0", []byte{7, 0, 0, 0}, drop.IP4OptionsBad, 1},
		{"length 0 of an unknown one", []byte{200, 0, 1, 1}, drop.IP4OptionsBad, 1},
		{"length 1", []byte{68, 1, 5, 0}, drop.IP4OptionsBad, 1},
		{"length beyond the header", []byte{131, 40, 4, 0}, drop.IP4OptionsBad, 1},
	} {
		v.pass(time.Second) // errors to one host are rationed
		v.draws()
		v.want(row.name, v.hit(with(wire.ProtoUDP, datagram, row.options...)), row.want, row.frames)
	}
	// The reply to a ping carries none of what the request did: nobody's way is recorded by us.
	ping := forgeICMP(ipA, ipB, wire.ICMP4Echo, 0, 1, []byte("x"))[wire.EthernetLen+wire.IPv4Len:]
	if r := v.hit(with(wire.ProtoICMP, ping, 7, 7, 4, 0, 0, 0, 0, 0)); r != drop.None {
		t.Fatal(r)
	}
	var buf [2048]byte
	n := v.b.Output(0, buf[:], v.now())
	if ip, ok := wire.ParseIPv4(buf[wire.EthernetLen:n]); !ok || ip.HeaderLen() != wire.IPv4Len || wire.ICMP4(ip.Payload()).Type() != wire.ICMP4EchoReply {
		t.Errorf("reply %x", buf[:n])
	}
	v.alive()
}
