package wire

import (
	"bytes"
	"reflect"
	"testing"
)

// touch calls every method of a view that takes nothing, or reads elements of what they return:
// none may panic. Methods that return nothing write, so they get a copy.
func touch(t testing.TB, view any) {
	t.Helper()
	v := reflect.ValueOf(view)
	clone := reflect.ValueOf(bytes.Clone(v.Bytes())).Convert(v.Type())
	for i := range v.NumMethod() {
		name := v.Type().Method(i).Name
		m := v.Method(i)
		if m.Type().NumIn() != 0 {
			continue
		}
		if m.Type().NumOut() == 0 {
			m = clone.Method(i)
		}
		defer func() {
			if r := recover(); r != nil {
				t.Fatalf("%T.%s panics on %x: %v", view, name, v.Bytes(), r)
			}
		}()
		for _, out := range m.Call(nil) {
			if a, ok := out.Interface().(Addrs); ok {
				for j := range a.Len() {
					a.At(j)
				}
			}
		}
	}
}

// touchAll gives b to every Parse function of the package and touches the views. It returns
// how many took it.
func touchAll(t testing.TB, b []byte) (parsed int) {
	t.Helper()
	see := func(view any, ok bool) {
		if !ok {
			if reflect.ValueOf(view).Len() != 0 {
				t.Fatalf("%T: refused, and yet a view", view)
			}
			return
		}
		parsed++
		if v := reflect.ValueOf(view); v.Len() > len(b) || v.Cap() > cap(b) {
			t.Fatalf("%T is longer than its bytes", view)
		}
		touch(t, view)
	}
	eth, ok := ParseEthernet(b)
	see(eth, ok)
	vlan, ok := ParseVLAN(b)
	see(vlan, ok)
	if l, ok := ParseLink(b); ok && l.HeaderLen > len(b) {
		t.Fatalf("ParseLink: header of %d in %d bytes", l.HeaderLen, len(b))
	}
	arp, ok := ParseARP(b)
	see(arp, ok)
	if (FaultARP(b) == FaultNone) != ok {
		t.Fatalf("FaultARP says %v of %x", FaultARP(b), b)
	}
	v4, ok := ParseIPv4(b)
	see(v4, ok)
	if (FaultIPv4(b) == FaultNone) != ok {
		t.Fatalf("FaultIPv4 says %v of %x", FaultIPv4(b), b)
	}
	q4, ok := ParseQuotedIPv4(b)
	see(q4, ok)
	v6, ok := ParseIPv6(b)
	see(v6, ok)
	if (FaultIPv6(b) == FaultNone) != ok {
		t.Fatalf("FaultIPv6 says %v of %x", FaultIPv6(b), b)
	}
	q6, ok := ParseQuotedIPv6(b)
	see(q6, ok)
	if ok {
		for _, e := range []Extensions{WalkExtensions(q6), WalkQuotedExtensions(q6)} {
			if e.Offset > len(q6) || e.Pointer > len(q6) || e.NextHeaderAt >= len(q6) {
				t.Fatalf("extensions out of the packet: %+v of %x", e, b)
			}
		}
	}
	udp, ok := ParseUDP(b)
	see(udp, ok)
	if (FaultUDP(b) == FaultNone) != ok {
		t.Fatalf("FaultUDP says %v of %x", FaultUDP(b), b)
	}
	udp, ok = ParseQuotedUDP(b)
	see(udp, ok)
	tcp, ok := ParseTCP(b)
	see(tcp, ok)
	if (FaultTCP(b) == FaultNone) != ok {
		t.Fatalf("FaultTCP says %v of %x", FaultTCP(b), b)
	}
	ParseQuotedTCP(b)
	i4, ok := ParseICMP4(b)
	see(i4, ok)
	igmp, ok := ParseIGMP(b)
	see(igmp, ok)
	if ok {
		igmp.Records(func(r GroupRecordView) { readAddrs(r.Sources) })
	}
	i6, ok := ParseICMP6(b)
	see(i6, ok)
	if ok {
		mld, ok := ParseMLD(i6)
		see(mld, ok)
		if ok {
			mld.Records(func(r GroupRecordView) { readAddrs(r.Sources) })
		}
		ns, ok := ParseNeighborSolicitation(i6)
		see(ns, ok)
		na, ok := ParseNeighborAdvertisement(i6)
		see(na, ok)
		rs, ok := ParseRouterSolicitation(i6)
		see(rs, ok)
		ra, ok := ParseRouterAdvertisement(i6)
		see(ra, ok)
		rd, ok := ParseRedirect(i6)
		see(rd, ok)
	}
	ParseTCPOptions(b)
	ParseIPv4Options(b)
	new(NDPOptions).Parse(b)
	for _, p := range []Protocol{ProtoTCP, ProtoUDP, ProtoICMPv6, ProtoIGMP} {
		CheckTransport(p, b, 0)
	}
	return parsed
}

func readAddrs(a Addrs) {
	for i := range a.Len() {
		a.At(i)
	}
}
