package socketapi

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Two sockets of one group hear the same; the group of one sender is heard from no other.
func TestListenMulticastUDP(t *testing.T) {
	st, _ := openSelf(t, 2)
	to := netip.MustParseAddrPort("239.1.1.1:7")
	one, err := st.ListenMulticastUDP(to, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	two, err := st.ListenMulticastUDP(to, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	if err := two.LeaveGroup(to.Addr(), 0); err != nil {
		t.Fatal(err)
	}
	if err := two.JoinSource(to.Addr(), netip.MustParseAddr("192.0.2.1"), 0); err != nil {
		t.Fatal(err)
	}
	if err := two.JoinGroup(to.Addr(), 99); !errors.Is(err, unix.ENODEV) {
		t.Errorf("on no interface: %v", err)
	}
	if err := two.LeaveSource(to.Addr(), netip.MustParseAddr("192.0.2.9"), 0); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("leaving who was not joined: %v", err)
	}
	from, err := st.ListenUDP(netip.MustParseAddrPort("0.0.0.0:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	if _, err := from.WriteToUDPAddrPort([]byte("hello"), to); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	n, _, err := one.ReadFromUDPAddrPort(b)
	if err != nil || string(b[:n]) != "hello" {
		t.Errorf("%q, %v", b[:n], err)
	}
	// What it sends to a group itself is for others, as package net has it.
	if _, err := one.WriteToUDPAddrPort([]byte("own"), to); err != nil {
		t.Fatal(err)
	}
	one.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, _, err := one.ReadFromUDPAddrPort(b); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("it hears %q of itself, %v", b[:n], err)
	}
	for _, group := range []string{"239.1.1.2:7", "[ff15::7]:7"} {
		index := st.Host().Index(0)
		c, err := st.ListenMulticastUDP(netip.MustParseAddrPort(group), index)
		if err != nil {
			t.Fatal(err)
		}
		m := c.sock().multicast4
		if group[0] == '[' {
			m = c.sock().multicast6
		}
		if !m.Quiet || m.Port != 1 {
			t.Errorf("%s: sends to groups as %+v", group, m)
		}
		c.Close()
		if _, err := st.ListenMulticastUDP(netip.MustParseAddrPort(group), 999); !errors.Is(err, unix.EADDRNOTAVAIL) && !errors.Is(err, unix.ENODEV) {
			t.Errorf("%s on an interface that is none: %v", group, err)
		}
	}
	two.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if n, _, err := two.ReadFromUDPAddrPort(b); err == nil {
		t.Errorf("heard %q from a sender that was not asked for", b[:n])
	}
	if _, err := st.ListenMulticastUDP(netip.MustParseAddrPort("10.99.0.77:7"), 0); err == nil {
		t.Error("listens to an address that is no group")
	}
}
