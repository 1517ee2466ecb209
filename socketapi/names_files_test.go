package socketapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// A nameFile is a way of resolving: files in /etc, and what names come to.
type nameFile struct {
	name, resolv, hosts string
	only4               bool // the host has no IPv6
	glibc               bool // compare with glibc's too
	rows                []nameRow
	hostRows            []libcRow
	after               func(t *testing.T, a, b *Stack, s *nameServer)
}

type nameRow struct {
	node, service string
	hints         Addrinfo
	want          string
	glibc         string // what glibc gives where that is something else
	why           string // ... and why
}

var nameFiles = []nameFile{
	{
		name: "search", glibc: true, rows: searchRows, hostRows: hostRows,
		resolv: "nameserver " + addrB + "\nsearch one.test two.test\noptions ndots:2 timeout:10 attempts:1\n",
		hosts:  "192.0.2.90 filed.test filed\n2001:db8::90 filed.test filed\n192.0.2.91 four.only\n192.0.2.92 many.names one two\n192.0.2.93 HOSTNAME.own.test HOSTNAME\n192.0.2.94 other.own.test\n",
		after:  dialByName,
	}, {
		name: "TCP alone", glibc: true,
		resolv: "nameserver " + addrB + "\noptions use-vc timeout:10 attempts:1\n",
		rows: []nameRow{
			{node: "four.test", hints: tcpOf(0, 0), want: "[192.0.2.1:0 1/6]"},
			{node: "mail.test", hints: tcpOf(0, 0), want: "EAI_NODATA"},
			{node: "nobody.test", hints: tcpOf(0, 0), want: "EAI_NONAME"},
			{node: "broken.test", hints: tcpOf(0, 0), want: "EAI_AGAIN"},
		},
		after: func(t *testing.T, _, _ *Stack, s *nameServer) {
			if u, v := s.udp.Load(), s.tcp.Load(); u != 0 || v == 0 {
				t.Errorf("%d questions by UDP, %d by TCP", u, v)
			}
		},
	}, {
		name: "IPv4 alone", glibc: true, only4: true,
		resolv: "nameserver " + addrB + "\noptions timeout:10 attempts:1\n",
		rows: []nameRow{
			{node: "public.test", hints: tcpOf(0, 0), want: "[10.98.0.2:0 1/6 [2001:db8:98::2]:0 1/6]"},
			{node: "public.test", hints: tcpOf(0, AI_ADDRCONFIG), want: "[10.98.0.2:0 1/6]"},
			{node: "public.test", hints: tcpOf(unix.AF_INET, AI_ADDRCONFIG), want: "[10.98.0.2:0 1/6]"},
			{node: "public.test", hints: tcpOf(unix.AF_INET6, 0), want: "[[2001:db8:98::2]:0 1/6]"},
			{node: "public.test", hints: tcpOf(unix.AF_INET6, AI_ADDRCONFIG), want: "EAI_NONAME"},
			{node: "public.test", hints: tcpOf(unix.AF_INET6, AI_ADDRCONFIG|AI_V4MAPPED), want: "EAI_NONAME"},
			{node: "six.test", hints: tcpOf(0, AI_ADDRCONFIG), want: "EAI_NODATA"},
			{node: "::1", hints: tcpOf(0, AI_ADDRCONFIG), want: "[[::1]:0 1/6]", glibc: "EAI_ADDRFAMILY", why: "an address asks for no configuration"},
		},
	}, {
		name:   "the second server",
		resolv: "nameserver " + addrA + "\nnameserver " + addrB + "\noptions timeout:10 attempts:1\n",
		rows:   []nameRow{{node: "public.test", hints: tcpOf(0, 0), want: "[[2001:db8:98::2]:0 1/6 10.98.0.2:0 1/6]"}},
	}, {
		name:   "nobody to ask",
		resolv: "nameserver 127.0.0.53\noptions timeout:10 attempts:2\n",
		hosts:  "127.0.0.1 localhost\n",
		rows: []nameRow{
			{node: "public.test", hints: tcpOf(0, 0), want: "EAI_AGAIN"},
			{node: "localhost", hints: tcpOf(0, 0), want: "[127.0.0.1:0 1/6]"},
		},
		after: serversOfItsOwn,
	},
}

