package socketapi

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Read first: udp(7) on UDP_CORK, send(2) on MSG_MORE; udp_sendmsg in net/ipv4/udp.c.

// A cork holds a datagram back that is sent in pieces.
type cork struct {
	on   atomic.Bool // UDP_CORK
	some atomic.Bool // there is a piece

	mu sync.Mutex // after that of the settings; guards m: where the first piece goes, and all pieces
	m  message
}

// waits says whether what is sent now belongs to a datagram that is held back.
func (c *cork) waits() bool { return c.on.Load() || c.some.Load() }

// udpDataMax is what no datagram has more of, of either family.
const udpDataMax = 0xffff

// sendCorked adds to the datagram, and sends it if this is the last piece. It goes where the first piece
// goes. What is too long is forgotten whole.
func (s *udpSocket) sendCorked(p, oob []byte, to netip.AddrPort, flags int) (int, unix.Errno) {
	if errno := s.refuses(flags, to); errno != 0 {
		return 0, errno
	}
	var m message
	if errno := s.address(&m, oob, to); errno != 0 { // which takes a lock that comes before the cork's
		return 0, errno
	}
	c := &s.cork
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.some.Load() {
		if !m.To.IsValid() {
			return 0, unix.EDESTADDRREQ
		}
		if errno := s.d.bound(); errno != 0 {
			return 0, errno
		}
		if !m.HasSegment { // of the first piece, as where it goes
			m.Segment, m.HasSegment = int(s.segment.Load()), true
		}
		c.m = m
		c.some.Store(true)
	}
	if len(c.m.Payload)+len(p) > udpDataMax {
		c.drop()
		return 0, unix.EMSGSIZE
	}
	c.m.Payload = append(c.m.Payload, p...)
	if flags&unix.MSG_MORE == 0 && !c.on.Load() {
		if errno := s.uncork(flags); errno != 0 {
			return 0, errno
		}
	}
	return len(p), 0
}

// uncork sends what is held back. mu of the cork is held.
func (s *udpSocket) uncork(flags int) unix.Errno {
	defer s.cork.drop()
	return s.dispatch(&s.cork.m, flags)
}

// drop forgets what is held back. mu is held.
func (c *cork) drop() {
	c.m = message{}
	c.some.Store(false)
}

// udpOptions are those of IPPROTO_UDP.
var udpOptions = []option{
	{level: unix.IPPROTO_UDP, name: unix.UDP_CORK, label: "UDP_CORK", kind: kindFlag, on: onUDP,
		get: func(s socket, v *value) unix.Errno { v.n = number(s.(*udpSocket).cork.on.Load()); return 0 },
		set: setUDPCork,
	},
	{level: unix.IPPROTO_UDP, name: unix.UDP_SEGMENT, label: "UDP_SEGMENT", on: onUDP,
		get: func(s socket, v *value) unix.Errno { v.n = int(s.(*udpSocket).segment.Load()); return 0 },
		set: setUDPSegment,
	},
	ipFlag("UDP_NO_CHECK6_TX", unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_TX, func(s *settings) *bool { return &s.noCheck6 }).of(onUDP),
	ipFlag("UDP_NO_CHECK6_RX", unix.IPPROTO_UDP, unix.UDP_NO_CHECK6_RX, func(s *settings) *bool { return &s.takesNoSum }).of(onUDP),
	wanted("UDP_GRO", unix.IPPROTO_UDP, unix.UDP_GRO, wantGRO).of(onUDP),
}

// setUDPSegment has messages leave as datagrams of so many bytes each; 0: as one.
func setUDPSegment(s socket, v *value) unix.Errno {
	if v.n < 0 || v.n > udpDataMax {
		return unix.EINVAL
	}
	s.(*udpSocket).segment.Store(int32(v.n))
	return 0
}

// setUDPCork holds datagrams back, or lets the one that is held back go.
func setUDPCork(s socket, v *value) unix.Errno {
	u := s.(*udpSocket)
	c := &u.cork
	c.on.Store(v.n != 0)
	if v.n != 0 || !c.some.Load() {
		return 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.some.Load() {
		return u.uncork(unix.MSG_DONTWAIT)
	}
	return 0
}
