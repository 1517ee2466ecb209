package socketapi

import (
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// A confRow is a resolv.conf, and names that are looked up by it: by package net over the kernel's sockets, by the stack, and by glibc.
type confRow struct {
	name, resolv string
	files        map[string]string // others than resolv.conf
	env          []string
	ask          []string // names; with ":" and a network before it if that is not "ip4"
	want         string   // what they come to, by Getaddrinfo
	glibc        string   // what glibc gives where that is something else, "-": it is not asked
	other        string   // what the resolver of package net gives over the kernel's sockets where that is something else
	why          string   // ... and why
	asked        string   // who was asked for it; "": that is only compared with package net's
}

// serverRefuses refuses all questions.
const serverRefuses = "10.98.0.6"

const one98 = "nameserver " + addrB + "\n"

var confRows = []confRow{
	{name: "one", resolv: one98, ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]", asked: "udp 10.98.0.2 host.test. A RD EDNS"},
	{name: "the first is silent", resolv: "nameserver " + serverSilent + "\n" + one98 + "options timeout:1 attempts:1\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]",
		asked: "udp 10.98.0.4 host.test. A RD EDNS, udp 10.98.0.2 host.test. A RD EDNS"},
	{name: "the first has no socket", resolv: "nameserver " + serverDeaf + "\n" + one98 + "options attempts:1\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]"},
	{name: "no way to the first", resolv: "nameserver 10.97.0.1\n" + one98 + "options attempts:1\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]"},
	{name: "the first refuses", resolv: "nameserver " + serverRefuses + "\n" + one98 + "options attempts:1\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]"},
	{name: "the first knows nothing", resolv: one98 + "nameserver " + serverOther + "\n", ask: []string{"nobody.test"}, want: "EAI_NONAME", asked: "udp 10.98.0.2 nobody.test. A RD EDNS"},
	{name: "attempts", resolv: "nameserver " + serverRefuses + "\nnameserver " + serverDeaf + "\noptions attempts:3\n", ask: []string{"host.test"}, want: "EAI_AGAIN",
		asked: strings.Repeat(", udp 10.98.0.6 host.test. A RD EDNS", 3)[2:]},
	{name: "all are silent", resolv: "nameserver " + serverSilent + "\noptions timeout:1 attempts:1\n", ask: []string{"host.test"}, want: "EAI_AGAIN", asked: "udp 10.98.0.4 host.test. A RD EDNS"},
	{name: "three at most", resolv: strings.Repeat("nameserver "+serverDeaf+"\n", 3) + one98, ask: []string{"host.test"}, want: "EAI_AGAIN"},
	{name: "rotate", resolv: one98 + "nameserver " + serverOther + "\noptions rotate\n", ask: []string{"host.test", "host.test"}, want: "*", glibc: "-", why: "whom a process asks first is chance"},
	{name: "use-vc", resolv: one98 + "options use-vc\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]", asked: "tcp 10.98.0.2 host.test. A RD EDNS"},
	{name: "single-request", resolv: one98 + "options single-request\n", ask: []string{"ip:host.test"}, want: "[192.0.2.2:0 1/6]"},
	{name: "trust-ad", resolv: one98 + "options trust-ad edns0\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]", asked: "udp 10.98.0.2 host.test. A RD AD EDNS"},
	{name: "ndots:0", resolv: one98 + "search one.test two.test\noptions ndots:0\n", ask: []string{"host"}, want: "[192.0.2.2:0 1/6]",
		asked: "udp 10.98.0.2 host. A RD EDNS, udp 10.98.0.2 host.one.test. A RD EDNS"},
	{name: "ndots:1", resolv: one98 + "search one.test two.test\n", ask: []string{"two.dots"}, want: "[192.0.2.2:0 1/6]",
		asked: "udp 10.98.0.2 two.dots. A RD EDNS, udp 10.98.0.2 two.dots.one.test. A RD EDNS, udp 10.98.0.2 two.dots.two.test. A RD EDNS"},
	{name: "ndots:3", resolv: one98 + "search one.test two.test\noptions ndots:3\n", ask: []string{"two.dots"}, want: "[192.0.2.2:0 1/6]",
		asked: "udp 10.98.0.2 two.dots.one.test. A RD EDNS, udp 10.98.0.2 two.dots.two.test. A RD EDNS"},
	{name: "ndots beyond 15", resolv: one98 + "search one.test\noptions ndots:99\n", ask: []string{"a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.host"}, want: "EAI_NONAME",
		asked: "udp 10.98.0.2 a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.host. A RD EDNS, udp 10.98.0.2 a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.host.one.test. A RD EDNS"},
	{name: "a dot at the end", resolv: one98 + "search one.test\noptions ndots:3\n", ask: []string{"host.test."}, want: "[192.0.2.2:0 1/6]", asked: "udp 10.98.0.2 host.test. A RD EDNS"},
	{name: "domain", resolv: one98 + "search two.test\ndomain one.test\n", ask: []string{"host"}, want: "[192.0.2.2:0 1/6]", asked: "udp 10.98.0.2 host.one.test. A RD EDNS"},
	{name: "search twice", resolv: one98 + "search one.test\nsearch two.test\n", ask: []string{"host"}, want: "EAI_NONAME"},
	{name: "search the root", resolv: one98 + "search .\n", ask: []string{"host"}, want: "EAI_NONAME", asked: "udp 10.98.0.2 host. A RD EDNS"},
	{name: "a suffix that makes names too long", resolv: one98 + "search " + strings.Repeat("a.", 100) + "test one.test\n", ask: []string{strings.Repeat("b", 60)}, want: "EAI_NONAME"},
	{name: "labels and names too long", resolv: one98 + "search one.test\n", ask: []string{strings.Repeat("a", 64), strings.Repeat("a.", 126) + "a", strings.Repeat("a.", 127) + "a", "host..test"}, want: "EAI_NONAME EAI_NONAME EAI_NONAME EAI_NONAME"},
	{name: "garbage", resolv: "\x00\xff\nnameserver\nnameserver not.an.address\nnameserver 10.98.0.300\n;nameserver " + serverDeaf + "\n# x\noptions timeout:x ndots:-1 " +
		strings.Repeat("z", 5000) + "\nwhatever\n  " + one98 + "nameserver " + addrB + "\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]"},
	{name: "no attempts", resolv: one98 + "options attempts:0\n", ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]", glibc: "EAI_AGAIN", why: "package net asks once at least"},
	{name: "IPv6", resolv: "nameserver " + addrB6 + "\n", ask: []string{"host.test"}, want: "[192.0.2.62:0 1/6]"},
	{name: "IPv6 with a zone", resolv: "nameserver " + serverLink6 + "%" + linkName + "\n", ask: []string{"host.test"}, want: "[192.0.2.63:0 1/6]"},
	{name: "IPv6 of no zone", resolv: "nameserver " + serverLink6 + "%nowhere\noptions attempts:1\n", ask: []string{"host.test"}, want: "EAI_AGAIN",
		glibc: "-", other: "*", why: "the error of the kernel's is of connect(2)"},
	{name: "no server", resolv: "search one.test\n", ask: []string{"host"}, want: "EAI_AGAIN",
		glibc: "[192.0.2.1:0 1/6]", other: "*", why: "the kernel's loopback is asked, which the stack does not reach"},
	{name: "no file", ask: []string{"host.test"}, want: "EAI_AGAIN",
		glibc: "[192.0.2.1:0 1/6]", other: "*", why: "the kernel's loopback is asked, which the stack does not reach"},

	{name: "nsswitch.conf: DNS first", resolv: one98, files: map[string]string{"nsswitch.conf": "hosts: dns files\n", "hosts": "192.0.2.90 host.test files.test\n"}, ask: []string{"files.test", "host.test"}, want: "[192.0.2.90:0 1/6] [192.0.2.2:0 1/6]"},
	{name: "nsswitch.conf: files alone", resolv: one98, files: map[string]string{"nsswitch.conf": "hosts: files\n"}, ask: []string{"host.test"}, want: "EAI_NONAME"},
	{name: "nsswitch.conf: DNS alone", resolv: one98, files: map[string]string{"nsswitch.conf": "hosts: dns\n", "hosts": "192.0.2.90 files.test\n"}, ask: []string{"files.test", "host.test"}, want: "EAI_NONAME [192.0.2.2:0 1/6]"},
	{name: "nsswitch.conf: others", resolv: one98, files: map[string]string{"nsswitch.conf": "# x\nhosts: nosuch mdns4 files dns nosuch\n", "hosts": "192.0.2.90 files.test\n"}, ask: []string{"files.test", "host.test"}, want: "[192.0.2.90:0 1/6] [192.0.2.2:0 1/6]"},
	{name: "nsswitch.conf: criteria", resolv: one98, files: map[string]string{"nsswitch.conf": "hosts: files [NOTFOUND=return] dns\n"}, ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]",
		glibc: "EAI_NONAME", why: "package net's resolver has the order of files and dns from nsswitch.conf, and nothing else"},
	{name: "nsswitch.conf: empty", resolv: one98, files: map[string]string{"nsswitch.conf": "", "hosts": "192.0.2.90 host.test\n"}, ask: []string{"host.test"}, want: "[192.0.2.90:0 1/6]"},
	{name: "host.conf", resolv: one98, files: map[string]string{"host.conf": "multi off\n", "hosts": "192.0.2.90 files.test\n192.0.2.91 files.test\n"}, ask: []string{"files.test"}, want: "[192.0.2.90:0 1/6 192.0.2.91:0 1/6]",
		glibc: "[192.0.2.90:0 1/6]", why: "host.conf is not read: all lines of /etc/hosts count"},
	{name: "gai.conf", resolv: one98, files: map[string]string{"gai.conf": "precedence ::ffff:0:0/96 100\n", "hosts": "192.0.2.90 files.test\n2001:db8::90 files.test\n"}, ask: []string{"ip:files.test"},
		want: "[[2001:db8::90]:0 1/6 192.0.2.90:0 1/6]", glibc: "[192.0.2.90:0 1/6 [2001:db8::90]:0 1/6]", why: "gai.conf is not read: the order is RFC 6724's"},
	{name: "LOCALDOMAIN", resolv: one98, env: []string{"LOCALDOMAIN=one.test"}, ask: []string{"host"}, want: "EAI_NONAME", glibc: "[192.0.2.2:0 1/6]", why: "the environment is not read"},
	{name: "RES_OPTIONS", resolv: one98, env: []string{"RES_OPTIONS=attempts:0"}, ask: []string{"host.test"}, want: "[192.0.2.2:0 1/6]", glibc: "EAI_AGAIN", why: "the environment is not read"},
	{name: "HOSTALIASES", resolv: one98, env: []string{"HOSTALIASES=/etc/aliases"}, files: map[string]string{"aliases": "alias host.one.test\n"}, ask: []string{"alias"}, want: "EAI_NONAME",
		glibc: "[192.0.2.2:0 1/6]", why: "the environment is not read"},
}

