package socketapi

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: cmsg(3), ip(7), ipv6(7), RFC 3542 §6; ip_cmsg_send in net/ipv4/ip_sockglue.c,
// ip6_datagram_send_ctl in net/ipv6/datagram.c.

// eachControl calls f for the control messages of a message until it says that one is wrong.
func eachControl(oob []byte, f func(level, typ int32, data []byte) unix.Errno) unix.Errno {
	for len(oob) >= unix.SizeofCmsghdr {
		whole := word(oob)
		if whole < unix.SizeofCmsghdr || whole > uint64(len(oob)) {
			return unix.EINVAL
		}
		level := int32(binary.NativeEndian.Uint32(oob[wordLen:]))
		typ := int32(binary.NativeEndian.Uint32(oob[wordLen+4:]))
		if errno := f(level, typ, oob[unix.SizeofCmsghdr:whole]); errno != 0 {
			return errno
		}
		next := (int(whole) + wordLen - 1) &^ (wordLen - 1)
		oob = oob[min(next, len(oob)):]
	}
	return 0
}

// sendControlUDP reads those of UDP, before the others are looked at (udp_cmsg_send).
func sendControlUDP(m *udp.Message, oob []byte) unix.Errno {
	return eachControl(oob, func(level, typ int32, data []byte) unix.Errno {
		switch {
		case level != unix.IPPROTO_UDP:
			return 0
		case typ != unix.UDP_SEGMENT || len(data) != segmentLen:
			return unix.EINVAL
		}
		m.Segment, m.HasSegment = int(binary.NativeEndian.Uint16(data)), true
		return 0
	})
}

// segmentLen is the length of what the control message UDP_SEGMENT says.
const segmentLen = 2

// sendControl reads the other control messages of a datagram. Those of a level that the destination's
// family does not have say nothing, as on Linux; an unknown one of its own is EINVAL.
func sendControl(m *udp.Message, oob []byte, s *settings) unix.Errno {
	return eachControl(oob, func(level, typ int32, data []byte) unix.Errno {
		four := m.To.IsValid() && m.To.Addr().Is4()
		switch {
		case level == unix.SOL_SOCKET:
			return sendControlSocket(m, typ, data)
		case !m.To.IsValid(): // a stream heeds none
		case level == unix.IPPROTO_IPV6 && (!four || s.family == unix.AF_INET6 && typ == unix.IPV6_PKTINFO):
			return sendControl6(m, typ, data, s)
		case level == unix.IPPROTO_IP && four:
			return sendControl4(m, typ, data, s)
		}
		return 0
	})
}

// sendControlSocket is what a message of SOL_SOCKET is taken for: those that pass rights between processes
// say nothing to a network, as on Linux (__sock_cmsg_send).
func sendControlSocket(m *udp.Message, typ int32, data []byte) unix.Errno {
	switch typ {
	case unix.SO_TIMESTAMPING_OLD, unix.SO_TIMESTAMPING_NEW:
		n, ok := intOf(data)
		if !ok || n&^stampingRecorded != 0 {
			return unix.EINVAL
		}
		m.Stamp = m.Stamp&^udp.StampAny | stampOf(n)
		return 0
	case unix.SO_PRIORITY:
		n, ok := intOf(data)
		switch {
		case !ok:
			return unix.EINVAL
		case !mayPrioritize(n):
			return unix.EPERM
		}
		return 0
	case unix.SCM_RIGHTS, unix.SCM_CREDENTIALS:
		return 0
	}
	return unix.EINVAL
}

func word(b []byte) uint64 {
	if wordLen == 8 {
		return binary.NativeEndian.Uint64(b)
	}
	return uint64(binary.NativeEndian.Uint32(b))
}

func sendControl4(m *udp.Message, typ int32, data []byte, s *settings) unix.Errno {
	switch typ {
	case unix.IP_PKTINFO:
		if len(data) != unix.SizeofInet4Pktinfo {
			return unix.EINVAL
		}
		source := netip.AddrFrom4([4]byte(data[4:8])) // ipi_spec_dst
		return pin(m, int(int32(binary.NativeEndian.Uint32(data))), source, s)
	case unix.IP_TTL:
		n, ok := intOf(data)
		if !ok || n < 1 || n > 255 {
			return unix.EINVAL
		}
		m.TTL, m.HasTTL = uint8(n), true
	case unix.IP_TOS:
		n, ok := intOf(data)
		if len(data) == 1 {
			n, ok = int(data[0]), true
		}
		if !ok || n < 0 || n > 255 {
			return unix.EINVAL
		}
		m.TOS, m.HasTOS = uint8(n), true
	default:
		return unix.EINVAL
	}
	return 0
}

func sendControl6(m *udp.Message, typ int32, data []byte, s *settings) unix.Errno {
	n, ok := intOf(data)
	switch typ {
	case unix.IPV6_PKTINFO:
		if len(data) < unix.SizeofInet6Pktinfo {
			return unix.EINVAL
		}
		index, source := int(binary.NativeEndian.Uint32(data[16:])), netip.AddrFrom16([16]byte(data[:16]))
		if m.To.Addr().Is4() && !source.Is4In6() {
			return unix.EINVAL // ip_cmsg_send
		}
		return pin(m, index, source.Unmap(), s)
	case unix.IPV6_HOPLIMIT:
		if !ok || n < -1 || n > 255 {
			return unix.EINVAL
		}
		if n >= 0 {
			m.TTL, m.HasTTL = uint8(n), true
		}
	case unix.IPV6_TCLASS:
		if !ok || n < -1 || n > 255 {
			return unix.EINVAL
		}
		m.TOS, m.HasTOS = uint8(max(n, 0)), true
	case unix.IPV6_DONTFRAG:
		if !ok || n < 0 || n > 1 {
			return unix.EINVAL
		}
		m.DontFragment = n == 1
	default:
		return unix.EINVAL
	}
	return 0
}

func intOf(data []byte) (n int, ok bool) {
	if len(data) != 4 {
		return 0, false
	}
	return int(int32(binary.NativeEndian.Uint32(data))), true
}

// pin has a datagram leave by an interface and from an address, where they are given.
func pin(m *udp.Message, index int, source netip.Addr, s *settings) unix.Errno {
	if index != 0 {
		port, ok := s.host.PortOf(index)
		if !ok {
			return unix.ENODEV
		}
		if m.Port != 0 && m.Port != uint32(port+1) {
			return unix.EINVAL
		}
		m.Port = uint32(port + 1)
	}
	if source.IsUnspecified() {
		return 0
	}
	if source.Is6() && source.IsLinkLocalUnicast() {
		port := 0
		if m.Port != 0 {
			port = int(m.Port - 1)
		}
		source = wire.WithScope(source, uint32(s.host.Index(port)))
	}
	switch {
	case s.host.Local(source):
	case source.Is4():
		return unix.ENETUNREACH
	default:
		return unix.EINVAL
	}
	m.Source = source
	return 0
}
