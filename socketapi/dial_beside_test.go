package socketapi

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// Addresses at which nobody answers TCP.
const (
	hole4 = "10.98.0.200"
	hole6 = "2001:db8:98::dead"

	another6 = "2001:db8:98::2:dead"
)

var allHoles = []string{hole4, hole6, another6}

// toHole says that a frame is of TCP to one of them.
func toHole(frame []byte) bool {
	var to netip.Addr
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if frame[14+9] == unix.IPPROTO_TCP {
			to, _ = netip.AddrFromSlice(frame[14+16:][:4])
		}
	case 0x86dd:
		if frame[14+6] == unix.IPPROTO_TCP {
			to, _ = netip.AddrFromSlice(frame[14+24:][:16])
		}
	}
	return to.IsValid() && slices.Contains(allHoles, to.String())
}

// A besideRow is a dial by package net and by the stack, of which the same comes: the address that is reached, or the error with all
// that it wraps.
type besideRow struct {
	name, network, address string
	delay                  time.Duration // FallbackDelay
	timeout                time.Duration
	deadline               time.Duration // from now
	local                  net.Addr
	slow                   map[string]time.Duration // how long a socket of a network is prepared
	over                   time.Duration            // when the context is cancelled, negative: before
	within                 time.Duration            // the context's own
	want                   string                   // how the outcome begins
	chance                 bool                     // package net says that, or the same of the next address: its timers race
}

// dialZone is who is dialled.
var dialZone = zone{
	"both.":      {addrB, addrB6},
	"two6.":      {hole6, addrB6},
	"two-holes.": {hole6, another6},
	"hole6.":     {addrB, hole6},
	"hole4.":     {hole4, addrB6},
	"holes.":     {hole4, hole6},
	"only4.":     {addrB},
	"only6.":     {addrB6},
	"nothing.":   {"MX both."},
	"many.":      {addrB, serverOther, addrB6, hole6},
	"broken.":    {"SERVFAIL"},
}

const (
	never = time.Hour
	soon  = 60 * time.Millisecond
)

