package socketapi

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A libcRow is a question to the C library and to us, in the words of libcSource.
type libcRow struct {
	ask  string // words between spaces
	want string
	libc string // what the C library gives where that is something else
	why  string // ... and why
}

// answer is ours to a question of libcSource.
func (r *Resolver) answer(t *testing.T, words []string) string {
	ctx := context.Background()
	number := func(i int) int {
		n, err := strconv.Atoi(words[i])
		fatal(t, err)
		return n
	}
	host := func(h *Hostent, err error) string {
		if err != nil {
			return map[HostError]string{HOST_NOT_FOUND: "HOST_NOT_FOUND", TRY_AGAIN: "TRY_AGAIN", NO_RECOVERY: "NO_RECOVERY", NO_DATA: "NO_DATA"}[err.(HostError)]
		}
		return fmt.Sprint(h.Name, " ", h.Aliases, " ", h.Addrtype, " ", h.Addrs)
	}
	switch words[0] {
	case "nameinfo":
		a := netip.MustParseAddr(words[1])
		var sa unix.Sockaddr = &unix.SockaddrInet6{Addr: a.As16(), ZoneId: uint32(number(2)), Port: number(3)}
		if a.Is4() {
			sa = &unix.SockaddrInet4{Addr: a.As4(), Port: number(3)}
		}
		node, service, err := r.Getnameinfo(ctx, sa, number(4))
		if err != nil {
			return eaiName(err)
		}
		return node + " " + service
	case "hostbyname":
		return host(r.GetHostByName(ctx, words[1]))
	case "hostbyaddr":
		return host(r.GetHostByAddr(ctx, netip.MustParseAddr(words[1])))
	}
	t.Fatalf("%q is no question", words)
	return ""
}

