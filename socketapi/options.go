package socketapi

import (
	"encoding/binary"
	"math"
	"slices"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: socket(7), ip(7), tcp(7); sk_setsockopt in net/core/sock.c.

// Limits of the buffer options, in bytes.
const (
	recvBufMin = 2304 // SOCK_MIN_RCVBUF
	sendBufMin = 4608 // SOCK_MIN_SNDBUF
)

// options is every option that there is.
var options = slices.Concat(socketOptions, newTimeouts, ipOptions, ipv6Options, rawOptions, tcpOptions, udpOptions)

// socketOptions are those of SOL_SOCKET.
var socketOptions = []option{
	flag("SO_REUSEADDR", unix.SO_REUSEADDR, func(s *settings) *bool { return &s.reuseAddr }),
	{level: unix.SOL_SOCKET, name: unix.SO_REUSEPORT, label: "SO_REUSEPORT", kind: kindFlag, get: getReusePort, set: setReusePort},
	flag("SO_DONTROUTE", unix.SO_DONTROUTE, func(s *settings) *bool { return &s.dontRoute }),
	{level: unix.SOL_SOCKET, name: unix.SO_PRIORITY, label: "SO_PRIORITY",
		get: func(s socket, v *value) unix.Errno { v.n = s.common().priority; return 0 }, set: setPriority},
	{level: unix.SOL_SOCKET, name: unix.SO_BSDCOMPAT, label: "SO_BSDCOMPAT", // which Linux has forgotten what it was for
		get: func(socket, *value) unix.Errno { return 0 }, set: func(socket, *value) unix.Errno { return 0 }},
	flag("SO_BROADCAST", unix.SO_BROADCAST, func(s *settings) *bool { return &s.broadcast }),
	flag("SO_KEEPALIVE", unix.SO_KEEPALIVE, func(s *settings) *bool { return &s.keepAlive }),
	flag("SO_OOBINLINE", unix.SO_OOBINLINE, func(s *settings) *bool { return &s.oobInline }),
	{level: unix.SOL_SOCKET, name: unix.SO_LINGER, label: "SO_LINGER", kind: kindLinger, get: getLinger, set: setLinger},
	{level: unix.SOL_SOCKET, name: unix.SO_RCVBUF, label: "SO_RCVBUF", get: getRcvBuf, set: setRcvBuf},
	{level: unix.SOL_SOCKET, name: unix.SO_SNDBUF, label: "SO_SNDBUF", get: getSndBuf, set: setSndBuf},
	{level: unix.SOL_SOCKET, name: unix.SO_RCVBUFFORCE, label: "SO_RCVBUFFORCE", set: forced(setRcvBufForced)},
	{level: unix.SOL_SOCKET, name: unix.SO_SNDBUFFORCE, label: "SO_SNDBUFFORCE", set: forced(setSndBufForced)},
	timeout("SO_RCVTIMEO", unix.SO_RCVTIMEO, func(s *settings) *patience { return &s.rcvTimeo }),
	timeout("SO_SNDTIMEO", unix.SO_SNDTIMEO, func(s *settings) *patience { return &s.sndTimeo }),
	{level: unix.SOL_SOCKET, name: unix.SO_RCVLOWAT, label: "SO_RCVLOWAT", get: getRcvLowat, set: setRcvLowat},
	{level: unix.SOL_SOCKET, name: unix.SO_PEEK_OFF, label: "SO_PEEK_OFF", get: getPeekOff, set: setPeekOff},
	fact("SO_SNDLOWAT", unix.SO_SNDLOWAT, func(socket) int { return 1 }),
	{level: unix.SOL_SOCKET, name: unix.SO_MAX_PACING_RATE, label: "SO_MAX_PACING_RATE", kind: kindRate, on: onTCP, get: getPacingRate, set: setPacingRate},
	{level: unix.SOL_SOCKET, name: unix.SO_COOKIE, label: "SO_COOKIE", kind: kindBytes, get: getCookie},
	{level: unix.SOL_SOCKET, name: unix.SO_SELECT_ERR_QUEUE, label: "SO_SELECT_ERR_QUEUE", kind: kindFlag,
		get: func(s socket, v *value) unix.Errno { v.n = number(errorsUrgent(s).Load()); return 0 },
		set: func(s socket, v *value) unix.Errno { errorsUrgent(s).Store(v.n != 0); return 0 }},
	{level: unix.SOL_SOCKET, name: unix.SO_DEBUG, label: "SO_DEBUG", kind: kindFlag,
		get: func(s socket, v *value) unix.Errno { v.n = number(s.common().debug); return 0 }, set: setDebug},
	fact("SO_ERROR", unix.SO_ERROR, func(s socket) int { return int(s.takeError()) }),
	fact("SO_TYPE", unix.SO_TYPE, func(s socket) int { return s.common().kind }),
	fact("SO_DOMAIN", unix.SO_DOMAIN, func(s socket) int { return s.common().family }),
	fact("SO_PROTOCOL", unix.SO_PROTOCOL, func(s socket) int { return s.common().proto }),
	fact("SO_ACCEPTCONN", unix.SO_ACCEPTCONN, func(s socket) int { return number(s.accepting()) }),
	{level: unix.SOL_SOCKET, name: unix.SO_PEERCRED, label: "SO_PEERCRED", kind: kindBytes, get: getPeerCred},
	zeroCopyOption,
	flag("SO_NO_CHECK", unix.SO_NO_CHECK, func(s *settings) *bool { return &s.noCheck }),
	wanted("SO_RXQ_OVFL", unix.SOL_SOCKET, unix.SO_RXQ_OVFL, wantOverflow),
	timestamp("SO_TIMESTAMP", unix.SO_TIMESTAMP_OLD, 0),
	timestamp("SO_TIMESTAMPNS", unix.SO_TIMESTAMPNS_OLD, wantNanoseconds),
	timestamp("SO_TIMESTAMP_NEW", unix.SO_TIMESTAMP_NEW, wantNewTime),
	timestamp("SO_TIMESTAMPNS_NEW", unix.SO_TIMESTAMPNS_NEW, wantNanoseconds|wantNewTime),
	stamping("SO_TIMESTAMPING", unix.SO_TIMESTAMPING_OLD, 0),
	stamping("SO_TIMESTAMPING_NEW", unix.SO_TIMESTAMPING_NEW, wantNewStamping),
	{level: unix.SOL_SOCKET, name: unix.SO_BINDTODEVICE, label: "SO_BINDTODEVICE", kind: kindText, get: getDevice, set: setDevice, on: onTCP | onDatagram},
	{level: unix.SOL_SOCKET, name: unix.SO_BINDTOIFINDEX, label: "SO_BINDTOIFINDEX", get: getDeviceIndex, set: setDeviceIndex, on: onTCP | onDatagram},
}

// newTimeouts have 64 bits on all machines, which on most is what the others have.
var newTimeouts = []option{
	timeout("SO_RCVTIMEO_NEW", unix.SO_RCVTIMEO_NEW, func(s *settings) *patience { return &s.rcvTimeo }),
	timeout("SO_SNDTIMEO_NEW", unix.SO_SNDTIMEO_NEW, func(s *settings) *patience { return &s.sndTimeo }),
}[:2*(wordLen/8)]

// of is the option for some kinds of sockets alone.
func (o option) of(on class) option {
	o.on = on
	return o
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}

// flag is an option of SOL_SOCKET that is on or off.
func flag(label string, name int, of func(*settings) *bool) option {
	return option{level: unix.SOL_SOCKET, name: name, label: label, kind: kindFlag,
		get: func(s socket, v *value) unix.Errno { v.n = number(*of(s.common())); return 0 },
		set: func(s socket, v *value) unix.Errno { *of(s.common()) = v.n != 0; return 0 },
	}
}

// wanted is an option that asks for a control message. A stream has it, and never gets one: its bytes are of
// no packet in particular (Linux: tcp_recvmsg).
func wanted(label string, level, name int, bit wants) option {
	return option{level: level, name: name, label: label, kind: kindFlag,
		get: func(s socket, v *value) unix.Errno { v.n = number(s.common().wants.has(bit)); return 0 },
		set: func(s socket, v *value) unix.Errno { s.common().wants.set(bit, v.n != 0); return 0 },
	}
}

// fact is an option of SOL_SOCKET that cannot be set.
func fact(label string, name int, of func(socket) int) option {
	return option{level: unix.SOL_SOCKET, name: name, label: label,
		get: func(s socket, v *value) unix.Errno { v.n = of(s); return 0 },
	}
}

// timeoutMax is what longer times are taken for: for ever (Linux: MAX_SCHEDULE_TIMEOUT).
const timeoutMax = 1 << 33 // seconds, some 270 years

// timeout is SO_RCVTIMEO or SO_SNDTIMEO. 0 is no limit; a negative time has passed
// already (Linux: sock_set_timeout).
func timeout(label string, name int, of func(*settings) *patience) option {
	return option{level: unix.SOL_SOCKET, name: name, label: label, kind: kindTime,
		get: func(s socket, v *value) unix.Errno {
			v.time = unix.NsecToTimeval(max(of(s.common()).d.Load(), 0))
			return 0
		},
		set: func(s socket, v *value) unix.Errno {
			tv, p := v.time, of(s.common())
			switch {
			case tv.Usec < 0 || tv.Usec >= 1e6:
				return unix.EDOM
			case tv.Sec < 0:
				p.d.Store(-1)
			case tv.Sec >= timeoutMax:
				p.d.Store(0)
			default:
				p.d.Store(tv.Nano())
			}
			return 0
		},
	}
}

func getReusePort(s socket, v *value) unix.Errno {
	v.n = number(s.common().reusePort)
	return 0
}

func setReusePort(s socket, v *value) unix.Errno {
	if v.n != 0 && s.common().family == unix.AF_PACKET {
		return unix.EOPNOTSUPP
	}
	s.common().reusePort = v.n != 0
	return 0
}

// Priorities of SO_PRIORITY that anybody may ask for (TC_PRIO_INTERACTIVE).
const priorityMost = 6

// setPriority keeps what schedulers go by. The engine sends in order, as a device of Linux's without one does.
func setPriority(s socket, v *value) unix.Errno {
	if !mayPrioritize(v.n) {
		return unix.EPERM
	}
	s.common().priority = v.n
	return 0
}

// mayPrioritize says whether the calling thread may ask for a priority (sk_set_prio_allowed).
func mayPrioritize(n int) bool {
	return n >= 0 && n <= priorityMost || host.Capable(unix.CAP_NET_RAW) || host.Capable(unix.CAP_NET_ADMIN)
}

// priorityOf is what a TOS of IPv4 makes of SO_PRIORITY (rt_tos2priority).
func priorityOf(tos int) int {
	return [...]int{0, 2, 6, 4}[tos>>3&3] // TC_PRIO_BESTEFFORT, BULK, INTERACTIVE, INTERACTIVE_BULK
}

// getPeerCred says that nobody is known: only sockets of AF_UNIX know who is at their other end (struct ucred).
func getPeerCred(_ socket, v *value) unix.Errno {
	ne := binary.NativeEndian
	v.text = string(ne.AppendUint32(ne.AppendUint32(ne.AppendUint32(nil, 0), math.MaxUint32), math.MaxUint32))
	return 0
}

func getLinger(s socket, v *value) unix.Errno {
	v.linger = s.common().linger
	return 0
}

func setLinger(s socket, v *value) unix.Errno {
	l := &s.common().linger
	l.Onoff = int32(number(v.linger.Onoff != 0))
	if l.Onoff != 0 {
		l.Linger = v.linger.Linger
	}
	return 0
}

func getRcvLowat(s socket, v *value) unix.Errno {
	v.n = max(s.common().rcvLowat, 1)
	return 0
}

// setRcvLowat has a stream's receive buffer grow to what is to be waited for, where it is not fixed, and asks for no more
// than half of what that may be (tcp_set_rcvlowat).
func setRcvLowat(s socket, v *value) unix.Errno {
	c := s.common()
	n := v.n
	if n < 0 {
		n = math.MaxInt32
	}
	if c.class() == onTCP {
		most := c.rcvBuf / 2
		if most == 0 {
			most = c.host.TCPParams().Rmem.Max / 2
		}
		n = min(n, most)
	}
	c.rcvLowat = max(n, 1)
	return 0
}

// getPacingRate and setPacingRate are of 32 bits, all of them set being no limit, or of 64.
func getPacingRate(s socket, v *value) unix.Errno {
	v.rate = ^s.(*tcpSocket).paced
	return 0
}

func setPacingRate(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	t.paced = ^v.rate
	t.opt.MaxPacingRate = 0
	if v.rate != math.MaxUint64 {
		t.opt.MaxPacingRate = v.rate
	}
	return 0
}

// A buffer is twice what was asked for, since the overhead of packets counts too
// (socket(7)); a stream's window is the half of it.
func getRcvBuf(s socket, v *value) unix.Errno {
	if v.n = s.common().rcvBuf; v.n != 0 {
		return 0
	}
	v.n = datagramRecvDefault
	if t, ok := s.(*tcpSocket); ok {
		v.n = t.host.TCPParams().Rmem.Default
		return t.tuned(func(c *tcp.Conn) { v.n, _ = c.Buffers() })
	}
	return 0
}

func getSndBuf(s socket, v *value) unix.Errno {
	if v.n = s.common().sndBuf; v.n != 0 {
		return 0
	}
	v.n = datagramRecvDefault
	if t, ok := s.(*tcpSocket); ok {
		v.n = t.host.TCPParams().Wmem.Default
		return t.tuned(func(c *tcp.Conn) { _, v.n = c.Buffers() })
	}
	return 0
}

func setRcvBuf(s socket, v *value) unix.Errno {
	s.common().rcvBuf = recvBufferOf(s.common().host, v.n)
	return 0
}

func setSndBuf(s socket, v *value) unix.Errno {
	s.common().sndBuf = sendBufferOf(s.common().host, v.n)
	return 0
}

// forced is SO_RCVBUFFORCE or SO_SNDBUFFORCE: who may administer the network asks for more than the host's most.
func forced(set func(c *settings, n int)) func(socket, *value) unix.Errno {
	return func(s socket, v *value) unix.Errno {
		if !host.Capable(unix.CAP_NET_ADMIN) {
			return unix.EPERM
		}
		set(s.common(), 2*min(max(v.n, 0), math.MaxInt32/2))
		return 0
	}
}

func setRcvBufForced(c *settings, n int) { c.rcvBuf = max(n, recvBufMin) }
func setSndBufForced(c *settings, n int) { c.sndBuf = max(n, sendBufMin) }

// setDebug keeps what nothing looks at, as Linux does.
func setDebug(s socket, v *value) unix.Errno {
	if v.n != 0 && !host.Capable(unix.CAP_NET_ADMIN) {
		return unix.EACCES
	}
	s.common().debug = v.n != 0
	return 0
}

// cookies counts the sockets that have been asked for theirs.
var cookies atomic.Uint64

// getCookie is a number that no other socket of the program has, from when it is first asked for (sock_gen_cookie).
func getCookie(s socket, v *value) unix.Errno {
	if len(v.text) < 8 {
		return unix.EINVAL
	}
	c := s.common()
	if c.cookie == 0 {
		c.cookie = cookies.Add(1)
	}
	v.text = string(binary.NativeEndian.AppendUint64(nil, c.cookie))
	return 0
}

// errorsUrgent is whether poll(2) says of errors that they are urgent.
func errorsUrgent(s socket) *atomic.Bool {
	if d, ok := s.(datagramSocket); ok {
		return &d.datagrams().errorsUrgent
	}
	return &s.common().errorsUrgent
}

// recvBufferOf and sendBufferOf are what becomes of a size that a program asks for.
func recvBufferOf(h *host.Host, n int) int {
	most, _ := h.BufferMax()
	return max(2*asked(n, most), recvBufMin)
}

func sendBufferOf(h *host.Host, n int) int {
	_, most := h.BufferMax()
	return max(2*asked(n, most), sendBufMin)
}

// tuned asks a connection how large its buffers have become, if there is one.
func (s *tcpSocket) tuned(ask func(*tcp.Conn)) unix.Errno {
	if conn := s.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno { ask(c); return 0 })
	}
	return 0
}

// asked is a buffer's size as it is taken: Linux compares it as unsigned.
func asked(n, most int) int { return int(min(uint32(n), uint32(most))) }
