package socketapi

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A socket is what stands behind descriptors. Its methods may be called by several
// goroutines, and by calls that looked the descriptor up just before it was closed.
//
// recv takes a message, recvError one of the error queue (MSG_ERRQUEUE). Flags are those of
// recv(2) and send(2), oob control messages; MSG_DONTWAIT stands for a non-blocking
// descriptor as well. An address that is not valid is none, which connect takes for AF_UNSPEC.
type socket interface {
	bind(local netip.AddrPort) unix.Errno
	listen(backlog int) unix.Errno
	accept(flags int) (socket, netip.AddrPort, unix.Errno)
	connect(to netip.AddrPort, flags int) unix.Errno
	recv(p []byte, flags int) (received, unix.Errno)
	send(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno)
	recvError(p []byte, flags int) (received, udp.ExtendedError, unix.Errno)
	shutdown(how int) unix.Errno
	close() unix.Errno
	name() netip.AddrPort
	peerName() (netip.AddrPort, unix.Errno)

	// common is what all sockets have; apply puts changed settings into effect. common's mu
	// is held.
	common() *settings
	apply() unix.Errno
	// takeError takes the pending error, accepting says whether it listens.
	takeError() unix.Errno
	accepting() bool
	placed() bool // it is bound

	polled() ring.Events // what poll(2) says of it; takes no lock of a core
}

// received is what one recv brought.
type received struct {
	n     int            // bytes, with MSG_TRUNC of the whole datagram
	from  netip.AddrPort // not valid on a stream
	flags int            // MSG_TRUNC if a datagram was cut off
	m     ring.Datagram  // what else is known of a datagram
}

// settings is what socket(2) and the SOL_SOCKET and IPPROTO_IP options say of a socket.
type settings struct {
	host   *host.Host
	family int    // unix.AF_INET, AF_INET6
	kind   int    // unix.SOCK_STREAM, SOCK_DGRAM
	proto  int    // unix.IPPROTO_TCP, IPPROTO_UDP
	user   uint32 // whose it is: see owner

	mu        sync.Mutex // guards what follows, and the socket's state; before a core's lock
	closed    bool
	reuseAddr bool
	reusePort bool
	noPort    bool           // IP_BIND_ADDRESS_NO_PORT
	ports     host.PortRange // IP_LOCAL_PORT_RANGE
	broadcast bool
	keepAlive bool
	oobInline bool
	debug     bool   // SO_DEBUG
	cookie    uint64 // SO_COOKIE; 0: none yet
	linger    unix.Linger
	rcvBuf    int // bytes with overhead as SO_RCVBUF says them; 0: not set
	sndBuf    int
	rcvLowat  int // SO_RCVLOWAT; 0: 1
	ttl       int // 0: the default
	tos       int

	minTTL, minHops int // IP_MINTTL, IPV6_MINHOPCOUNT

	noCheck bool // SO_NO_CHECK

	noCheck6, takesNoSum bool // UDP_NO_CHECK6_TX, UDP_NO_CHECK6_RX

	dontRoute bool // SO_DONTROUTE
	priority  int  // SO_PRIORITY

	device int // SO_BINDTODEVICE: the stack's port counted from 1, 0: all

	recvErr, recvErr6   bool // IP_RECVERR, IPV6_RECVERR
	discover, discover6 udp.Discovery
	freeBind            bool
	only6               bool // IPV6_V6ONLY
	dontFragment        bool // IPV6_DONTFRAG
	hops                int  // IPV6_UNICAST_HOPS
	hasHops             bool // hops is set
	tclass              int
	mtu6                int // IPV6_MTU; 0: not set
	stamping            int // SO_TIMESTAMPING

	stamps atomic.Uint32 // what of it is about sending: udp.Stamp, and stampKeys; set with mu held

	wants                  asking
	multicast4, multicast6 udp.Multicast

	rcvTimeo, sndTimeo patience

	zeroCopy atomic.Bool // SO_ZEROCOPY; set with mu held
	copied   zeroCopies

	errorsUrgent atomic.Bool // SO_SELECT_ERR_QUEUE of a stream, whose poll does not look at it

	lookout lookout // who watches it
}

