package wire

import (
	"bytes"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

type frame struct {
	name string
	data []byte
}

// linuxFrames returns the frames of testdata/linux.txt.
func linuxFrames(t testing.TB) (frames []frame) {
	t.Helper()
	text, err := os.ReadFile("testdata/linux.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		name, digits, ok := strings.Cut(strings.TrimSpace(line), ": ")
		if !ok || strings.HasPrefix(name, "#") {
			continue
		}
		data, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		frames = append(frames, frame{name, data})
	}
	if len(frames) < 30 {
		t.Fatalf("only %d frames in testdata/linux.txt", len(frames))
	}
	return frames
}

// What Linux sent is read field by field and written again by the encoders: not a bit may
// differ, checksums and the order of options included.
func TestWritesWhatLinuxWrites(t *testing.T) {
	for _, f := range linuxFrames(t) {
		t.Run(f.name, func(t *testing.T) {
			r := rewriter{t: t, out: make([]byte, len(f.data)), unfinished: strings.HasSuffix(f.name, "unfinished")}
			r.link(f.data)
			if !bytes.Equal(r.out[:r.n], f.data) {
				t.Errorf("Linux wrote\n%s\nwe wrote\n%s", hex.Dump(f.data), hex.Dump(r.out[:r.n]))
			}
		})
	}
}

// A rewriter reads a frame with the views and writes it with the encoders.
type rewriter struct {
	t          *testing.T
	out        []byte
	n          int
	unfinished bool
}

// rest is where the next header goes.
func (r *rewriter) rest() []byte { return r.out[r.n:] }

func must[V any](t *testing.T) func(v V, ok bool) V {
	return func(v V, ok bool) V {
		t.Helper()
		if !ok {
			t.Fatalf("%T refuses what Linux wrote", v)
		}
		return v
	}
}

func (r *rewriter) link(b []byte) {
	e := must[Ethernet](r.t)(ParseEthernet(b))
	r.n += PutEthernet(r.rest(), e.Dst(), e.Src(), e.Type())
	switch e.Type() {
	case EtherTypeARP:
		a := must[ARP](r.t)(ParseARP(e.Payload()))
		r.n += PutARP(r.rest(), &ARPFields{a.Op(), a.SenderMAC(), a.SenderIP(), a.TargetMAC(), a.TargetIP()})
	case EtherTypeIPv4:
		r.ipv4(must[IPv4](r.t)(ParseIPv4(e.Payload())))
	case EtherTypeIPv6:
		r.ipv6(must[IPv6](r.t)(ParseIPv6(e.Payload())))
	default:
		r.t.Fatalf("type %v", e.Type())
	}
}

func (r *rewriter) ipv4(h IPv4) {
	if !h.ChecksumOK() {
		r.t.Error("IPv4 checksum is bad")
	}
	if _, ok := ParseIPv4Options(h.Options()); !ok {
		r.t.Error("IPv4 options are bad")
	}
	r.n += PutIPv4(r.rest(), &IPv4Fields{TOS: h.TOS(), ID: h.ID(), DF: h.DF(), MF: h.MF(), FragmentOffset: h.FragmentOffset(),
		TTL: h.TTL(), Protocol: h.Protocol(), Src: h.Src(), Dst: h.Dst(), Options: h.Options(), PayloadLen: len(h.Payload())})
	p := h.Payload()
	switch {
	case h.IsFragment():
		r.n += copy(r.rest(), p)
	case h.Protocol() == ProtoTCP, h.Protocol() == ProtoUDP:
		r.transport(h.Protocol(), p, h.PseudoSum())
	case h.Protocol() == ProtoICMP:
		m := must[ICMP4](r.t)(ParseICMP4(p))
		if !m.ChecksumOK() {
			r.t.Error("ICMP checksum is bad")
		}
		at := r.rest()
		n := PutICMP4(at, m.Type(), m.Code(), m.Rest())
		n += copy(at[n:], m.Payload())
		ICMP4(at[:n]).Seal()
		r.n += n
		if m.Type().IsError() {
			q := must[IPv4](r.t)(ParseQuotedIPv4(m.Quoted()))
			must[UDP](r.t)(ParseQuotedUDP(q.Payload()))
		}
	case h.Protocol() == ProtoIGMP:
		r.igmp(must[IGMP](r.t)(ParseIGMP(p)))
	default:
		r.t.Fatalf("protocol %v", h.Protocol())
	}
}

func (r *rewriter) igmp(m IGMP) {
	if !m.ChecksumOK() {
		r.t.Error("IGMP checksum is bad")
	}
	if m.Type() != IGMPv3Report {
		r.n += PutIGMP(r.rest(), m.Type(), m.MaxResponse(), m.Group())
		return
	}
	var records []GroupRecord
	if !m.Records(func(v GroupRecordView) { records = append(records, GroupRecord{Type: v.Type, Group: v.Group}) }) {
		r.t.Error("IGMP records are bad")
	}
	r.n += PutIGMPv3Report(r.rest(), records)
}

func (r *rewriter) ipv6(h IPv6) {
	e := WalkExtensions(h)
	if e.Fault != ExtOK {
		r.t.Fatalf("extension headers: %v", e.Fault)
	}
	r.n += PutIPv6(r.rest(), &IPv6Fields{TrafficClass: h.TrafficClass(), HopLimit: h.HopLimit(), NextHeader: h.NextHeader(),
		FlowLabel: h.FlowLabel(), Src: h.Src(), Dst: h.Dst(), PayloadLen: h.PayloadLen()})
	if e.Fragment {
		r.n += PutFragment(r.rest(), e.FragmentNext, e.FragmentOffset, e.MoreFragments, e.FragmentID)
		r.n += copy(r.rest(), h[e.Offset+FragmentLen:])
		return
	}
	if e.RouterAlert {
		r.n += PutRouterAlert6(r.rest(), e.Protocol)
	}
	p := h[e.Offset:]
	pseudo := h.PseudoSum(e.Protocol, len(p))
	if other := PseudoSum(h.Src(), h.Dst(), e.Protocol, len(p)); other.Fold() != pseudo.Fold() {
		r.t.Errorf("pseudo-header sums differ: %#x, %#x", pseudo.Fold(), other.Fold())
	}
	if e.Protocol == ProtoICMPv6 {
		r.icmp6(must[ICMP6](r.t)(ParseICMP6(p)), pseudo)
		return
	}
	r.transport(e.Protocol, p, pseudo)
}

func (r *rewriter) icmp6(m ICMP6, pseudo Sum) {
	if got := m.Check(pseudo); got != ChecksumGood {
		r.t.Errorf("ICMPv6 checksum is %v", got)
	}
	at := r.rest()
	var n int
	switch m.Type() {
	case ICMP6NeighborSolicitation:
		s := must[NeighborSolicitation](r.t)(ParseNeighborSolicitation(m))
		o := r.ndpOptions(s.Options())
		n = PutNeighborSolicitation(at, s.Target(), o.Source)
		if o.Nonce != nil {
			n += PutNonceOption(at[n:], [6]byte(o.Nonce))
		}
	case ICMP6NeighborAdvertisement:
		a := must[NeighborAdvertisement](r.t)(ParseNeighborAdvertisement(m))
		n = PutNeighborAdvertisement(at, a.Target(), r.ndpOptions(a.Options()).Target, a.Flags())
	case ICMP6RouterSolicitation:
		s := must[RouterSolicitation](r.t)(ParseRouterSolicitation(m))
		n = PutRouterSolicitation(at, r.ndpOptions(s.Options()).Source)
	case ICMP6MLDReport, ICMP6MLDDone:
		l := must[MLD](r.t)(ParseMLD(m))
		n = PutMLD(at, m.Type(), l.MaxResponse(), l.Group())
	case ICMP6MLDv2Report:
		var records []GroupRecord
		l := must[MLD](r.t)(ParseMLD(m))
		if !l.Records(func(v GroupRecordView) { records = append(records, GroupRecord{Type: v.Type, Group: v.Group}) }) {
			r.t.Error("MLD records are bad")
		}
		n = PutMLDv2Report(at, records)
	default:
		n = PutICMP6(at, m.Type(), m.Code(), m.Rest())
		n += copy(at[n:], m.Payload())
	}
	ICMP6(at[:n]).Seal(pseudo)
	r.n += n
}

func (r *rewriter) ndpOptions(b []byte) (o NDPOptions) {
	if !o.Parse(b) {
		r.t.Errorf("neighbor discovery options %x are bad", b)
	}
	return o
}

func (r *rewriter) transport(p Protocol, b []byte, pseudo Sum) {
	want := ChecksumGood
	if r.unfinished {
		want = ChecksumUnfinished
	}
	if got := CheckTransport(p, b, pseudo); got != want {
		r.t.Errorf("%v checksum is %v, want %v", p, got, want)
	}
	at := r.rest()
	if p == ProtoUDP {
		u := must[UDP](r.t)(ParseUDP(b))
		n := PutUDP(at, u.SrcPort(), u.DstPort(), len(u.Payload()))
		payload := CopySum(at[n:], u.Payload(), 0)
		n += len(u.Payload())
		if UDP(at[:n]).SealSum(pseudo, payload); r.unfinished {
			UDP(at[:n]).SetChecksum(pseudo.Fold())
		}
		r.n += n
		return
	}
	h := must[TCP](r.t)(ParseTCP(b))
	n := PutTCP(at, &TCPFields{SrcPort: h.SrcPort(), DstPort: h.DstPort(), Seq: h.Seq(), Ack: h.Ack(), Flags: h.Flags(),
		Window: h.Window(), Urgent: h.Urgent(), OptionsLen: len(h.Options())})
	o, ok := ParseTCPOptions(h.Options())
	if !ok {
		r.t.Error("TCP options are bad")
	}
	put := PutTCPOptions
	if h.Flags().Has(SYN) {
		put = PutSYNOptions
	}
	if got := put(at[TCPLen:], &o); got != len(h.Options()) {
		r.t.Errorf("options of %d bytes, Linux has %d", got, len(h.Options()))
	}
	payload := CopySum(at[n:], h.Payload(), 0)
	n += len(h.Payload())
	if TCP(at[:n]).SealSum(pseudo, payload); r.unfinished {
		TCP(at[:n]).SetChecksum(pseudo.Fold())
	}
	r.n += n
}

// What the fields of a few of those frames mean, spelt out by hand.
func TestReadsWhatLinuxWrites(t *testing.T) {
	frames := map[string][]byte{}
	for _, f := range linuxFrames(t) {
		frames[f.name] = f.data
	}
	payload4 := func(name string) []byte {
		h, ok := ParseIPv4(Ethernet(frames[name]).Payload())
		if !ok {
			t.Fatalf("%s: no IPv4", name)
		}
		return h.Payload()
	}
	syn, _ := ParseTCP(payload4("ipv4 tcp syn"))
	if syn.SrcPort() != 5011 || syn.DstPort() != 5010 || syn.Flags() != SYN || syn.Window() != 64240 || syn.HeaderLen() != 40 ||
		syn.Seq() != SeqOf(0x75797750) || syn.SegLen() != 1 || len(syn.Payload()) != 0 {
		t.Errorf("SYN: %d→%d %v window %d header %d", syn.SrcPort(), syn.DstPort(), syn.Flags(), syn.Window(), syn.HeaderLen())
	}
	o, ok := ParseTCPOptions(syn.Options())
	if !ok || o.MSS != 1460 || o.WScale != 10 || !o.SACKPermitted || !o.TS || o.TSVal != 0xd6f084ab || o.TSEcr != 0 || o.FastOpen != nil {
		t.Errorf("SYN options: %+v %v", o, ok)
	}
	unreachable, _ := ParseICMP4(payload4("ipv4 icmp type 3"))
	quoted, ok := ParseQuotedIPv4(unreachable.Quoted())
	if unreachable.Type() != ICMP4Unreachable || unreachable.Code() != ICMP4PortUnreachable || !ok || quoted.Dst().String() != "10.7.0.2" {
		t.Errorf("unreachable: %v %d, quoting %v", unreachable.Type(), unreachable.Code(), quoted.Dst())
	}
	report, _ := ParseIGMP(payload4("ipv4 igmp type 0x22 record type 4"))
	n := 0
	report.Records(func(r GroupRecordView) {
		n++
		if r.Type != ChangeToExclude || r.Group.String() != "239.1.2.3" || r.Sources.Len() != 0 {
			t.Errorf("record: %+v", r)
		}
	})
	if n != 1 {
		t.Errorf("%d records", n)
	}
	h, _ := ParseIPv6(Ethernet(frames["ipv6 icmp na"]).Payload())
	na, ok := ParseNeighborAdvertisement(ICMP6(h.Payload()))
	if !ok || !na.Solicited() || !na.Override() || na.Router() || na.Target().String() != "fd07::2" || h.HopLimit() != 255 {
		t.Errorf("neighbor advertisement: %v %v", na.Flags(), na.Target())
	}
}

func TestGroupAddressesAreThoseOfLinux(t *testing.T) {
	seen := 0
	for _, f := range linuxFrames(t) {
		e := Ethernet(f.data)
		if !e.Dst().IsMulticast() || e.Dst().IsBroadcast() {
			continue
		}
		seen++
		dst := IPv6(e.Payload()).Dst
		if e.Type() == EtherTypeIPv4 {
			dst = IPv4(e.Payload()).Dst
		}
		if got := MulticastMAC(dst()); got != e.Dst() {
			t.Errorf("%s: %v maps to %v, Linux sent to %v", f.name, dst(), got, e.Dst())
		}
		if e.Type() == EtherTypeIPv6 && strings.Contains(f.name, "icmp ns") {
			h, _ := ParseIPv6(e.Payload())
			ns, _ := ParseNeighborSolicitation(ICMP6(h.Payload()))
			if got := SolicitedNode(ns.Target()); got != h.Dst() {
				t.Errorf("%s: solicited-node address %v, Linux sent to %v", f.name, got, h.Dst())
			}
			if l := LinkLocal(e.Src()); strings.HasSuffix(f.name, "dad") && l != ns.Target() {
				t.Errorf("%s: link-local address %v, Linux has %v", f.name, l, ns.Target())
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d frames to groups", seen)
	}
}

// Every header of every frame, cut off after each byte, is taken or refused without harm.
func TestAccessorsAreSafeOnTruncatedFrames(t *testing.T) {
	parsed := 0
	for _, f := range linuxFrames(t) {
		for _, from := range []int{0, EthernetLen, EthernetLen + IPv4Len, EthernetLen + IPv4Len + RouterAlert4Len, EthernetLen + IPv6Len, EthernetLen + IPv6Len + RouterAlert6Len} {
			if from > len(f.data) {
				break
			}
			b := f.data[from:]
			for to := range min(len(b), 48) {
				parsed += touchAll(t, b[:to:to])
			}
			parsed += touchAll(t, b)
		}
	}
	if parsed < 10000 {
		t.Errorf("only %d views were touched", parsed)
	}
}
