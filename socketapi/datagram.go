package socketapi

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Default sizes of a datagram socket's queues, in bytes with overhead (Linux:
// net.core.rmem_default and wmem_default).
const (
	datagramRecvDefault = 212992
	datagramSendDefault = 212992
)

// datagram is a socket that sends and receives datagrams: UDP, or ICMP echo. It has
// one end on every core, each with queues of its own; its goroutines share a lock
// in each direction, which is held for the copy and never for a wait.
type datagram struct {
	waiting
	protocol wire.Protocol
	raw      bool          // of the protocol itself: its port is the protocol's number; set before it is bound
	heedless atomic.Bool   // sends whatever has become of the socket: see rawSocket.tell
	ends     []*udp.Socket // by core
	gateOf   ring.Gate
	peekOff  peekOff

	errorsUrgent atomic.Bool // SO_SELECT_ERR_QUEUE

	soErr  ring.Errno
	unread ring.Errno // what cores set instead while reporting

	mu     sync.Mutex // guards what follows; taken before a core's lock
	hold   *host.Hold // nil: not bound
	auto   bool       // the port was chosen: it is the socket's until it is disconnected
	any    netip.Addr // what it is bound to when it has no port
	locked bool       // bind was told an address once (Linux: SOCK_BINDADDR_LOCK)
	how    sharing
	only6  bool
	closed bool
	groups *group.Set // what it has joined

	placed   atomic.Bool                    // it is bound: hold is set
	remote   atomic.Pointer[netip.AddrPort] // nil: not connected
	readShut atomic.Bool
	sendShut atomic.Bool

	reporting atomic.Bool // reads return what became of packets that were sent: see report

	recv struct {
		sync.Mutex
		next    int      // the core to look at first, so that none starves
		dropped []uint32 // by core, how many it had lost before the last that was taken from it
	}
}

// newDatagram returns a socket that is bound to nothing.
func newDatagram(h *host.Host, protocol wire.Protocol) (*datagram, unix.Errno) {
	if errno := h.SocketOpened(); errno != 0 {
		return nil, errno
	}
	s := &datagram{protocol: protocol, any: netip.IPv4Unspecified()}
	s.host, s.of, s.gate = h, s, &s.gateOf
	s.gateOf.Init(&s.who)
	cores := h.Cores()
	if len(cores) == 1 {
		s.core = cores[0]
	}
	s.recv.dropped = make([]uint32, len(cores))
	for _, c := range cores {
		end := &udp.Socket{Gate: &s.gateOf, Error: &s.soErr}
		end.Recv.Init(c.Stack.Pool, datagramRecvDefault/len(cores))
		end.Send.Init(c.Stack.Pool, datagramSendDefault)
		end.Errors.Init(c.Stack.Pool)
		s.ends = append(s.ends, end)
	}
	return s, 0
}

// table is where a core keeps the sockets of this protocol.
func (s *datagram) table(c *host.Core) *udp.Table {
	switch {
	case s.raw:
		return &c.Stack.Raw
	case s.protocol == wire.ProtoICMP, s.protocol == wire.ProtoICMPv6:
		return &c.Stack.Ping
	}
	return &c.Stack.UDP
}

// sharing is what a socket that is bound says about others at its address.
type sharing struct {
	reuseAddr, reusePort bool
	user                 uint32         // whose it is
	ports                host.PortRange // that a port is chosen from
	freeBind             bool           // the address need not be the host's
	noPort               bool           // none is chosen before the socket needs it
	six                  bool           // the socket is for IPv6
}

