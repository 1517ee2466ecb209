package bpf

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
)

// row is one frame and what becomes of it under allRules.
type row struct {
	name  string
	frame []byte
	want  Verdict
}

// both is a row for each IP version; v is 0 or 1.
func both(name string, want Verdict, frame func(v int) []byte) []row {
	return []row{{name + ", IPv4", frame(0), want}, {name + ", IPv6", frame(1), want}}
}

// table collects rows.
type table []row

func (all *table) add(rs ...row) { *all = append(*all, rs...) }

// rows is the whole table.
func rows(t testing.TB) []row {
	var all table
	all.byAddress(t)
	all.byTarget(t)
	all.byPorts()
	all.byQuote()
	all.byChain()
	all.byForm(t)
	return all
}

// byAddress has frames that are judged by address alone.
func (all *table) byAddress(t testing.TB) {
	all.add(both("UDP to our own address is ours", RedirectAddress, func(v int) []byte { return gopacketUDP(t, remote[v], own[v], 9, 9) })...)
	all.add(both("TCP to our own address is ours", RedirectAddress, func(v int) []byte { return eth(ip(remote[v], own[v], 6, tcp(9, 9))) })...)
	all.add(both("a protocol without ports to our own address is ours", RedirectAddress, func(v int) []byte { return eth(ip(remote[v], own[v], 132, nil)) })...)
	all.add(both("UDP to an address without rules passes", PassForeign, func(v int) []byte { return eth(ip(remote[v], foreign[v], 17, udp(9, 53))) })...)
	all.add(both("a broadcast frame passes whatever its IP destination", PassGroup, func(v int) []byte { return to(macAll, eth(ip(remote[v], own[v], 17, udp(9, 9)))) })...)
	all.add(both("the unspecified address is no wildcard on the wire", PassForeign, func(v int) []byte { return eth(ip(remote[v], []string{"0.0.0.0", "::"}[v], 17, udp(9, 53))) })...)
	all.add(row{"IPv4 to the limited broadcast address passes", to(macAll, eth(ip4(remote[0], "255.255.255.255", 17, udp(67, 68)))), PassGroup},
		row{"IPv6 to a group passes", to(macGroup, eth(ip6(remote[1], "ff02::1", 17, udp(9, 443)))), PassGroup},
		row{"a later IPv4 fragment to our own address goes by its address", eth(ip4(remote[0], own[0], 17, make([]byte, 8), fragment(3, false, 800))), RedirectAddress},
		row{"a later IPv6 fragment to our own address goes by its address", eth(ip6(remote[1], own[1], 44, fragment6(17, 3, false, 800))), RedirectAddress},
		row{"a neighbour advertisement to our own address is ours", eth(ip6(remote[1], own[1], 58, icmp(136, 0, make([]byte, 16)))), RedirectAddress},
	)
}

// byTarget has ARP and neighbour discovery.
func (all *table) byTarget(t testing.TB) {
	all.add(row{"an ARP request for our own address is ours", arp(t, 1, own[0]), RedirectARP},
		row{"an ARP reply to our own address is ours", arp(t, 2, own[0]), RedirectARP},
		row{"an ARP request for a shared address is the kernel's", arp(t, 1, shared[0]), PassForeign},
		row{"an ARP request for another's address passes", arp(t, 1, foreign[0]), PassForeign},
		row{"a reverse ARP operation passes", arp(t, 3, own[0]), PassProtocol},
		row{"ARP for hardware that is not Ethernet passes", edit(arp(t, 1, own[0]), 15, 6), PassProtocol},
		row{"a neighbour solicitation for our own address is ours", solicit(t, own[1]), RedirectSolicit},
		row{"a neighbour solicitation to a unicast link address is ours as well", to(macOurs, solicit(t, own[1])), RedirectSolicit},
		row{"a neighbour solicitation for a shared address is the kernel's", solicit(t, shared[1]), PassGroup},
		row{"a neighbour solicitation for another's address passes", solicit(t, foreign[1]), PassGroup},
		row{"a router advertisement passes", edit(solicit(t, own[1]), 54, 134), PassGroup},
		row{"a fragmented neighbour solicitation passes", to(macGroup, eth(ip6(remote[1], "ff02::1:ff00:1", 44, join(fragment6(58, 1, false, 0), solicit(t, own[1])[54:])))), PassGroup},
	)
}

