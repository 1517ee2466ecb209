package wire

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func FuzzEthernet(f *testing.F) {
	seed(f, layers.LayerTypeEthernet)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, ok := ParseLink(b)
		if !ok {
			return
		}
		touch(t, Ethernet(b))
		out := make([]byte, l.HeaderLen)
		outer := Ethernet(b).Type()
		n := PutEthernet(out, Ethernet(b).Dst(), Ethernet(b).Src(), outer)
		for i := range l.Tags {
			tag, _ := ParseVLAN(b[n:])
			n += PutVLAN(out[n:], l.TCI[i], tag.Type())
		}
		if n != l.HeaderLen || !bytes.Equal(out, b[:n]) {
			t.Errorf("%x was written as %x", b[:l.HeaderLen], out)
		}
	})
}

func FuzzARP(f *testing.F) {
	seed(f, layers.LayerTypeARP)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseARP(b)
		if ok != (FaultARP(b) == FaultNone) {
			t.Errorf("fault %v", FaultARP(b))
		}
		if !ok {
			return
		}
		touch(t, h)
		var out [ARPLen]byte
		PutARP(out[:], &ARPFields{h.Op(), h.SenderMAC(), h.SenderIP(), h.TargetMAC(), h.TargetIP()})
		if !bytes.Equal(out[:], h) {
			t.Errorf("%x was written as %x", h, out)
		}
	})
}

func FuzzIPv4(f *testing.F) {
	seed(f, layers.LayerTypeIPv4)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseIPv4(b)
		if ok != (FaultIPv4(b) == FaultNone) {
			t.Errorf("fault %v", FaultIPv4(b))
		}
		q, quoted := ParseQuotedIPv4(b)
		if ok && (!quoted || !bytes.Equal(h, q)) {
			t.Error("a whole packet is not taken as a quoted one")
		}
		if !ok {
			return
		}
		touch(t, h)
		if h.ChecksumOK() != (naiveSum(h.Header(), 0) == 0xffff) {
			t.Errorf("ChecksumOK says %v", h.ChecksumOK())
		}
		var g layers.IPv4
		if g.DecodeFromBytes(b, gopacket.NilDecodeFeedback) == nil {
			sameIPv4(t, h, &g)
		}
		out := make([]byte, h.HeaderLen())
		PutIPv4(out, &IPv4Fields{h.TOS(), h.ID(), h.DF(), h.MF(), h.FragmentOffset(), h.TTL(), h.Protocol(), h.Src(), h.Dst(), h.Options(), len(h.Payload())})
		want := IPv4(bytes.Clone(h.Header()))
		want[6] &= 0x7f // the reserved bit, sent as 0
		want.Seal()
		if !bytes.Equal(out, want) {
			t.Errorf("%x was written as %x", want, out)
		}
		o, ok := ParseIPv4Options(h.Options())
		if !ok && (o.BadAt < IPv4Len || o.BadAt >= h.HeaderLen()) {
			t.Errorf("options bad at %d of %d", o.BadAt, h.HeaderLen())
		}
	})
}

func FuzzIPv6(f *testing.F) {
	seed(f, layers.LayerTypeIPv6)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseIPv6(b)
		if ok != (FaultIPv6(b) == FaultNone) {
			t.Errorf("fault %v", FaultIPv6(b))
		}
		if !ok {
			return
		}
		touch(t, h)
		var out [IPv6Len]byte
		PutIPv6(out[:], &IPv6Fields{h.TrafficClass(), h.HopLimit(), h.NextHeader(), h.FlowLabel(), h.Src(), h.Dst(), h.PayloadLen()})
		if !bytes.Equal(out[:], h[:IPv6Len]) {
			t.Errorf("%x was written as %x", h[:IPv6Len], out)
		}
		e := WalkExtensions(h)
		if e.Offset < IPv6Len || e.Offset > len(h) || e.NextHeaderAt < 6 || e.NextHeaderAt >= len(h) || e.Pointer > len(h) {
			t.Errorf("out of the packet: %+v", e)
		}
		if Protocol(h[e.NextHeaderAt]) != e.Protocol {
			t.Errorf("protocol %v, but byte %d says %v", e.Protocol, e.NextHeaderAt, Protocol(h[e.NextHeaderAt]))
		}
		if q := WalkQuotedExtensions(h); e.Fault == ExtOK && !e.Fragment && (q.Offset != e.Offset || q.Protocol != e.Protocol) {
			t.Errorf("quoted: %+v, else %+v", q, e)
		}
	})
}