// dialByName: dialers and listeners resolve over the stack, and what does not fit into a datagram comes by TCP.
func dialByName(t *testing.T, a, b *Stack, s *nameServer) {
	l, err := b.Listen("tcp", ":9")
	fatal(t, err)
	defer l.Close()
	before := s.udp.Load()
	c, err := a.Dial("tcp", "peer:9")
	fatal(t, err)
	c.Close()
	if got, want := c.RemoteAddr().String(), net.JoinHostPort(addrB6, "9"); got != want || s.udp.Load() == before {
		t.Errorf("dialled %s, want %s, by %d questions over the stack", got, want, s.udp.Load()-before)
	}
	before = s.udp.Load()
	own, err := a.Listen("tcp", "self:0")
	fatal(t, err)
	own.Close()
	if got := own.Addr().(*net.TCPAddr).IP.String(); got != addrA || s.udp.Load() == before {
		t.Errorf("listens at %s, want %s, by %d questions over the stack", got, addrA, s.udp.Load()-before)
	}
	if room := s.room.Load(); room != 1232 {
		t.Errorf("the resolver says by EDNS that it takes %d bytes, want 1232", room)
	}
	r := &Resolver{Stack: a}
	for _, c := range []struct {
		name string
		n    int
		tcp  bool
	}{{"medium.test.", someAddrs, false}, {"big.test.", manyAddrs, true}} {
		before := s.tcp.Load()
		hints := tcpOf(unix.AF_INET, 0)
		list, err := r.Getaddrinfo(context.Background(), c.name, "", &hints)
		if len(list) != c.n || err != nil || (s.tcp.Load() != before) != c.tcp {
			t.Errorf("%s: %d addresses, %v, and %d questions by TCP", c.name, len(list), err, s.tcp.Load()-before)
		}
	}
}

// serversOfItsOwn: a server that a program names is asked, and passed over for another that answers.
func serversOfItsOwn(t *testing.T, a, _ *Stack, s *nameServer) {
	_, err := a.Dial("tcp", "public.test:9")
	var dns *net.DNSError
	if !errors.As(err, &dns) || !strings.Contains(dns.Err, "Stack.Resolver") {
		t.Errorf("with nobody to ask: %v, want the way out", err)
	}
	closed, good := netip.MustParseAddrPort(net.JoinHostPort(addrB, "54")), netip.MustParseAddrPort(net.JoinHostPort(addrB, "53"))
	r := a.Resolver(closed, good)
	for i := range 3 {
		before := s.udp.Load()
		addrs, err := r.LookupNetIP(context.Background(), "ip", "public.test")
		if err != nil || len(addrs) != 2 || s.udp.Load() != before+2 {
			t.Errorf("time %d: %v, %v, by %d questions", i, addrs, err, s.udp.Load()-before)
		}
	}
	// One that refuses is passed over too.
	r = a.Resolver(good, netip.MustParseAddrPort(net.JoinHostPort(addrA, "53")))
	u, err := a.ListenPacket("udp", ":53")
	fatal(t, err)
	l, err := a.Listen("tcp", ":53")
	fatal(t, err)
	(&nameServer{zone: zone{"*": {addrA}}}).serve(t, u, l)
	if addrs, err := r.LookupNetIP(context.Background(), "ip4", "refused.test"); fmt.Sprint(addrs) != "["+addrA+"]" || err != nil {
		t.Errorf("of the second: %v, %v", addrs, err)
	}
}

// TestNamesByFiles resolves by files of its own instead of those in /etc. The server is at the same address for the stack and for
// glibc, and knows the same.
func TestNamesByFiles(t *testing.T) {
	if name, c := isAlone(t); name != "" {
		for i := range nameFiles {
			if f := &nameFiles[i]; f.name == name {
				f.resolve(t, c)
			}
		}
		return
	}
	netlab.RequireRoot(t)
	c := newLibc(t)
	own, err := os.Hostname()
	fatal(t, err)
	for _, f := range nameFiles {
		t.Run(strings.ReplaceAll(f.name, " ", "_"), func(t *testing.T) {
			t.Parallel() // they wait for servers that do not answer
			alone(t, f.name, c, map[string]string{"resolv.conf": f.resolv, "hosts": strings.ReplaceAll(f.hosts, "HOSTNAME", own), "nsswitch.conf": "hosts: files dns\nservices: files\n"}, false)
		})
	}
}

