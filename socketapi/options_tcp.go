package socketapi

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: tcp(7); do_tcp_setsockopt and do_tcp_getsockopt in net/ipv4/tcp.c.

// The ranges of TCP's options.
const (
	keepMax       = 32767 // MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL: seconds
	countMax      = 127   // MAX_TCP_KEEPCNT, MAX_TCP_SYNCNT
	maxSegMin     = 88    // TCP_MIN_MSS
	maxSegMax     = 32767 // MAX_TCP_WINDOW
	maxSegDefault = 536   // TCP_MSS_DEFAULT
	linger2       = 60    // TCP_FIN_TIMEOUT, seconds
	linger2Max    = 120   // TCP_FIN_TIMEOUT_MAX, seconds
)

// tcpOptions are those of IPPROTO_TCP.
var tcpOptions = []option{
	tcpFlag("TCP_NODELAY", unix.TCP_NODELAY, func(s *tcpSocket) *bool { return &s.opt.NoDelay }),
	tcpFlag("TCP_CORK", unix.TCP_CORK, func(s *tcpSocket) *bool { return &s.opt.Cork }),
	{level: unix.IPPROTO_TCP, name: unix.TCP_QUICKACK, label: "TCP_QUICKACK", kind: kindFlag, on: onTCP, get: getQuickACK, set: setQuickACK},
	{level: unix.IPPROTO_TCP, name: unix.TCP_MAXSEG, label: "TCP_MAXSEG", on: onTCP, get: getMaxSeg, set: setMaxSeg},
	seconds("TCP_KEEPIDLE", unix.TCP_KEEPIDLE, 7200, func(o *tcp.Options) *time.Duration { return &o.KeepIdle }),
	seconds("TCP_KEEPINTVL", unix.TCP_KEEPINTVL, 75, func(o *tcp.Options) *time.Duration { return &o.KeepInterval }),
	count("TCP_KEEPCNT", unix.TCP_KEEPCNT, 9, func(o *tcp.Options) *int { return &o.KeepCount }),
	count("TCP_SYNCNT", unix.TCP_SYNCNT, 6, func(o *tcp.Options) *int { return &o.SynCount }),
	{level: unix.IPPROTO_TCP, name: unix.TCP_USER_TIMEOUT, label: "TCP_USER_TIMEOUT", on: onTCP, get: getUserTimeout, set: setUserTimeout},
	{level: unix.IPPROTO_TCP, name: unix.TCP_LINGER2, label: "TCP_LINGER2", on: onTCP, get: getLinger2, set: setLinger2},
	{level: unix.IPPROTO_TCP, name: unix.TCP_CONGESTION, label: "TCP_CONGESTION", kind: kindText, on: onTCP, get: getCongestion, set: setCongestion},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN, label: "TCP_FASTOPEN", on: onTCP, get: getFastOpen, set: setFastOpen},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN_CONNECT, label: "TCP_FASTOPEN_CONNECT", on: onTCP, get: getFastConnect, set: setFastConnect},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN_NO_COOKIE, label: "TCP_FASTOPEN_NO_COOKIE", on: onTCP, get: getFastNoCookie, set: setFastNoCookie},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN_KEY, label: "TCP_FASTOPEN_KEY", kind: kindBytes, on: onTCP, get: getFastKey, set: setFastKey},
	{level: unix.IPPROTO_TCP, name: unix.TCP_DEFER_ACCEPT, label: "TCP_DEFER_ACCEPT", on: onTCP, get: getDeferAccept, set: setDeferAccept},
	{level: unix.IPPROTO_TCP, name: unix.TCP_INFO, label: "TCP_INFO", kind: kindInfo, on: onTCP, get: getTCPInfo},
}

// tcpFlag is an option of IPPROTO_TCP that is on or off.
func tcpFlag(label string, name int, of func(*tcpSocket) *bool) option {
	return option{level: unix.IPPROTO_TCP, name: name, label: label, kind: kindFlag, on: onTCP,
		get: func(s socket, v *value) unix.Errno { v.n = number(*of(s.(*tcpSocket))); return 0 },
		set: func(s socket, v *value) unix.Errno { *of(s.(*tcpSocket)) = v.n != 0; return 0 },
	}
}

