package wire

import (
	"net/netip"
	"testing"
	"time"
)

func TestFloatCodes(t *testing.T) {
	for _, mantissa := range []int{4, 12} {
		last := uint32(0)
		for code := range uint32(1) << (mantissa + 4) {
			v := floatCode(code, mantissa)
			if code > 0 && v <= last {
				t.Fatalf("mantissa %d: code %#x stands for %d, the one before for %d", mantissa, code, v, last)
			}
			if got := toFloatCode(v, mantissa); got != code {
				t.Fatalf("mantissa %d: %d is written as %#x, want %#x", mantissa, v, got, code)
			}
			if code > 0 {
				if got := toFloatCode(v-1, mantissa); got != code-1 {
					t.Fatalf("mantissa %d: %d is written as %#x, want %#x", mantissa, v-1, got, code-1)
				}
			}
			last = v
		}
		if got, want := toFloatCode(1<<31, mantissa), uint32(1)<<(mantissa+4)-1; got != want {
			t.Errorf("mantissa %d: what is too much is written as %#x, want %#x", mantissa, got, want)
		}
	}
	// The largest of RFC 3376 §4.1.1 and of RFC 3810 §5.1.3.
	if a, b := floatCode(0xff, 4), floatCode(0xffff, 12); a != 31744 || b != 8387584 {
		t.Errorf("largest values %d and %d", a, b)
	}
}

func TestIGMPQueries(t *testing.T) {
	group := netip.MustParseAddr("239.1.2.3")
	for _, c := range []struct {
		name     string
		put      func(b []byte) int
		version  int
		response time.Duration
	}{
		{"version 1", func(b []byte) int { return PutIGMP(b, IGMPQuery, 0, group) }, 1, 10 * time.Second},
		{"version 2", func(b []byte) int { return PutIGMP(b, IGMPQuery, 10*time.Second, group) }, 2, 10 * time.Second},
		{"version 3", func(b []byte) int {
			return PutIGMPv3Query(b, &GroupQuery{MaxResponse: 10 * time.Second, Group: group})
		}, 3, 10 * time.Second},
		{"version 3, slow", func(b []byte) int {
			return PutIGMPv3Query(b, &GroupQuery{MaxResponse: 3174400 * time.Millisecond, Group: group})
		}, 3, 3174400 * time.Millisecond},
		{"between the lengths of 2 and 3: ignored (RFC 3376 §7.1)", func(b []byte) int { return PutIGMP(b, IGMPQuery, time.Second, group) + 2 }, 0, time.Second},
	} {
		var b [64]byte
		h, ok := ParseIGMP(b[:c.put(b[:])])
		if !ok || !h.ChecksumOK() || h.Version() != c.version || h.MaxResponse() != c.response || h.Group() != group || h.Sources().Len() != 0 {
			t.Errorf("%s: %v version %d response %v", c.name, ok, h.Version(), h.MaxResponse())
		}
	}
}

func TestGroupQueriesWithSources(t *testing.T) {
	var b [256]byte
	q := GroupQuery{MaxResponse: 2 * time.Second, Group: netip.MustParseAddr("232.1.1.1"), Suppress: true, Robustness: 2, Interval: 125 * time.Second, Sources: []netip.Addr{ip4A, ip4B}}
	n := PutIGMPv3Query(b[:], &q)
	h, ok := ParseIGMP(b[:n])
	if !ok || n != IGMPv3QueryLen+8 || h.Sources().Len() != 2 || h.Sources().At(1) != ip4B || h.Robustness() != 2 || h.Interval() != 125*time.Second || h.MaxResponse() != 2*time.Second {
		t.Errorf("IGMP: %v, %d bytes, %d sources", ok, n, h.Sources().Len())
	}
	if _, ok := ParseIGMP(b[:n-1]); ok {
		t.Error("IGMP: a query without its last source is taken")
	}
	q.Group, q.Sources = netip.MustParseAddr("ff35::1"), []netip.Addr{ip6A, ip6B}
	n = PutMLDv2Query(b[:], &q)
	pseudo := PseudoSum(LinkLocal(macA), q.Group, ProtoICMPv6, n)
	ICMP6(b[:n]).Seal(pseudo)
	m, ok := ParseMLD(b[:n])
	if !ok || n != MLDv2QueryLen+32 || m.Version() != 2 || m.Sources().Len() != 2 || m.Sources().At(1) != ip6B || m.Robustness() != 2 || m.Interval() != 125*time.Second || m.MaxResponse() != 2*time.Second || m.Group() != q.Group || ICMP6(m).Check(pseudo) != ChecksumGood {
		t.Errorf("MLD: %v, %d bytes, version %d, %d sources", ok, n, m.Version(), m.Sources().Len())
	}
	if _, ok := ParseMLD(b[:n-1]); ok {
		t.Error("MLD: a query without its last source is taken")
	}
	n = PutMLD(b[:], ICMP6MLDQuery, 10*time.Second, netip.IPv6Unspecified())
	if m, ok = ParseMLD(b[:n]); !ok || m.Version() != 1 || m.MaxResponse() != 10*time.Second || !m.Group().IsUnspecified() {
		t.Errorf("MLD version 1: %v %d %v", ok, m.Version(), m.MaxResponse())
	}
	n = PutMLDv2Query(b[:], &GroupQuery{MaxResponse: 40960 * time.Millisecond, Group: netip.IPv6Unspecified()})
	if m, ok = ParseMLD(b[:n]); !ok || m.MaxResponse() != 40960*time.Millisecond {
		t.Errorf("MLD version 2, slow: %v %v", ok, m.MaxResponse())
	}
	n = PutMLD(b[:], ICMP6MLDQuery, 10*time.Second, netip.IPv6Unspecified())
	if m, ok = ParseMLD(b[:n+2]); !ok || m.Version() != 0 {
		t.Errorf("MLD query between the lengths of versions 1 and 2: %v, version %d", ok, m.Version())
	}
}

func TestReportsWithSources(t *testing.T) {
	records := []GroupRecord{
		{BlockOldSources, netip.MustParseAddr("232.1.1.1"), []netip.Addr{ip4A, ip4B}},
		{ChangeToInclude, netip.MustParseAddr("239.1.1.1"), nil},
	}
	var b [256]byte
	n := PutIGMPv3Report(b[:], records)
	if want := IGMPLen + records[0].Len() + records[1].Len(); n != want {
		t.Errorf("%d bytes, want %d", n, want)
	}
	h, ok := ParseIGMP(b[:n])
	var seen []GroupRecordView
	if !ok || !h.Records(func(r GroupRecordView) { seen = append(seen, r) }) || len(seen) != 2 ||
		seen[0].Type != BlockOldSources || seen[0].Sources.At(1) != ip4B || seen[1].Group != records[1].Group || seen[1].Sources.Len() != 0 {
		t.Errorf("%v %+v", ok, seen)
	}
	aux := []byte{byte(IGMPv3Report), 0, 0, 0, 0, 0, 0, 2, 4, 1, 0, 0, 239, 1, 1, 1, 9, 9, 9, 9, 3, 0, 0, 0, 239, 1, 1, 2}
	seen = nil
	if !IGMP(aux).Records(func(r GroupRecordView) { seen = append(seen, r) }) || len(seen) != 2 || seen[1].Group.String() != "239.1.1.2" {
		t.Errorf("auxiliary data is not skipped: %+v", seen)
	}
	cut, _ := ParseIGMP(b[:n-1])
	whole := 0
	if cut.Records(func(GroupRecordView) { whole++ }) || whole != 1 {
		t.Errorf("a report that is cut off has %d whole records", whole)
	}
}
