package wire

import (
	"encoding/hex"
	"testing"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
)

// crashers are inputs that once broke something, or that look as if they would: one row each, named,
// kept for ever. Every fuzz target starts from them and TestCrashers runs them on every header.
var crashers = []struct{ name, hex string }{
	{"nothing", ""},
	{"ipv4 total length below header", "4500001300000000400600000a0000010a000002"},
	{"ipv4 header length below 20", "4400001400000000400600000a0000010a000002"},
	{"ipv4 header length beyond total length", "4f00001400000000400600000a0000010a000002"},
	{"ipv4 option at the last byte", "4600001800000000400600000a0000010a00000201010144"},
	{"ipv4 option of length 0", "4600001800000000400600000a0000010a00000244000000"},
	{"tcp option at the last byte", "01010102"},
	{"tcp option of length 0", "02000000"},
	{"tcp option of length 1", "02010000"},
	{"tcp sack of no block", "01010502"},
	{"tcp sack of five blocks", "052a" + "00000001000000020000000300000004000000050000000600000007000000080000000900000010"},
	{"tcp fast open cookie of 18 bytes", "2214000102030405060708090a0b0c0d0e0f1011"},
	{"icmp echo of nothing but zeros: the reply's checksum is 0xffff, and an update makes 0", "0000000000000000"},
	{"igmp v3 query that promises 65535 sources", "110000000000000000000000" + "0000ffff"},
	{"mld v2 query that promises 65535 sources", "8200000000000000" + "ff020000000000000000000000000001" + "0000ffff"},
	{"igmp v3 report that promises 65535 records", "220000000000ffff"},
	{"igmp v3 record of 255 words of auxiliary data", "220000000000000104ff0000ef010203"},
	{"ndp option of length 0", "870000000000000000000000000000000000000000000000" + "0100000000000000"},
	{"ndp option beyond the message", "870000000000000000000000000000000000000000000000" + "01ff000000000000"},
	{"ndp source option of 16 bytes", "870000000000000000000000000000000000000000000000" + "01020000000000000000000000000000"},
	{"ipv6 hop-by-hop beyond the packet", "60000000000800ff" + "00000000000000000000000000000001" + "00000000000000000000000000000002" + "06ff000000000000"},
	{"ipv6 option beyond its header", "60000000000800ff" + "00000000000000000000000000000001" + "00000000000000000000000000000002" + "3b0005ff00000000"},
}

func TestCrashers(t *testing.T) {
	for _, c := range crashers {
		t.Run(c.name, func(t *testing.T) {
			b, err := hex.DecodeString(c.hex)
			if err != nil {
				t.Fatal(err)
			}
			touchAll(t, b)
		})
	}
}

// seed adds every frame that is known, cut at the headers of one kind, and the crashers.
func seed(f *testing.F, kind gopacket.LayerType) {
	f.Helper()
	for _, c := range crashers {
		b, _ := hex.DecodeString(c.hex)
		f.Add(b)
	}
	n := 0
	for _, fr := range append(gopacketFrames(f), linuxFrames(f)...) {
		for _, l := range gopacket.NewPacket(fr.data, layers.LayerTypeEthernet, gopacket.NoCopy).Layers() {
			if l.LayerType() == kind {
				f.Add(fr.data[cap(fr.data)-cap(l.LayerContents()):])
				n++
			}
		}
	}
	if n == 0 {
		f.Fatalf("no seed of %v", kind)
	}
}