// inherit copies what an accepted connection has of its listener. Both are locked or
// nobody else's.
func (s *settings) inherit(l *settings) {
	s.host, s.family, s.kind, s.proto, s.user = l.host, l.family, l.kind, l.proto, l.user
	s.reuseAddr, s.reusePort, s.broadcast, s.keepAlive = l.reuseAddr, l.reusePort, l.broadcast, l.keepAlive
	s.oobInline, s.debug = l.oobInline, l.debug
	s.errorsUrgent.Store(l.errorsUrgent.Load())
	s.zeroCopy.Store(l.zeroCopy.Load())
	s.linger, s.rcvBuf, s.sndBuf, s.rcvLowat, s.ttl, s.tos = l.linger, l.rcvBuf, l.sndBuf, l.rcvLowat, l.ttl, l.tos
	s.recvErr, s.recvErr6, s.discover, s.discover6, s.freeBind = l.recvErr, l.recvErr6, l.discover, l.discover6, l.freeBind
	s.noPort, s.ports = l.noPort, l.ports
	s.minTTL, s.minHops, s.dontRoute = l.minTTL, l.minHops, l.dontRoute
	s.only6, s.hops, s.hasHops, s.tclass, s.device, s.dontFragment = l.only6, l.hops, l.hasHops, l.tclass, l.device, l.dontFragment
	s.wants.set(l.wants.load(), true)
	s.stamping = l.stamping
	s.multicast4, s.multicast6 = l.multicast4, l.multicast6
	s.rcvTimeo.d.Store(l.rcvTimeo.d.Load())
	s.sndTimeo.d.Store(l.sndTimeo.d.Load())
}

// claim is the hold on a port that the socket asks for. mu is held.
func (s *settings) claim(protocol wire.Protocol, local netip.AddrPort) *host.Hold {
	return &host.Hold{
		Protocol: protocol, Local: local, Mapped: s.family == unix.AF_INET6 && local.Addr().Is4(), Only6: s.only6 || only6At(local.Addr()),
		ReuseAddr: s.reuseAddr, ReusePort: s.reusePort, Device: uint32(s.device), User: s.user, Range: s.ports,
	}
}

// owner is the user of the calling thread, as files that it opens are its own (Linux: sk_uid; setfsuid(2) of no user changes nothing).
func owner() uint32 {
	uid, _ := unix.SetfsuidRetUid(-1)
	return uint32(uid)
}

// allowed says whether the calling thread may ask for a port. Bind asks that over IPv6 before it looks at the address, over IPv4
// after it (Linux: __inet6_bind, __inet_bind), and of sockets of other protocols, whose ports are none, never.
func (s *settings) allowed(local netip.AddrPort) unix.Errno {
	switch {
	case s.class()&(onTCP|onUDP) == 0:
		return 0
	case s.kind == unix.SOCK_STREAM && local.Addr().Is6() && local.Addr().IsMulticast():
		return unix.EINVAL
	}
	return s.host.Ports.Allowed(local.Port())
}

// only6At says whether a socket that is bound to an address leaves IPv4 alone for good (Linux: __inet6_bind).
func only6At(a netip.Addr) bool { return a.Is6() && !a.IsUnspecified() }

// sharing is what connections of the socket say to those who bind to their port. mu is held.
func (s *settings) sharing() (how tcp.Sharing) {
	if s.reuseAddr {
		how |= tcp.ReuseAddr
	}
	if s.reusePort {
		how |= tcp.ReusePort
	}
	if s.only6 {
		how |= tcp.Only6
	}
	return how
}