// A scribe is servers at several addresses, which note what they are asked.
type scribe struct {
	mu   sync.Mutex
	said []string // guarded by mu
}

// scribeZone is the names that there are.
var scribeZone = []string{"host.test.", "host.one.test.", "two.dots.two.test.", "alias.one.test."}

// scribes opens the servers of a side. Each says which one it is by the address that it gives.
func scribes(t *testing.T, listenPacket func(network, address string) (net.PacketConn, error), listen func(network, address string) (net.Listener, error), hosts ...string) *scribe {
	t.Helper()
	s := new(scribe)
	for i, host := range append([]string{addrB, serverOther, serverSilent, serverRefuses, addrB6, serverLink6 + "%" + linkName}, hosts...) {
		number := []byte{2, 3, 4, 6, 62, 63, 1}[i]
		u, err := listenPacket("udp", net.JoinHostPort(host, "53"))
		fatal(t, err)
		l, err := listen("tcp", net.JoinHostPort(host, "53"))
		fatal(t, err)
		t.Cleanup(func() { u.Close(); l.Close() })
		go func() {
			buf := make([]byte, 4096)
			for {
				n, from, err := u.ReadFrom(buf)
				if err != nil {
					return
				}
				if reply := s.reply("udp", host, number, buf[:n]); reply != nil {
					u.WriteTo(reply, from)
				}
			}
		}()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				var n [2]byte
				c.Read(n[:])
				question := make([]byte, binary.BigEndian.Uint16(n[:]))
				c.Read(question)
				c.Write(framed(s.reply("tcp", host, number, question)))
				c.Close()
			}
		}()
	}
	return s
}

