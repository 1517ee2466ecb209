package socketapi

import (
	"cmp"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// failure makes an error of an errno.
func failure(errno unix.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// protocolMax is IPPROTO_MAX: no protocol has this number or a greater one.
const protocolMax = 263

// Socket opens a socket: AF_INET or AF_INET6 with SOCK_STREAM, SOCK_DGRAM (UDP, or ICMP echo) or SOCK_RAW,
// AF_PACKET with SOCK_RAW or SOCK_DGRAM, each with SOCK_NONBLOCK and SOCK_CLOEXEC (which says
// nothing: these descriptors are not inherited). SOCK_RAW and AF_PACKET want CAP_NET_RAW of the calling thread. Any other family is opened in the kernel, in the network namespace
// of the calling thread.
func (t *Table) Socket(domain, typ, proto int) (fd int, err error) {
	if !engineFamily(domain) {
		return t.kernelSocket(domain, typ, proto)
	}
	nonblock := typ&unix.SOCK_NONBLOCK != 0
	s, errno := t.open(domain, typ&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC), proto)
	if errno != 0 {
		return -1, errno
	}
	return t.install(s, nonblock, typ&unix.SOCK_CLOEXEC != 0)
}

func (t *Table) open(domain, typ, proto int) (socket, unix.Errno) {
	switch {
	case domain == unix.AF_PACKET:
		return t.openPacket(typ, proto)
	case domain == unix.AF_INET && typ == unix.SOCK_PACKET: // which is AF_PACKET's (Linux: __sock_create)
		return t.openPacket(typ, proto)
	case typ < 0 || typ > unix.SOCK_PACKET:
		return nil, unix.EINVAL
	case proto < 0 || proto >= protocolMax:
		return nil, unix.EINVAL
	}
	var s socket
	var errno unix.Errno
	switch {
	case t.host.Shares() && (typ == unix.SOCK_RAW || typ == unix.SOCK_DGRAM && proto == int(icmpOf(domain))):
		errno = unix.EPROTONOSUPPORT // what has no port stays with the kernel: see host.Interface.Share
	case typ == unix.SOCK_STREAM && (proto == 0 || proto == unix.IPPROTO_TCP):
		s, errno = newTCPSocket(t.host, domain)
	case typ == unix.SOCK_DGRAM && (proto == 0 || proto == unix.IPPROTO_UDP):
		s, errno = newUDPSocket(t.host, domain)
	case typ == unix.SOCK_DGRAM && proto == int(icmpOf(domain)):
		s, errno = newPingSocket(t.host, domain)
	case typ == unix.SOCK_RAW && proto > 0 && proto <= 0xff:
		s, errno = newRawSocket(t.host, domain, wire.Protocol(proto))
	case typ == unix.SOCK_STREAM || typ == unix.SOCK_DGRAM || typ == unix.SOCK_RAW:
		errno = unix.EPROTONOSUPPORT
	default:
		errno = unix.ESOCKTNOSUPPORT
	}
	if errno != 0 {
		return nil, errno
	}
	return s, 0
}

func (t *Table) openPacket(typ, proto int) (socket, unix.Errno) {
	if typ < 0 || typ > unix.SOCK_PACKET {
		return nil, unix.EINVAL
	}
	s, errno := newPacketSocket(t.host, typ, wire.EtherType(networkOrder(uint16(proto))))
	if errno != 0 {
		return nil, errno
	}
	return s, 0
}

// install gives a socket a descriptor, or closes it.
func (t *Table) install(s socket, nonblock, closeOnExec bool) (fd int, err error) {
	f := &file{socket: s}
	f.nonblock.Store(nonblock)
	fd, errno := t.add(f)
	if errno != 0 {
		s.close()
		return -1, errno
	}
	t.setCloseOnExec(fd, closeOnExec)
	return fd, nil
}

// Close frees a descriptor. With the last one of a socket the socket is closed: calls that
// wait at it are EBADF, and what was sent is still sent. Closing the last socket of a host
// waits for that, as long as [host.Config] says.
func (t *Table) Close(fd int) error {
	if t.isForeign(fd) {
		return t.closeForeign(fd)
	}
	f, last := t.remove(fd)
	if f == nil {
		return unix.EBADF
	}
	if last {
		f.shut()
	}
	return nil
}

// Bind gives a socket a local address. Port 0 is chosen.
func (t *Table) Bind(fd int, sa unix.Sockaddr) error {
	f := t.sock(fd)
	if f == nil {
		return t.other(fd).named(sa, unix.Bind)
	}
	if sa == nil {
		return unix.EINVAL
	}
	if s, ok := f.socket.(*packetSocket); ok {
		return failure(s.bindLink(sa))
	}
	a, errno := addrOf(sa, f.common().family)
	if s, ok := f.socket.(*rawSocket); ok && errno == unix.EAFNOSUPPORT && s.d.peer().IsValid() {
		errno = unix.EINVAL // which raw_bind looks at first
	}
	if errno != 0 {
		return errno
	}
	return failure(f.bind(a))
}

// Listen makes a stream socket wait for connections, n of which may wait for Accept.
func (t *Table) Listen(s, n int) error {
	f := t.sock(s)
	if f == nil {
		return t.other(s).do(func(fd int) error { return unix.Listen(fd, n) })
	}
	return failure(f.listen(n))
}

// Accept takes a connection that waits, and says who made it.
func (t *Table) Accept(fd int) (nfd int, sa unix.Sockaddr, err error) { return t.Accept4(fd, 0) }

// Accept4 is Accept with SOCK_NONBLOCK and SOCK_CLOEXEC for the new descriptor.
func (t *Table) Accept4(fd int, flags int) (nfd int, sa unix.Sockaddr, err error) {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return -1, nil, unix.EBADF
	case flags&^(unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC) != 0:
		return -1, nil, unix.EINVAL
	case !f.ours():
		return f.other().accept(t, flags)
	}
	nfd, errno := t.reserve() // first, as on Linux: EMFILE loses no connection
	if errno != 0 {
		return -1, nil, errno
	}
	s, from, errno := f.accept(f.flags(0))
	if errno != 0 {
		t.cancel(nfd)
		return -1, nil, errno
	}
	accepted := &file{socket: s}
	accepted.nonblock.Store(flags&unix.SOCK_NONBLOCK != 0)
	t.fulfil(nfd, accepted)
	t.setCloseOnExec(nfd, flags&unix.SOCK_CLOEXEC != 0)
	return nfd, sockaddr(from, s.common().family), nil
}

