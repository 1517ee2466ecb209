package wire

import (
	"encoding/hex"
	"strings"
	"testing"
)

// chain builds an IPv6 packet of a chain of extension headers in hex, whose first one is first.
func chain(t testing.TB, first Protocol, text string) IPv6 {
	t.Helper()
	payload, err := hex.DecodeString(strings.ReplaceAll(text, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, IPv6Len, IPv6Len+len(payload))
	PutIPv6(b, &IPv6Fields{NextHeader: first, HopLimit: 64, Src: ip6A, Dst: ip6B, PayloadLen: len(payload)})
	h, ok := ParseIPv6(append(b, payload...))
	if !ok {
		t.Fatal("the test's own packet is refused")
	}
	return h
}

const udpHex = "0035 9c40 0008 0000"

func TestWalkExtensions(t *testing.T) {
	tests := []struct {
		name  string
		first Protocol
		chain string
		want  Extensions
	}{
		{"none", ProtoUDP, udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 40, NextHeaderAt: 6}},
		{"a protocol nobody knows ends the walk", 132, "0000",
			Extensions{Protocol: 132, Offset: 40, NextHeaderAt: 6}},
		{"no next header", ProtoNoNext, "",
			Extensions{Protocol: ProtoNoNext, Offset: 40, NextHeaderAt: 6}},
		{"router alert", ProtoHopByHop, "11 00 0502 0000 0100" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 48, NextHeaderAt: 40, RouterAlert: true}},
		{"router alert among destination options is an unknown option to skip", ProtoDestOpts, "11 00 0502 0000 0100" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 48, NextHeaderAt: 40}},
		{"router alert of a wrong length", ProtoHopByHop, "11 00 0503 000000 00" + udpHex,
			Extensions{Fault: ExtOptionBad, Pointer: 42, Protocol: ProtoHopByHop, Offset: 40, NextHeaderAt: 6}},
		{"all that RFC 8200 §4.1 lists", ProtoHopByHop, "3c00 0104 00000000" + "2b00 0104 00000000" + "2c00 0400 00000000" + "3c00 0000 00000007" + "1100 0104 00000000" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 80, NextHeaderAt: 72, FragmentID: 7, FragmentNext: ProtoDestOpts}},
		{"hop-by-hop is first or not at all (RFC 8200 §4.1)", ProtoDestOpts, "0000 0104 00000000" + "1100 0104 00000000" + udpHex,
			Extensions{Fault: ExtOrder, Pointer: 40, Protocol: ProtoHopByHop, Offset: 48, NextHeaderAt: 40}},
		{"routing header with no segments left is skipped", ProtoRouting, "1100 0000 00000000" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 48, NextHeaderAt: 40}},
		{"routing header type 0 with segments left (RFC 5095 §3)", ProtoRouting, "1100 0001 00000000" + udpHex,
			Extensions{Fault: ExtRouting, Pointer: 42, Protocol: ProtoRouting, Offset: 40, NextHeaderAt: 6}},
		{"unknown option 00 is skipped", ProtoDestOpts, "1100 1e04 aabbccdd" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 48, NextHeaderAt: 40}},
		{"unknown option 01 discards", ProtoDestOpts, "1100 5e04 aabbccdd" + udpHex,
			Extensions{Fault: ExtOptionDiscard, Pointer: 42, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"unknown option 10 reports", ProtoDestOpts, "1100 0000 9e02 aabb" + udpHex,
			Extensions{Fault: ExtOptionReport, Pointer: 44, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"unknown option 11 reports unless multicast", ProtoHopByHop, "1100 de04 aabbccdd" + udpHex,
			Extensions{Fault: ExtOptionReportUnicast, Pointer: 42, Protocol: ProtoHopByHop, Offset: 40, NextHeaderAt: 6}},
		{"jumbo payload is unknown here", ProtoHopByHop, "1100 c204 00010000" + udpHex,
			Extensions{Fault: ExtOptionReportUnicast, Pointer: 42, Protocol: ProtoHopByHop, Offset: 40, NextHeaderAt: 6}},
		{"padding that carries data", ProtoDestOpts, "1100 0104 00000100" + udpHex,
			Extensions{Fault: ExtOptionBad, Pointer: 42, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"seven bytes of padding", ProtoDestOpts, "1101 0105 0000000000 1e05 0000000000" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 56, NextHeaderAt: 40}},
		{"eight bytes of padding", ProtoDestOpts, "1101 0106 000000000000 1e04 00000000" + udpHex,
			Extensions{Fault: ExtOptionBad, Pointer: 42, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"more padding than aligns", ProtoDestOpts, "1101 0000 0106 000000000000 00000000" + udpHex,
			Extensions{Fault: ExtOptionBad, Pointer: 44, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"eight options", ProtoDestOpts, "1102" + strings.Repeat("1e00", 8) + "010400000000" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 64, NextHeaderAt: 40}},
		{"nine options", ProtoDestOpts, "1102" + strings.Repeat("1e00", 9) + "010200000000" + udpHex,
			Extensions{Fault: ExtOptionTooMany, Pointer: 58, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"eight headers", ProtoDestOpts, strings.Repeat("3c00 010400000000", 7) + "1100 010400000000" + udpHex,
			Extensions{Protocol: ProtoUDP, Offset: 104, NextHeaderAt: 96}},
		{"nine headers", ProtoDestOpts, strings.Repeat("3c00 010400000000", 8) + "1100 010400000000" + udpHex,
			Extensions{Fault: ExtTooMany, Pointer: 96, Protocol: ProtoDestOpts, Offset: 104, NextHeaderAt: 96}},
		{"ends before a header", ProtoDestOpts, "3c00 0104 00000000",
			Extensions{Fault: ExtShort, Pointer: 48, Protocol: ProtoDestOpts, Offset: 48, NextHeaderAt: 40}},
		{"ends inside a header", ProtoDestOpts, "3c01 0104 00000000",
			Extensions{Fault: ExtShort, Pointer: 40, Protocol: ProtoDestOpts, Offset: 40, NextHeaderAt: 6}},
		{"first fragment", ProtoFragment, "1100 0001 01020304" + udpHex,
			Extensions{Protocol: ProtoFragment, Offset: 40, NextHeaderAt: 6, Fragment: true, MoreFragments: true, FragmentID: 0x01020304, FragmentNext: ProtoUDP}},
		{"first fragment without its whole chain (RFC 7112)", ProtoFragment, "3c00 0001 01020304" + "1100 0104 00000000" + "0035",
			Extensions{Fault: ExtFirstFragment, Protocol: ProtoFragment, Offset: 40, NextHeaderAt: 6, Fragment: true, MoreFragments: true, FragmentID: 0x01020304, FragmentNext: ProtoDestOpts}},
		{"first fragment that ends inside the chain", ProtoFragment, "3c00 0001 01020304" + "1101 0104 00000000",
			Extensions{Fault: ExtFirstFragment, Protocol: ProtoFragment, Offset: 40, NextHeaderAt: 6, Fragment: true, MoreFragments: true, FragmentID: 0x01020304, FragmentNext: ProtoDestOpts}},
		{"last fragment behind options", ProtoHopByHop, "2c00 0104 00000000" + "1100 05a8 0000002a" + "aabb",
			Extensions{Protocol: ProtoFragment, Offset: 48, NextHeaderAt: 40, Fragment: true, FragmentOffset: 1448, FragmentID: 42, FragmentNext: ProtoUDP}},
		{"two fragment headers", ProtoFragment, "2c00 0000 00000001" + "1100 0000 00000002" + udpHex,
			Extensions{Fault: ExtOrder, Pointer: 40, Protocol: ProtoFragment, Offset: 48, NextHeaderAt: 40, FragmentID: 1, FragmentNext: ProtoFragment}},
	}
	for _, c := range tests {
		t.Run(c.name, func(t *testing.T) {
			if got := WalkExtensions(chain(t, c.first, c.chain)); got != c.want {
				t.Errorf("\n got %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// An error that quotes one of our own fragments leads to its ports all the same.
func TestWalkQuotedExtensions(t *testing.T) {
	e := WalkQuotedExtensions(chain(t, ProtoDestOpts, "2c00 de04 aabbccdd"+"1100 0001 01020304"+udpHex))
	if e.Fault != ExtOK || e.Protocol != ProtoUDP || e.Offset != 56 || !e.Fragment || e.FragmentID != 0x01020304 {
		t.Errorf("first fragment: %+v", e)
	}
	e = WalkQuotedExtensions(chain(t, ProtoFragment, "1100 0009 01020304"+udpHex))
	if e.Fault != ExtOK || e.Protocol != ProtoFragment || e.FragmentOffset != 8 {
		t.Errorf("second fragment: %+v", e)
	}
	if e = WalkQuotedExtensions(chain(t, ProtoDestOpts, "1100 01")); e.Fault != ExtShort {
		t.Errorf("cut off: %+v", e)
	}
}

func TestIPv4Options(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      IPv4Options
		ok        bool
	}{
		{"none", "", IPv4Options{}, true},
		{"router alert", "94040000", IPv4Options{RouterAlert: true}, true},
		{"router alert of another value", "94040001", IPv4Options{}, true},
		{"loose source route", "01830704 0a000001", IPv4Options{SourceRoute: true}, true},
		{"strict source route", "890704 0a000001 00", IPv4Options{SourceRoute: true}, true},
		{"timestamp is skipped", "440c0500 00000000 00000000 94040000", IPv4Options{RouterAlert: true}, true},
		{"nothing counts after the end", "00830700", IPv4Options{}, true},
		{"length 1", "01014401", IPv4Options{BadAt: 22}, false},
		{"length beyond", "94040000 01014405", IPv4Options{RouterAlert: true, BadAt: 26}, false},
		{"no length", "01010144", IPv4Options{BadAt: 23}, false},
	} {
		b, err := hex.DecodeString(strings.ReplaceAll(c.hex, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		if got, ok := ParseIPv4Options(b); got != c.want || ok != c.ok {
			t.Errorf("%s: %+v %v, want %+v %v", c.name, got, ok, c.want, c.ok)
		}
	}
}
