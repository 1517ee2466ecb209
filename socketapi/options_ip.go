package socketapi

import (
	"cmp"
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: ip(7), ipv6(7); do_ip_setsockopt in net/ipv4/ip_sockglue.c, do_ipv6_setsockopt in
// net/ipv6/ipv6_sockglue.c.

// ipOptions are those of IPPROTO_IP.
var ipOptions = []option{
	{level: unix.IPPROTO_IP, name: unix.IP_TTL, label: "IP_TTL", get: getTTL, set: setTTL},
	{level: unix.IPPROTO_IP, name: unix.IP_TOS, label: "IP_TOS", get: getTOS, set: setTOS},
	wanted("IP_PKTINFO", unix.IPPROTO_IP, unix.IP_PKTINFO, wantPktinfo),
	wanted("IP_RECVTTL", unix.IPPROTO_IP, unix.IP_RECVTTL, wantTTL),
	wanted("IP_RECVTOS", unix.IPPROTO_IP, unix.IP_RECVTOS, wantTOS),
	wanted("IP_RECVORIGDSTADDR", unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, wantOrigDst),
	recvErr("IP_RECVERR", unix.IPPROTO_IP, unix.IP_RECVERR, func(s *settings) *bool { return &s.recvErr }),
	ipFlag("IP_FREEBIND", unix.IPPROTO_IP, unix.IP_FREEBIND, func(s *settings) *bool { return &s.freeBind }),
	ipFlag("IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, func(s *settings) *bool { return &s.noPort }),
	{level: unix.IPPROTO_IP, name: unix.IP_LOCAL_PORT_RANGE, label: "IP_LOCAL_PORT_RANGE", get: getPortRange, set: setPortRange},
	discover("IP_MTU_DISCOVER", unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, func(s *settings) *udp.Discovery { return &s.discover }),
	{level: unix.IPPROTO_IP, name: unix.IP_MTU, label: "IP_MTU", get: getMTU},
	nearest("IP_MINTTL", unix.IPPROTO_IP, unix.IP_MINTTL, func(s *settings) *int { return &s.minTTL }),
}

// ipv6Options are those of IPPROTO_IPV6.
var ipv6Options = []option{
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_V6ONLY, label: "IPV6_V6ONLY", kind: kindFlag, get: getOnly6, set: setOnly6},
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_UNICAST_HOPS, label: "IPV6_UNICAST_HOPS", get: getHops, set: setHops},
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_TCLASS, label: "IPV6_TCLASS", get: getTClass, set: setTClass},
	wanted("IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, wantPktinfo6),
	wanted("IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, wantHopLimit),
	wanted("IPV6_RECVTCLASS", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, wantTClass),
	wanted("IPV6_RECVORIGDSTADDR", unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR, wantOrigDst6),
	recvErr("IPV6_RECVERR", unix.IPPROTO_IPV6, unix.IPV6_RECVERR, func(s *settings) *bool { return &s.recvErr6 }),
	ipFlag("IPV6_FREEBIND", unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, func(s *settings) *bool { return &s.freeBind }),
	ipFlag("IPV6_DONTFRAG", unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, func(s *settings) *bool { return &s.dontFragment }),
	discover("IPV6_MTU_DISCOVER", unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, func(s *settings) *udp.Discovery { return &s.discover6 }),
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_MTU, label: "IPV6_MTU", get: getMTU, set: setMTU6},
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_PATHMTU, label: "IPV6_PATHMTU", kind: kindBytes, get: getPathMTU},
	nearest("IPV6_MINHOPCOUNT", unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT, func(s *settings) *int { return &s.minHops }),
}

// ipFlag is an option of a level of IP that is on or off.
func ipFlag(label string, level, name int, of func(*settings) *bool) option {
	o := flag(label, name, of)
	o.level = level
	return o
}

// ttlDefault is net.ipv4.ip_default_ttl.
const ttlDefault = 64

func getTTL(s socket, v *value) unix.Errno {
	if v.n = s.common().ttl; v.n == 0 {
		v.n = ttlDefault
	}
	return 0
}

func setTTL(s socket, v *value) unix.Errno {
	switch {
	case v.n == -1:
		s.common().ttl = 0
	case v.n < 1 || v.n > 255:
		return unix.EINVAL
	default:
		s.common().ttl = v.n
	}
	return 0
}

func getTOS(s socket, v *value) unix.Errno {
	v.n = s.common().tos
	return 0
}

// setTOS sets the traffic class. The two bits of ECN are TCP's own on a stream.
func setTOS(s socket, v *value) unix.Errno {
	c := s.common()
	tos := v.n & 0xff
	if c.kind == unix.SOCK_STREAM {
		tos &^= 3
	}
	if tos != c.tos {
		c.tos, c.priority = tos, priorityOf(tos)
	}
	return 0
}

// getPortRange is the first port in the lower half of a word, and the last one in the upper.
func getPortRange(s socket, v *value) unix.Errno {
	r := s.common().ports
	v.n = int(int32(uint32(r.Last)<<16 | uint32(r.First)))
	return 0
}

