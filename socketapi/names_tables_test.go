package socketapi

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

func (s Servent) words() string { return fmt.Sprint(s.Name, " ", s.Port, " ", s.Proto, " ", s.Aliases) }

func (p Protoent) words() string { return fmt.Sprint(p.Name, " ", p.Proto, " ", p.Aliases) }

// TestTablesBesideLibc asks for every name, other name, port and number of /etc/services and /etc/protocols, here and in the C
// library.
func TestTablesBesideLibc(t *testing.T) {
	libc := newLibc(t)
	if libc == nil {
		t.Skip("no C compiler")
	}
	ours := map[string]string{} // question to answer
	found := func(words string, ok bool) string {
		if !ok {
			return "none"
		}
		return words
	}
	names, ports := map[string]bool{"no-such-service": true, "HTTP": true}, map[int]bool{0: true, 1: true, 65535: true}
	for _, e := range services() {
		ports[e.number] = true
		for _, name := range append(e.aliases, e.name) {
			names[name] = true
		}
	}
	for _, proto := range []string{"", "tcp", "udp", "sctp", "TCP", "none"} {
		for name := range names {
			s, ok := GetServByName(name, proto)
			ours[question("servbyname", name, proto)] = found(s.words(), ok)
		}
		for port := range ports {
			s, ok := GetServByPort(port, proto)
			ours[question("servbyport", strconv.Itoa(port), proto)] = found(s.words(), ok)
		}
	}
	for _, e := range protocols() {
		for _, name := range append(e.aliases, e.name, strings.ToUpper(e.name)) {
			p, ok := GetProtoByName(name)
			ours[question("protobyname", name)] = found(p.words(), ok)
		}
	}
	for n := range 300 {
		p, ok := GetProtoByNumber(n)
		ours[question("protobynumber", strconv.Itoa(n))] = found(p.words(), ok)
	}
	questions := slices.Sorted(maps.Keys(ours))
	for i, answer := range libc.ask(t, nil, questions) {
		if got := ours[questions[i]]; got != answer {
			t.Errorf("%s: %s, the C library says %s", questions[i], got, answer)
		}
	}
	if len(names) < 10 {
		t.Errorf("%d names of services", len(names))
	}
	t.Logf("%d questions", len(questions))
}

// TestAddressesInTextBesideLibc reads and writes addresses as the C library does: those of a list, and what comes of them by
// changing a character.
func TestAddressesInTextBesideLibc(t *testing.T) {
	libc := newLibc(t)
	if libc == nil {
		t.Skip("no C compiler")
	}
	texts := map[string]bool{}
	for _, s := range []string{"192.0.2.1", "1.2.3", "1.2", "1", "0x7f.1", "010.1", "255.255.255.255", "256.1", "1.2.3.4.5", "0", "00", "0x", "1.65536", "4294967296",
		"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::8", "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "::1.2.3", "fe80::1%lo", "12345::", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1:0:0:2:0:0:0:3", "2001:DB8::A", ":1", "1:", ":::"} {
		texts[s] = true
		for i := range s {
			texts[s[:i]+s[i+1:]] = true
			for _, c := range "0:.9fx " {
				texts[s[:i]+string(c)+s[i:]] = true
				texts[s[:i]+string(c)+s[i+1:]] = true
			}
		}
	}
	delete(texts, "")
	var questions, ours []string
	for _, s := range slices.Sorted(maps.Keys(texts)) {
		got := "none"
		if a, ok := InetAton(s); ok {
			got = InetNtoa(a)
		}
		questions, ours = append(questions, "aton\t"+s), append(ours, got)
		for _, family := range []int{2, 10} {
			got := "none"
			if b, ok, err := InetPton(family, s); ok && err == nil {
				text, err := InetNtop(family, b)
				fatal(t, err)
				got = fmt.Sprintf("%x %s", b, text)
			}
			questions, ours = append(questions, fmt.Sprintf("pton\t%s\t%d", s, family)), append(ours, got)
		}
	}
	for i, answer := range libc.ask(t, nil, questions) {
		if ours[i] != answer {
			t.Errorf("%q: %s, the C library says %s", questions[i], ours[i], answer)
		}
	}
	t.Logf("%d questions", len(questions))
}

// TestInterfacesBesideLibc gives the same addresses to the kernel and to the engine, one after the other, and compares what
// getifaddrs, if_nametoindex, if_indextoname and package net say with ours.
func TestInterfacesBesideLibc(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	prefixes := []netip.Prefix{netip.MustParsePrefix("10.99.0.2/24"), netip.MustParsePrefix("10.99.1.7/31"), netip.MustParsePrefix("10.99.2.1/32"), netip.MustParsePrefix("fd99::2/64")}
	theirs, own, peer := netlab.TestNS(t), netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: own, Name: "va"}, netlab.End{NS: peer, Name: "vb"})
	netlab.TestVeth(t, netlab.End{NS: theirs, Name: "va", Addrs: prefixes}, netlab.End{NS: peer, Name: "vc"})
	var st *Stack
	fatal(t, own.Do(func() (err error) {
		st, err = Open(host.Config{Interfaces: []host.Interface{{Name: "va", Addrs: prefixes, Mode: engine.ModeAuto}}})
		return err
	}))
	defer st.Close()
	var kernels *net.Interface
	fatal(t, own.Do(func() (err error) { kernels, err = net.InterfaceByName("va"); return err }))
	i := slices.IndexFunc(st.Interfaces(), func(i net.Interface) bool { return i.Name == "va" })
	got := st.Interfaces()[i]
	if got.Index != kernels.Index || got.MTU != kernels.MTU || got.HardwareAddr.String() != kernels.HardwareAddr.String() || got.Flags != kernels.Flags {
		t.Errorf("we say\n\t%+v, and package net\n\t%+v", got, *kernels)
	}
	libc := newLibc(t)
	if libc == nil {
		return
	}
	said := strings.Split(libc.ask(t, theirs, []string{"interfaces"})[0], ";")
	var want []string
	for _, line := range said[:len(said)-1] {
		words := strings.Fields(line)
		if words[0] != "lo" && !strings.HasPrefix(words[3], "fe80:") { // made of the MAC, or not, as the host is configured
			want = append(want, strings.Join(append(words[:1], words[3:]...), " "))
		}
	}
	var list []string
	for _, a := range st.Getifaddrs() {
		if a.Name != "va" || a.Addr.Addr().IsLinkLocalUnicast() {
			continue
		}
		mask := net.IP(net.CIDRMask(a.Addr.Bits(), a.Addr.Addr().BitLen()))
		line := fmt.Sprint("va ", a.Addr.Addr(), " ", mask)
		if a.Broadcast.IsValid() {
			line += " " + a.Broadcast.String()
		}
		if name, err := st.IfIndextoname(a.Index); name != "va" || err != nil || a.Index != kernels.Index {
			t.Errorf("index %d is %q, %v", a.Index, name, err)
		}
		list = append(list, line)
	}
	slices.Sort(want)
	slices.Sort(list)
	if !slices.Equal(want, list) {
		t.Errorf("we have\n\t%s, the kernel\n\t%s", strings.Join(list, "\n\t"), strings.Join(want, "\n\t"))
	}
	if end := said[len(said)-1]; end != "19 6" { // of libcSource's own two questions
		t.Errorf("errors %s", end)
	}
	_, byName := st.IfNametoindex("none")
	_, byIndex := st.IfIndextoname(77777)
	if fmt.Sprintf("%d %d", byName, byIndex) != "19 6" {
		t.Errorf("of no name %v, of no index %v", byName, byIndex)
	}
}