// unspecified is the address of a socket that has none.
func (s *settings) unspecified() netip.AddrPort {
	if s.family == unix.AF_INET6 {
		return netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
}

// onLink is an address that a socket is to be bound or connected to. One of a link that does not say its link is that of the interface
// that the socket is bound to. mu is held.
func (s *settings) onLink(a netip.AddrPort) netip.AddrPort {
	if s.device != 0 && linkScope(a.Addr()) && a.Addr().Zone() == "" {
		return netip.AddrPortFrom(wire.WithScope(a.Addr(), uint32(s.host.Index(s.device-1))), a.Port())
	}
	return a
}

// tie binds a socket to the interface of an address that says its link (Linux: __inet6_bind). It says whether the socket was not bound to
// it before. mu is held.
func (s *settings) tie(a netip.Addr) bool {
	port, ok := s.host.PortOf(int(wire.Scope(a)))
	if !ok || !linkScope(a) || s.device == port+1 {
		return false
	}
	s.device = port + 1
	return true
}

// shown is a name of the socket's as it is told: an address of a link is that of the interface that the socket is bound to, if it is to
// one (Linux: ipv6_iface_scope_id).
func (s *settings) shown(a netip.AddrPort) netip.AddrPort {
	if !linkScope(a.Addr()) {
		return a
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onLink(netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()))
}

// strays says whether a peer is on another link than that of the interface that the socket is bound to (Linux:
// sk_dev_equal_l3scope). mu is held.
func (s *settings) strays(to netip.Addr) bool {
	return s.device != 0 && linkScope(to) && to.Zone() != "" && int(wire.Scope(to)) != s.host.Index(s.device-1)
}

// bindable is what an address is to a socket that wants it for its own: 0, or EINVAL for one of
// IPv4 on a socket for IPv6 alone, and for a link-local one without its
// link, ENODEV for one of no interface's, EADDRNOTAVAIL (Linux: __inet6_bind). mu is held.
func (s *settings) bindable(a netip.Addr) unix.Errno {
	switch {
	case a.Is4() && s.only6Now():
		if s.class() == onRaw { // rawv6_bind
			return unix.EADDRNOTAVAIL
		}
		return unix.EINVAL
	case linkScope(a) && a.Zone() == "":
		return unix.EINVAL
	case s.freeBind, s.host.IsGroup(a):
		return 0
	case s.host.Local(a):
		if a.Is6() && !a.IsUnspecified() && s.device != 0 && !s.host.LocalOn(s.device-1, a.WithZone("")) { // Linux: ipv6_chk_addr
			return unix.EADDRNOTAVAIL
		}
		return 0
	case linkScope(a):
		if _, ok := s.host.PortOf(int(wire.Scope(a))); !ok {
			return unix.ENODEV
		}
	}
	return unix.EADDRNOTAVAIL
}

// thisHost is where the unspecified address is, of a socket whose own address is own, not valid if it has none. Over IPv4 that
// is its own if it says one, and else the loopback's (Linux: ip_route_output_key_hash_rcu); over IPv6 always the loopback's, and
// that of IPv4 for a socket whose own is of IPv4 (Linux: __ip6_datagram_connect, tcp_v6_connect, udpv6_sendmsg).
func (s *settings) thisHost(to netip.AddrPort, own netip.Addr) netip.AddrPort {
	a := netip.IPv6Loopback()
	switch {
	case to.Addr().Is4() && own.Is4() && !own.IsUnspecified() && !s.host.IsGroup(own):
		a = own
	case to.Addr().Is4() || own.Is4():
		a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.AddrPortFrom(a, to.Port())
}

// neighbours says whether no router is on the way to an address. mu is held.
func (s *settings) neighbours(to netip.Addr) bool {
	c := s.host.Cores()[0]
	c.Lock()
	defer c.Unlock()
	return c.Stack.OnLink(uint32(s.device), to, c.Now())
}

// only4 says whether a socket for IPv6 alone is told to speak IPv4 (ENETUNREACH). mu is held.
func (s *settings) only4(to netip.AddrPort) bool { return to.Addr().Is4() && s.only6Now() }

// only6Now says whether an IPv6 socket leaves IPv4 alone: by IPV6_V6ONLY, or as one of another
// protocol than TCP and UDP. mu is held, or nobody knows the socket.
func (s *settings) only6Now() bool {
	return s.family == unix.AF_INET6 && (s.only6 || s.class()&(onTCP|onUDP) == 0)
}

// patience is how long each call of one direction waits at most (SO_RCVTIMEO, SO_SNDTIMEO).
type patience struct{ d atomic.Int64 } // nanoseconds, 0: without end

// until is when a call that begins now gives up.
func (p *patience) until(h *host.Host) mono.Time {
	d := p.d.Load()
	if d == 0 {
		return mono.Never
	}
	return h.Clock().Now().Add(time.Duration(d))
}