// Connect connects a stream, or sets the peer of a datagram socket. A nil address is
// AF_UNSPEC: it undoes that.
func (t *Table) Connect(fd int, sa unix.Sockaddr) error {
	f := t.sock(fd)
	if f == nil {
		return t.other(fd).connect(sa)
	}
	if s, ok := f.socket.(*packetSocket); ok {
		return s.without()
	}
	a, errno := f.addrOf(sa)
	if _, four := sa.(*unix.SockaddrInet4); four && errno == unix.EINVAL && f.common().class()&(onRaw|onPing) != 0 {
		errno = unix.EAFNOSUPPORT // ip6_datagram_connect_v6_only
	}
	if s, ok := f.socket.(*tcpSocket); ok && errno != 0 && s.engaged() {
		a, errno = s.unspecified(), 0 // who has a peer is not asked for another
	}
	if errno == 0 {
		errno = f.connect(a, f.flags(0))
	}
	if errno != 0 && sa != nil {
		f.autobind()
	}
	return failure(errno)
}

// Shutdown ends one direction or both: SHUT_RD, SHUT_WR, SHUT_RDWR.
func (t *Table) Shutdown(fd int, how int) error {
	f := t.sock(fd)
	if f == nil {
		return t.other(fd).do(func(fd int) error { return unix.Shutdown(fd, how) })
	}
	return failure(f.shutdown(how))
}

