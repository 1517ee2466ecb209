package udp

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: ip(7) on IP_RECVERR and IP_MTU_DISCOVER; RFC 1122 §4.1.3.3; udp_err in
// net/ipv4/udp.c, ip_icmp_error in net/ipv4/ip_sockglue.c.

// errQueueMax bounds the errors that wait at one end of a socket, in bytes charged with
// their overhead: some two hundred of the shortest. Linux charges them to SO_RCVBUF; here a
// program that reads no errors loses no datagrams by them.
const errQueueMax = 64 << 10

// An Origin says who has reported an error (SO_EE_ORIGIN_*).
type Origin uint8

const (
	OriginLocal Origin = unix.SO_EE_ORIGIN_LOCAL // this host, before the packet left
	OriginICMP  Origin = unix.SO_EE_ORIGIN_ICMP
	OriginICMP6 Origin = unix.SO_EE_ORIGIN_ICMP6
	OriginStamp Origin = unix.SO_EE_ORIGIN_TIMESTAMPING // no error: it was sent

	// OriginZeroCopy is of calls whose memory the program has again (MSG_ZEROCOPY). It is never in a queue.
	OriginZeroCopy Origin = unix.SO_EE_ORIGIN_ZEROCOPY
)

// Remote says whether another host, or a router, has reported the error (is_icmp_err_skb).
func (o Origin) Remote() bool { return o == OriginICMP || o == OriginICMP6 }

// An ExtendedError is what struct sock_extended_err says about a packet that a socket has
// sent, with what recvmsg returns beside it.
type ExtendedError struct {
	Errno      unix.Errno
	Origin     Origin
	Type, Code uint8  // of the ICMP message
	Info       uint32 // the MTU of EMSGSIZE, the pointer of a parameter problem, what a stamp is of (SCM_TSTAMP_*)
	Data       uint32 // the key of a stamp

	To       netip.AddrPort // where the packet was sent to: msg_name; not valid for a stamp
	Offender netip.Addr     // who reports it: SO_EE_OFFENDER; not valid where the origin is local
	Iface    uint32         // port of the stack that the report came in by
	Time     mono.Time      // of its arrival
	TTL, TOS uint8          // of the report
}

// An ErrQueue is a socket's queue of errors at one core (MSG_ERRQUEUE). The core puts in, the
// program takes out. The zero value is unusable until Init. A stream has one too, and knows it as what it is made of.
type ErrQueue ring.Datagrams

func (q *ErrQueue) ring() *ring.Datagrams { return (*ring.Datagrams)(q) }

// Init makes q an empty queue in chunks of pool.
func (q *ErrQueue) Init(pool *ring.Pool) { q.ring().Init(pool, errQueueMax) }

// Len returns how many errors wait. Both sides may ask.
func (q *ErrQueue) Len() int { return q.ring().Len() }

// Free gives the queue's memory back. Neither side may use q any more.
func (q *ErrQueue) Free() { q.ring().Free() }

// quoteMax is how much of a packet is kept: more than an ICMPv6 error has, which fits into
// 1280 bytes (RFC 4443 §2.4(c)).
const quoteMax = 1280

// extendedLen is the length of what stands before the quote in a record.
const extendedLen = 16

// Put queues an error and as much of the packet as was quoted, from behind the transport
// header on; of a stamp the whole frame. It says false if there is no room.
func (q *ErrQueue) Put(e *ExtendedError, quote []byte) bool {
	var b [extendedLen]byte
	binary.LittleEndian.PutUint32(b[0:], uint32(e.Errno))
	binary.LittleEndian.PutUint32(b[4:], e.Info)
	b[8], b[9], b[10] = uint8(e.Origin), e.Type, e.Code
	binary.LittleEndian.PutUint32(b[12:], e.Data)
	if e.Origin != OriginStamp {
		quote = quote[:min(len(quote), quoteMax)]
	}
	m := ring.Datagram{From: netip.AddrPortFrom(e.Offender, 0), To: e.To, Iface: e.Iface, Time: int64(e.Time), TTL: e.TTL, TOS: e.TOS}
	return q.ring().PutParts(&m, b[:], quote)
}

// Get takes the oldest error, copies as much of its quote into p as fits, and fills in e. It
// returns how much was copied and how much there was, and false if the queue is empty.
func (q *ErrQueue) Get(e *ExtendedError, p []byte) (n, whole int, ok bool) {
	var m ring.Datagram
	var room [extendedLen + quoteMax]byte
	b := room[:]
	if _, ok = q.ring().Get(&m, b[:extendedLen], true); ok && m.Len > len(b) { // the whole frame of a stamp
		b = make([]byte, m.Len)
	}
	got, ok := q.ring().Get(&m, b, false)
	if !ok {
		return 0, 0, false
	}
	n = copy(p, b[extendedLen:got])
	*e = ExtendedError{
		Errno: unix.Errno(binary.LittleEndian.Uint32(b[0:])), Info: binary.LittleEndian.Uint32(b[4:]),
		Origin: Origin(b[8]), Type: b[9], Code: b[10], Data: binary.LittleEndian.Uint32(b[12:]),
		To: m.To, Offender: m.From.Addr(), Iface: m.Iface, Time: mono.Time(m.Time), TTL: m.TTL, TOS: m.TOS,
	}
	return n, m.Len - extendedLen, true
}

// WantsErrors says whether s has asked for the errors of packets to dst.
func (s *Socket) WantsErrors(dst netip.Addr) bool {
	if dst.Is4() {
		return s.RecvErr
	}
	return s.RecvErr6
}

// Peek returns the errno of the oldest error, if another host has reported it, and false if there
// is none such.
func (q *ErrQueue) Peek() (unix.Errno, bool) {
	var m ring.Datagram
	var b [extendedLen]byte
	if _, ok := q.ring().Get(&m, b[:], true); !ok || !Origin(b[8]).Remote() {
		return 0, false
	}
	return unix.Errno(binary.LittleEndian.Uint32(b[0:])), true
}

// Report tells a socket what has become of a packet that it has sent: by its error queue, if
// it asked for that, and by SO_ERROR, if it did or is connected and the error is hard, so that
// it will not pass by itself (Linux: udp_err, __udp6_lib_err, ping_err, raw_err).
func (s *Socket) Report(e *ExtendedError, hard bool, quote []byte, wakes *ring.Wakes) drop.Reason {
	asked := s.WantsErrors(e.To.Addr())
	if !asked && (!hard || !s.Remote.IsValid()) {
		return drop.None
	}
	reason := drop.None
	if asked && !s.Errors.Put(e, quote) {
		reason = drop.UDPErrorsFull
	}
	s.Fail(e.Errno, wakes)
	return reason
}