func FuzzICMP4(f *testing.F) {
	seed(f, layers.LayerTypeICMPv4)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseICMP4(b)
		if !ok {
			return
		}
		touch(t, h)
		out := bytes.Clone(b)
		PutICMP4(out, h.Type(), h.Code(), h.Rest())
		ICMP4(out).Seal()
		if !ICMP4(out).ChecksumOK() || !bytes.Equal(out[4:], b[4:]) {
			t.Errorf("%x was written as %x", b, out)
		}
		ICMP4(out).SetType(ICMP4Echo)
		ICMP4(out).Seal()
		if ICMP4(out).EchoReply(); !ICMP4(out).ChecksumOK() || ICMP4(out).Type() != ICMP4EchoReply || ICMP4(out).Code() != 0 {
			t.Errorf("echo reply %x", out)
		}
	})
}

func FuzzICMP6(f *testing.F) {
	seed(f, layers.LayerTypeICMPv6)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseICMP6(b)
		if !ok {
			return
		}
		touchAll(t, b)
		pseudo := PseudoSum(ip6A, ip6B, ProtoICMPv6, len(b))
		out := bytes.Clone(b)
		PutICMP6(out, ICMP6Echo, h.Code(), h.Rest())
		ICMP6(out).Seal(pseudo)
		if ICMP6(out).EchoReply(); ICMP6(out).Check(pseudo) != ChecksumGood {
			t.Errorf("echo reply %x", out)
		}
	})
}

func FuzzNDP(f *testing.F) {
	seed(f, layers.LayerTypeICMPv6)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseICMP6(b)
		if !ok {
			return
		}
		ns, okNS := ParseNeighborSolicitation(h)
		na, okNA := ParseNeighborAdvertisement(h)
		rs, okRS := ParseRouterSolicitation(h)
		ra, okRA := ParseRouterAdvertisement(h)
		r, okR := ParseRedirect(h)
		for _, m := range []struct {
			ok    bool
			least int
			touch func()
			rest  func() []byte
		}{
			{okNS, NeighborSolicitationLen, func() { touch(t, ns) }, ns.Options},
			{okNA, NeighborAdvertisementLen, func() { touch(t, na) }, na.Options},
			{okRS, RouterSolicitationLen, func() { touch(t, rs) }, rs.Options},
			{okRA, RouterAdvertisementLen, func() { touch(t, ra) }, ra.Options},
			{okR, RedirectLen, func() { touch(t, r) }, r.Options},
		} {
			if m.ok != (len(b) >= m.least) {
				t.Errorf("%d bytes of %d: %v", len(b), m.least, m.ok)
			}
			if !m.ok {
				continue
			}
			if m.touch(); len(m.rest()) != len(b)-m.least {
				t.Errorf("%d bytes of options in %d", len(m.rest()), len(b))
			}
		}
		if okNS {
			out := make([]byte, NeighborSolicitationLen)
			PutNeighborSolicitation(out, ns.Target(), MAC{})
			if !bytes.Equal(out[8:], b[8:NeighborSolicitationLen]) {
				t.Errorf("%x was written as %x", b, out)
			}
		}
		if okR {
			out := make([]byte, RedirectLen)
			PutRedirect(out, r.Target(), r.Dst())
			if !bytes.Equal(out[8:], b[8:RedirectLen]) {
				t.Errorf("%x was written as %x", b, out)
			}
		}
	})
}

// What an ICMP error quotes may be cut off anywhere.
func FuzzQuoted(f *testing.F) {
	for _, layer := range []gopacket.LayerType{layers.LayerTypeIPv4, layers.LayerTypeIPv6, layers.LayerTypeUDP, layers.LayerTypeTCP} {
		seed(f, layer)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, ok := ParseQuotedIPv4(b); ok {
			touch(t, h)
			if whole, ok := ParseIPv4(b); ok && !bytes.Equal(whole, h) {
				t.Errorf("quoted %d bytes, whole %d", len(h), len(whole))
			}
		}
		if h, ok := ParseQuotedIPv6(b); ok {
			touch(t, h)
			e := WalkQuotedExtensions(h)
			if e.Offset < IPv6Len || e.Offset > len(h) {
				t.Errorf("out of the packet: %+v", e)
			}
			if whole, ok := ParseIPv6(b); ok && !bytes.Equal(whole, h) {
				t.Errorf("quoted %d bytes, whole %d", len(h), len(whole))
			}
		}
		if h, ok := ParseQuotedUDP(b); ok && (len(b) < UDPLen || h.SrcPort() != uint16(b[0])<<8|uint16(b[1])) {
			t.Errorf("UDP %x", b)
		}
		if src, dst, _, ok := ParseQuotedTCP(b); ok && (len(b) < 8 || src != uint16(b[0])<<8|uint16(b[1]) || dst != uint16(b[2])<<8|uint16(b[3])) {
			t.Errorf("TCP %x", b)
		}
	})
}