// Getsockname returns the local address.
func (t *Table) Getsockname(fd int) (unix.Sockaddr, error) {
	f := t.sock(fd)
	if f == nil {
		return asks(t.other(fd), unix.Getsockname)
	}
	if s, ok := f.socket.(*packetSocket); ok {
		return s.nameLink(), nil
	}
	return sockaddr(f.name(), f.common().family), nil
}

// Getpeername returns the peer's address.
func (t *Table) Getpeername(fd int) (unix.Sockaddr, error) {
	f := t.sock(fd)
	if f == nil {
		return asks(t.other(fd), unix.Getpeername)
	}
	a, errno := f.peerName()
	if errno != 0 {
		return nil, errno
	}
	return sockaddr(a, f.common().family), nil
}

// Read reads what is there, at least one byte of a stream or one datagram.
func (t *Table) Read(fd int, p []byte) (n int, err error) {
	f := t.lookup(fd)
	if !f.ours() {
		return f.other().read(p)
	}
	if len(p) == 0 {
		return 0, nil // read(2) of nothing does not ask the socket (sock_read_iter)
	}
	r, errno := f.recv(p, f.flags(0))
	if errno != 0 {
		return -1, errno
	}
	return r.n, nil
}

// Write writes p: all of it to a stream, unless the descriptor does not wait, or one datagram.
func (t *Table) Write(fd int, p []byte) (n int, err error) {
	f := t.lookup(fd)
	if !f.ours() {
		return f.other().write(p)
	}
	return t.send(f, p, nil, nil, 0)
}

// Send is Write with flags.
func (t *Table) Send(s int, buf []byte, flags int) error {
	f := t.lookup(s)
	n, err := t.send(f, buf, nil, nil, flags)
	f.zeroCopied(n, flags, err)
	return err
}

// Sendto sends p to an address.
func (t *Table) Sendto(fd int, p []byte, flags int, to unix.Sockaddr) error {
	f := t.lookup(fd)
	n, err := t.send(f, p, nil, to, flags&(msgCompat-1))
	f.zeroCopied(n, flags, err)
	return err
}

// Sendmsg is SendmsgN without the count.
func (t *Table) Sendmsg(fd int, p, oob []byte, to unix.Sockaddr, flags int) error {
	_, err := t.SendmsgN(fd, p, oob, to, flags)
	return err
}

// SendmsgN sends p, as the control messages in oob say: IP_PKTINFO, IP_TTL, IP_TOS, IPV6_PKTINFO,
// IPV6_HOPLIMIT, IPV6_TCLASS, IPV6_DONTFRAG. It says how much of it a stream took.
func (t *Table) SendmsgN(fd int, p, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	return t.sendmsg(t.lookup(fd), [][]byte{p}, oob, to, flags)
}

// SendmsgBuffers is SendmsgN for a message in pieces.
func (t *Table) SendmsgBuffers(fd int, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	return t.sendmsg(t.lookup(fd), buffers, oob, to, flags)
}

// compat says whether flags have MSG_CMSG_COMPAT, which the kernel keeps for itself: it is EINVAL where there can be control messages, and
// says nothing to sendto and recvfrom.
func compat(flags int) bool { return flags&msgCompat != 0 }

const msgCompat = 1 << 31

// controlMax is how long the control messages of one call are not: net.core.optmem_max, as Linux has it at first (sock_kmalloc).
const controlMax = 128 << 10

func (t *Table) sendmsg(f *file, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	switch empty := sum(buffers) == 0; {
	case compat(flags):
		return 0, unix.EINVAL
	case f.sock() && len(buffers) > iovecsMax:
		return 0, unix.EMSGSIZE
	case f.ours() && len(oob) >= controlMax:
		return 0, unix.ENOBUFS
	case empty && f.dummies(oob):
		n, err = t.send(f, make([]byte, 1), oob, to, flags)
		f.zeroCopied(n, flags, err)
		return 0, err
	case empty:
		n, err = t.send(f, nil, oob, to, flags)
	default:
		n, err = t.sendPieces(f, buffers, oob, to, flags)
	}
	f.zeroCopied(n, flags, err)
	return max(n, 0), err
}