func (s *scribe) reply(network, host string, number byte, message []byte) []byte {
	q, _ := new(liar).question(message)
	if q == nil {
		return nil
	}
	var m dnsmessage.Message
	line := fmt.Sprint(network, " ", host, " ", q.name, " ", q.typ.String()[len("Type"):])
	if m.Unpack(message) == nil {
		for _, flag := range []struct {
			on   bool
			name string
		}{{m.RecursionDesired, " RD"}, {m.AuthenticData, " AD"}, {m.CheckingDisabled, " CD"}, {len(m.Additionals) > 0, " EDNS"}} {
			if flag.on {
				line += flag.name
			}
		}
	}
	s.mu.Lock()
	s.said = append(s.said, line)
	s.mu.Unlock()
	switch {
	case host == serverSilent:
		return nil
	case host == serverRefuses:
		return q.reply(answered|5, 0, 0, 0)
	case !slices.Contains(scribeZone, q.name):
		return q.reply(answered|3, 0, 0, 0)
	case q.typ != dnsmessage.TypeA:
		return q.reply(answered, 0, 1, 0, soa())
	}
	return q.reply(answered, 1, 0, 0, record(qname, q.typ, []byte{192, 0, 2, number}))
}

// noted is what the servers have noted since it was asked last.
func (s *scribe) noted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer func() { s.said = nil }()
	return strings.Join(s.said, ", ")
}

