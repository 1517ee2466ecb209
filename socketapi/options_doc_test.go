package socketapi

import (
	commandline "flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi/host"
)

// writeOptions makes the document anew: go generate ./socketapi
var writeOptions = commandline.Bool("write-options", false, "write docs/options.md")

const optionsFile = "../docs/options.md"

// optionsDocument is what docs/options.md has to say.
func optionsDocument() string {
	var b strings.Builder
	b.WriteString(`# Socket options

Made by ` + "`go generate ./socketapi`" + ` of ` + "`socketapi.Options()`" + `. An option that is not here is ENOPROTOOPT. What each does is said by
socket(7), ip(7), ipv6(7), tcp(7), udp(7), raw(7) and packet(7), and by RFC 3493, 3542 and 3678; where it
does otherwise here is listed in socketapi/differences_test.go. Sockets of families that are the kernel's have the kernel's.
`)
	levels := []struct {
		level int
		name  string
	}{
		{unix.SOL_SOCKET, "SOL_SOCKET"}, {unix.IPPROTO_IP, "IPPROTO_IP"}, {unix.IPPROTO_IPV6, "IPPROTO_IPV6"}, {unix.IPPROTO_TCP, "IPPROTO_TCP"},
		{unix.IPPROTO_UDP, "IPPROTO_UDP"}, {unix.SOL_RAW, "SOL_RAW"}, {unix.IPPROTO_ICMPV6, "IPPROTO_ICMPV6"}, {unix.SOL_PACKET, "SOL_PACKET"},
	}
	list := Options()
	for _, l := range levels {
		fmt.Fprintf(&b, "\n## %s\n\n| Option | Value | Calls | Sockets |\n|---|---|---|---|\n", l.name)
		for _, o := range list {
			if o.Level != l.level {
				continue
			}
			var calls []string
			if o.Get {
				calls = append(calls, "get")
			}
			if o.Set {
				calls = append(calls, "set")
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", o.Label, o.Type, strings.Join(calls, ", "), strings.Join(o.Sockets, ", "))
		}
	}
	b.WriteString(notHere)
	return b.String()
}

// notHere is what programs look for and do not find.
const notHere = `
## Not here, and why

| Option | Errno | Why |
|---|---|---|
| IP_TRANSPARENT, IPV6_TRANSPARENT | ENOPROTOOPT | What comes to the engine is what its own addresses are for; packets to others stay with the kernel, so a socket at somebody else's address would hear nothing. IP_FREEBIND binds to one that the host is going to have. |
| PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP | ENOPROTOOPT | A packet socket sees what the interfaces carry for the engine. PACKET_MR_PROMISC and PACKET_MR_ALLMULTI would bring the NIC more, and the kernel all of that; groups are joined with MCAST_JOIN_GROUP, and are then seen here. |
| PACKET_RX_RING, PACKET_TX_RING, PACKET_FANOUT | ENOPROTOOPT | Memory and cores are the engine's to share: frames in batches are what package engine has. |
| SO_ATTACH_FILTER, SO_ATTACH_BPF, SO_LOCK_FILTER | ENOPROTOOPT | Programs of BPF run in the kernel; ICMP_FILTER and ICMPV6_FILTER are there. |
| TCP_MD5SIG, TCP_MD5SIG_EXT, TCP_AO_ADD_KEY and kin | ENOPROTOOPT | Segments are not signed (RFC 2385, RFC 5925). |
| TCP_REPAIR, TCP_REPAIR_OPTIONS, TCP_REPAIR_QUEUE, TCP_REPAIR_WINDOW | ENOPROTOOPT | A connection lives in the process that opened it, and is not moved to another. |
| SO_TIMESTAMPING with SOF_TIMESTAMPING_TX_* on a stream or a packet socket | EINVAL | What they send is not stamped: datagrams of UDP, of ping and of raw sockets are, when they are written into a frame, and the whole of a fragmented one with its first fragment. |
| SO_TIMESTAMPING with flags of hardware clocks, SOF_TIMESTAMPING_OPT_CMSG, OPT_STATS, OPT_PKTINFO | EINVAL | There are no clocks of a NIC, and no such messages; RX_HARDWARE, TX_HARDWARE and RAW_HARDWARE are taken and bring nothing, as on a NIC without. |
`

func TestOptionsAreDocumented(t *testing.T) {
	want := optionsDocument()
	if rows := strings.Count(want, "\n| ") - strings.Count(want, "\n| Option |") - (strings.Count(notHere, "\n| ") - 1); rows != len(Options()) {
		t.Errorf("%d rows for %d options", rows, len(Options()))
	}
	for _, o := range Options() {
		if len(o.Sockets) == 0 || !o.Get && !o.Set {
			t.Errorf("%s is of no use: %+v", o.Label, o)
		}
	}
	if *writeOptions {
		fatal(t, os.WriteFile(optionsFile, []byte(want), 0o644))
		return
	}
	got, err := os.ReadFile(optionsFile)
	fatal(t, err)
	if string(got) != want {
		t.Error("docs/options.md is not current: run go generate ./socketapi")
	}
}

// TestOptionsSaySockets checks the column of sockets against sockets.
func TestOptionsSaySockets(t *testing.T) {
	if !host.Capable(unix.CAP_NET_RAW) {
		t.Skip("raw and packet sockets want CAP_NET_RAW")
	}
	a, _ := twoHosts(t)
	s := a.Table()
	kinds := []struct {
		name          string
		domain, typ   int
		proto, proto6 int
	}{
		{"tcp", unix.AF_INET, unix.SOCK_STREAM, 0, 0}, {"udp", unix.AF_INET, unix.SOCK_DGRAM, 0, 0},
		{"ping", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}, {"raw", unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6},
		{"packet", unix.AF_PACKET, unix.SOCK_RAW, 0, 0},
	}
	for _, k := range kinds {
		var fds []int
		fd, err := s.Socket(k.domain, k.typ, k.proto)
		fatal(t, err)
		fds = append(fds, fd)
		if k.domain == unix.AF_INET {
			fd, err = s.Socket(unix.AF_INET6, k.typ, k.proto6)
			fatal(t, err)
			fds = append(fds, fd)
		}
		for _, o := range Options() {
			has := slices.ContainsFunc(fds, func(fd int) bool { _, found := s.find(fd, o.Level, o.Name); return found != nil })
			if said := slices.Contains(o.Sockets, k.name); said != has {
				t.Errorf("%s of a %s socket: the list says %v, and it is %v", o.Label, k.name, said, has)
			}
		}
		for _, fd := range fds {
			fatal(t, s.Close(fd))
		}
	}
}