// Port 80 is served over both families, 81 over IPv4 and 86 over IPv6 alone, 82 over none.
var besideRows = []besideRow{
	{name: "both answer", network: "tcp", address: "both.:80", want: "[2001:db8:98::2]:80"},
	{name: "both answer, no fallback", network: "tcp", address: "both.:80", delay: -1, want: "[2001:db8:98::2]:80"},
	{name: "IPv6 is a hole", network: "tcp", address: "hole6.:80", delay: 5 * time.Millisecond, want: "10.98.0.2:80"},
	{name: "IPv6 is a hole, 50 ms", network: "tcp", address: "hole6.:80", delay: 50 * time.Millisecond, want: "10.98.0.2:80"},
	{name: "IPv6 is a hole, 300 ms", network: "tcp", address: "hole6.:80", want: "10.98.0.2:80"},
	{name: "IPv6 is a hole, no fallback", network: "tcp", address: "hole6.:80", delay: -1, timeout: soon, want: "dial tcp [2001:db8:98::dead]:80: i/o timeout", chance: true},
	{name: "IPv6 is a hole, too late a fallback", network: "tcp", address: "hole6.:80", delay: never, timeout: soon, want: "dial tcp [2001:db8:98::dead]:80: i/o timeout"},
	{name: "IPv4 is a hole", network: "tcp", address: "hole4.:80", want: "[2001:db8:98::2]:80"},
	{name: "IPv4 is a hole and IPv6 refuses", network: "tcp", address: "hole4.:81", timeout: soon, want: "dial tcp [2001:db8:98::2]:81: connect: connection refused"},
	{name: "both are holes", network: "tcp", address: "holes.:80", delay: time.Millisecond, timeout: soon, want: "dial tcp [2001:db8:98::dead]:80: i/o timeout"},
	{name: "both are holes, by the context", network: "tcp", address: "holes.:80", delay: time.Millisecond, within: soon, want: "dial tcp [2001:db8:98::dead]:80: i/o timeout"},
	{name: "both are holes, by the deadline", network: "tcp", address: "holes.:80", delay: time.Millisecond, deadline: soon, want: "dial tcp [2001:db8:98::dead]:80: i/o timeout"},
	{name: "both are holes, cancelled", network: "tcp", address: "holes.:80", delay: time.Millisecond, over: soon, want: "dial tcp [2001:db8:98::dead]:80: operation was canceled"},
	{name: "both are holes, cancelled before the fallback", network: "tcp", address: "holes.:80", delay: never, over: soon, want: "dial tcp [2001:db8:98::dead]:80: operation was canceled"},
	{name: "both are holes, no fallback, cancelled", network: "tcp", address: "holes.:80", delay: -1, over: soon, want: "dial tcp"},
	{name: "cancelled before", network: "tcp", address: "both.:80", over: -1, want: "dial tcp"},
	{name: "cancelled before, an address", network: "tcp", address: addrB + ":80", over: -1, want: "dial tcp 10.98.0.2:80: operation was canceled"},
	{name: "a deadline of long ago", network: "tcp", address: addrB + ":80", deadline: -time.Hour, want: "dial tcp 10.98.0.2:80: i/o timeout"},
	{name: "a timeout below zero", network: "tcp", address: addrB + ":80", timeout: -1, want: "dial tcp 10.98.0.2:80: i/o timeout"},
	{name: "IPv6 refuses", network: "tcp", address: "both.:81", delay: never, want: "10.98.0.2:81"},
	{name: "IPv6 refuses, no fallback", network: "tcp", address: "both.:81", delay: -1, want: "10.98.0.2:81"},
	{name: "IPv4 refuses", network: "tcp", address: "both.:86", want: "[2001:db8:98::2]:86"},
	{name: "both refuse", network: "tcp", address: "both.:82", want: "dial tcp [2001:db8:98::2]:82: connect: connection refused"},
	{name: "both refuse, no fallback", network: "tcp", address: "both.:82", delay: -1, want: "dial tcp [2001:db8:98::2]:82: connect: connection refused"},
	{name: "IPv6 is slow", network: "tcp", address: "both.:80", slow: map[string]time.Duration{"tcp6": 500 * time.Millisecond}, delay: soon, want: "10.98.0.2:80"},
	{name: "IPv6 is slow, patience", network: "tcp", address: "both.:80", slow: map[string]time.Duration{"tcp6": soon}, delay: never, want: "[2001:db8:98::2]:80"},
	{name: "IPv6 is slow, and IPv4 slower", network: "tcp", address: "both.:80", slow: map[string]time.Duration{"tcp6": 2 * soon, "tcp4": never}, delay: 5 * time.Millisecond, want: "[2001:db8:98::2]:80"},
	{name: "IPv6 is slow, IPv4 refuses", network: "tcp", address: "both.:86", slow: map[string]time.Duration{"tcp6": soon}, delay: 5 * time.Millisecond, want: "[2001:db8:98::2]:86"},
	{name: "IPv6 is slow to refuse, IPv4 too", network: "tcp", address: "both.:82", slow: map[string]time.Duration{"tcp6": soon}, delay: 5 * time.Millisecond, want: "dial tcp [2001:db8:98::2]:82: connect: connection refused"},
	{name: "IPv6 is slow, IPv4 refuses, cancelled", network: "tcp", address: "both.:86", slow: map[string]time.Duration{"tcp6": never}, delay: time.Millisecond, over: soon, want: "dial tcp"},
	{name: "no AAAA", network: "tcp", address: "only4.:80", want: "10.98.0.2:80"},
	{name: "no AAAA, refused", network: "tcp", address: "only4.:82", want: "dial tcp 10.98.0.2:82: connect: connection refused"},
	{name: "no A", network: "tcp", address: "only6.:80", want: "[2001:db8:98::2]:80"},
	{name: "neither", network: "tcp", address: "nothing.:80", want: "dial tcp: lookup nothing."},
	{name: "nobody", network: "tcp", address: "nobody.:80", want: "dial tcp: lookup nobody."},
	{name: "a server that fails", network: "tcp", address: "broken.:80", want: "dial tcp: lookup broken."},
	{name: "several, one after another", network: "tcp", address: "many.:81", want: "10.98.0."},
	{name: "tcp4", network: "tcp4", address: "both.:80", want: "10.98.0.2:80"},
	{name: "tcp6", network: "tcp6", address: "both.:80", want: "[2001:db8:98::2]:80"},
	{name: "tcp4, no A", network: "tcp4", address: "only6.:80", want: "dial tcp4: "},
	{name: "tcp6, no AAAA", network: "tcp6", address: "only4.:80", want: "dial tcp6: "},
	{name: "tcp4 of an IPv6 address", network: "tcp4", address: "[" + addrB6 + "]:80", want: "dial tcp4: "},
	{name: "tcp6 of an IPv4 address", network: "tcp6", address: addrB + ":80", want: "dial tcp6: "},
	{name: "tcp4 in a hole", network: "tcp4", address: "hole4.:80", timeout: soon, want: "dial tcp4 10.98.0.200:80: i/o timeout"},
	{name: "two of a family, the time is over", network: "tcp6", address: "two-holes.:80", timeout: soon, want: "dial tcp6 [2001:db8:98::dead]:80: i/o timeout", chance: true},
	{name: "two of a family, cancelled", network: "tcp6", address: "two-holes.:80", over: soon, want: "dial tcp6 [2001:db8:98::"},
	{name: "from IPv4", network: "tcp", address: "both.:80", local: &net.TCPAddr{IP: net.ParseIP(addrA)}, want: "10.98.0.2:80"},
	{name: "from IPv6", network: "tcp", address: "both.:80", local: &net.TCPAddr{IP: net.ParseIP(addrA6)}, want: "[2001:db8:98::2]:80"},
	{name: "from IPv4, IPv6 is a hole", network: "tcp", address: "hole6.:80", delay: never, local: &net.TCPAddr{IP: net.ParseIP(addrA)}, want: "10.98.0.2:80"},
	{name: "from IPv4, no A", network: "tcp", address: "only6.:80", local: &net.TCPAddr{IP: net.ParseIP(addrA)}, want: "dial tcp: "},
	{name: "from IPv6, no AAAA", network: "tcp", address: "only4.:80", local: &net.TCPAddr{IP: net.ParseIP(addrA6)}, want: "dial tcp: "},
	{name: "from IPv6, refused", network: "tcp", address: "both.:81", local: &net.TCPAddr{IP: net.ParseIP(addrA6)}, want: "dial tcp [2001:db8:98::1]"},
	{name: "from any address", network: "tcp", address: "both.:81", local: &net.TCPAddr{}, want: "10.98.0.2:81"},
	{name: "from 0.0.0.0", network: "tcp", address: "both.:80", local: &net.TCPAddr{IP: net.IPv4zero}, want: "[2001:db8:98::2]:80"},
	{name: "from ::", network: "tcp", address: "only4.:80", local: &net.TCPAddr{IP: net.IPv6unspecified}, want: "10.98.0.2:80"},
	{name: "from somebody else's", network: "tcp", address: "both.:80", local: &net.TCPAddr{IP: net.ParseIP("192.0.2.1")}, want: "dial tcp 192.0.2.1:0->10.98.0.2:80: bind: cannot assign requested address"},
	{name: "from another protocol's", network: "tcp", address: "both.:80", local: &net.UDPAddr{IP: net.ParseIP(addrA)}, want: "dial tcp: "},
	{name: "udp", network: "udp", address: "both.:80", want: "[2001:db8:98::2]:80"},
	{name: "udp of a hole", network: "udp", address: "holes.:80", want: "[2001:db8:98::dead]:80"},
	{name: "udp4", network: "udp4", address: "both.:80", want: "10.98.0.2:80"},
	{name: "udp from IPv4", network: "udp", address: "both.:80", local: &net.UDPAddr{IP: net.ParseIP(addrA)}, want: "10.98.0.2:80"},
}