func FuzzNDPOptions(f *testing.F) {
	var b [200]byte
	n := PutSourceOption(b[:], macA)
	n += PutTargetOption(b[n:], macB)
	n += PutMTUOption(b[n:], 1500)
	n += PutNonceOption(b[n:], [6]byte{1, 2, 3, 4, 5, 6})
	n += PutPrefixOption(b[n:], &NDPPrefix{netip.MustParsePrefix("2001:db8:5::/64"), true, false, NDPForever, time.Hour})
	n += PutServersOption(b[n:], time.Minute, ip6A, ip6B)
	n += PutDomainsOption(b[n:], time.Minute, "example.org")
	f.Add(b[:n])
	for _, c := range crashers {
		b, _ := hex.DecodeString(c.hex)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var o NDPOptions
		whole := true
		for rest := b; len(rest) > 0; rest = rest[8*int(rest[1]):] {
			if len(rest) < 8 || rest[1] == 0 || int(rest[1])*8 > len(rest) {
				whole = false
				break
			}
		}
		ok := o.Parse(b)
		if ok && !whole {
			t.Errorf("%x is taken", b)
		}
		for _, d := range o.Domains[:o.DomainsCount] {
			for name, rest, ok := NextNDPDomain(d.Names); ok; name, rest, ok = NextNDPDomain(rest) {
				if len(name) < 2 || name[len(name)-1] != 0 || len(rest) >= len(d.Names) {
					t.Fatalf("name %q of %q", name, d.Names)
				}
			}
		}
		if o.PrefixCount > NDPPrefixesMax || o.ServerCount > NDPServersMax || o.DomainsCount > NDPDomainsMax {
			t.Errorf("%d prefixes, %d servers", o.PrefixCount, o.ServerCount)
		}
		for _, p := range o.Prefixes[:o.PrefixCount] {
			if !p.Prefix.IsValid() || p.Prefix != p.Prefix.Masked() || p.Preferred > p.Valid {
				t.Errorf("prefix %+v", p)
			}
			var out [PrefixOptionLen]byte
			PutPrefixOption(out[:], &p)
			var again NDPOptions
			if !again.Parse(out[:]) || again.Prefixes[0] != p {
				t.Errorf("prefix %+v came back as %+v", p, again.Prefixes[0])
			}
		}
	})
}

func FuzzIGMP(f *testing.F) {
	seed(f, layers.LayerTypeIGMP)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseIGMP(b)
		if !ok {
			return
		}
		touch(t, h)
		var records []GroupRecord
		n := IGMPLen
		ok = h.Records(func(v GroupRecordView) {
			r := GroupRecord{Type: v.Type, Group: v.Group}
			for i := range v.Sources.Len() {
				r.Sources = append(r.Sources, v.Sources.At(i))
			}
			records = append(records, r)
			n += r.Len()
		})
		if !ok || h.Type() != IGMPv3Report {
			return
		}
		out := make([]byte, n)
		if got := PutIGMPv3Report(out, records); got != n || !IGMP(out).ChecksumOK() {
			t.Errorf("report of %d bytes, want %d", got, n)
		}
		i := 0
		IGMP(out).Records(func(v GroupRecordView) {
			if v.Type != records[i].Type || v.Group != records[i].Group || v.Sources.Len() != len(records[i].Sources) {
				t.Errorf("record %+v came back as %+v", records[i], v)
			}
			i++
		})
		if i != len(records) {
			t.Errorf("%d of %d records came back", i, len(records))
		}
	})
}

func FuzzMLD(f *testing.F) {
	seed(f, layers.LayerTypeICMPv6)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseMLD(b)
		if !ok {
			return
		}
		touch(t, h)
		records := 0
		if h.Records(func(GroupRecordView) { records++ }); records*20+MLDv2ReportLen > len(b) {
			t.Errorf("%d records in %d bytes", records, len(b))
		}
	})
}

