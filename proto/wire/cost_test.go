package wire

import (
	"net/netip"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// packet4 returns a whole TCP segment over IPv4 and Ethernet, with timestamps and 1000 bytes.
func packet4() []byte {
	b := make([]byte, EthernetLen+IPv4Len+TCPLen+TCPTimestampsLen+1000)
	writePacket4(b, 1000)
	return b
}

func writePacket4(b []byte, payload int) {
	n := PutEthernet(b, macB, macA, EtherTypeIPv4)
	segment := TCPLen + TCPTimestampsLen + payload
	n += PutIPv4(b[n:], &IPv4Fields{TTL: 64, DF: true, Protocol: ProtoTCP, Src: ip4A, Dst: ip4B, PayloadLen: segment})
	PutTimestamps(b[n+TCPLen:], 1, 2)
	PutTCP(b[n:], &TCPFields{SrcPort: 1, DstPort: 2, Seq: SeqOf(3), Ack: SeqOf(4), Flags: ACK, Window: 500, OptionsLen: TCPTimestampsLen})
	TCP(b[n : n+segment]).Seal(PseudoSum(ip4A, ip4B, ProtoTCP, segment))
}

// readPacket4 does what the stack does to an arriving segment but for its checksum.
func readPacket4(b []byte) (src, dst netip.Addr, seq Seq, o TCPOptions, payload []byte, ok bool) {
	e, ok := ParseEthernet(b)
	if !ok || e.Type() != EtherTypeIPv4 {
		return
	}
	h, ok := ParseIPv4(e.Payload())
	if !ok || !h.ChecksumOK() {
		return
	}
	s, ok := ParseTCP(h.Payload())
	if !ok {
		return
	}
	o, ok = ParseTCPOptions(s.Options())
	return h.Src(), h.Dst(), s.Seq(), o, s.Payload(), ok
}

func TestNothingAllocates(t *testing.T) {
	in, out := packet4(), make([]byte, 2000)
	sack := TCPOptions{TS: true, SACKCount: 3}
	syn := TCPOptions{MSS: 1460, WScale: 7, SACKPermitted: true, TS: true, FastOpen: []byte{}}
	records := []GroupRecord{{ChangeToExclude, netip.MustParseAddr("ff15::1"), nil}}
	var ndp NDPOptions
	for name, f := range map[string]func(){
		"read a segment": func() {
			if _, _, _, o, p, ok := readPacket4(in); !ok || !o.TS || len(p) != 1000 {
				t.Error("the segment is refused")
			}
		},
		"check a segment": func() {
			h := IPv4(in[EthernetLen:])
			if TCP(h.Payload()).Check(h.PseudoSum()) != ChecksumGood {
				t.Error("the checksum is bad")
			}
		},
		"write a segment": func() { writePacket4(out, 1000) },
		"options":         func() { PutSYNOptions(out, &syn); PutTCPOptions(out, &sack) },
		"UDP over IPv6": func() {
			n := PutIPv6(out, &IPv6Fields{NextHeader: ProtoUDP, Src: ip6A, Dst: ip6B, PayloadLen: UDPLen})
			UDP(out[n : n+PutUDP(out[n:], 1, 2, 0)]).Seal(PseudoSum(ip6A, ip6B, ProtoUDP, UDPLen))
			if h, ok := ParseIPv6(out); !ok || WalkExtensions(h).Protocol != ProtoUDP {
				t.Error("the datagram is refused")
			}
		},
		"ARP": func() {
			PutARP(out, &ARPFields{ARPRequest, macA, ip4A, MAC{}, ip4B})
			if h, ok := ParseARP(out); !ok || h.TargetIP() != ip4B {
				t.Error("the request is refused")
			}
		},
		"neighbor discovery": func() {
			n := PutNeighborSolicitation(out, ip6B, macA)
			if h, ok := ParseNeighborSolicitation(out[:n]); !ok || !ndp.Parse(h.Options()) || ndp.Source != macA {
				t.Error("the solicitation is refused")
			}
		},
		"MLD": func() {
			n, seen := PutMLDv2Report(out, records), 0
			if h, ok := ParseMLD(out[:n]); !ok || !h.Records(func(GroupRecordView) { seen++ }) || seen != 1 {
				t.Error("the report is refused")
			}
		},
		"addresses": func() { MulticastMAC(SolicitedNode(ip6A)); LinkLocal(macA) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// What is called for every packet stays small enough for the compiler to inline.
func TestInlined(t *testing.T) {
	if runtime.GOARCH != "amd64" && runtime.GOARCH != "arm64" {
		t.Skip("sums of 64-bit words cost more on " + runtime.GOARCH)
	}
	goTool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go command in PATH to ask the compiler with")
	}
	out, err := exec.Command(goTool, "build", "-gcflags=-m", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	can := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		if _, name, ok := strings.Cut(strings.TrimSpace(line), ": can inline "); ok {
			can[name] = true
		}
	}
	for _, name := range strings.Fields(`
		ParseEthernet PutEthernet Ethernet.Dst Ethernet.Src Ethernet.Type Ethernet.Payload
		ParseVLAN PutVLAN MAC.IsMulticast MAC.IsUnicast
		ParseARP
		ParseIPv4 IPv4.HeaderLen IPv4.Src IPv4.Dst IPv4.Protocol IPv4.Payload IPv4.IsFragment IPv4.PseudoSum
		ParseIPv6 IPv6.Src IPv6.Dst IPv6.NextHeader IPv6.Payload IPv6.PseudoSum
		ParseICMP4 ParseICMP6 PutICMP4 PutICMP6
		ParseUDP PutUDP UDP.SrcPort UDP.DstPort UDP.Payload
		ParseTCP PutTCP TCP.Seq TCP.Ack TCP.Flags TCP.Window TCP.Options TCP.Payload TCP.SegLen PutTimestamps
		SeqOf Seq.Add Seq.Sub Seq.Before Seq.After Seq.AtOrBefore Seq.AtOrAfter Seq.InWindow Seq.Max
		Sum.Add Sum.Fold Sum.OK Unfinished UpdateChecksum`) {
		if !can[name] {
			t.Errorf("%s is no longer inlined", name)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	in := packet4()
	for b.Loop() {
		_, _, seq, _, _, _ := readPacket4(in)
		sink += uint64(seq.Uint32())
	}
}

func BenchmarkWrite(b *testing.B) {
	out := packet4()
	for b.Loop() {
		writePacket4(out, 0)
	}
}

func BenchmarkTCPOptions(b *testing.B) {
	var ts, sack, syn [40]byte
	PutTimestamps(ts[:], 1, 2)
	n := PutTCPOptions(sack[:], &TCPOptions{TS: true, SACKCount: 3})
	m := PutSYNOptions(syn[:], &TCPOptions{MSS: 1460, WScale: 7, SACKPermitted: true, TS: true})
	for name, in := range map[string][]byte{"timestamps": ts[:12], "sack": sack[:n], "syn": syn[:m]} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				o, _ := ParseTCPOptions(in)
				sink += uint64(o.TSVal)
			}
		})
	}
}

func BenchmarkExtensions(b *testing.B) {
	h := chain(b, ProtoHopByHop, "3c00 0502 0000 0100"+"1100 0104 00000000"+udpHex)
	for b.Loop() {
		sink += uint64(WalkExtensions(h).Offset)
	}
}