// TestHappyEyeballsAsPackageNet dials the same by package net and by the stack.
func TestHappyEyeballsAsPackageNet(t *testing.T) {
	if what, _ := isAlone(t); what != "" {
		dialBeside(t)
		return
	}
	netlab.RequireRoot(t)
	t.Parallel()
	alone(t, "dials", nil, map[string]string{"resolv.conf": one98, "hosts": "", "nsswitch.conf": "hosts: files dns\n"}, true)
}

func dialBeside(t *testing.T) {
	a, b := besideKernelOver(t, toHole, allHoles...)
	bystander(t, a)
	// The kernel's way to the holes is an interface whose other end reads nothing.
	tun, err := netlab.NewTun(netlab.End{Name: "hole"})
	fatal(t, err)
	t.Cleanup(func() { tun.Close() })
	for _, s := range allHoles {
		addr := netip.MustParseAddr(s)
		fatal(t, tun.AddRoute(netip.PrefixFrom(addr, addr.BitLen()), netip.Addr{}))
	}
	for _, listen := range []func(network, address string) (net.Listener, error){net.Listen, b.Listen} {
		for _, at := range [][2]string{{"tcp4", ":80"}, {"tcp6", ":80"}, {"tcp4", ":81"}, {"tcp6", ":86"}} {
			l, err := listen(at[0], at[1])
			fatal(t, err)
			t.Cleanup(func() { l.Close() })
			go serveEcho(l)
		}
	}
	for _, row := range besideRows {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			for again := 2; ; again-- { // a stalled machine may come to another end
				want := row.dial(func(ctx context.Context, d net.Dialer) (net.Conn, error) {
					return d.DialContext(ctx, row.network, row.address)
				})
				got := row.dial(func(ctx context.Context, d net.Dialer) (net.Conn, error) {
					ours := Dialer{Stack: a, Timeout: d.Timeout, Deadline: d.Deadline, LocalAddr: d.LocalAddr, FallbackDelay: d.FallbackDelay, Resolver: d.Resolver, ControlContext: d.ControlContext}
					return ours.DialContext(ctx, row.network, row.address)
				})
				if (want == got || row.chance && strings.Contains(want, "i/o timeout")) && strings.HasPrefix(got, row.want) {
					t.Log(got)
					return
				}
				if again == 0 {
					t.Errorf("package net says\n\t%s, and we\n\t%s, want\n\t%s", want, got, row.want)
					return
				}
			}
		})
	}
	t.Cleanup(func() { nothingDials(t, a, 0) }) // when the rows are done
}