// seconds is an option of IPPROTO_TCP that is a time of 1 to keepMax seconds.
func seconds(label string, name, otherwise int, of func(*tcp.Options) *time.Duration) option {
	return option{level: unix.IPPROTO_TCP, name: name, label: label, on: onTCP,
		get: func(s socket, v *value) unix.Errno {
			if v.n = int(*of(&s.(*tcpSocket).opt) / time.Second); v.n == 0 {
				v.n = otherwise
			}
			return 0
		},
		set: func(s socket, v *value) unix.Errno {
			if v.n < 1 || v.n > keepMax {
				return unix.EINVAL
			}
			*of(&s.(*tcpSocket).opt) = time.Duration(v.n) * time.Second
			return 0
		},
	}
}

// count is an option of IPPROTO_TCP that is a number of 1 to countMax.
func count(label string, name, otherwise int, of func(*tcp.Options) *int) option {
	return option{level: unix.IPPROTO_TCP, name: name, label: label, on: onTCP,
		get: func(s socket, v *value) unix.Errno {
			if v.n = *of(&s.(*tcpSocket).opt); v.n == 0 {
				v.n = otherwise
			}
			return 0
		},
		set: func(s socket, v *value) unix.Errno {
			if v.n < 1 || v.n > countMax {
				return unix.EINVAL
			}
			*of(&s.(*tcpSocket).opt) = v.n
			return 0
		},
	}
}

func getQuickACK(s socket, v *value) unix.Errno {
	v.n = number(s.(*tcpSocket).quick)
	return 0
}

func setQuickACK(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	t.quick = v.n != 0
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno { c.QuickACK(v.n != 0); return 0 })
	}
	return 0
}

// getMaxSeg returns what segments a connection sends, and before there is one what was asked
// for.
func getMaxSeg(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	v.n = maxSegDefault
	if t.opt.MaxSeg != 0 {
		v.n = int(t.opt.MaxSeg)
	}
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno {
			if c.State() >= tcp.Established {
				v.n = c.MSS()
			}
			return 0
		})
	}
	return 0
}

func setMaxSeg(s socket, v *value) unix.Errno {
	if v.n != 0 && (v.n < maxSegMin || v.n > maxSegMax) {
		return unix.EINVAL
	}
	s.(*tcpSocket).opt.MaxSeg = uint16(v.n)
	return 0
}

func getUserTimeout(s socket, v *value) unix.Errno {
	v.n = int(s.(*tcpSocket).opt.UserTimeout / time.Millisecond)
	return 0
}

func setUserTimeout(s socket, v *value) unix.Errno {
	if v.n < 0 {
		return unix.EINVAL
	}
	s.(*tcpSocket).opt.UserTimeout = time.Duration(v.n) * time.Millisecond
	return 0
}

func getLinger2(s socket, v *value) unix.Errno {
	switch d := s.(*tcpSocket).opt.Linger2; {
	case d < 0:
		v.n = -1
	case d == 0:
		v.n = linger2
	default:
		v.n = int(d / time.Second)
	}
	return 0
}

func setLinger2(s socket, v *value) unix.Errno {
	d := &s.(*tcpSocket).opt.Linger2
	switch {
	case v.n < 0:
		*d = -1
	default:
		*d = time.Duration(min(v.n, linger2Max)) * time.Second
	}
	return 0
}

func getCongestion(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	a := t.opt.Congestion
	if a == tcp.AlgorithmDefault {
		a = tcp.CUBIC
	}
	v.text = a.String()
	return 0
}

func setCongestion(s socket, v *value) unix.Errno {
	a, ok := tcp.ParseAlgorithm(v.text)
	if !ok {
		return unix.ENOENT
	}
	s.(*tcpSocket).opt.Congestion = a
	return 0
}

// TCP_DEFER_ACCEPT is seconds, kept as how many timeouts of a SYN-ACK they are: the first after a second, each of
// the others twice as long, at most two minutes (Linux: secs_to_retrans and retrans_to_secs).
const (
	deferFirst = 1
	deferMax   = 120
	deferCount = 255
)

func getDeferAccept(s socket, v *value) unix.Errno {
	wait := deferFirst
	for range s.(*tcpSocket).opt.DeferAccept {
		v.n += wait
		wait = min(2*wait, deferMax)
	}
	return 0
}

func setDeferAccept(s socket, v *value) unix.Errno {
	n, wait := 0, deferFirst
	for period := 0; period < v.n && n < deferCount; n++ {
		period += wait
		wait = min(2*wait, deferMax)
	}
	s.(*tcpSocket).opt.DeferAccept = n
	return 0
}
