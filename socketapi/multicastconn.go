package socketapi

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
)

// ListenMulticastUDP opens a UDP socket that receives what is sent to a group at a port, and nothing
// else. It joins on the interface with an index (see [host.Host.Index]); 0 is the one that routes
// lead to the group by, and another is the one that the socket sends to groups by too. Several sockets may listen to one group
// and port. As package net has it, none on this host hears what the socket sends to a group.
func (st *Stack) ListenMulticastUDP(to netip.AddrPort, index int) (*UDPConn, error) {
	fail := func(err error) (*UDPConn, error) {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(to), Err: err}
	}
	sock, errno := newUDPSocket(st.host, familyOf(to.Addr()))
	if errno != 0 {
		return fail(os.NewSyscallError("socket", errno))
	}
	sock.reuseAddr = true
	c := newUDPConn(st, "udp", sock)
	err := syscallError("bind", sock.bind(to))
	if err == nil {
		err = syscallError("setsockopt", c.sendsToGroups(to.Addr().Is4(), index))
	}
	if err == nil {
		err = c.JoinGroup(to.Addr(), index)
	}
	if err != nil {
		c.shut()
		return fail(err)
	}
	return c.placed(), nil
}

// sendsToGroups says how datagrams to groups leave: by the interface with an index, 0 is as routes lead, and not to this host.
func (c *UDPConn) sendsToGroups(four bool, index int) unix.Errno {
	level, loop, by, v := unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_LOOP, unix.IPV6_MULTICAST_IF, value{n: index}
	if four {
		var mreqn [unix.SizeofIPMreqn]byte
		binary.NativeEndian.PutUint32(mreqn[8:], uint32(index))
		level, loop, by, v = unix.IPPROTO_IP, unix.IP_MULTICAST_LOOP, unix.IP_MULTICAST_IF, value{text: string(mreqn[:])}
	}
	if index != 0 {
		if errno := c.setOption(level, by, v); errno != 0 {
			return errno
		}
	}
	return c.setOption(level, loop, value{n: 0})
}

// JoinGroup receives what anyone sends to a group on an interface.
func (c *UDPConn) JoinGroup(to netip.Addr, index int) error {
	return c.groups(to, index, func(s *group.Set, port int) (*group.Set, unix.Errno) { return s.Join(port, to) })
}

// LeaveGroup undoes JoinGroup, or JoinSource of all sources.
func (c *UDPConn) LeaveGroup(to netip.Addr, index int) error {
	return c.groups(to, index, func(s *group.Set, port int) (*group.Set, unix.Errno) { return s.Leave(port, to) })
}

// JoinSource receives what one sender sends to a group on an interface (RFC 4607).
func (c *UDPConn) JoinSource(to, source netip.Addr, index int) error {
	return c.groups(to, index, func(s *group.Set, port int) (*group.Set, unix.Errno) { return s.JoinSource(port, to, source) })
}

// LeaveSource undoes JoinSource.
func (c *UDPConn) LeaveSource(to, source netip.Addr, index int) error {
	return c.groups(to, index, func(s *group.Set, port int) (*group.Set, unix.Errno) { return s.LeaveSource(port, to, source) })
}

// groups changes what the socket has joined.
func (c *UDPConn) groups(to netip.Addr, index int, change func(*group.Set, int) (*group.Set, unix.Errno)) error {
	if !c.ok() {
		return unix.EINVAL
	}
	port, ok := c.s.host.PortOf(index)
	if index == 0 {
		port, ok = c.s.host.GroupPort(to, netip.Addr{})
	}
	errno := unix.ENODEV
	if ok {
		errno = c.s.setGroups(func(s *group.Set) (*group.Set, unix.Errno) { return change(s, port) })
	}
	if errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return nil
}