// resolve does the rows, in a process whose files are its own.
func (f *nameFile) resolve(t *testing.T, c *libc) {
	z := testZone()
	for name, records := range searchZone {
		z[name] = records
	}
	a, b := twoFamilies(t, nil)
	if f.only4 {
		a, b = twoHosts(t)
	}
	s := &nameServer{zone: z}
	u, err := b.ListenPacket("udp", ":53")
	fatal(t, err)
	l, err := b.Listen("tcp", ":53")
	fatal(t, err)
	s.serve(t, u, l)
	r := &Resolver{Stack: a}
	for _, row := range f.rows {
		list, err := r.Getaddrinfo(context.Background(), row.node, row.service, &row.hints)
		got := fmt.Sprint(showAddrinfo(list))
		if err != nil {
			got = eaiName(err)
		}
		if got != row.want {
			t.Errorf("%q %q %+v:\n\t%s, want\n\t%s", row.node, row.service, row.hints, got, row.want)
		}
	}
	for _, row := range f.hostRows {
		if got := r.answer(t, strings.Fields(row.ask)); got != row.want {
			t.Errorf("%s:\n\t%s, want\n\t%s", row.ask, got, row.want)
		}
	}
	if f.after != nil {
		f.after(t, a, b, s)
	}
	if f.glibc && c != nil {
		f.glibcs(t, c, z)
	}
}

// glibcs compares with what glibc says over the kernel's sockets.
func (f *nameFile) glibcs(t *testing.T, libc *libc, z zone) {
	var opts []netlab.Option
	if f.only4 {
		opts = append(opts, netlab.NoIPv6())
	}
	ours, peer := netlab.TestNS(t, opts...), netlab.TestNS(t, opts...)
	ends := []netlab.End{{NS: ours, Name: "va"}, {NS: peer, Name: "vb"}}
	for i, addrs := range [][]string{{addrA + "/24", addrA6 + "/64"}, {addrB + "/24", addrB6 + "/64"}} {
		if f.only4 {
			addrs = addrs[:1]
		}
		for _, a := range addrs {
			ends[i].Addrs = append(ends[i].Addrs, netip.MustParsePrefix(a))
		}
	}
	netlab.TestVeth(t, ends[0], ends[1])
	u, err := peer.ListenPacket("udp", net.JoinHostPort(addrB, "53"))
	fatal(t, err)
	l, err := peer.Listen("tcp", net.JoinHostPort(addrB, "53"))
	fatal(t, err)
	(&nameServer{zone: z}).serve(t, u, l)
	var questions []string
	for i := range f.rows {
		r := &f.rows[i]
		questions = append(questions, question("addrinfo", r.node, r.service, fmt.Sprint(r.hints.Family), fmt.Sprint(r.hints.Socktype), fmt.Sprint(r.hints.Protocol), fmt.Sprint(r.hints.Flags)))
	}
	for _, row := range f.hostRows {
		questions = append(questions, question(strings.Fields(row.ask)...))
	}
	answers := libc.ask(t, ours, questions)
	for i, row := range f.rows {
		want := row.want
		if row.glibc != "" {
			want = row.glibc
		}
		if answers[i] != want && !slices.Contains(strings.Split(want, " or "), answers[i]) {
			t.Errorf("%q %q %+v: glibc says\n\t%s, want\n\t%s", row.node, row.service, row.hints, answers[i], want)
		}
	}
	for i, row := range f.hostRows {
		want := row.want
		if row.libc != "" {
			want = row.libc
		}
		if got := answers[len(f.rows)+i]; got != want {
			t.Errorf("%s: glibc says\n\t%s, want\n\t%s", row.ask, got, want)
		}
	}
}
