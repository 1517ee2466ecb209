package socketapi

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// frameOf reads frames until one satisfies want.
func frameOf(t *testing.T, tb *Table, fd int, want func(b []byte, from *unix.SockaddrLinklayer) bool) []byte {
	t.Helper()
	p := make([]byte, 2000)
	for {
		n, from, err := tb.Recvfrom(fd, p, 0)
		if err != nil {
			t.Fatal(err)
		}
		if want(p[:n], from.(*unix.SockaddrLinklayer)) {
			return p[:n]
		}
	}
}

// TestPacketSocketSeesBothWays has one see an echo request come in and its reply go out.
func TestPacketSocketSeesBothWays(t *testing.T) {
	for _, queues := range []int{1, 2} {
		st, peer := lab(t, queues, engine.ModeAuto)
		tb := st.Table()
		all, err := tb.Socket(unix.AF_PACKET, unix.SOCK_RAW, int(networkOrder(unix.ETH_P_ALL)))
		fatal(t, err)
		defer tb.Close(all)
		fatal(t, tb.SetsockoptTimeval(all, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))
		arp, err := tb.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_ARP)))
		fatal(t, err)
		defer tb.Close(arp)
		fatal(t, tb.SetsockoptTimeval(arp, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))

		k, err := peer.Dial("udp", engineAddr+":9999") // nobody is there
		fatal(t, err)
		defer k.Close()
		body := []byte("to a port of nobody")
		_, err = k.Write(body)
		fatal(t, err)
		in := frameOf(t, tb, all, func(b []byte, from *unix.SockaddrLinklayer) bool {
			return from.Pkttype == udp.PacketHost && bytes.HasSuffix(b, body)
		})
		eth, _ := wire.ParseEthernet(in)
		ip, ok := wire.ParseIPv4(eth.Payload())
		if eth.Type() != wire.EtherTypeIPv4 || !ok || ip.Dst().String() != engineAddr {
			t.Errorf("%d queues: came in %x", queues, in)
		}
		out := frameOf(t, tb, all, func(b []byte, from *unix.SockaddrLinklayer) bool {
			ip, ok := wire.ParseIPv4(b[wire.EthernetLen:])
			return from.Pkttype == udp.PacketOutgoing && ok && ip.Protocol() == wire.ProtoICMP
		})
		back, _ := wire.ParseEthernet(out)
		if back.Dst() != eth.Src() || back.Src() != eth.Dst() {
			t.Errorf("%d queues: went out from %v to %v, after %v to %v came in", queues, back.Src(), back.Dst(), eth.Src(), eth.Dst())
		}

		// A socket of one type sees what comes in of it alone, and a cooked one the payload.
		p := make([]byte, 100)
		n, from, err := tb.Recvfrom(arp, p, 0)
		fatal(t, err)
		sa := from.(*unix.SockaddrLinklayer)
		if _, ok := wire.ParseARP(p[:n]); !ok || sa.Pkttype == udp.PacketOutgoing || networkOrder(sa.Protocol) != unix.ETH_P_ARP ||
			wire.MAC(sa.Addr[:6]) != eth.Src() || sa.Ifindex != st.Host().Index(0) || sa.Hatype != unix.ARPHRD_ETHER {
			t.Errorf("%d queues: ARP %x from %+v", queues, p[:n], sa)
		}
	}
}

// TestLinkConnSpeaksWithAKernelPacketSocket has a datagram written without an IP stack reach a
// kernel's socket, and the answer come back.
func TestLinkConnSpeaksWithAKernelPacketSocket(t *testing.T) {
	st, peer := lab(t, 1, engine.ModeAuto)
	const typ = 0x88b5 // IEEE 802 local experimental
	c, err := st.ListenLink(st.Host().Index(0), typ, true)
	fatal(t, err)
	k := linux{peer}
	fd, err := k.Socket(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(typ)))
	fatal(t, err)
	defer k.Close(fd)
	fatal(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}))

	mac := c.LocalAddr().(*LinkAddr).HardwareAddr
	if _, err := c.WriteTo([]byte("question"), &net.UnixAddr{Name: "ff:ff:ff:ff:ff:ff"}); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 100)
	n, from, err := k.Recvfrom(fd, p, 0)
	fatal(t, err)
	sa := from.(*unix.SockaddrLinklayer)
	if string(p[:n]) != "question" || !bytes.Equal(sa.Addr[:6], mac) || sa.Pkttype != unix.PACKET_BROADCAST {
		t.Fatalf("the kernel received %q from %+v", p[:n], sa)
	}

	// The engine takes no frames of other types from the NIC, so the answer is an ARP packet.
	c.Close()
	c, err = st.ListenLink(st.Host().Index(0), wire.EtherTypeARP, true)
	fatal(t, err)
	defer c.Close()
	c.SetDeadline(time.Now().Add(longest))
	go func() {
		a, err := peer.Dial("udp", engineAddr+":9")
		if err == nil {
			a.Write([]byte("x"))
			a.Close()
		}
	}()
	n, addr, err := c.ReadFrom(p)
	fatal(t, err)
	request, ok := wire.ParseARP(p[:n])
	if !ok || request.TargetIP() != netip.MustParseAddr(engineAddr) || addr.Network() != "packet" || len(addr.(*LinkAddr).HardwareAddr) != 6 {
		t.Errorf("read %x from %v", p[:n], addr)
	}
}

func TestLinkConnEnds(t *testing.T) {
	st, _ := lab(t, 1, engine.ModeAuto)
	if _, err := st.ListenLink(12345, wire.EtherTypeARP, true); !errors.Is(err, unix.ENODEV) {
		t.Errorf("on an interface that is none: %v", err)
	}
	c, err := st.ListenLink(st.Host().Index(0), wire.EtherTypeIPv4, false)
	fatal(t, err)
	c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if _, _, err := c.ReadFrom(make([]byte, 10)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline: %v", err)
	}
	if _, err := c.WriteTo(make([]byte, 13), nil); !errors.Is(err, unix.EINVAL) {
		t.Errorf("less than a header: %v", err)
	}
	if _, err := c.WriteTo(make([]byte, 1515), nil); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("more than the MTU: %v", err)
	}
	c.SetReadDeadline(time.Time{})
	ended := make(chan error)
	go func() { _, _, err := c.ReadFrom(make([]byte, 10)); ended <- err }()
	time.Sleep(10 * time.Millisecond)
	fatal(t, c.Close())
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read under way: %v", err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("close again: %v", err)
	}
}