func FuzzUDP(f *testing.F) {
	seed(f, layers.LayerTypeUDP)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseUDP(b)
		if ok != (FaultUDP(b) == FaultNone) {
			t.Errorf("fault %v", FaultUDP(b))
		}
		if !ok {
			return
		}
		touch(t, h)
		var g layers.UDP
		if err := g.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err == nil {
			sameUDP(t, h, &g)
		}
		pseudo := PseudoSum(ip4A, ip4B, ProtoUDP, len(h))
		out := bytes.Clone(h)
		n := PutUDP(out, h.SrcPort(), h.DstPort(), len(h.Payload()))
		UDP(out).Seal(pseudo)
		sealed := UDP(out).Checksum()
		if UDP(out).SealSum(pseudo, SumOf(out[n:])); UDP(out).Checksum() != sealed || sealed == 0 || UDP(out).Check(pseudo) != ChecksumGood {
			t.Errorf("Seal %#x, SealSum %#x", sealed, UDP(out).Checksum())
		}
	})
}

func FuzzTCP(f *testing.F) {
	seed(f, layers.LayerTypeTCP)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := ParseTCP(b)
		if ok != (FaultTCP(b) == FaultNone) {
			t.Errorf("fault %v", FaultTCP(b))
		}
		if !ok {
			return
		}
		touch(t, h)
		if _, ok := ParseTCPOptions(h.Options()); ok {
			var g layers.TCP
			if g.DecodeFromBytes(b, gopacket.NilDecodeFeedback) == nil {
				sameTCP(t, h, &g)
			}
		}
		out := bytes.Clone(h)
		PutTCP(out, &TCPFields{h.SrcPort(), h.DstPort(), h.Seq(), h.Ack(), h.Flags(), h.Window(), h.Urgent(), len(h.Options())})
		want := TCP(bytes.Clone(h))
		want[12] &= 0xf0 // reserved bits, sent as 0
		want.SetChecksum(0)
		if !bytes.Equal(out, want) {
			t.Errorf("%x was written as %x", want, out)
		}
		pseudo := PseudoSum(ip6A, ip6B, ProtoTCP, len(out))
		TCP(out).Seal(pseudo)
		sealed := TCP(out).Checksum()
		if TCP(out).SealSum(pseudo, SumOf(TCP(out).Payload())); TCP(out).Checksum() != sealed || TCP(out).Check(pseudo) != ChecksumGood {
			t.Errorf("Seal %#x, SealSum %#x", sealed, TCP(out).Checksum())
		}
	})
}

func FuzzTCPOptions(f *testing.F) {
	for _, fr := range append(gopacketFrames(f), linuxFrames(f)...) {
		for _, l := range gopacket.NewPacket(fr.data, layers.LayerTypeEthernet, gopacket.NoCopy).Layers() {
			if l.LayerType() == layers.LayerTypeTCP {
				f.Add(l.LayerContents()[TCPLen:])
			}
		}
	}
	for _, c := range crashers {
		b, _ := hex.DecodeString(c.hex)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		b = b[:min(len(b), tcpOptionsMax)]
		o, _ := ParseTCPOptions(b)
		if o.SACKCount > SACKBlocksMax || o.WScale < -1 || o.WScale > TCPWScaleMax || !o.TS && (o.TSVal != 0 || o.TSEcr != 0) {
			t.Errorf("%x: %+v", b, o)
		}
		for _, syn := range []bool{true, false} {
			var out [tcpOptionsMax]byte
			put := PutTCPOptions
			if syn {
				put = PutSYNOptions
			}
			n := put(out[:], &o)
			got, ok := ParseTCPOptions(out[:n])
			if want := expectedOptions(o, syn); !ok || n%4 != 0 || !equalOptions(&got, &want) {
				t.Errorf("options %+v (SYN %v) came back as %+v", want, syn, got)
			}
		}
	})
}

func FuzzChecksum(f *testing.F) {
	f.Add([]byte{}, uint16(0), 0)
	f.Add([]byte{1}, uint16(0xffff), 0)
	f.Add(bytes.Repeat([]byte{0xff}, 131), uint16(0xffff), 65)
	f.Fuzz(func(t *testing.T, b []byte, initial uint16, cut int) {
		want := naiveSum(b, initial)
		if got := Checksum(b, Sum(initial)); got != ^want {
			t.Errorf("checksum %#x, want %#x", got, ^want)
		}
		dst := make([]byte, len(b))
		if got := CopySum(dst, b, Sum(initial)).Fold(); got != want || !bytes.Equal(dst, b) {
			t.Errorf("CopySum %#x, want %#x", got, want)
		}
		if cut >= 0 && cut <= len(b) {
			rest := SumOf(b[cut:])
			if cut%2 == 1 {
				rest = rest.Odd()
			}
			if got := SumOf(b[:cut]).Add(rest).AddUint16(initial).Fold(); got != want {
				t.Errorf("in two parts %#x, want %#x", got, want)
			}
		}
	})
}