// dummies says whether package unix sends a byte with control messages that have none to go with, and takes one with
// those that are received into none: on all but datagram sockets. What calls it ports without a change.
func (f *file) dummies(oob []byte) bool {
	return len(oob) > 0 && f.ours() && f.common().kind != unix.SOCK_DGRAM
}

func (t *Table) send(f *file, p, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	if !f.ours() {
		return f.other().sendmsg([][]byte{p}, oob, to, flags)
	}
	var errno unix.Errno
	if s, ok := f.socket.(*packetSocket); ok {
		n, errno = s.sendLink(p, oob, to, f.flags(flags))
	} else {
		var a netip.AddrPort
		if c := f.common(); c.kind != unix.SOCK_STREAM || flags&unix.MSG_FASTOPEN != 0 { // a stream does not look at it otherwise
			if a, errno = f.addrOf(to); errno != 0 { // what is looked at first may be wrong, too
				if s, ok := f.socket.(*pingSocket); ok {
					errno = cmp.Or(s.refusesRequest(p, flags), errno)
				} else if flags&unix.MSG_OOB != 0 {
					errno = unix.EOPNOTSUPP
				} else if errno == unix.EAFNOSUPPORT && c.family == unix.AF_INET6 && c.class() == onUDP {
					errno = unix.EINVAL // udpv6_sendmsg
				}
			}
		}
		if errno == 0 {
			n, errno = f.send(p, oob, a, f.flags(flags))
		}
	}
	if errno != 0 {
		return -1, t.failed(f, errno, flags)
	}
	return n, nil
}

// failed is what else a send does that fails.
func (t *Table) failed(f *file, errno unix.Errno, flags int) error {
	if errno == unix.EPIPE {
		t.broken(f.common().kind, flags)
	}
	f.autobind()
	return errno
}

// addrOf reads the address of a peer. To UDP over IPv6 one of IPv4 may be said in its own form (udpv6_sendmsg,
// __ip6_datagram_connect).
func (f *file) addrOf(sa unix.Sockaddr) (netip.AddrPort, unix.Errno) {
	c := f.common()
	if _, four := sa.(*unix.SockaddrInet4); four && c.family == unix.AF_INET6 && c.class() == onUDP {
		return addrOf(sa, unix.AF_INET)
	}
	return addrOf(sa, c.family)
}

// autobind gives a socket of datagrams a port, as a connect or send does that fails (Linux: inet_autobind).
func (f *file) autobind() {
	if s, ok := f.socket.(datagramSocket); ok {
		if d := s.datagrams(); !d.raw && d.ended.Load() == 0 {
			d.bound()
		}
	}
}

// Recvfrom reads as Read does and says who sent a datagram; of a stream it does not.
func (t *Table) Recvfrom(fd int, p []byte, flags int) (n int, from unix.Sockaddr, err error) {
	n, _, _, from, err = t.Recvmsg(fd, p, nil, flags&(msgCompat-1))
	if err != nil {
		return -1, nil, err
	}
	return n, from, nil
}

// Recvmsg is Recvfrom that also says whether a datagram was cut off (MSG_TRUNC in recvflags), and
// writes what else is known of it to oob, as the socket's options ask for; MSG_CTRUNC says that there
// was no room for all. With MSG_ERRQUEUE it takes an error of the error queue (IP_RECVERR).
func (t *Table) Recvmsg(fd int, p, oob []byte, flags int) (n, oobn int, recvflags int, from unix.Sockaddr, err error) {
	return t.recvmsg(t.lookup(fd), p, oob, flags)
}

