package wire

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

func random4(r *rand.Rand) netip.Addr { return netip.AddrFrom4([4]byte(randomBytes(r, 4))) }
func random6(r *rand.Rand) netip.Addr { return netip.AddrFrom16([16]byte(randomBytes(r, 16))) }

// Headers of random fields come back the same from the views and from gopacket.
func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 1))
	for range 3000 {
		roundTripIPv4(t, r)
		roundTripIPv6(t, r)
		if t.Failed() {
			return
		}
	}
}

func roundTripIPv4(t *testing.T, r *rand.Rand) {
	b := randomBytes(r, 200)
	options := make([]byte, 4*r.IntN(11))
	for i := range options {
		options[i] = ipv4OptNOP
	}
	f := IPv4Fields{TOS: uint8(r.Uint32()), ID: uint16(r.Uint32()), DF: r.IntN(2) == 0, MF: r.IntN(2) == 0, FragmentOffset: 8 * r.IntN(8192), TTL: uint8(r.Uint32()),
		Protocol: ProtoUDP, Src: random4(r), Dst: random4(r), Options: options, PayloadLen: UDPLen + r.IntN(100)}
	n := PutIPv4(b, &f)
	u := b[n : n+f.PayloadLen]
	PutUDP(u, uint16(r.Uint32()), uint16(r.Uint32()), f.PayloadLen-UDPLen)
	UDP(u).Seal(PseudoSum(f.Src, f.Dst, ProtoUDP, len(u)))

	h, ok := ParseIPv4(b)
	if !ok || !h.ChecksumOK() || h.TOS() != f.TOS || h.ID() != f.ID || h.DF() != f.DF || h.MF() != f.MF || h.FragmentOffset() != f.FragmentOffset ||
		h.TTL() != f.TTL || h.Protocol() != f.Protocol || h.Src() != f.Src || h.Dst() != f.Dst || !bytes.Equal(h.Options(), f.Options) || len(h.Payload()) != f.PayloadLen ||
		h.IsFragment() != (f.MF || f.FragmentOffset != 0) || h.ECN() != ECN(f.TOS&3) {
		t.Errorf("IPv4 %+v came back as %x", f, h)
	}
	var g layers.IPv4
	if err := g.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		t.Errorf("gopacket refuses %x: %v", h, err)
	} else {
		sameIPv4(t, h, &g)
	}
	v, ok := ParseUDP(h.Payload())
	if !ok || v.Check(h.PseudoSum()) != ChecksumGood {
		t.Errorf("UDP: %v %v", ok, v.Check(h.PseudoSum()))
	}
	var d layers.UDP
	if err := d.DecodeFromBytes(u, gopacket.NilDecodeFeedback); err != nil {
		t.Errorf("gopacket refuses %x: %v", u, err)
	} else {
		sameUDP(t, v, &d)
	}
	resealed := IPv4(bytes.Clone(h))
	resealed.SetChecksum(0x1234)
	resealed.Seal()
	if !bytes.Equal(resealed, h) {
		t.Errorf("Seal writes %#x, PutIPv4 %#x", resealed.Checksum(), h.Checksum())
	}
}

func roundTripIPv6(t *testing.T, r *rand.Rand) {
	b := randomBytes(r, 300)
	o := randomOptions(r)
	syn := r.IntN(2) == 0
	put := PutTCPOptions
	if syn {
		put = PutSYNOptions
	}
	f := TCPFields{SrcPort: uint16(r.Uint32()), DstPort: uint16(r.Uint32()), Seq: SeqOf(r.Uint32()), Ack: SeqOf(r.Uint32()), Flags: Flags(r.Uint32()), Window: uint16(r.Uint32()), Urgent: uint16(r.Uint32())}
	f.OptionsLen = put(b[IPv6Len+TCPLen:], &o)
	if !syn && f.OptionsLen != TCPOptionsLen(o.TS, int(o.SACKCount)) {
		t.Errorf("%d bytes of options, TCPOptionsLen promised %d", f.OptionsLen, TCPOptionsLen(o.TS, int(o.SACKCount)))
	}
	n := PutTCP(b[IPv6Len:], &f) + r.IntN(100)
	h6 := IPv6Fields{TrafficClass: uint8(r.Uint32()), FlowLabel: r.Uint32() & 0xfffff, HopLimit: uint8(r.Uint32()), NextHeader: ProtoTCP, Src: random6(r), Dst: random6(r), PayloadLen: n}
	PutIPv6(b, &h6)
	TCP(b[IPv6Len : IPv6Len+n]).Seal(PseudoSum(h6.Src, h6.Dst, ProtoTCP, n))

	h, ok := ParseIPv6(b)
	if !ok || h.TrafficClass() != h6.TrafficClass || h.FlowLabel() != h6.FlowLabel || h.HopLimit() != h6.HopLimit || h.Src() != h6.Src || h.Dst() != h6.Dst || h.ECN() != ECN(h6.TrafficClass&3) {
		t.Errorf("IPv6 %+v came back as %x", h6, h)
	}
	s, ok := ParseTCP(h.Payload())
	if !ok || s.Check(h.PseudoSum(ProtoTCP, n)) != ChecksumGood {
		t.Fatalf("TCP: %v %v", ok, s.Check(h.PseudoSum(ProtoTCP, n)))
	}
	var g layers.IPv6
	var d layers.TCP
	if err := g.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		t.Errorf("gopacket refuses %x: %v", h, err)
	}
	if err := d.DecodeFromBytes(s, gopacket.NilDecodeFeedback); err != nil {
		t.Errorf("gopacket refuses %x: %v", s, err)
	}
	sameIPv6(t, h, &g)
	sameTCP(t, s, &d)
	got, ok := ParseTCPOptions(s.Options())
	if want := expectedOptions(o, syn); !ok || !equalOptions(&got, &want) {
		t.Errorf("options %+v (SYN %v) came back as %+v", want, syn, got)
	}
}

func randomOptions(r *rand.Rand) TCPOptions {
	o := TCPOptions{MSS: uint16(r.Uint32()), WScale: int8(r.IntN(16)) - 1, SACKPermitted: r.IntN(2) == 0, TS: r.IntN(2) == 0, SACKCount: uint8(r.IntN(SACKBlocksMax + 1))}
	if o.TS {
		o.TSVal, o.TSEcr = r.Uint32(), r.Uint32()
	}
	for i := range o.SACKCount {
		o.SACK[i] = [2]Seq{SeqOf(r.Uint32()), SeqOf(r.Uint32())}
	}
	switch r.IntN(3) {
	case 0:
		o.FastOpen = []byte{}
	case 1:
		o.FastOpen = randomBytes(r, FastOpenCookieMin+2*r.IntN(7))
	}
	return o
}

// expectedOptions is what of o a segment carries.
func expectedOptions(o TCPOptions, syn bool) TCPOptions {
	if syn {
		o.SACKCount, o.SACK = 0, NoTCPOptions.SACK
		return o
	}
	e := TCPOptions{WScale: -1, TS: o.TS, TSVal: o.TSVal, TSEcr: o.TSEcr, SACKCount: o.SACKCount}
	if e.TS {
		e.SACKCount = min(e.SACKCount, SACKBlocksMax-1)
	}
	copy(e.SACK[:e.SACKCount], o.SACK[:])
	return e
}
