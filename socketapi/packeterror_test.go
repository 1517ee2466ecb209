package socketapi

import (
	"errors"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// reportOf is the report inside an error.
func reportOf(t *testing.T, err error) *PacketError {
	t.Helper()
	var e *PacketError
	if !errors.As(err, &e) {
		t.Fatalf("%v is no report", err)
	}
	return e
}

func TestPingHearsWhyThereIsNoReply(t *testing.T) {
	t.Parallel()
	st, _ := lab(t, 1, engine.ModeAuto)
	c, err := st.ListenPing(netip.IPv4Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own, nobody := netip.MustParseAddr(engineAddr), netip.MustParseAddr("10.99.0.77")
	c.SetReadDeadline(time.Now().Add(time.Minute))
	for _, seq := range []uint16{3, 4} {
		if err := c.WriteEcho(nobody, seq, []byte("anybody?")); err != nil {
			t.Fatal(err)
		}
	}
	for _, seq := range []uint16{3, 4} {
		_, err := c.ReadEcho(make([]byte, 100))
		e := reportOf(t, err)
		if !errors.Is(err, unix.EHOSTUNREACH) || e.Seq != seq || e.From != own || e.To.Addr() != nobody || e.Reason() != "Destination Host Unreachable" || e.Expired() {
			t.Errorf("%+v: %v", e, err)
		}
	}
	// And the socket works on.
	kernel := netip.MustParseAddr(kernelAddr)
	if e := echo(t, c, kernel, 5, []byte("hello")); e.From != kernel {
		t.Errorf("%+v", e)
	}
	c.SetReadDeadline(time.Now().Add(time.Millisecond))
	if _, err := c.ReadEcho(make([]byte, 100)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("once more: %v", err)
	}
}

// Each datagram's error is told, with where it was sent, also to a socket that is not connected.
func TestUDPReportsErrors(t *testing.T) {
	st, _ := lab(t, 1, engine.ModeAuto)
	c, err := st.ListenUDP(netip.MustParseAddrPort(engineAddr + ":1000"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.ReportErrors()
	kernel := netip.MustParseAddr(kernelAddr)
	for port := uint16(9000); port < 9003; port++ {
		if _, err := c.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(kernel, port)); err != nil {
			t.Fatal(err)
		}
	}
	c.SetReadDeadline(time.Now().Add(time.Minute))
	for port := uint16(9000); port < 9003; port++ {
		_, _, err := c.ReadFromUDPAddrPort(make([]byte, 10))
		e := reportOf(t, err)
		if !errors.Is(err, unix.ECONNREFUSED) || !e.PortUnreachable() || e.To != netip.AddrPortFrom(kernel, port) || e.From != kernel {
			t.Errorf("port %d: %+v: %v", port, e, err)
		}
	}
	if err := c.SetTTL(0); !errors.Is(err, unix.EINVAL) {
		t.Errorf("TTL 0: %v", err)
	}
	if err := c.SetTTL(255); err != nil {
		t.Errorf("TTL 255: %v", err)
	}
}

// What is sent carries the hop count that was set, over both families.
func TestSetTTL(t *testing.T) {
	st, peer := lab(t, 1, engine.ModeAuto)
	eachFamily(t, func(t *testing.T, f family) {
		k, err := peer.ListenPacket("udp", f.theirs("7000"))
		if err != nil {
			t.Fatal(err)
		}
		defer k.Close()
		p4, p6 := ipv4.NewPacketConn(k), ipv6.NewPacketConn(k)
		if f.header == wire.IPv4Len {
			err = p4.SetControlMessage(ipv4.FlagTTL, true)
		} else {
			err = p6.SetControlMessage(ipv6.FlagHopLimit, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		c, err := st.ListenUDP(netip.MustParseAddrPort(f.ours("7001")))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		k.SetReadDeadline(time.Now().Add(time.Minute))
		for _, ttl := range []int{1, 64, 255} {
			if err := c.SetTTL(ttl); err != nil {
				t.Fatal(err)
			}
			if _, err := c.WriteToUDPAddrPort([]byte("x"), netip.MustParseAddrPort(f.theirs("7000"))); err != nil {
				t.Fatal(err)
			}
			got, buf := 0, make([]byte, 10)
			if f.header == wire.IPv4Len {
				_, m, _, err := p4.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				got = m.TTL
			} else {
				_, m, _, err := p6.ReadFrom(buf)
				if err != nil {
					t.Fatal(err)
				}
				got = m.HopLimit
			}
			if got != ttl {
				t.Errorf("arrived with %d, not %d", got, ttl)
			}
		}
	})
}

func TestReasons(t *testing.T) {
	for _, test := range []struct {
		e       PacketError
		reason  string
		expired bool
		port    bool
	}{
		{PacketError{Type: uint8(wire.ICMP4TimeExceeded)}, "Time to live exceeded", true, false},
		{PacketError{Type: uint8(wire.ICMP4TimeExceeded), Code: 1}, "Frag reassembly time exceeded", false, false},
		{PacketError{Type: uint8(wire.ICMP4Unreachable), Code: 3}, "Destination Port Unreachable", false, true},
		{PacketError{Type: uint8(wire.ICMP4Unreachable), Code: 4, Info: 1400}, "Frag needed and DF set (mtu = 1400)", false, false},
		{PacketError{Type: uint8(wire.ICMP4Unreachable), Code: 99}, "Dest Unreachable, Bad Code: 99", false, false},
		{PacketError{Type: 99}, "Bad ICMP type: 99", false, false},
		{PacketError{V6: true, Type: uint8(wire.ICMP6TimeExceeded)}, "Time exceeded: Hop limit", true, false},
		{PacketError{V6: true, Type: uint8(wire.ICMP6Unreachable), Code: 4}, "Destination unreachable: Port unreachable", false, true},
		{PacketError{V6: true, Type: uint8(wire.ICMP6PacketTooBig), Info: 1280}, "Packet too big: mtu=1280", false, false},
		{PacketError{V6: true, Type: 99}, "Unknown ICMP type: 99", false, false},
	} {
		if got := test.e.Reason(); got != test.reason {
			t.Errorf("%+v: %q, want %q", test.e, got, test.reason)
		}
		if test.e.Expired() != test.expired || test.e.PortUnreachable() != test.port {
			t.Errorf("%+v: expired %v, port unreachable %v", test.e, test.e.Expired(), test.e.PortUnreachable())
		}
	}
}