// byPorts has packets with ports.
func (all *table) byPorts() {
	all.add(row{"a wildcard UDP port at a shared address is ours", eth(ip4(remote[0], shared[0], 17, udp(9, 53))), RedirectPort},
		row{"an IPv4 wildcard port does not hold for IPv6", eth(ip6(remote[1], shared[1], 17, udp(9, 53))), PassUnruled},
		row{"a wildcard TCP port at a shared IPv6 address is ours", eth(ip6(remote[1], shared[1], 6, tcp(9, 443))), RedirectPort},
		row{"a wildcard port of UDP does not hold for TCP", eth(ip4(remote[0], shared[0], 6, tcp(9, 53))), PassUnruled},
		row{"a wildcard port does not hold at an address that is not shared", eth(ip4(remote[0], named[0], 17, udp(9, 53))), PassUnruled},
		row{"a port at a named address is ours", eth(ip4(remote[0], named[0], 6, tcp(9, 80))), RedirectPort},
		row{"a port at a named IPv6 address is ours", eth(ip6(remote[1], named[1], 17, udp(9, 80))), RedirectPort},
		row{"another port at a named address passes", eth(ip4(remote[0], named[0], 6, tcp(80, 81))), PassUnruled},
		row{"the source port is not the destination port", eth(ip4(remote[0], shared[0], 17, udp(53, 9))), PassUnruled},
		row{"a flow is ours", eth(ip4(remote[0], flowing[0], 6, tcp(80, 5000))), RedirectFlow},
		row{"an IPv6 flow is ours", eth(ip6(remote[1], flowing[1], 17, udp(80, 5000))), RedirectFlow},
		row{"another remote port is another flow", eth(ip4(remote[0], flowing[0], 6, tcp(81, 5000))), PassUnruled},
		row{"another remote address is another flow", eth(ip4("10.9.9.8", flowing[0], 6, tcp(80, 5000))), PassUnruled},
		row{"another protocol is another flow", eth(ip4(remote[0], flowing[0], 17, udp(80, 5000))), PassUnruled},
	)
	for _, b := range []struct {
		port int
		want Verdict
	}{{32769, PassUnruled}, {32770, RedirectBlock}, {32831, RedirectBlock}, {32832, RedirectBlock}, {33000, RedirectBlock}, {33001, PassUnruled}} {
		all.add(both(fmt.Sprintf("TCP port %d beside or in the block 32770-33000", b.port), b.want, func(v int) []byte { return eth(ip(remote[v], shared[v], 6, tcp(80, b.port))) })...)
	}
	all.add(both("a UDP port of a TCP block passes", PassUnruled, func(v int) []byte { return eth(ip(remote[v], shared[v], 17, udp(80, 32770))) })...)
	all.add(both("the last UDP port of a UDP block is ours", RedirectBlock, func(v int) []byte { return eth(ip(remote[v], shared[v], 17, udp(80, 40063))) })...)
	all.add(both("a block does not hold at a named address", PassUnruled, func(v int) []byte { return eth(ip(remote[v], named[v], 17, udp(80, 40000))) })...)
	all.add(both("echo to a shared address is the kernel's", PassProtocol, func(v int) []byte {
		return eth(ip(remote[v], shared[v], []byte{1, 58}[v], icmp([]byte{8, 128}[v], 0, nil)))
	})...)
	all.add(both("SCTP to a shared address passes", PassProtocol, func(v int) []byte { return eth(ip(remote[v], shared[v], 132, tcp(9, 443))) })...)
	all.add(row{"ports in the padding after an IPv4 packet are none", join(eth(ip4(remote[0], shared[0], 17, nil)), udp(9, 53)), PassShort},
		row{"ports in the padding after an IPv6 packet are none", join(eth(ip6(remote[1], shared[1], 6, nil)), tcp(9, 443)), PassShort})
}