// unspecified is the address of a socket that has none.
func (how *sharing) unspecified() netip.Addr {
	if how.six {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// bind takes a local address; a port of 0 is chosen. It is EINVAL if the socket has
// one, EADDRNOTAVAIL if it is not the host's, EADDRINUSE. A raw socket may take another.
func (s *datagram) bind(local netip.AddrPort, how sharing) unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil || s.closed || !s.may(local, how) {
		errno := s.bindLocked(local, how)
		if errno == unix.EADDRINUSE { // Linux: inet_reset_saddr in __inet_bind
			s.any = how.unspecified()
		}
		s.locked = s.locked || errno == 0 && local.Addr() != how.unspecified()
		return errno
	}
	if !s.raw || s.remote.Load() != nil {
		return unix.EINVAL
	}
	s.hold.Local = local
	s.place(func(end *udp.Socket) { end.Local = local })
	return 0
}

// may says whether an address is one to be bound to.
func (s *datagram) may(local netip.AddrPort, how sharing) bool {
	return how.freeBind || s.host.Local(local.Addr()) || s.host.IsGroup(local.Addr())
}

func (s *datagram) bindLocked(local netip.AddrPort, how sharing) unix.Errno {
	switch {
	case s.closed:
		return unix.EBADF
	case !s.may(local, how):
		return unix.EADDRNOTAVAIL
	}
	if a := local.Addr(); a.IsMulticast() { // packets to a group say no zone: the socket is bound to its interface
		local = netip.AddrPortFrom(a.WithZone(""), local.Port())
	}
	if local.Port() == 0 && how.noPort {
		s.any, s.only6 = local.Addr(), s.only6 || only6At(local.Addr())
		return 0
	}
	hold := &host.Hold{
		Protocol: s.protocol, Local: local, Mapped: how.six && local.Addr().Is4(), Only6: s.only6 || only6At(local.Addr()),
		ReuseAddr: how.reuseAddr, ReusePort: how.reusePort, Device: s.device(), User: how.user, Range: how.ports,
	}
	if !s.raw { // those of one protocol are in nobody's way
		if errno := s.host.Ports.Take(hold); errno != 0 {
			return errno
		}
	}
	s.hold, s.only6, s.auto = hold, hold.Only6, local.Port() == 0
	if s.auto {
		s.any = local.Addr()
	}
	s.place(func(end *udp.Socket) { end.Local, end.Only6 = hold.Local, s.only6 })
	s.placed.Store(true)
	return 0
}

// place changes the socket's ends while no core can find them, and puts them in.
func (s *datagram) place(change func(*udp.Socket)) {
	for i, c := range s.host.Cores() {
		c.Lock()
		t := s.table(c)
		t.Remove(s.ends[i])
		change(s.ends[i])
		t.Add(s.ends[i])
		c.Unlock()
	}
}

// change changes what the cores look at and do not find the ends by.
func (s *datagram) change(f func(*udp.Socket)) {
	for i, c := range s.host.Cores() {
		c.Lock()
		f(s.ends[i])
		c.Unlock()
	}
}

// device is the stack's port that the socket is bound to, counted from 1; 0: all.
func (s *datagram) device() uint32 {
	c := s.host.Cores()[0]
	c.Lock()
	defer c.Unlock()
	return s.ends[0].Device
}

// setOnly6 says whether a socket that is not bound yet leaves IPv4 alone.
func (s *datagram) setOnly6(only bool) {
	s.mu.Lock()
	if s.hold == nil {
		s.only6 = only
	}
	s.mu.Unlock()
}

// share says what others may share with it from now on.
func (s *datagram) share(how sharing, device uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.how = how; s.hold != nil {
		s.host.Ports.Change(s.hold, how.reuseAddr, how.reusePort, device)
	}
}

// resize gives the queues the sizes of the socket's settings, whose mu is held.
func (s *datagram) resize(set *settings) unix.Errno {
	rcv, snd := set.rcvBuf, set.sndBuf
	if rcv == 0 {
		rcv = datagramRecvDefault
	}
	if snd == 0 {
		snd = datagramSendDefault
	}
	s.limit(rcv, snd)
	return 0
}

// limit gives the queues their sizes, in bytes with overhead; 0 leaves one as it is.
func (s *datagram) limit(rcv, snd int) {
	s.change(func(end *udp.Socket) {
		if rcv > 0 {
			end.Recv.SetLimit(max(rcv/len(s.ends), 1))
		}
		if snd > 0 {
			end.Send.SetLimit(snd)
		}
	})
}

// bound makes sure that the socket has a port.
func (s *datagram) bound() unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold != nil {
		return 0
	}
	how := s.how
	how.freeBind, how.noPort = true, false // what it is bound to was looked at then
	errno := s.bindLocked(netip.AddrPortFrom(s.any, 0), how)
	if errno == unix.EADDRINUSE {
		errno = unix.EAGAIN // Linux: inet_autobind
	}
	return errno
}

// connect sets the peer; an invalid one takes it back (AF_UNSPEC).
func (s *datagram) connect(to netip.AddrPort) unix.Errno {
	if !to.IsValid() {
		return s.disconnect()
	}
	if linkScope(to.Addr()) && to.Addr().Zone() == "" {
		return unix.EINVAL // Linux: __ip6_datagram_connect
	}
	if errno := s.bound(); errno != 0 {
		return errno
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.EBADF
	}
	local, errno := s.sourceFor(to)
	if errno != 0 {
		return errno
	}
	s.place(func(end *udp.Socket) { end.Local, end.Remote = local, to })
	s.host.Ports.Move(s.hold, local.Addr())
	s.remote.Store(&to)
	return 0
}

// disconnect makes the socket what bind has left it as, or what it was before if bind was not
// called.
func (s *datagram) disconnect() unix.Errno {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return unix.EBADF
	}
	if s.hold == nil {
		return 0
	}
	s.remote.Store(nil)
	if !s.auto && s.locked && s.hold.Local.Addr().IsUnspecified() { // it stays where it was connected
		s.place(func(end *udp.Socket) { end.Remote = netip.AddrPort{} })
		return 0
	}
	if s.raw { // its bind is none that stays (Linux: raw_bind, rawv6_bind do not set SOCK_BINDADDR_LOCK)
		s.hold.Local = netip.AddrPortFrom(s.how.unspecified(), s.hold.Local.Port())
	}
	if !s.auto {
		s.place(func(end *udp.Socket) { end.Local, end.Remote = s.hold.Local, netip.AddrPort{} })
		s.host.Ports.Move(s.hold, netip.Addr{})
		return 0
	}
	s.placed.Store(false)
	if s.locked {
		s.any = s.ends[0].Local.Addr()
	}
	for i, c := range s.host.Cores() {
		c.Lock()
		s.table(c).Remove(s.ends[i])
		s.ends[i].Local, s.ends[i].Remote = netip.AddrPort{}, netip.AddrPort{}
		c.Unlock()
	}
	s.giveBack(s.hold)
	s.hold, s.auto = nil, false
	return 0
}

