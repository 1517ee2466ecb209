package socketapi

import (
	"encoding/binary"
	"net/netip"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: cmsg(3), ip(7), ipv6(7), RFC 3542 §6; put_cmsg in net/core/scm.c, ip_cmsg_recv_offset in
// net/ipv4/ip_sockglue.c, ip6_datagram_recv_ctl in net/ipv6/datagram.c.

// wants is which control messages a socket has asked for.
type wants uint32

const (
	wantTimestamp   wants = 1 << iota // SO_TIMESTAMP, SO_TIMESTAMPNS
	wantNanoseconds                   // of the two the latter
	wantNewTime                       // by their names with _NEW
	wantStamping                      // SO_TIMESTAMPING, software of arrival
	wantNewStamping
	wantOverflow // SO_RXQ_OVFL
	wantPktinfo  // IP_PKTINFO
	wantTTL
	wantTOS
	wantOrigDst
	wantPktinfo6
	wantHopLimit
	wantTClass
	wantOrigDst6
	wantAuxData // PACKET_AUXDATA
	wantInq     // TCP_INQ
	wantGRO     // UDP_GRO
)

// wantTimes are those that want to know when something came.
const wantTimes = wantTimestamp | wantStamping

// asking is the wants of a socket: set with the mu of its settings held, read without.
type asking struct{ bits atomic.Uint32 }

func (a *asking) load() wants        { return wants(a.bits.Load()) }
func (a *asking) has(bit wants) bool { return a.load()&bit != 0 }

func (a *asking) set(bits wants, on bool) {
	if on {
		a.bits.Or(uint32(bits))
	} else {
		a.bits.And(^uint32(bits))
	}
}

// A control is the control messages of one recvmsg under construction.
type control struct {
	b     []byte
	n     int  // bytes of b in use
	trunc bool // MSG_CTRUNC: there was no room for all
}

// wordLen is the length of size_t, which control messages are aligned to.
const wordLen = unix.SizeofLong

// put writes one message, as much of it as there is room for.
func (c *control) put(level, typ int32, data []byte) {
	room := len(c.b) - c.n
	if room < unix.SizeofCmsghdr {
		c.trunc = true
		return
	}
	whole := unix.SizeofCmsghdr + len(data)
	if whole > room {
		c.trunc = true
		whole = room
	}
	at := c.b[c.n:]
	putWord(at, uint64(whole))
	binary.NativeEndian.PutUint32(at[wordLen:], uint32(level))
	binary.NativeEndian.PutUint32(at[wordLen+4:], uint32(typ))
	end := unix.SizeofCmsghdr + copy(at[unix.SizeofCmsghdr:whole], data)
	next := min((end+wordLen-1)&^(wordLen-1), room)
	clear(at[end:next])
	c.n += next
}

func (c *control) putInt(level, typ int32, n int) {
	var b [4]byte
	binary.NativeEndian.PutUint32(b[:], uint32(n))
	c.put(level, typ, b[:])
}

// putWord writes a number of the machine's word length.
func putWord(b []byte, n uint64) {
	if wordLen == 8 {
		binary.NativeEndian.PutUint64(b, n)
	} else {
		binary.NativeEndian.PutUint32(b, uint32(n))
	}
}

// receivedWith writes what a socket wants to know of a datagram.
func (c *control) receivedWith(s *settings, m *ring.Datagram) {
	w := s.wants.load()
	if w == 0 {
		return
	}
	if w&wantTimes != 0 {
		c.putTime(w, s.wallClock(mono.Time(m.Time)))
	}
	if w&wantOverflow != 0 && m.Dropped != 0 {
		c.putInt(unix.SOL_SOCKET, unix.SO_RXQ_OVFL, int(m.Dropped))
	}
	if w&wantGRO != 0 && m.Segment != 0 {
		c.putInt(unix.IPPROTO_UDP, unix.UDP_GRO, m.Segment)
	}
	if s.family == unix.AF_PACKET {
		if w&wantAuxData != 0 {
			c.putAuxData(s, m)
		}
		return
	}
	if w&wantPktinfo6 != 0 {
		var b [unix.SizeofInet6Pktinfo]byte
		a := m.To.Addr().As16()
		copy(b[:], a[:])
		binary.NativeEndian.PutUint32(b[16:], uint32(s.host.Index(int(m.Iface))))
		c.put(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, b[:])
	}
	if m.To.Addr().Is4() {
		c.put4(s, w, m)
	} else {
		c.put6(w, m)
	}
}

// readWith writes what a stream wants to know of the bytes that were read: when the last of them came.
func (c *control) readWith(s *settings, m *ring.Datagram) {
	if w := s.wants.load(); w&wantTimes != 0 && m.Time != 0 {
		c.putTime(w, s.wallClock(mono.Time(m.Time)))
	}
}

// unread writes how much a stream has left to read (TCP_INQ).
func (c *control) unread(s socket) {
	t, ok := s.(*tcpSocket)
	if !ok || !t.wants.has(wantInq) {
		return
	}
	if conn := t.conn.Load(); conn != nil && conn.begin() == 0 {
		n := conn.conn.Inq()
		conn.leave()
		c.putInt(unix.IPPROTO_TCP, unix.TCP_CM_INQ, n)
	}
}

// putAuxData writes a struct tpacket_auxdata: how long a frame is, where its IP header begins, and the VLAN
// tag that was taken off it (packet_recvmsg in net/packet/af_packet.c). What the kernel knows of checksums
// is not known here.
func (c *control) putAuxData(s *settings, m *ring.Datagram) {
	status, at := uint32(unix.TP_STATUS_USER), uint16(0)
	if s.kind == unix.SOCK_RAW && !s.host.Cores()[0].Stack.Port(int(m.Iface)).RawIP {
		at = wire.EthernetLen
	}
	tag := udp.TagOf(m.To)
	if tag != (udp.Tag{}) {
		status |= unix.TP_STATUS_VLAN_VALID | unix.TP_STATUS_VLAN_TPID_VALID
	}
	var b []byte
	ne := binary.NativeEndian
	b = ne.AppendUint32(ne.AppendUint32(ne.AppendUint32(b, status), uint32(m.Len)), uint32(m.Len))
	b = ne.AppendUint16(ne.AppendUint16(b, 0), at)
	b = ne.AppendUint16(ne.AppendUint16(b, tag.TCI), uint16(tag.Type))
	c.put(unix.SOL_PACKET, unix.PACKET_AUXDATA, b)
}

// put4 writes what came in the header of an IPv4 packet.
func (c *control) put4(s *settings, w wants, m *ring.Datagram) {
	if w&wantPktinfo != 0 {
		var b [unix.SizeofInet4Pktinfo]byte
		to := m.To.Addr().As4()
		binary.NativeEndian.PutUint32(b[0:], uint32(s.host.Index(int(m.Iface))))
		local := s.localOf(m)
		copy(b[4:], local[:])
		copy(b[8:], to[:])
		c.put(unix.IPPROTO_IP, unix.IP_PKTINFO, b[:])
	}
	if w&wantTTL != 0 {
		c.putInt(unix.IPPROTO_IP, unix.IP_TTL, int(m.TTL))
	}
	if w&wantTOS != 0 {
		c.put(unix.IPPROTO_IP, unix.IP_TOS, []byte{m.TOS})
	}
	if w&wantOrigDst != 0 {
		var b [unix.SizeofSockaddrInet4]byte
		putSockaddr4(b[:], m.To)
		c.put(unix.IPPROTO_IP, unix.IP_ORIGDSTADDR, b[:])
	}
}

// put6 writes what came in the header of an IPv6 packet.
func (c *control) put6(w wants, m *ring.Datagram) {
	if w&wantHopLimit != 0 {
		c.putInt(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, int(m.TTL))
	}
	if w&wantTClass != 0 {
		c.putInt(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, int(m.TOS))
	}
	if w&wantOrigDst6 != 0 {
		var b [unix.SizeofSockaddrInet6]byte
		putSockaddr6(b[:], m.To)
		c.put(unix.IPPROTO_IPV6, unix.IPV6_ORIGDSTADDR, b[:])
	}
}

// localOf is the address of ours that an answer to a datagram comes from (ipi_spec_dst): where it
// was sent to or, if that is a group or everyone, the first of the interface.
func (s *settings) localOf(m *ring.Datagram) [4]byte {
	if a := m.To.Addr(); s.host.Local(a) {
		return a.As4()
	}
	c := s.host.Cores()[0]
	c.Lock()
	defer c.Unlock()
	for _, p := range c.Stack.Addrs(int(m.Iface)) {
		if a := p.Prefix.Addr(); a.Is4() {
			return a.As4()
		}
	}
	return [4]byte{}
}

// wallClock is a moment of the host's clock as a time of day.
func (s *settings) wallClock(t mono.Time) time.Time {
	return time.Now().Add(-s.host.Clock().Now().Sub(t))
}

// putTime writes when a datagram arrived, in the form that was asked for.
func (c *control) putTime(w wants, t time.Time) {
	sec, nsec := uint64(t.Unix()), uint64(t.Nanosecond())
	var b [3 * 2 * 8]byte
	// pair writes seconds and a fraction, and returns their length: the forms with _NEW have 64 bits
	// each on all machines.
	pair := func(fraction uint64, fixed bool) int {
		if fixed || wordLen == 8 {
			binary.NativeEndian.PutUint64(b[0:], sec)
			binary.NativeEndian.PutUint64(b[8:], fraction)
			return 16
		}
		binary.NativeEndian.PutUint32(b[0:], uint32(sec))
		binary.NativeEndian.PutUint32(b[4:], uint32(fraction))
		return 8
	}
	if w&wantTimestamp != 0 {
		fixed := w&wantNewTime != 0
		switch {
		case w&wantNanoseconds != 0 && fixed:
			c.put(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_NEW, b[:pair(nsec, true)])
		case w&wantNanoseconds != 0:
			c.put(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS_OLD, b[:pair(nsec, false)])
		case fixed:
			c.put(unix.SOL_SOCKET, unix.SO_TIMESTAMP_NEW, b[:pair(nsec/1000, true)])
		default:
			c.put(unix.SOL_SOCKET, unix.SO_TIMESTAMP_OLD, b[:pair(nsec/1000, false)])
		}
	}
	if w&wantStamping != 0 { // three times, of which the first is the software's
		if w&wantNewStamping != 0 {
			c.put(unix.SOL_SOCKET, unix.SO_TIMESTAMPING_NEW, b[:3*pair(nsec, true)])
		} else {
			c.put(unix.SOL_SOCKET, unix.SO_TIMESTAMPING_OLD, b[:3*pair(nsec, false)])
		}
	}
}

// putSockaddr4 writes a struct sockaddr_in.
func putSockaddr4(b []byte, a netip.AddrPort) {
	binary.NativeEndian.PutUint16(b[0:], unix.AF_INET)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	ip := a.Addr().As4()
	copy(b[4:], ip[:])
}

// putSockaddr6 writes a struct sockaddr_in6.
func putSockaddr6(b []byte, a netip.AddrPort) {
	binary.NativeEndian.PutUint16(b[0:], unix.AF_INET6)
	binary.BigEndian.PutUint16(b[2:], a.Port())
	ip := a.Addr().As16()
	copy(b[8:], ip[:])
	binary.NativeEndian.PutUint32(b[24:], wire.Scope(a.Addr()))
}
