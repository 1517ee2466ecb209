package socketapi

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLentDescriptors: the number that a connection lends is good for the calls of the table and for none of the kernel's,
// cannot be closed or duplicated, and is gone with the connection.
func TestLentDescriptors(t *testing.T) {
	st, _ := openSelf(t, 1)
	table := st.Table()
	l, err := st.ListenTCP(netip.MustParseAddrPort(loop))
	fatal(t, err)
	defer l.Close()
	c, err := st.Dial("tcp", l.Addr().String())
	fatal(t, err)
	d, err := l.AcceptTCP()
	fatal(t, err)
	defer d.Close()
	fd := -1
	for range 2 {
		before := fd
		fatal(t, c.(*TCPConn).RawConn().Control(func(n uintptr) { fd = int(n) }))
		if before >= 0 && before != fd {
			t.Errorf("it was %d and is %d", before, fd)
		}
	}
	if n, err := table.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); n != unix.SOCK_STREAM || err != nil {
		t.Errorf("SO_TYPE: %d, %v", n, err)
	}
	if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != unix.EBADF {
		t.Errorf("to the kernel it is %v, want EBADF", err)
	}
	sa, err := table.Getpeername(fd)
	if err != nil || net.TCPAddrFromAddrPort(c.(*TCPConn).remote).Port != sa.(*unix.SockaddrInet4).Port {
		t.Errorf("getpeername: %v, %v", sa, err)
	}
	if err := table.Close(fd); err != unix.EBADF {
		t.Errorf("close: %v, want EBADF", err)
	}
	if _, err := table.Dup(fd); err != unix.EBADF {
		t.Errorf("dup: %v, want EBADF", err)
	}
	if err := table.Dup3(fd, 7, 0); err != unix.EBADF {
		t.Errorf("dup3: %v, want EBADF", err)
	}
	for _, cmd := range []int{unix.F_GETFD, unix.F_SETFD} {
		if n, err := table.FcntlInt(uintptr(fd), cmd, 0); n != 0 || err != nil {
			t.Errorf("fcntl %d: %d, %v", cmd, n, err)
		}
	}
	if _, err := table.Read(fd, make([]byte, 1)); err != unix.EAGAIN {
		t.Errorf("read: %v, want EAGAIN as of a non-blocking descriptor", err)
	}
	// An epoll that waits for it forgets it when the connection is closed.
	e, err := table.EpollCreate1(0)
	fatal(t, err)
	defer table.Close(e)
	fatal(t, table.EpollCtl(e, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: 1}))
	_, err = d.Write([]byte("x"))
	fatal(t, err)
	events := make([]unix.EpollEvent, 4)
	if n, err := table.EpollWait(e, events, int(longest.Milliseconds())); n != 1 || err != nil {
		t.Errorf("epoll: %d, %v", n, err)
	}
	fatal(t, c.Close())
	if n, err := table.EpollWait(e, events, 0); n != 0 || err != nil {
		t.Errorf("epoll after close: %d, %v", n, err)
	}
	if _, err := table.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != unix.EBADF {
		t.Errorf("after close it is %v, want EBADF", err)
	}
	if n := len(table.lent.of) + len(table.lent.fds); n != 0 {
		t.Errorf("%d numbers are still lent", n)
	}
}

