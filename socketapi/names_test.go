package socketapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
)

// manyAddrs is how many addresses big.test. has: more than a datagram of EDNS's usual 1232 bytes holds. Those of
// medium.test. need more than the 512 bytes of old.
const manyAddrs, someAddrs = 200, 40

// testZone is what the tests' server knows.
func testZone() zone {
	z := zone{
		"four.test.":              {"192.0.2.1"},
		"six.test.":               {"2001:db8::1"},
		"both.test.":              {kernelAddr, kernelAddr6},
		"unreachable.test.":       {kernelAddr, "2001:db8:77::1"}, // the IPv6 address is of no network that the host reaches
		"alias.test.":             {"CNAME four.test."},
		"dangling.test.":          {"CNAME nobody.test."},
		"mail.test.":              {"MX four.test."},
		"broken.test.":            {"SERVFAIL"},
		"misformed.test.":         {"FORMERR"},
		"refused.test.":           {"REFUSED"},
		"silent.test.":            {"silent"},
		"1.0.99.10.in-addr.arpa.": {"PTR peer.lab.test."},
	}
	for i := range manyAddrs {
		z["big.test."] = append(z["big.test."], fmt.Sprint("192.0.2.", i))
	}
	z["medium.test."] = z["big.test."][:someAddrs]
	return z
}

// names is a resolver that asks a server in a namespace, by the engine.
func names(t *testing.T) (*Resolver, *nameServer) {
	t.Helper()
	st, peer := lab(t, 1, engine.ModeAuto)
	at := net.JoinHostPort(kernelAddr, "53")
	u, err := peer.ListenPacket("udp", at)
	fatal(t, err)
	l, err := peer.Listen("tcp", at)
	fatal(t, err)
	s := &nameServer{zone: testZone()}
	s.serve(t, u, l)
	return &Resolver{Stack: st, DNS: st.Resolver(netip.MustParseAddrPort(at))}, s
}

// showAddrinfo is what matters of a list: addresses with ports, type and protocol, and the name.
func showAddrinfo(list []Addrinfo) (out []string) {
	for _, a := range list {
		line := fmt.Sprint(show(a.Addr), " ", a.Socktype, "/", a.Protocol)
		if a.Canonname != "" {
			line += " " + a.Canonname
		}
		out = append(out, strings.Replace(line, " scope 0", "", 1))
	}
	return out
}

