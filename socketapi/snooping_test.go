package socketapi

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
)

// A bridge of the kernel that snoops and asks learns of our memberships by our reports, keeps
// them while we answer, and forgets those that we leave.
func TestKernelBridgeLearnsOurGroups(t *testing.T) {
	t.Parallel()
	st, peer := lab(t, 1, engine.ModeAuto)
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := peer.Command(name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v: %s", name, args, err, out)
		}
		return string(out)
	}
	run("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "1", "mcast_querier", "1", "mcast_query_use_ifaddr", "0",
		"mcast_igmp_version", "3", "mcast_mld_version", "2", "mcast_last_member_count", "2", "mcast_last_member_interval", "30")
	run("ip", "link", "set", "vb", "master", "br0")
	run("ip", "link", "set", "br0", "up")
	table := st.Table()
	four, err := table.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close(four)
	six, err := table.Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer table.Close(six)
	ours, theirs := unix.IPMreq{Multiaddr: [4]byte{239, 7, 7, 7}, Interface: [4]byte(net.ParseIP(engineAddr).To4())}, unix.IPv6Mreq{Multiaddr: [16]byte(net.ParseIP("ff05::7:7"))}
	change := func(opt4, opt6 int) {
		t.Helper()
		if err := table.SetsockoptIPMreq(four, unix.IPPROTO_IP, opt4, &ours); err != nil {
			t.Fatal(err)
		}
		if err := table.SetsockoptIPv6Mreq(six, unix.IPPROTO_IPV6, opt6, &theirs); err != nil {
			t.Fatal(err)
		}
	}
	until := func(what string, want bool) {
		t.Helper()
		for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
			mdb := run("bridge", "mdb", "show")
			if strings.Contains(mdb, "239.7.7.7") == want && strings.Contains(mdb, "ff05::7:7") == want {
				return
			}
			if time.Since(start) > 20*time.Second {
				t.Fatalf("%s: the bridge knows\n%s", what, mdb)
			}
		}
	}
	change(unix.IP_ADD_MEMBERSHIP, unix.IPV6_JOIN_GROUP)
	until("joined", true)
	change(unix.IP_DROP_MEMBERSHIP, unix.IPV6_LEAVE_GROUP)
	until("left", false)
}