// dial does the row by one side.
func (row *besideRow) dial(dial func(ctx context.Context, d net.Dialer) (net.Conn, error)) string {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if row.within != 0 {
		ctx, cancel = context.WithTimeout(ctx, row.within)
		defer cancel()
	}
	if row.over < 0 {
		cancel()
	} else if row.over > 0 {
		defer time.AfterFunc(row.over, cancel).Stop()
	}
	d := net.Dialer{Timeout: row.timeout, LocalAddr: row.local, FallbackDelay: row.delay, Resolver: (&nameServer{zone: dialZone}).resolver()}
	if row.deadline != 0 {
		d.Deadline = time.Now().Add(row.deadline)
	}
	if row.slow != nil {
		d.ControlContext = func(ctx context.Context, network, _ string, _ syscall.RawConn) error {
			select {
			case <-time.After(row.slow[network]):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	c, err := dial(ctx, d)
	if err != nil {
		// Package net has a timer for the socket and another for the context, and says which was first.
		return strings.Replace(wordError(err), "is *poll.DeadlineExceededError i/o timeout", "is context.deadlineExceededError context deadline exceeded", 1)
	}
	defer c.Close()
	if c, ok := c.(interface{ SetLinger(int) error }); ok {
		c.SetLinger(0)
	}
	return fmt.Sprint(c.RemoteAddr())
}