func TestGetaddrinfo(t *testing.T) {
	r, server := names(t)
	const stream = unix.SOCK_STREAM
	for _, c := range []struct {
		node, service string
		hints         *Addrinfo
		want          string // the list, or the error
	}{
		{"192.0.2.1", "80", &Addrinfo{Socktype: stream}, "[192.0.2.1:80 1/6]"},
		{"192.0.2.1", "80", nil, "[192.0.2.1:80 1/6 192.0.2.1:80 2/17 192.0.2.1:80 3/0]"},
		{"192.0.2.1", "http", nil, "[192.0.2.1:80 1/6]"},
		{"192.0.2.1", "domain", nil, "[192.0.2.1:53 1/6 192.0.2.1:53 2/17]"},
		{"192.0.2.1", "80", &Addrinfo{Protocol: unix.IPPROTO_UDP}, "[192.0.2.1:80 2/17]"},
		{"192.0.2.1", "", &Addrinfo{Socktype: unix.SOCK_RAW, Protocol: 89}, "[192.0.2.1:0 3/89]"},
		{"127.1", "", &Addrinfo{Socktype: stream}, "[127.0.0.1:0 1/6]"},
		{"0x7f.1", "", &Addrinfo{Socktype: stream, Flags: AI_NUMERICHOST}, "[127.0.0.1:0 1/6]"},
		{"2001:db8::7", "7", &Addrinfo{Socktype: stream}, "[[2001:db8::7]:7 1/6]"},
		{"fe80::7%va", "7", &Addrinfo{Socktype: stream}, fmt.Sprintf("[[fe80::7]:7 scope %d 1/6]", r.Stack.Host().Index(0))},
		{"192.0.2.1", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET6, Flags: AI_V4MAPPED}, "[[::ffff:192.0.2.1]:0 1/6]"},
		{"192.0.2.1", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET6}, "EAI_ADDRFAMILY"},
		{"2001:db8::7", "", &Addrinfo{Family: unix.AF_INET}, "EAI_ADDRFAMILY"},
		{"", "80", &Addrinfo{Socktype: stream}, "[[::1]:80 1/6 127.0.0.1:80 1/6]"},
		{"", "80", &Addrinfo{Socktype: stream, Flags: AI_PASSIVE}, "[0.0.0.0:80 1/6 [::]:80 1/6]"},
		{"", "80", &Addrinfo{Socktype: stream, Flags: AI_PASSIVE, Family: unix.AF_INET6}, "[[::]:80 1/6]"},
		{"", "", nil, "EAI_NONAME"},
		{"four.test", "", &Addrinfo{Flags: 1 << 20}, "EAI_BADFLAGS"},
		{"", "80", &Addrinfo{Flags: AI_CANONNAME}, "EAI_BADFLAGS"},
		{"four.test", "", &Addrinfo{Family: 99}, "EAI_FAMILY"},
		{"four.test", "", &Addrinfo{Socktype: 99}, "EAI_SOCKTYPE"},
		{"four.test", "", &Addrinfo{Socktype: stream, Protocol: unix.IPPROTO_UDP}, "EAI_SOCKTYPE"},
		{"four.test", "no such service", nil, "EAI_SERVICE"},
		{"four.test", "70000", nil, "EAI_SERVICE"},
		{"four.test", "http", &Addrinfo{Flags: AI_NUMERICSERV}, "EAI_NONAME"},
		{"four.test", "http", &Addrinfo{Socktype: unix.SOCK_RAW}, "EAI_SERVICE"},
		{"four.test", "", &Addrinfo{Flags: AI_NUMERICHOST}, "EAI_NONAME"},

		{"four.test.", "80", &Addrinfo{Socktype: stream}, "[192.0.2.1:80 1/6]"},
		{"six.test.", "80", &Addrinfo{Socktype: stream}, "[[2001:db8::1]:80 1/6]"},
		{"both.test.", "80", &Addrinfo{Socktype: stream}, fmt.Sprintf("[%s:80 1/6 [%s]:80 1/6]", kernelAddr, kernelAddr6)}, // a ULA has less precedence
		{"unreachable.test.", "80", &Addrinfo{Socktype: stream}, fmt.Sprintf("[%s:80 1/6 [2001:db8:77::1]:80 1/6]", kernelAddr)},
		{"both.test.", "80", &Addrinfo{Socktype: stream, Family: unix.AF_INET}, fmt.Sprintf("[%s:80 1/6]", kernelAddr)},
		{"four.test.", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET6}, "EAI_NODATA"},
		{"four.test.", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET6, Flags: AI_V4MAPPED}, "[[::ffff:192.0.2.1]:0 1/6]"},
		{"both.test.", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET6, Flags: AI_V4MAPPED}, fmt.Sprintf("[[%s]:0 1/6]", kernelAddr6)},
		{"both.test.", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET6, Flags: AI_V4MAPPED | AI_ALL}, fmt.Sprintf("[[::ffff:%s]:0 1/6 [%s]:0 1/6]", kernelAddr, kernelAddr6)},
		{"alias.test.", "", &Addrinfo{Socktype: stream, Flags: AI_CANONNAME | AI_ADDRCONFIG}, "[192.0.2.1:0 1/6 four.test]"},
		{"nobody.test.", "", nil, "EAI_NONAME"},
		{"broken.test.", "", nil, "EAI_AGAIN"},
	} {
		list, err := r.Getaddrinfo(context.Background(), c.node, c.service, c.hints)
		got := fmt.Sprint(showAddrinfo(list))
		if err != nil {
			got = eaiName(err)
		}
		if got != c.want {
			t.Errorf("%q %q %+v:\n\t%s, want\n\t%s", c.node, c.service, c.hints, got, c.want)
		}
	}
	if server.tcp.Load() != 0 {
		t.Errorf("%d questions by TCP", server.tcp.Load())
	}
	// What is too long for a datagram comes by TCP.
	list, err := r.Getaddrinfo(context.Background(), "big.test.", "", &Addrinfo{Socktype: stream, Family: unix.AF_INET})
	if len(list) != manyAddrs || err != nil || server.tcp.Load() == 0 {
		t.Errorf("%d addresses, %v, by %d questions by TCP", len(list), err, server.tcp.Load())
	}
	// Nobody answers, and the program does not wait for ever.
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if _, err := r.Getaddrinfo(ctx, "silent.test.", "", nil); err != EAI_AGAIN {
		t.Errorf("silence: %v, want EAI_AGAIN", err)
	}
	if server.udp.Load() == 0 {
		t.Error("nobody asked")
	}
}