// TestResolvConf: each resolv.conf in a process of its own.
func TestResolvConf(t *testing.T) {
	if name, c := isAlone(t); name != "" {
		for i := range confRows {
			if confRows[i].name == name {
				confRows[i].resolve(t, c)
			}
		}
		switch name {
		case reloading:
			reload(t)
		case ownServers, ownServersTCP:
			askOwnServers(t)
		}
		return
	}
	netlab.RequireRoot(t)
	t.Parallel() // most of the time it waits
	c := newLibc(t)
	for _, row := range append(confRows, confRow{name: reloading, resolv: one98},
		confRow{name: ownServers, resolv: "nameserver " + serverDeaf + "\noptions attempts:1 timeout:2\n"},
		confRow{name: ownServersTCP, resolv: "nameserver " + serverDeaf + "\noptions attempts:1 timeout:2 use-vc\n"}) {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			if row.name == reloading && testing.Short() {
				t.Skip("package net looks at the file every five seconds")
			}
			t.Parallel()
			files := map[string]string{"hosts": "", "nsswitch.conf": "hosts: files dns\n", "resolv.conf": row.resolv}
			for name, text := range row.files {
				files[name] = text
			}
			if row.resolv == "" {
				delete(files, "resolv.conf")
			}
			alone(t, row.name, c, files, true, row.env...)
		})
	}
}