// giveBack gives a port back, nil: none.
func (s *datagram) giveBack(hold *host.Hold) {
	if hold != nil && !s.raw {
		s.host.Ports.Drop(hold)
	}
}

// sourceFor is the local address of a bound socket that is connected to a peer. One that is bound to a group goes on to hear that, and
// sends from another address; of a socket for IPv6 Linux would send from a group of IPv4's, which it does not. mu is held.
func (s *datagram) sourceFor(to netip.AddrPort) (netip.AddrPort, unix.Errno) {
	local, at := s.ends[0].Local, s.hold.Local.Addr()
	group := s.host.IsGroup(at)
	switch {
	case at.Is4() && (at.IsUnspecified() || group) && to.Addr().Is6():
		return netip.AddrPort{}, unix.EAFNOSUPPORT // Linux: ip6_dst_lookup_tail
	case group && at.Is4() && s.hold.Mapped:
		return netip.AddrPort{}, unix.EINVAL // Linux: ip_route_output_key_hash_rcu
	}
	if to.Addr().Is4() && local.Addr().Is6() && s.hold.Local.Addr().IsUnspecified() { // of a peer of before, which says nothing over IPv4 (inet_saddr is none yet)
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), local.Port())
	}
	c := s.host.Cores()[0]
	c.Lock()
	src, errno := c.Stack.Source(s.ends[0].Device, local.Addr(), to.Addr(), c.Now())
	if errno == 0 && s.ends[0].DontRoute && to.Addr().Is4() && !c.Stack.OnLink(s.ends[0].Device, to.Addr(), c.Now()) {
		errno = unix.ENETUNREACH
	}
	c.Unlock()
	if group {
		src = at
	}
	return netip.AddrPortFrom(src, local.Port()), errno
}

// atMappedGroup says whether a socket for IPv6 is bound to a group of IPv4's: see sourceFor.
func (s *datagram) atMappedGroup() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hold != nil && s.hold.Mapped && s.host.IsGroup(s.hold.Local.Addr())
}

// onLink says whether a destination is reached without a router.
func (s *datagram) onLink(to netip.Addr) bool {
	c := s.host.Cores()[0]
	c.Lock()
	defer c.Unlock()
	return c.Stack.OnLink(s.ends[0].Device, to, c.Now())
}

// local returns the socket's own address, not valid if it has none yet.
func (s *datagram) local() netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hold == nil {
		return netip.AddrPortFrom(s.any, 0)
	}
	return s.ends[0].Local
}

// peer returns the address it is connected to, not valid if it is not.
func (s *datagram) peer() netip.AddrPort {
	if p := s.remote.Load(); p != nil {
		return *p
	}
	return netip.AddrPort{}
}

// ready returns what would not block.
func (s *datagram) ready(n need) (ev ring.Events) {
	for i, end := range s.ends {
		if end.Recv.Len() > 0 {
			ev |= ring.In
		}
		if (n.core == 0 || n.core == i+1) && end.Send.Room(max(n.bytes, 1)) {
			ev |= ring.Out
		}
	}
	if s.readShut.Load() {
		ev |= ring.In
	}
	if s.soErr.Peek() != 0 || !n.call && s.queued() || s.reported() {
		ev |= ring.Err
	}
	return ev
}

// shutdown ends one direction or both. A socket without a peer is ENOTCONN, but it is
// shut down all the same and its readers are woken, as on Linux.
func (s *datagram) shutdown(how int) unix.Errno {
	if how < unix.SHUT_RD || how > unix.SHUT_RDWR {
		return unix.EINVAL
	}
	if how != unix.SHUT_WR {
		s.readShut.Store(true)
	}
	if how != unix.SHUT_RD {
		s.sendShut.Store(true)
	}
	s.rouse()
	if !s.peer().IsValid() {
		return unix.ENOTCONN
	}
	return 0
}

// close ends the socket. What it has sent is still sent. A second close is EBADF.
func (s *datagram) close() unix.Errno {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return unix.EBADF
	}
	s.closed = true
	hold, groups := s.hold, s.groups
	s.mu.Unlock()
	s.end(unix.EBADF)
	s.seal()
	if len(groups.Members()) > 0 {
		s.host.SetGroups(s.ends, groups, nil)
	}
	for i, c := range s.host.Cores() {
		c.Lock()
		if hold != nil {
			s.table(c).Remove(s.ends[i])
		}
		c.Stack.Withdraw(s.ends[i])
		c.Unlock()
	}
	// No core can reach the receive queues any more, and no program does.
	for _, end := range s.ends {
		end.Recv.Free()
		end.Errors.Free()
	}
	s.giveBack(hold)
	s.host.SocketClosed()
	return 0
}