// eaiName is the name of an error of Getaddrinfo.
func eaiName(err error) string {
	name, ok := map[AddrinfoError]string{
		EAI_BADFLAGS: "EAI_BADFLAGS", EAI_NONAME: "EAI_NONAME", EAI_AGAIN: "EAI_AGAIN", EAI_FAIL: "EAI_FAIL", EAI_FAMILY: "EAI_FAMILY",
		EAI_NODATA: "EAI_NODATA", EAI_SOCKTYPE: "EAI_SOCKTYPE", EAI_SERVICE: "EAI_SERVICE", EAI_ADDRFAMILY: "EAI_ADDRFAMILY",
	}[err.(AddrinfoError)]
	if !ok {
		return err.Error()
	}
	return name
}

func TestNamesOfHosts(t *testing.T) {
	r, _ := names(t)
	ctx := context.Background()
	peer := &unix.SockaddrInet4{Addr: netip.MustParseAddr(kernelAddr).As4(), Port: 80}
	nobody := &unix.SockaddrInet4{Addr: [4]byte{192, 0, 2, 77}, Port: 53}
	for _, c := range []struct {
		sa    unix.Sockaddr
		flags int
		want  string
	}{
		{peer, 0, "peer.lab.test http"},
		{peer, NI_NOFQDN | NI_NUMERICSERV, "peer.lab.test 80"}, // of another domain than this host
		{peer, NI_NUMERICHOST, kernelAddr + " http"},
		{nobody, 0, "192.0.2.77 domain"},
		{nobody, NI_DGRAM | NI_NUMERICHOST, "192.0.2.77 domain"},
		{nobody, NI_NAMEREQD, "EAI_NONAME"},
		{nobody, NI_NAMEREQD | NI_NUMERICHOST, "EAI_NONAME"},
		{nobody, 1 << 20, "EAI_BADFLAGS"},
		{&unix.SockaddrInet6{Addr: [16]byte{0xfe, 0x80, 15: 7}, ZoneId: uint32(r.Stack.Host().Index(0))}, NI_NUMERICHOST, "fe80::7%va 0"},
		{&unix.SockaddrUnix{}, 0, "EAI_FAMILY"},
	} {
		node, service, err := r.Getnameinfo(ctx, c.sa, c.flags)
		got := node + " " + service
		if err != nil {
			got = eaiName(err)
		}
		if got != c.want {
			t.Errorf("%s %#x: %q, want %q", show(c.sa), c.flags, got, c.want)
		}
	}
	h, err := r.GetHostByName(ctx, "alias.test.")
	if err != nil || h.Name != "four.test" || fmt.Sprint(h.Aliases, h.Addrs, h.Addrtype) != "[alias.test] [192.0.2.1] 2" {
		t.Errorf("gethostbyname: %+v, %v", h, err)
	}
	if h, err := r.GetHostByName(ctx, "127.1"); err != nil || h.Addrs[0].String() != "127.0.0.1" {
		t.Errorf("gethostbyname of a number: %+v, %v", h, err)
	}
	if _, err := r.GetHostByName(ctx, "nobody.test."); err != HOST_NOT_FOUND {
		t.Errorf("gethostbyname: %v", err)
	}
	if _, err := r.GetHostByName(ctx, "six.test."); err != NO_DATA {
		t.Errorf("gethostbyname: %v", err)
	}
	if _, err := r.GetHostByName(ctx, "broken.test."); err != TRY_AGAIN {
		t.Errorf("gethostbyname: %v", err)
	}
	if h, err := r.GetHostByAddr(ctx, netip.MustParseAddr(kernelAddr)); err != nil || h.Name != "peer.lab.test" {
		t.Errorf("gethostbyaddr: %+v, %v", h, err)
	}
	if _, err := r.GetHostByAddr(ctx, netip.MustParseAddr("192.0.2.77")); err != HOST_NOT_FOUND {
		t.Errorf("gethostbyaddr: %v", err)
	}
	// net.Conns are made with the same resolver.
	d := Dialer{Stack: r.Stack, Resolver: r.DNS}
	if _, err := d.Dial("tcp", "both.test.:9"); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("dial by name: %v, want ECONNREFUSED of a host that was found", err)
	}
}