// byQuote has ICMP errors.
func (all *table) byQuote() {
	all.add(both("an ICMP error that quotes our TCP block is ours", RedirectICMP, func(v int) []byte { return eth(icmpError(shared[v], ip(shared[v], remote[v], 6, tcp(32770, 80)))) })...)
	all.add(both("an ICMP error that quotes another socket's packet is the kernel's", PassUnruled, func(v int) []byte { return eth(icmpError(shared[v], ip(shared[v], remote[v], 6, tcp(80, 32770)))) })...)
	all.add(both("an ICMP error that quotes what another address sent passes", PassForeign, func(v int) []byte { return eth(icmpError(shared[v], ip(foreign[v], remote[v], 6, tcp(32770, 80)))) })...)
	all.add(both("an ICMP error that quotes an ICMP packet is the kernel's", PassProtocol, func(v int) []byte {
		return eth(icmpError(shared[v], ip(shared[v], remote[v], []byte{1, 58}[v], icmp([]byte{8, 128}[v], 0, nil))))
	})...)
	all.add(both("an ICMP error to our own address is ours whatever it quotes", RedirectAddress, func(v int) []byte { return eth(icmpError(own[v], nil)) })...)
	all.add(row{"an ICMP error that quotes a flow is ours", eth(icmpError(flowing[0], ip4(flowing[0], remote[0], 6, tcp(5000, 80)))), RedirectICMP},
		row{"an ICMP error that quotes a port rule is ours", eth(icmpError(named[1], ip6(named[1], remote[1], 17, udp(80, 9)))), RedirectICMP},
		row{"an ICMP error of time exceeded is ours", edit(eth(icmpError(flowing[0], ip4(flowing[0], remote[0], 6, tcp(5000, 80)))), 34, 11), RedirectICMP},
		row{"an ICMP redirect is the kernel's", edit(eth(icmpError(flowing[0], ip4(flowing[0], remote[0], 6, tcp(5000, 80)))), 34, 5), PassProtocol},
		row{"an ICMP error that quotes IPv4 options is ours", eth(icmpError(flowing[0], withOptions(8, ip4(flowing[0], remote[0], 6, tcp(5000, 80))))), RedirectICMP},
		row{"an ICMP error that quotes eight bytes of TCP is ours", eth(icmpError(flowing[0], ip4(flowing[0], remote[0], 6, tcp(5000, 80)[:8]))), RedirectICMP},
		row{"an ICMP error that quotes a later fragment passes", eth(icmpError(flowing[0], ip4(flowing[0], remote[0], 6, tcp(5000, 80), fragment(1, false, 8)))), PassFragment},
		row{"an ICMPv6 error that quotes extension headers is ours", eth(icmpError(flowing[1], ip6(flowing[1], remote[1], 60, join(ext(17, 1, 8), udp(5000, 80))))), RedirectICMP},
		row{"an ICMPv6 error that quotes a first fragment is ours", eth(icmpError(flowing[1], ip6(flowing[1], remote[1], 44, join(fragment6(17, 1, true, 0), udp(5000, 80))))), RedirectICMP},
		row{"an ICMPv6 error that quotes a later fragment passes", eth(icmpError(flowing[1], ip6(flowing[1], remote[1], 44, fragment6(17, 1, true, 8)))), PassFragment},
	)
}

// byChain has IPv6 extension headers.
func (all *table) byChain() {
	chain := func(headers int) []byte {
		b := tcp(9, 443)
		next := byte(6)
		for range headers {
			b, next = join(ext(next, 0, 8), b), 60
		}
		return eth(ip6(remote[1], shared[1], next, b))
	}
	for n := range 7 {
		all.add(row{fmt.Sprintf("TCP behind %d extension headers is ours", n), chain(n), RedirectPort})
	}
	all.add(row{"TCP behind 7 extension headers passes", chain(7), PassDepth},
		row{"TCP behind hop-by-hop options of 40 bytes is ours", eth(ip6(remote[1], shared[1], 0, join(ext(6, 4, 8), tcp(9, 443)))), RedirectPort},
		row{"TCP behind an authentication header is ours", eth(ip6(remote[1], shared[1], 51, join(ext(6, 4, 4), tcp(9, 443)))), RedirectPort},
		row{"TCP behind a routing header that has been followed is ours", eth(ip6(remote[1], shared[1], 43, join(ext(6, 2, 8), tcp(9, 443)))), RedirectPort},
		row{"a routing header with segments left passes", edit(eth(ip6(remote[1], shared[1], 43, join(ext(6, 2, 8), tcp(9, 443)))), 57, 1), PassProtocol},
		row{"an extension header longer than its packet passes", eth(ip6(remote[1], shared[1], 60, join([]byte{6, 255}, make([]byte, 40)))), PassShort},
		row{"no next header passes", eth(ip6(remote[1], shared[1], 59, nil)), PassProtocol},
		row{"an IPv6 atomic fragment is a whole packet", eth(ip6(remote[1], shared[1], 44, join(fragment6(6, 1, false, 0), tcp(9, 443)))), RedirectPort},
		row{"two fragment headers pass", eth(ip6(remote[1], shared[1], 44, join(fragment6(44, 1, false, 0), fragment6(6, 2, false, 0), tcp(9, 443)))), PassMalformed},
		row{"a jumbogram passes", jumbo(eth(ip6(remote[1], shared[1], 6, tcp(9, 443)))), PassShort},
	)
}

