package socketapi

import (
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// ReadMsgUDPAddrPort reads one datagram into p, and into oob the control messages that the socket has asked for
// (RawConn, and [Table.SetsockoptInt] with IP_PKTINFO and the like). It returns the lengths of both, MSG_TRUNC and
// MSG_CTRUNC where something did not fit, and who sent it.
func (c *UDPConn) ReadMsgUDPAddrPort(p, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error) {
	if !c.ok() {
		return 0, 0, 0, from, unix.EINVAL
	}
	for {
		r, errno := c.s.receiveMessage(p, 0, mono.Never)
		switch {
		case errno == errReported:
			if report := c.s.takeReport(); report != nil { // another reader may have been faster
				return 0, 0, 0, netip.AddrPort{}, c.reported(report)
			}
			continue
		case errno != 0:
			return 0, 0, 0, netip.AddrPort{}, c.fail("read", "recvmsg", errno)
		}
		ctl := control{b: oob}
		ctl.receivedWith(c.file.common(), &r.m)
		if ctl.trunc {
			r.flags |= unix.MSG_CTRUNC
		}
		return r.n, ctl.n, r.flags, c.st.named(r.from), nil
	}
}

// ReadMsgUDP is ReadMsgUDPAddrPort with the address as package net has them.
func (c *UDPConn) ReadMsgUDP(p, oob []byte) (n, oobn, flags int, from *net.UDPAddr, err error) {
	n, oobn, flags, a, err := c.ReadMsgUDPAddrPort(p, oob)
	if a.IsValid() {
		from = net.UDPAddrFromAddrPort(a)
	}
	return n, oobn, flags, from, err
}

// WriteMsgUDPAddrPort sends one datagram, to the peer if the address is not valid, as the control messages in oob
// say (IP_PKTINFO, IP_TTL, ...).
func (c *UDPConn) WriteMsgUDPAddrPort(p, oob []byte, to netip.AddrPort) (n, oobn int, err error) {
	if !c.ok() {
		return 0, 0, unix.EINVAL
	}
	if n, err = c.sendMessage(p, oob, to); err != nil {
		return 0, 0, c.notTo(addrPortAddr{to}, err)
	}
	return n, len(oob), nil
}

// WriteMsgUDP is WriteMsgUDPAddrPort with the address as package net has them, nil for the peer.
func (c *UDPConn) WriteMsgUDP(p, oob []byte, to *net.UDPAddr) (n, oobn int, err error) {
	if !c.ok() {
		return 0, 0, unix.EINVAL
	}
	var dest netip.AddrPort
	if to != nil {
		dest = c.addrPort(to)
	}
	if n, err = c.sendMessage(p, oob, dest); err != nil {
		return 0, 0, c.notTo(opAddr(to), err)
	}
	return n, len(oob), nil
}

// sendMessage sends one datagram. Its error does not say where.
func (c *UDPConn) sendMessage(p, oob []byte, to netip.AddrPort) (n int, err error) {
	switch {
	case c.remote.IsValid() && to.IsValid():
		return 0, net.ErrWriteToConnected
	case !c.remote.IsValid() && !to.IsValid():
		return 0, errMissingAddress
	case to.IsValid():
		if to, err = c.destination(to); err != nil {
			return 0, err
		}
	}
	n, errno := c.sock().sendMessage(p, oob, to, 0)
	if errno != 0 {
		return 0, callError("sendmsg", errno)
	}
	return n, nil
}