// hostRows are about names and addresses of hosts, by the files of "search".
var hostRows = []libcRow{
	{ask: "hostbyname 127.1", want: "127.1 [] 2 [127.0.0.1]"},
	{ask: "hostbyname 1.2.3.4.5", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname 2001:db8::7", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname four.test.", want: "four.test [] 2 [192.0.2.1]"},
	{ask: "hostbyname four.test", want: "four.test [] 2 [192.0.2.1]"},
	{ask: "hostbyname FOUR.test.", want: "FOUR.test [] 2 [192.0.2.1]"},
	{ask: "hostbyname web", want: "web.one.test [] 2 [192.0.2.11]"},
	{ask: "hostbyname alias", want: "web.two.test [alias.one.test] 2 [192.0.2.12]"},
	{ask: "hostbyname alias.test.", want: "four.test [alias.test] 2 [192.0.2.1]"},
	{ask: "hostbyname chain.test.", want: "four.test [chain.test alias.test] 2 [192.0.2.1]"},
	{ask: "hostbyname filed", want: "filed.test [filed] 2 [192.0.2.90]"},
	{ask: "hostbyname filed.test", want: "filed.test [filed] 2 [192.0.2.90]"},
	{ask: "hostbyname FILED", want: "filed.test [filed] 2 [192.0.2.90]"},
	{ask: "hostbyname many.names", want: "many.names [one two] 2 [192.0.2.92]"},
	{ask: "hostbyname six.test.", want: "NO_DATA"},
	{ask: "hostbyname mail.test.", want: "NO_DATA"},
	{ask: "hostbyname nobody.test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname broken.test.", want: "TRY_AGAIN"},
	{ask: "hostbyname refused.test.", want: "TRY_AGAIN"},
	{ask: "hostbyname misformed.test.", want: "NO_RECOVERY"},
	{ask: "hostbyname dangling.test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname 192.0.2.1.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname four.test..", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname four..test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname " + strings.Repeat("a.", 126) + "a", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname " + strings.Repeat("a.", 127) + "a", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname " + strings.Repeat("a", 63) + ".test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname " + strings.Repeat("a", 64) + ".test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname under_score.test.", want: "under_score.test [] 2 [192.0.2.23]"},
	{ask: "hostbyname -dash.test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname sp@ce.test.", want: "HOST_NOT_FOUND"},
	{ask: "hostbyname bücher.test.", want: "HOST_NOT_FOUND"},

	{ask: "hostbyaddr 10.98.0.2", want: "peer.lab.test [] 2 [10.98.0.2]"},
	{ask: "hostbyaddr 10.98.0.3", want: "HOST_NOT_FOUND"},
	{ask: "hostbyaddr 10.98.0.4", want: "TRY_AGAIN"},
	{ask: "hostbyaddr 10.98.0.5", want: "NO_RECOVERY"},
	{ask: "hostbyaddr 10.98.0.6", want: "one.lab.test [two.lab.test] 2 [10.98.0.6]", libc: "one.lab.test [] 2 [10.98.0.6]", why: "the other names of an address are aliases, from servers too"},
	{ask: "hostbyaddr 10.98.0.7", want: "NO_DATA"},
	{ask: "hostbyaddr 192.0.2.90", want: "filed.test [filed] 2 [192.0.2.90]"},
	{ask: "hostbyaddr 2001:db8::90", want: "filed.test [filed] 10 [2001:db8::90]"},
	{ask: "hostbyaddr 2001:db8::91", want: "six.lab.test [] 10 [2001:db8::91]"},
	{ask: "hostbyaddr ::ffff:192.0.2.90", want: "filed.test [filed] 2 [192.0.2.90]", libc: "HOST_NOT_FOUND", why: "an address that is mapped into IPv6 is the IPv4 one, in the files too"},
	{ask: "hostbyaddr ::ffff:10.98.0.2", want: "peer.lab.test [] 2 [10.98.0.2]"},

	{ask: "nameinfo 10.98.0.2 0 80 0", want: "peer.lab.test http"},
	{ask: "nameinfo 10.98.0.2 0 80 1", want: "10.98.0.2 http"},
	{ask: "nameinfo 10.98.0.2 0 80 2", want: "peer.lab.test 80"},
	{ask: "nameinfo 10.98.0.2 0 80 3", want: "10.98.0.2 80"},
	{ask: "nameinfo 10.98.0.2 0 80 4", want: "peer.lab.test http"},
	{ask: "nameinfo 10.98.0.2 0 80 8", want: "peer.lab.test http"},
	{ask: "nameinfo 10.98.0.2 0 80 16", want: "peer.lab.test 80"},
	{ask: "nameinfo 10.98.0.2 0 514 0", want: "peer.lab.test shell"},
	{ask: "nameinfo 10.98.0.2 0 514 16", want: "peer.lab.test syslog"},
	{ask: "nameinfo 10.98.0.2 0 0 0", want: "peer.lab.test 0"},
	{ask: "nameinfo 10.98.0.2 0 65535 0", want: "peer.lab.test 65535"},
	{ask: "nameinfo 10.98.0.2 0 80 9", want: "EAI_NONAME"},
	{ask: "nameinfo 10.98.0.2 0 80 1048576", want: "EAI_BADFLAGS"},
	{ask: "nameinfo 10.98.0.3 0 80 0", want: "10.98.0.3 http"},
	{ask: "nameinfo 10.98.0.3 0 80 8", want: "EAI_NONAME"},
	{ask: "nameinfo 10.98.0.4 0 80 0", want: "EAI_AGAIN"},
	{ask: "nameinfo 10.98.0.4 0 80 8", want: "EAI_AGAIN"},
	{ask: "nameinfo 10.98.0.5 0 80 0", want: "10.98.0.5 http"},
	{ask: "nameinfo 10.98.0.5 0 80 8", want: "EAI_NONAME"},
	{ask: "nameinfo 10.98.0.7 0 80 0", want: "10.98.0.7 http"},
	{ask: "nameinfo 10.98.0.7 0 80 8", want: "EAI_NONAME"},
	{ask: "nameinfo 192.0.2.90 0 80 0", want: "filed.test http"},
	{ask: "nameinfo 192.0.2.90 0 80 4", want: "filed.test http"},
	{ask: "nameinfo 192.0.2.94 0 80 4", want: "other http"},
	{ask: "nameinfo 192.0.2.94 0 80 0", want: "other.own.test http"},
	{ask: "nameinfo 2001:db8::91 0 80 0", want: "six.lab.test http"},
	{ask: "nameinfo ::ffff:192.0.2.90 0 80 0", want: "filed.test http", libc: "::ffff:192.0.2.90 http", why: "an address that is mapped into IPv6 is the IPv4 one, in the files too"},
	{ask: "nameinfo ::ffff:192.0.2.77 0 80 0", want: "::ffff:192.0.2.77 http"},
	{ask: "nameinfo ::ffff:192.0.2.77 0 80 1", want: "::ffff:192.0.2.77 http"},
	{ask: "nameinfo fe80::7 1 80 1", want: "fe80::7%lo http"},
	{ask: "nameinfo fe80::7 77 80 1", want: "fe80::7%77 http"},
	{ask: "nameinfo fe80::7 0 80 1", want: "fe80::7 http"},
	{ask: "nameinfo ff02::7 1 80 1", want: "ff02::7%lo http"},
	{ask: "nameinfo ff05::7 1 80 1", want: "ff05::7%1 http"},
	{ask: "nameinfo 2001:db8::7 1 80 1", want: "2001:db8::7%1 http"},
	{ask: "nameinfo ::1 0 80 1", want: "::1 http"},
	{ask: "nameinfo :: 0 80 1", want: ":: http"},
	{ask: "nameinfo 0.0.0.0 0 80 1", want: "0.0.0.0 http"},
}