func (t *Table) recvmsg(f *file, p, oob []byte, flags int) (n, oobn int, recvflags int, from unix.Sockaddr, err error) {
	if compat(flags) {
		return -1, 0, 0, nil, unix.EINVAL
	}
	if !f.ours() {
		if n, oobn, recvflags, from, err = f.other().recvmsg([][]byte{p}, oob, flags); err == unix.ENOTSOCK && len(p) == 0 && len(oob) > 0 {
			n = 0 // package unix has not come to the call
		}
		return n, oobn, recvflags, from, err
	}
	if len(p) == 0 && f.dummies(oob) {
		p = make([]byte, 1)
	}
	var r received
	var e udp.ExtendedError
	var errno unix.Errno
	if flags&unix.MSG_ERRQUEUE != 0 {
		r, e, errno = f.recvError(p, flags)
	} else {
		r, errno = f.recv(p, f.flags(flags))
	}
	if errno != 0 {
		return -1, 0, 0, nil, errno
	}
	c, set := control{b: oob}, f.common()
	switch {
	case flags&unix.MSG_ERRQUEUE != 0 && e.Origin == udp.OriginStamp:
		c.sentWith(set, &r.m)
	case flags&unix.MSG_ERRQUEUE != 0 && e.Origin == udp.OriginZeroCopy:
		if set.wants.has(wantTimestamp) { // it has no time of its own, and is given one (__sock_recv_timestamp)
			c.sentWith(set, &r.m)
		}
	case flags&unix.MSG_ERRQUEUE == 0 && set.kind == unix.SOCK_STREAM:
		c.readWith(set, &r.m)
		if flags&unix.MSG_OOB == 0 {
			c.unread(f.socket)
		}
	default:
		c.receivedWith(set, &r.m)
	}
	if flags&unix.MSG_ERRQUEUE != 0 {
		c.extended(set.family, &e)
	}
	if c.trunc {
		r.flags |= unix.MSG_CTRUNC
	}
	r.flags |= flags & unix.MSG_CMSG_CLOEXEC // Linux: ____sys_recvmsg
	if s, ok := f.socket.(*packetSocket); ok {
		return r.n, c.n, r.flags, s.sender(&r.m), nil
	}
	return r.n, c.n, r.flags, sockaddr(r.from, set.family), nil
}

// RecvmsgBuffers is Recvmsg into pieces.
func (t *Table) RecvmsgBuffers(fd int, buffers [][]byte, oob []byte, flags int) (n, oobn int, recvflags int, from unix.Sockaddr, err error) {
	return t.recvmsgBuffers(t.lookup(fd), buffers, oob, flags)
}

func (t *Table) recvmsgBuffers(f *file, buffers [][]byte, oob []byte, flags int) (n, oobn int, recvflags int, from unix.Sockaddr, err error) {
	switch {
	case compat(flags):
		return -1, 0, 0, nil, unix.EINVAL
	case f.sock() && len(buffers) > iovecsMax:
		return -1, 0, 0, nil, unix.EMSGSIZE
	case !f.ours():
		return f.other().recvmsg(buffers, oob, flags)
	case len(buffers) == 1:
		return t.recvmsg(f, buffers[0], oob, flags)
	case sum(buffers) == 0:
		return t.recvmsg(f, nil, oob, flags)
	case f.common().kind == unix.SOCK_STREAM && flags&(unix.MSG_PEEK|unix.MSG_OOB|unix.MSG_ERRQUEUE) == 0:
		r, errno := f.socket.(*tcpSocket).recvPieces(buffers, f.flags(flags))
		if errno != 0 {
			return -1, 0, 0, nil, errno
		}
		c := control{b: oob}
		c.readWith(f.common(), &r.m)
		c.unread(f.socket)
		if c.trunc {
			r.flags |= unix.MSG_CTRUNC
		}
		return r.n, c.n, r.flags | flags&unix.MSG_CMSG_CLOEXEC, nil, nil
	}
	whole := scratches.Get().(*[scratchLen]byte)
	defer scratches.Put(whole)
	p := whole[:min(sum(buffers), scratchLen)]
	n, oobn, recvflags, from, err = t.recvmsg(f, p, oob, flags)
	for rest := p[:max(min(n, len(p)), 0)]; len(rest) > 0; buffers = buffers[1:] {
		rest = rest[copy(buffers[0], rest):]
	}
	return n, oobn, recvflags, from, err
}
