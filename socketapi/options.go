package socketapi

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: socket(7), ip(7), tcp(7); sk_setsockopt in net/core/sock.c.

// Limits of the buffer options, in bytes.
const (
	bufferMax    = 4 << 20 // net.core.rmem_max and wmem_max
	recvBufMin   = 2304    // SOCK_MIN_RCVBUF
	sendBufMin   = 4608    // SOCK_MIN_SNDBUF
	streamBuffer = 128 << 10
)

// options is every option that there is.
var options = []option{
	flag("SO_REUSEADDR", unix.SO_REUSEADDR, func(s *settings) *bool { return &s.reuseAddr }),
	flag("SO_REUSEPORT", unix.SO_REUSEPORT, func(s *settings) *bool { return &s.reusePort }),
	flag("SO_BROADCAST", unix.SO_BROADCAST, func(s *settings) *bool { return &s.broadcast }),
	flag("SO_KEEPALIVE", unix.SO_KEEPALIVE, func(s *settings) *bool { return &s.keepAlive }),
	{level: unix.SOL_SOCKET, name: unix.SO_LINGER, label: "SO_LINGER", kind: kindLinger, get: getLinger, set: setLinger},
	{level: unix.SOL_SOCKET, name: unix.SO_RCVBUF, label: "SO_RCVBUF", get: getRcvBuf, set: setRcvBuf},
	{level: unix.SOL_SOCKET, name: unix.SO_SNDBUF, label: "SO_SNDBUF", get: getSndBuf, set: setSndBuf},
	timeout("SO_RCVTIMEO", unix.SO_RCVTIMEO, func(s *settings) *patience { return &s.rcvTimeo }),
	timeout("SO_SNDTIMEO", unix.SO_SNDTIMEO, func(s *settings) *patience { return &s.sndTimeo }),
	fact("SO_ERROR", unix.SO_ERROR, func(s socket) int { return int(s.takeError()) }),
	fact("SO_TYPE", unix.SO_TYPE, func(s socket) int { return s.common().kind }),
	fact("SO_DOMAIN", unix.SO_DOMAIN, func(s socket) int { return s.common().family }),
	fact("SO_PROTOCOL", unix.SO_PROTOCOL, func(s socket) int { return s.common().proto }),
	fact("SO_ACCEPTCONN", unix.SO_ACCEPTCONN, func(s socket) int { return number(s.accepting()) }),

	{level: unix.IPPROTO_IP, name: unix.IP_TTL, label: "IP_TTL", get: getTTL, set: setTTL},
	{level: unix.IPPROTO_IP, name: unix.IP_TOS, label: "IP_TOS", get: getTOS, set: setTOS},

	tcpFlag("TCP_NODELAY", unix.TCP_NODELAY, func(s *tcpSocket) *bool { return &s.opt.NoDelay }),
	tcpFlag("TCP_CORK", unix.TCP_CORK, func(s *tcpSocket) *bool { return &s.opt.Cork }),
	{level: unix.IPPROTO_TCP, name: unix.TCP_QUICKACK, label: "TCP_QUICKACK", kind: kindFlag, stream: true, get: getQuickACK, set: setQuickACK},
	{level: unix.IPPROTO_TCP, name: unix.TCP_MAXSEG, label: "TCP_MAXSEG", stream: true, get: getMaxSeg, set: setMaxSeg},
	seconds("TCP_KEEPIDLE", unix.TCP_KEEPIDLE, 7200, func(o *tcp.Options) *time.Duration { return &o.KeepIdle }),
	seconds("TCP_KEEPINTVL", unix.TCP_KEEPINTVL, 75, func(o *tcp.Options) *time.Duration { return &o.KeepInterval }),
	count("TCP_KEEPCNT", unix.TCP_KEEPCNT, 9, func(o *tcp.Options) *int { return &o.KeepCount }),
	count("TCP_SYNCNT", unix.TCP_SYNCNT, 6, func(o *tcp.Options) *int { return &o.SynCount }),
	{level: unix.IPPROTO_TCP, name: unix.TCP_USER_TIMEOUT, label: "TCP_USER_TIMEOUT", stream: true, get: getUserTimeout, set: setUserTimeout},
	{level: unix.IPPROTO_TCP, name: unix.TCP_LINGER2, label: "TCP_LINGER2", stream: true, get: getLinger2, set: setLinger2},
	{level: unix.IPPROTO_TCP, name: unix.TCP_CONGESTION, label: "TCP_CONGESTION", kind: kindText, stream: true, get: getCongestion, set: setCongestion},
	{level: unix.IPPROTO_TCP, name: unix.TCP_INFO, label: "TCP_INFO", kind: kindInfo, stream: true, get: getTCPInfo},
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

func getLinger(s socket, v *value) unix.Errno {
	v.linger = s.common().linger
	return 0
}

func setLinger(s socket, v *value) unix.Errno {
	l := &s.common().linger
	l.Onoff = int32(number(v.linger.Onoff != 0))
	if l.Onoff != 0 {
		l.Linger = int32(max(v.linger.Linger, 0))
	}
	return 0
}

// A buffer is twice what was asked for, since the overhead of packets counts too
// (socket(7)); a stream's window is the half of it.
func getRcvBuf(s socket, v *value) unix.Errno {
	v.n = s.common().rcvBuf
	if v.n == 0 {
		v.n = bufferDefault(s)
	}
	return 0
}

func getSndBuf(s socket, v *value) unix.Errno {
	v.n = s.common().sndBuf
	if v.n == 0 {
		v.n = bufferDefault(s)
	}
	return 0
}

func bufferDefault(s socket) int {
	if s.common().kind == unix.SOCK_STREAM {
		return streamBuffer
	}
	return datagramRecvDefault
}

func setRcvBuf(s socket, v *value) unix.Errno {
	s.common().rcvBuf = max(2*asked(v.n), recvBufMin)
	return 0
}

func setSndBuf(s socket, v *value) unix.Errno {
	s.common().sndBuf = max(2*asked(v.n), sendBufMin)
	return 0
}

// asked is a buffer's size as it is taken: Linux compares it as unsigned.
func asked(n int) int { return int(min(uint32(n), bufferMax)) }

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
	if c.tos = v.n & 0xff; c.kind == unix.SOCK_STREAM {
		c.tos &^= 3
	}
	return 0
}
