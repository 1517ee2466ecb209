package socketapi

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// What package net gives a UDP socket: it may write to everyone.
func TestUDPConnBroadcasts(t *testing.T) {
	a, b := twoHosts(t)
	in, err := b.ListenUDP(netip.MustParseAddrPort("0.0.0.0:7"))
	fatal(t, err)
	defer in.Close()
	in.SetReadDeadline(time.Now().Add(longest))
	out, err := a.ListenUDP(netip.MustParseAddrPort(addrA + ":9"))
	fatal(t, err)
	defer out.Close()
	for _, all := range []netip.Addr{broadcastOf(netip.MustParsePrefix(addrA + "/24")), netip.MustParseAddr("255.255.255.255")} {
		_, err = out.WriteTo([]byte("hello"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(all, 7)))
		fatal(t, err)
		p := make([]byte, 10)
		n, from, err := in.ReadFrom(p)
		if err != nil || string(p[:n]) != "hello" || from.String() != addrA+":9" {
			t.Errorf("%v: %q from %v: %v", all, p[:n], from, err)
		}
	}
}