// byForm has links and malformed headers.
func (all *table) byForm(t testing.TB) {
	plain := gopacketUDP(t, remote[0], shared[0], 9, 53)
	all.add(row{"one 802.1Q tag is read", tagged(plain, 0x8100), RedirectPort},
		row{"one 802.1ad tag is read", tagged(plain, 0x88a8), RedirectPort},
		row{"two tags are read", tagged(plain, 0x88a8, 0x8100), RedirectPort},
		row{"three tags pass", tagged(plain, 0x88a8, 0x8100, 0x8100), PassDepth},
		row{"a tagged ARP request for our own address is ours", tagged(arp(t, 1, own[0]), 0x8100), RedirectARP},
		row{"a tagged neighbour solicitation for our own address is ours", tagged(solicit(t, own[1]), 0x88a8, 0x8100), RedirectSolicit},
		row{"an Ethernet header alone passes", join(macOurs, macPeer, be16(0x0800)), PassShort},
		row{"an 802.3 length passes", join(macOurs, macPeer, be16(60), make([]byte, 60)), PassProtocol},
		row{"an LLDP frame passes", join(macGroup, macPeer, be16(0x88cc), make([]byte, 60)), PassProtocol},
		row{"an IPv4 header that says version 6 passes", edit(plain, 14, 0x65), PassMalformed},
		row{"an IPv6 header that says version 4 passes", edit(eth(ip6(remote[1], own[1], 6, tcp(9, 443))), 14, 0x40), PassMalformed},
		row{"an IPv4 length shorter than the header passes", edit(edit(plain, 16, 0), 17, 19), PassMalformed},
	)
	for ihl := range 16 {
		want := RedirectPort
		if ihl < 5 {
			want = PassMalformed
		}
		all.add(row{fmt.Sprintf("UDP behind an IPv4 header of %d words", ihl), eth(withOptions(ihl, ip4(remote[0], shared[0], 17, udp(9, 53)))), want})
	}
}

// edit returns a frame with one byte changed.
func edit(frame []byte, at int, to byte) []byte {
	b := join(frame)
	b[at] = to
	return b
}

// jumbo takes a frame's IPv6 payload length away (RFC 2675).
func jumbo(frame []byte) []byte {
	b := join(frame)
	binary.BigEndian.PutUint16(b[18:], 0)
	return b
}

func (r *rig) judge(t testing.TB, frame []byte) Verdict {
	t.Helper()
	v, err := r.p.Test(frame)
	if err != nil {
		t.Fatalf("%v, of frame %x", err, frame)
	}
	return v
}

func TestVerdicts(t *testing.T) {
	r := newRig(t)
	r.allRules(t)
	names := map[string]bool{}
	for _, row := range rows(t) {
		if names[row.name] {
			t.Errorf("two rows are called %q", row.name)
		}
		names[row.name] = true
		if got := r.judge(t, row.frame); got != row.want {
			t.Errorf("%s: got %v, want %v, of frame %x", row.name, got, row.want, row.frame)
		}
		if got := r.m.judge(row.frame); got != row.want {
			t.Errorf("%s: the model says %v, want %v", row.name, got, row.want)
		}
	}
}

// A frame that ends early is judged as the whole one, if what decides it is there,
// or passes.
func TestFramesCutAtEveryByte(t *testing.T) {
	r := newRig(t)
	r.allRules(t)
	for _, row := range rows(t) {
		for n := frameMin; n < len(row.frame); n++ {
			cut := row.frame[:n]
			got := r.judge(t, cut)
			if want := r.m.judge(cut); got != want {
				t.Fatalf("%s, cut to %d bytes: got %v, want %v", row.name, n, got, want)
			}
			if got != row.want && got != PassShort {
				t.Fatalf("%s, cut to %d bytes: %v, neither %v nor %v", row.name, n, got, row.want, PassShort)
			}
			if got.Redirects() && n < 14+20 {
				t.Fatalf("%s, cut to %d bytes: %v without an IP header", row.name, n, got)
			}
		}
		r.forget(t)
	}
}