func TestServicesAndProtocols(t *testing.T) {
	if s, ok := GetServByName("http", "tcp"); !ok || s.Port != 80 || s.Proto != "tcp" {
		t.Errorf("http: %+v, %v", s, ok)
	}
	if s, ok := GetServByPort(53, "udp"); !ok || s.Name != "domain" || s.Proto != "udp" {
		t.Errorf("53: %+v, %v", s, ok)
	}
	if s, ok := GetServByName("no such service", ""); ok {
		t.Errorf("found %+v", s)
	}
	if p, ok := GetProtoByName("TCP"); !ok || p.Proto != unix.IPPROTO_TCP {
		t.Errorf("TCP: %+v, %v", p, ok)
	}
	if p, ok := GetProtoByNumber(17); !ok || p.Name != "udp" {
		t.Errorf("17: %+v, %v", p, ok)
	}
	if _, ok := GetProtoByNumber(253); ok {
		t.Error("a protocol of nobody was found")
	}
	list := parseEntries("# nothing\nname 7/tcp other # another\nbad x/tcp\nshort\nproto 6 PROTO\n")
	if fmt.Sprint(list) != "[{name tcp 7 [other]} {proto  6 [PROTO]}]" {
		t.Errorf("parsed %v", list)
	}
}

func TestInet(t *testing.T) {
	if Ntohs(Htons(0x1234)) != 0x1234 || Ntohl(Htonl(0x12345678)) != 0x12345678 {
		t.Error("there and back is not the same")
	}
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], Htonl(0x01020304))
	if b != [4]byte{1, 2, 3, 4} {
		t.Errorf("htonl: %v", b)
	}
	for s, want := range map[string]string{
		"1.2.3.4": "1.2.3.4", "1.2.3": "1.2.0.3", "1.2": "1.0.0.2", "1": "0.0.0.1", "0x7f.0.0.01": "127.0.0.1", "010.1": "8.0.0.1", "1.65535": "1.0.255.255",
		"4294967295": "255.255.255.255",
	} {
		if a, ok := InetAton(s); !ok || InetNtoa(a) != want {
			t.Errorf("inet_aton %q: %v, %v, want %s", s, a, ok, want)
		}
	}
	for _, s := range []string{"", ".", "1.2.3.4.5", "256.1.1.1", "1.2.3.256", "1.2.65536", "4294967296", "a", "1..2", "0b1", "0o7", "1_0", "+1", "08", "-1"} {
		if a, ok := InetAton(s); ok {
			t.Errorf("inet_aton %q: %v", s, a)
		}
	}
	for _, c := range []struct {
		family int
		s      string
		ok     bool
	}{
		{unix.AF_INET, "1.2.3.4", true}, {unix.AF_INET, "1.2.3", false}, {unix.AF_INET, "01.2.3.4", false}, {unix.AF_INET, "::1", false},
		{unix.AF_INET6, "::1", true}, {unix.AF_INET6, "::ffff:1.2.3.4", true}, {unix.AF_INET6, "1.2.3.4", false}, {unix.AF_INET6, "fe80::1%lo", false},
	} {
		b, ok, err := InetPton(c.family, c.s)
		if ok != c.ok || err != nil {
			t.Errorf("inet_pton %q: %v, %v", c.s, ok, err)
		}
		if !ok {
			continue
		}
		if s, err := InetNtop(c.family, b); s != c.s || err != nil {
			t.Errorf("inet_ntop %q: %q, %v", c.s, s, err)
		}
	}
	if _, _, err := InetPton(unix.AF_UNIX, "x"); err != unix.EAFNOSUPPORT {
		t.Errorf("inet_pton of another family: %v", err)
	}
	if _, err := InetNtop(unix.AF_UNIX, b[:]); err != unix.EAFNOSUPPORT {
		t.Errorf("inet_ntop of another family: %v", err)
	}
	if _, err := InetNtop(unix.AF_INET6, b[:]); err != unix.EINVAL {
		t.Errorf("inet_ntop of another length: %v", err)
	}
}