func (row *confRow) resolve(t *testing.T, c *libc) {
	a, b := besideKernel(t)
	theirs := scribes(t, net.ListenPacket, net.Listen, "127.0.0.1")
	ours := scribes(t, b.ListenPacket, b.Listen)
	var gots, glibcs []string
	for _, name := range row.ask {
		network := "ip4"
		if before, after, ok := strings.Cut(name, ":"); ok {
			network, name = before, after
		}
		var said, asked [2]string
		for i, r := range []*net.Resolver{{PreferGo: true}, a.Resolver()} {
			list, err := r.LookupNetIP(context.Background(), network, name)
			said[i] = fmt.Sprint(list, " ", wordDNS(err))
			asked[i] = []*scribe{theirs, ours}[i].noted()
		}
		t.Logf("%s: %s; %s", name, said[1], asked[1])
		if row.name == "rotate" { // the two are of one process, and take turns
			if asked[0] == asked[1] {
				t.Errorf("both have asked %s", asked[0])
			}
			continue
		}
		if (said[0] != said[1] || asked[0] != asked[1]) && row.other == "" {
			t.Errorf("%s: package net says\n\t%s by %s, and we\n\t%s by %s", name, said[0], asked[0], said[1], asked[1])
		}
		family := unix.AF_INET
		if network == "ip" {
			family = unix.AF_UNSPEC
		}
		gots = append(gots, addrinfo(a, family, name))
		if by := ours.noted(); row.asked != "" && by != row.asked {
			t.Errorf("%s: asked were\n\t%s, want\n\t%s", name, by, row.asked)
		}
		if c == nil || row.glibc == "-" {
			continue
		}
		theirs.noted()
		glibcs = append(glibcs, c.ask(t, nil, []string{question("addrinfo", name, "", fmt.Sprint(family), fmt.Sprint(unix.SOCK_STREAM), "0", "0")})[0])
		if by := theirs.noted(); row.asked != "" && strings.ReplaceAll(by, " EDNS", "") != strings.ReplaceAll(row.asked, " EDNS", "") {
			t.Errorf("%s: glibc asks\n\t%s, want\n\t%s", name, by, row.asked)
		}
	}
	if got := strings.Join(gots, " "); got != row.want && row.want != "*" {
		t.Errorf("%s, want %s", got, row.want)
	}
	if got, want := strings.Join(glibcs, " "), cmp.Or(row.glibc, row.want); glibcs != nil && got != want {
		t.Errorf("glibc says %s, want %s", got, want)
	}
	nothingIsAsked(t, a)
}

// reloading is a row of its own: package net looks at resolv.conf again after five seconds.
const reloading = "the file changes"

func reload(t *testing.T) {
	a, b := besideKernel(t)
	scribes(t, b.ListenPacket, b.Listen)
	first := addrinfo(a, unix.AF_INET, "host.test.")
	fatal(t, os.WriteFile(filepath.Join("/etc", "resolv.conf"), []byte("nameserver "+serverOther+"\n"), 0o644))
	start := time.Now()
	second := addrinfo(a, unix.AF_INET, "host.test.")
	for second == first && time.Since(start) < longest {
		time.Sleep(100 * time.Millisecond)
		second = addrinfo(a, unix.AF_INET, "host.test.")
	}
	if first != "[192.0.2.2:0 1/6]" || second != "[192.0.2.3:0 1/6]" {
		t.Errorf("%s, and after the file was changed %s", first, second)
	}
}

// ownServers: of servers that the program names each is asked, however few attempts /etc/resolv.conf has, and the one that serves first
// from then on.
const ownServers, ownServersTCP = "servers of the program's", "servers of the program's, by TCP"

func askOwnServers(t *testing.T) {
	a, b := besideKernel(t)
	s := scribes(t, b.ListenPacket, b.Listen)
	var list []netip.AddrPort
	for _, at := range []string{"10.97.0.1", serverDeaf, serverRefuses, serverSilent, addrB, serverOther} {
		list = append(list, netip.MustParseAddrPort(net.JoinHostPort(at, "53")))
	}
	r := &Resolver{Stack: a, DNS: a.Resolver(list...)}
	for i, want := range []string{"10.98.0.6 10.98.0.4 10.98.0.2", "10.98.0.2", "10.98.0.2"} {
		name, says := "host.test.", "[192.0.2.2:0 1/6]"
		if i == 2 {
			name, says = "nobody.test.", "EAI_NONAME"
		}
		hints := tcpOf(unix.AF_INET, 0)
		list, err := r.Getaddrinfo(context.Background(), name, "", &hints)
		got := fmt.Sprint(showAddrinfo(list))
		if err != nil {
			got = eaiName(err)
		}
		var asked []string
		for question := range strings.SplitSeq(s.noted(), ", ") {
			asked = append(asked, strings.Fields(question)[1])
		}
		if got != says || strings.Join(asked, " ") != want {
			t.Errorf("%s: %s by %v, want %s by %s", name, got, asked, says, want)
		}
	}
	r.DNS = a.Resolver(list[0], list[1], list[3])
	if list, err := r.Getaddrinfo(context.Background(), "host.test.", "", nil); err != EAI_AGAIN {
		t.Errorf("nobody serves: %v, %v", list, err)
	}
	nothingIsAsked(t, a)
}
