package socketapi

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

// A network without a number is both families where no host is given, and one with a number is that
// family alone, as package net has it.
func TestNetworksAndFamilies(t *testing.T) {
	st, peer := lab(t, 1, engine.ModeAuto)
	for _, row := range []struct {
		network, address string
		four, six        bool
	}{
		{"tcp", ":7", true, true}, {"tcp", "[::]:7", true, true}, {"tcp4", ":7", true, false}, {"tcp6", ":7", false, true},
		{"tcp6", "[::]:7", false, true}, {"tcp", "0.0.0.0:7", true, true}, {"tcp", engineAddr + ":7", true, false},
		{"tcp", "[" + engineAddr6 + "]:7", false, true},
	} {
		l, err := st.Listen(row.network, row.address)
		if err != nil {
			t.Fatalf("%s %s: %v", row.network, row.address, err)
		}
		served := serveEcho(l)
		for _, f := range families {
			want := row.four
			if f.name == "IPv6" {
				want = row.six
			}
			c, err := peer.Dial("tcp", f.ours("7"))
			switch {
			case err == nil && want:
				bulkEcho(t, c, 10_000, 1)
			case err == nil:
				c.Close()
				t.Errorf("%s %s takes %s", row.network, row.address, f.name)
			case want || !errors.Is(err, unix.ECONNREFUSED):
				t.Errorf("%s %s and %s: %v", row.network, row.address, f.name, err)
			}
		}
		l.Close()
		within(t, longest, "the echo ends", func() { <-served })
	}
	for _, row := range [][2]string{{"tcp4", "[::]:7"}, {"tcp6", "0.0.0.0:7"}, {"udp4", "[::1]:7"}, {"udp6", "127.0.0.1:7"}} {
		var c interface{ Close() error }
		var err error
		if strings.HasPrefix(row[0], "tcp") {
			c, err = st.Listen(row[0], row[1])
		} else {
			c, err = st.ListenPacket(row[0], row[1])
		}
		if err == nil {
			c.Close()
			t.Errorf("%s takes %s", row[0], row[1])
		}
	}
}

// A port is one family's alone only if both say so.
func TestBothFamiliesOnOnePort(t *testing.T) {
	st, _ := lab(t, 1, engine.ModeAuto)
	six, err := st.ListenPacket("udp6", ":7")
	if err != nil {
		t.Fatal(err)
	}
	four, err := st.ListenPacket("udp4", ":7")
	if err != nil {
		t.Errorf("[::]:7 is IPv6's alone, and yet: %v", err)
	} else {
		four.Close()
	}
	six.Close()
	both, err := st.ListenPacket("udp", ":7")
	if err != nil {
		t.Fatal(err)
	}
	defer both.Close()
	if four, err := st.ListenPacket("udp4", ":7"); !errors.Is(err, unix.EADDRINUSE) {
		four.Close()
		t.Errorf("[::]:7 takes IPv4 too, and yet: %v", err)
	}
}

// linkLocalOf is the link-local address of an interface of the kernel.
func linkLocalOf(t *testing.T, ns *netlab.NS, name string) (addr netip.Addr) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err := ns.Do(func() error {
			ifi, err := net.InterfaceByName(name)
			if err != nil {
				return err
			}
			addrs, err := ifi.Addrs()
			for _, a := range addrs {
				if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is6() && p.Addr().IsLinkLocalUnicast() {
					addr = p.Addr()
				}
			}
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if addr.IsValid() {
			return addr
		}
	}
	t.Skipf("the kernel gives %s no link-local address", name)
	return addr
}

// TestLinkLocalByZone: fe80::/10 is on every link, so an address of it says which, by the name of the
// interface or its number.
func TestLinkLocalByZone(t *testing.T) {
	st, peer := lab(t, 1, engine.ModeAuto)
	kernel := linkLocalOf(t, peer, "vb")
	there, err := peer.ListenPacket("udp", net.JoinHostPort(kernel.String()+"%vb", "7"))
	if err != nil { // its address may still be tentative
		t.Skip(err)
	}
	defer there.Close()
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := there.ReadFrom(buf)
			if err != nil {
				return
			}
			there.WriteTo(buf[:n], from)
		}
	}()
	index := st.Host().Index(0)
	for _, zone := range []string{"", "%vx", "%99"} {
		for _, network := range []string{"tcp", "udp"} {
			if c, err := st.Dial(network, net.JoinHostPort(kernel.String()+zone, "7")); err == nil {
				c.Close()
				t.Errorf("%s: a zone %q is taken", network, zone)
			}
		}
	}
	for _, zone := range []string{"va", strconv.Itoa(index)} {
		c, err := st.Dial("udp", net.JoinHostPort(kernel.String()+"%"+zone, "7"))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(longest))
		c.Write([]byte("hello"))
		buf := make([]byte, 100)
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != "hello" {
			t.Errorf("%q, %v", buf[:n], err)
		}
		local := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr()
		if !local.IsLinkLocalUnicast() || local.Zone() == "" {
			t.Errorf("it is sent from %v", local)
		}
		c.Close()
	}
	// And by the Berkeley calls, where the number is in the socket address.
	fd, err := st.Table().Socket(unix.AF_INET6, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Table().Close(fd)
	to := &unix.SockaddrInet6{Addr: kernel.As16(), Port: 7, ZoneId: uint32(index)}
	if err := st.Table().Sendto(fd, []byte("again"), 0, to); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 100)
	within(t, longest, "the answer", func() {
		n, from, err := st.Table().Recvfrom(fd, buf, 0)
		if a, ok := from.(*unix.SockaddrInet6); err != nil || !ok || string(buf[:n]) != "again" || *a != *to {
			t.Errorf("%q from %+v, %v", buf[:n], from, err)
		}
	})
}