func setPortRange(s socket, v *value) unix.Errno {
	r := host.PortRange{First: uint16(v.n), Last: uint16(uint32(v.n) >> 16)}
	if r.First != 0 && r.Last != 0 && r.First > r.Last {
		return unix.EINVAL
	}
	s.common().ports = r
	return 0
}

// discover is IP_MTU_DISCOVER or IPV6_MTU_DISCOVER.
func discover(label string, level, name int, of func(*settings) *udp.Discovery) option {
	return option{level: level, name: name, label: label,
		get: func(s socket, v *value) unix.Errno { v.n = of(s.common()).Option(); return 0 },
		set: func(s socket, v *value) unix.Errno {
			d, ok := udp.DiscoveryOf(v.n)
			if !ok {
				return unix.EINVAL
			}
			*of(s.common()) = d
			return 0
		},
	}
}

// nearest is IP_MINTTL or IPV6_MINHOPCOUNT: the fewest hops that what comes may have left (RFC 5082). Streams alone heed it, as on Linux.
func nearest(label string, level, name int, of func(*settings) *int) option {
	return option{level: level, name: name, label: label,
		get: func(s socket, v *value) unix.Errno { v.n = *of(s.common()); return 0 },
		set: func(s socket, v *value) unix.Errno {
			if v.n < 0 || v.n > 255 {
				return unix.EINVAL
			}
			*of(s.common()) = v.n
			return 0
		},
	}
}

// getMTU is what the path to a connected socket's peer takes in one packet.
func getMTU(s socket, v *value) unix.Errno {
	peer := peerOf(s)
	if !peer.IsValid() {
		return unix.ENOTCONN
	}
	c := s.common().host.Cores()[0]
	c.Lock()
	defer c.Unlock()
	n, errno := c.Stack.MTU(peer.Addr(), c.Now())
	v.n = n
	return errno
}

// mtuInfoLen is the size of struct ip6_mtuinfo: an address, which Linux leaves empty too, and the MTU.
const mtuInfoLen = unix.SizeofSockaddrInet6 + intLen

// getPathMTU is IPV6_PATHMTU: the path's MTU to the peer (RFC 3542 §11.3).
func getPathMTU(s socket, v *value) unix.Errno {
	if len(v.text) < mtuInfoLen {
		return unix.EINVAL
	}
	var mtu value
	if errno := getMTU(s, &mtu); errno != 0 {
		return errno
	}
	b := binary.NativeEndian.AppendUint32(make([]byte, unix.SizeofSockaddrInet6, mtuInfoLen), uint32(mtu.n))
	v.text = string(b)
	return 0
}

// peerOf is whom a socket is connected to, not valid if to nobody. Its lock is held.
func peerOf(s socket) netip.AddrPort {
	if t, ok := s.(*tcpSocket); ok { // whose peerName takes the lock that is held
		if conn := t.conn.Load(); conn != nil {
			return conn.remote
		}
	} else if d, ok := s.(interface{ peer() netip.AddrPort }); ok {
		return d.peer()
	}
	return netip.AddrPort{}
}

// mtuMin6 is the least MTU of IPv6 (RFC 8200 §5).
const mtuMin6 = 1280

// setMTU6 bounds the fragments in which datagrams leave over IPv6 (RFC 3542 §11.1); 0: by the path alone.
// What is got is the path's all the same, and what fits that goes whole, as on Linux.
func setMTU6(s socket, v *value) unix.Errno {
	if v.n != 0 && v.n < mtuMin6 {
		return unix.EINVAL
	}
	s.common().mtu6 = v.n
	return 0
}

func getOnly6(s socket, v *value) unix.Errno {
	v.n = number(s.common().only6)
	return 0
}

// setOnly6 says whether an IPv6 socket leaves IPv4 alone: before it is bound.
func setOnly6(s socket, v *value) unix.Errno {
	if s.placed() {
		return unix.EINVAL
	}
	s.common().only6 = v.n != 0
	return 0
}

// getHops says what the way to the peer has if the socket has none of its own: what a router advertised (ip6_dst_hoplimit).
func getHops(s socket, v *value) unix.Errno {
	c := s.common()
	if c.hasHops {
		v.n = c.hops
		return 0
	}
	v.n = ttlDefault
	if peer := peerOf(s).Addr(); peer.Is6() {
		core := c.host.Cores()[0]
		core.Lock()
		defer core.Unlock()
		v.n = cmp.Or(int(core.Stack.Hops(uint32(c.device), peer, core.Now())), ttlDefault)
	}
	return 0
}

func setHops(s socket, v *value) unix.Errno {
	if v.n < -1 || v.n > 255 {
		return unix.EINVAL
	}
	c := s.common()
	c.hops, c.hasHops = max(v.n, 0), v.n >= 0
	return 0
}

func getTClass(s socket, v *value) unix.Errno {
	v.n = s.common().tclass
	return 0
}

// setTClass sets the traffic class of IPv6. The two bits of ECN are TCP's own on a stream.
func setTClass(s socket, v *value) unix.Errno {
	if v.n < -1 || v.n > 255 {
		return unix.EINVAL
	}
	c := s.common()
	if c.tclass = max(v.n, 0); c.kind == unix.SOCK_STREAM {
		c.tclass &^= 3
	}
	return 0
}