// TestZonesAreNames: an address of a link says the interface by its name, in all forms, and can be dialled as it is said.
func TestZonesAreNames(t *testing.T) {
	a, b := twoFamilies(t, nil)
	linkLocal := func(st *Stack) netip.Addr {
		for _, x := range st.Host().Addrs() {
			if p := x.Prefix.Addr(); p.Is6() && p.IsLinkLocalUnicast() {
				return p.WithZone("")
			}
		}
		t.Fatal("no link-local address")
		return netip.Addr{}
	}
	nameA, nameB := a.Interfaces()[0].Name, b.Interfaces()[0].Name
	local, remote := linkLocal(a).WithZone(nameA), linkLocal(b).WithZone(nameA)
	l, err := b.Listen("tcp", net.JoinHostPort(remote.WithZone(nameB).String(), "80"))
	fatal(t, err)
	defer l.Close()
	if got, want := l.Addr().(*net.TCPAddr).Zone, nameB; got != want {
		t.Errorf("it listens at the zone %q, want %q", got, want)
	}
	c, err := a.Dial("tcp", net.JoinHostPort(remote.String(), "80"))
	fatal(t, err)
	defer c.Close()
	d, err := l.Accept()
	fatal(t, err)
	defer d.Close()
	for _, x := range []struct {
		got  net.Addr
		want netip.Addr
	}{{c.LocalAddr(), local}, {c.RemoteAddr(), remote}, {d.LocalAddr(), remote.WithZone(nameB)}, {d.RemoteAddr(), local.WithZone(nameB)}} {
		if got := x.got.(*net.TCPAddr).AddrPort().Addr(); got != x.want {
			t.Errorf("an address is %v, want %v", got, x.want)
		}
	}
	u, err := b.ListenUDP(netip.MustParseAddrPort("[::]:7"))
	fatal(t, err)
	defer u.Close()
	go echoUDP(u) // which sends to the address that it has read
	v, err := a.ListenPacket("udp", ":0")
	fatal(t, err)
	defer v.Close()
	_, err = v.WriteTo([]byte("x"), net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, 7)))
	fatal(t, err)
	_, from, err := v.ReadFrom(make([]byte, 9))
	fatal(t, err)
	if got := from.(*net.UDPAddr).AddrPort(); got != netip.AddrPortFrom(remote, 7) {
		t.Errorf("a datagram from %v, want %v", got, remote)
	}
	if _, err := v.WriteTo([]byte("x"), &net.UDPAddr{IP: remote.AsSlice(), Zone: "nowhere", Port: 7}); err == nil {
		t.Error("a zone that is no interface will do")
	}
}

// TestUDPConnSegments: many datagrams that are one call of WriteMsgUDP, and one of ReadMsgUDP, with the options that RawConn sets.
func TestUDPConnSegments(t *testing.T) {
	st, _ := openSelf(t, 1)
	to, err := st.ListenUDP(netip.MustParseAddrPort(loop))
	fatal(t, err)
	defer to.Close()
	from, err := st.DialUDP(netip.AddrPort{}, to.LocalAddr().(*net.UDPAddr).AddrPort())
	fatal(t, err)
	defer from.Close()
	set := func(c *UDPConn, opt, n int) {
		t.Helper()
		fatal(t, c.RawConn().Control(func(fd uintptr) { fatal(t, st.Table().SetsockoptInt(int(fd), unix.IPPROTO_UDP, opt, n)) }))
	}
	set(to, unix.UDP_GRO, 1)
	for _, send := range []func() (int, error){
		func() (int, error) {
			n, _, err := from.WriteMsgUDP(numbered(2500), segmentCmsg(1000), nil)
			return n, err
		},
		func() (int, error) {
			set(from, unix.UDP_SEGMENT, 1000)
			return from.Write(numbered(2500))
		},
	} {
		n, err := send()
		if n != 2500 || err != nil {
			t.Fatal(n, err)
		}
		p, oob := make([]byte, 9000), make([]byte, 100)
		n, oobn, flags, _, err := to.ReadMsgUDP(p, oob)
		if err != nil || flags != 0 || !bytes.Equal(p[:n], numbered(2500)) {
			t.Error(n, flags, err)
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		if err != nil || len(messages) != 1 || messages[0].Header.Level != unix.IPPROTO_UDP || messages[0].Header.Type != unix.UDP_GRO ||
			binary.NativeEndian.Uint32(messages[0].Data) != 1000 {
			t.Error(messages, err)
		}
	}
}