// Fragments that have no ports follow the first one of their datagram.
func TestLaterFragmentsFollowTheFirst(t *testing.T) {
	first4 := func(src, dst string, id, port int) []byte {
		return eth(ip4(src, dst, 17, udp(9, port), fragment(id, true, 0)))
	}
	later4 := func(src, dst string, id int, proto byte) []byte {
		return eth(ip4(src, dst, proto, make([]byte, 8), fragment(id, false, 16)))
	}
	first6 := func(src, dst string, id uint32, port int) []byte {
		return eth(ip6(src, dst, 44, join(fragment6(6, id, true, 0), tcp(9, port))))
	}
	later6 := func(src, dst string, id uint32) []byte {
		return eth(ip6(src, dst, 44, join(fragment6(6, id, false, 24), make([]byte, 8))))
	}
	steps := []row{
		{"a later fragment that comes first passes", later4(remote[0], shared[0], 1, 17), PassFragment},
		{"a first fragment goes by its ports", first4(remote[0], shared[0], 1, 53), RedirectPort},
		{"its later one follows", later4(remote[0], shared[0], 1, 17), RedirectFragment},
		{"and follows again", later4(remote[0], shared[0], 1, 17), RedirectFragment},
		{"another identification does not", later4(remote[0], shared[0], 2, 17), PassFragment},
		{"another source does not", later4("10.9.9.8", shared[0], 1, 17), PassFragment},
		{"another protocol does not", later4(remote[0], shared[0], 1, 6), PassFragment},
		{"another destination does not", later4(remote[0], named[0], 1, 17), PassFragment},
		{"a first fragment of the same name for the kernel", first4(remote[0], shared[0], 1, 54), PassUnruled},
		{"takes those that follow with it", later4(remote[0], shared[0], 1, 17), PassFragment},
		{"an IPv6 first fragment goes by its ports", first6(remote[1], shared[1], 1<<31+1, 443), RedirectPort},
		{"its later one follows, IPv6", later6(remote[1], shared[1], 1<<31+1), RedirectFragment},
		{"another identification does not, IPv6", later6(remote[1], shared[1], 1), PassFragment},
		{"a first fragment for the kernel, IPv6", first6(remote[1], shared[1], 1<<31+1, 9), PassUnruled},
		{"takes those that follow with it, IPv6", later6(remote[1], shared[1], 1<<31+1), PassFragment},
		{"a fragmented ICMP error goes by what it quotes", eth(ip4(remote[0], flowing[0], 1, icmp(3, 4, ip4(flowing[0], remote[0], 6, tcp(5000, 80))), fragment(5, true, 0))), RedirectICMP},
		{"and the rest of it follows", later4(remote[0], flowing[0], 5, 1), RedirectFragment},
	}
	r := newRig(t)
	r.allRules(t)
	for _, s := range steps {
		if got, model := r.judge(t, s.frame), r.m.judge(s.frame); got != s.want || model != s.want {
			t.Errorf("%s: got %v, the model says %v, want %v", s.name, got, model, s.want)
		}
	}
}

func TestPortAtAnyAddress(t *testing.T) {
	r := newRig(t)
	offer := eth(ip4(remote[0], "10.0.0.77", 17, udp(67, 68)))
	if got := r.judge(t, offer); got != PassForeign {
		t.Errorf("without the rule: %v", got)
	}
	local := addrPort(":68")
	must(t, r.p.AddPort(UDP, local))
	if got := r.judge(t, offer); got != RedirectPort {
		t.Errorf("with it: %v", got)
	}
	if got := r.judge(t, eth(ip6(remote[1], "fd00::77", 17, udp(67, 68)))); got != RedirectPort {
		t.Errorf("with it, IPv6: %v", got)
	}
	if got := r.judge(t, eth(ip4(remote[0], "10.0.0.77", 17, udp(67, 69)))); got != PassUnruled {
		t.Errorf("another port: %v", got)
	}
	must(t, r.p.RemovePort(UDP, local))
	if got := r.judge(t, offer); got != PassForeign {
		t.Errorf("after it: %v", got)
	}
}

func TestEverythingTakesEveryFrame(t *testing.T) {
	r := newRig(t)
	r.allRules(t)
	must(t, r.p.Everything(true))
	for _, row := range rows(t) {
		if got := r.judge(t, row.frame); got != RedirectEverything {
			t.Errorf("%s: %v", row.name, got)
		}
	}
	must(t, r.p.Everything(false))
	for _, row := range rows(t) {
		if got := r.judge(t, row.frame); got != row.want {
			t.Errorf("%s, after everything: %v", row.name, got)
		}
	}
}

// The names in Go and the enumeration in C are one list.
func TestVerdictsAreThoseOfTheProgram(t *testing.T) {
	names := programVerdicts(t)
	if len(names) != int(verdictCount)+1 {
		t.Fatalf("%d verdicts in C with their count, %d in Go", len(names), verdictCount)
	}
	for v := range Verdict(verdictCount) {
		c := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(names[v], "V_"), "_", " "))
		if v.Redirects() {
			c = "redirect " + c
		}
		if c != v.String() {
			t.Errorf("verdict %d is %q in C and %q in Go", v, names[v], v)
		}
	}
}
