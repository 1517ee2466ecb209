package socketapi

import (
	"cmp"
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
	linger2Max    = 120   // TCP_FIN_TIMEOUT_MAX, seconds

	windowClampMin = recvBufMin / 2
	rtoMaxLeast    = 1000    // milliseconds
	rtoMaxMost     = 120_000 // TCP_RTO_MAX_SEC, in milliseconds
	timeoutLeast   = 2000    // TCP_TIMEOUT_MIN of a clock of a thousand ticks a second, in microseconds
	timeoutMost    = 200_000 // TCP_RTO_MIN and TCP_DELACK_MAX, in microseconds
)

// Options that golang.org/x/sys/unix does not know yet (include/uapi/linux/tcp.h).
const (
	tcpRTOMaxMS    = 44
	tcpRTOMinUS    = 45
	tcpIsMPTCP     = 43
	tcpDelACKMaxUS = 46
)

// tcpOptions are those of IPPROTO_TCP.
var tcpOptions = []option{
	tcpFlag("TCP_NODELAY", unix.TCP_NODELAY, func(s *tcpSocket) *bool { return &s.opt.NoDelay }),
	tcpFlag("TCP_CORK", unix.TCP_CORK, func(s *tcpSocket) *bool { return &s.opt.Cork }),
	{level: unix.IPPROTO_TCP, name: unix.TCP_QUICKACK, label: "TCP_QUICKACK", kind: kindFlag, on: onTCP, get: getQuickACK, set: setQuickACK},
	{level: unix.IPPROTO_TCP, name: unix.TCP_MAXSEG, label: "TCP_MAXSEG", on: onTCP, get: getMaxSeg, set: setMaxSeg},
	seconds("TCP_KEEPIDLE", unix.TCP_KEEPIDLE, func(p *tcp.Params) time.Duration { return p.KeepIdle }, func(o *tcp.Options) *time.Duration { return &o.KeepIdle }),
	seconds("TCP_KEEPINTVL", unix.TCP_KEEPINTVL, func(p *tcp.Params) time.Duration { return p.KeepInterval }, func(o *tcp.Options) *time.Duration { return &o.KeepInterval }),
	count("TCP_KEEPCNT", unix.TCP_KEEPCNT, func(p *tcp.Params) int { return p.KeepCount }, func(o *tcp.Options) *int { return &o.KeepCount }),
	count("TCP_SYNCNT", unix.TCP_SYNCNT, func(p *tcp.Params) int { return p.SynRetries }, func(o *tcp.Options) *int { return &o.SynCount }),
	{level: unix.IPPROTO_TCP, name: unix.TCP_USER_TIMEOUT, label: "TCP_USER_TIMEOUT", on: onTCP, get: getUserTimeout, set: setUserTimeout},
	{level: unix.IPPROTO_TCP, name: unix.TCP_LINGER2, label: "TCP_LINGER2", on: onTCP, get: getLinger2, set: setLinger2},
	{level: unix.IPPROTO_TCP, name: unix.TCP_CONGESTION, label: "TCP_CONGESTION", kind: kindName, on: onTCP, get: getCongestion, set: setCongestion},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN, label: "TCP_FASTOPEN", on: onTCP, get: getFastOpen, set: setFastOpen},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN_CONNECT, label: "TCP_FASTOPEN_CONNECT", on: onTCP, get: getFastConnect, set: setFastConnect},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN_NO_COOKIE, label: "TCP_FASTOPEN_NO_COOKIE", on: onTCP, get: getFastNoCookie, set: setFastNoCookie},
	{level: unix.IPPROTO_TCP, name: unix.TCP_FASTOPEN_KEY, label: "TCP_FASTOPEN_KEY", kind: kindBytes, on: onTCP, get: getFastKey, set: setFastKey},
	{level: unix.IPPROTO_TCP, name: unix.TCP_DEFER_ACCEPT, label: "TCP_DEFER_ACCEPT", on: onTCP, get: getDeferAccept, set: setDeferAccept},
	{level: unix.IPPROTO_TCP, name: unix.TCP_SAVE_SYN, label: "TCP_SAVE_SYN", on: onTCP, get: getSaveSYN, set: setSaveSYN},
	{level: unix.IPPROTO_TCP, name: unix.TCP_SAVED_SYN, label: "TCP_SAVED_SYN", kind: kindBytes, on: onTCP, get: getSavedSYN},
	{level: unix.IPPROTO_TCP, name: unix.TCP_INQ, label: "TCP_INQ", on: onTCP, get: getInq, set: setInq},
	{level: unix.IPPROTO_TCP, name: unix.TCP_WINDOW_CLAMP, label: "TCP_WINDOW_CLAMP", on: onTCP, get: getWindowClamp, set: setWindowClamp},
	{level: unix.IPPROTO_TCP, name: unix.TCP_NOTSENT_LOWAT, label: "TCP_NOTSENT_LOWAT", on: onTCP,
		get: func(s socket, v *value) unix.Errno { v.n = int(int32(s.(*tcpSocket).opt.NotSentLow)); return 0 },
		set: func(s socket, v *value) unix.Errno { s.(*tcpSocket).opt.NotSentLow = uint32(v.n); return 0 }},
	{level: unix.IPPROTO_TCP, name: unix.TCP_TIMESTAMP, label: "TCP_TIMESTAMP", on: onTCP, get: getTimestamp, set: setTimestamp},
	thin("TCP_THIN_LINEAR_TIMEOUTS", unix.TCP_THIN_LINEAR_TIMEOUTS, func(o *tcp.Options) *bool { return &o.ThinTimeouts }),
	thin("TCP_THIN_DUPACK", unix.TCP_THIN_DUPACK, nil),
	{level: unix.IPPROTO_TCP, name: tcpRTOMaxMS, label: "TCP_RTO_MAX_MS", on: onTCP, get: getRTOMax, set: setRTOMax},
	{level: unix.IPPROTO_TCP, name: tcpRTOMinUS, label: "TCP_RTO_MIN_US", on: onTCP, get: getRTOMin, set: setRTOMin},
	{level: unix.IPPROTO_TCP, name: tcpDelACKMaxUS, label: "TCP_DELACK_MAX_US", on: onTCP, get: getDelayMax, set: setDelayMax},
	{level: unix.IPPROTO_TCP, name: unix.TCP_CC_INFO, label: "TCP_CC_INFO", kind: kindCCInfo, on: onTCP,
		get: func(socket, *value) unix.Errno { return 0 }}, // neither CUBIC nor Reno has anything to tell, on Linux too
	{level: unix.IPPROTO_TCP, name: tcpIsMPTCP, label: "TCP_IS_MPTCP", on: onTCP, get: func(socket, *value) unix.Errno { return 0 }}, // it never is
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
func seconds(label string, name int, otherwise func(*tcp.Params) time.Duration, of func(*tcp.Options) *time.Duration) option {
	return option{level: unix.IPPROTO_TCP, name: name, label: label, on: onTCP,
		get: func(s socket, v *value) unix.Errno {
			d := *of(&s.(*tcpSocket).opt)
			if d == 0 {
				p := s.common().host.TCPParams()
				d = otherwise(&p)
			}
			v.n = int(d / time.Second)
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
func count(label string, name int, otherwise func(*tcp.Params) int, of func(*tcp.Options) *int) option {
	return option{level: unix.IPPROTO_TCP, name: name, label: label, on: onTCP,
		get: func(s socket, v *value) unix.Errno {
			if v.n = *of(&s.(*tcpSocket).opt); v.n == 0 {
				p := s.common().host.TCPParams()
				v.n = otherwise(&p)
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
	t := s.(*tcpSocket)
	v.n = number(t.quick)
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno { v.n = number(c.InQuickACK()); return 0 })
	}
	return 0
}

func setQuickACK(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	t.quick = v.n != 0
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, now mono.Time) unix.Errno { c.QuickACK(v.n, now); return 0 })
	}
	return 0
}

func getSaveSYN(s socket, v *value) unix.Errno {
	v.n = int(s.(*tcpSocket).opt.SaveSYN)
	return 0
}

func setSaveSYN(s socket, v *value) unix.Errno {
	if v.n < 0 || v.n > 2 {
		return unix.EINVAL
	}
	s.(*tcpSocket).opt.SaveSYN = uint8(v.n)
	return 0
}

// getSavedSYN tells what the SYN of an accepted connection came with, once. Nothing is told to who has no room for all of it.
func getSavedSYN(s socket, v *value) unix.Errno {
	room := len(v.text)
	v.text = ""
	conn := s.(*tcpSocket).conn.Load()
	if conn == nil {
		return 0
	}
	return conn.do(func(c *tcp.Conn, _ mono.Time) unix.Errno {
		syn := c.SavedSYN()
		if room < len(syn) {
			return unix.EINVAL
		}
		if syn != nil {
			v.text = string(syn)
			c.DropSYN()
		}
		return 0
	})
}

func getInq(s socket, v *value) unix.Errno {
	v.n = number(s.common().wants.has(wantInq))
	return 0
}

func setInq(s socket, v *value) unix.Errno {
	if v.n < 0 || v.n > 1 {
		return unix.EINVAL
	}
	s.common().wants.set(wantInq, v.n != 0)
	return 0
}

// getWindowClamp returns what was asked for, or the largest window of a connection.
func getWindowClamp(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	v.n = t.opt.WindowClamp
	if conn := t.conn.Load(); conn != nil && v.n == 0 {
		return conn.do(func(c *tcp.Conn, now mono.Time) unix.Errno { v.n = c.Info(now).RcvSsthresh; return 0 })
	}
	return 0
}

// setWindowClamp is tcp_set_window_clamp: 0 is no limit, which a connection cannot have any more.
func setWindowClamp(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	if v.n == 0 && (t.conn.Load() != nil || t.listener.Load() != nil) {
		return unix.EINVAL
	}
	t.opt.WindowClamp = 0
	if v.n != 0 {
		t.opt.WindowClamp = max(v.n, windowClampMin)
	}
	return 0
}

func getTimestamp(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, now mono.Time) unix.Errno { v.n = int(int32(c.Timestamp(now))); return 0 })
	}
	v.n = int(int32(uint64(t.host.Clock().Now()) / 1e6))
	return 0
}

// setTimestamp is for sockets under repair, which there are none of.
func setTimestamp(socket, *value) unix.Errno { return unix.EPERM }

// thin is an option of IPPROTO_TCP that is 0 or 1 and nothing else; one of nothing can be set and is 0 (Linux has
// forgotten what it was for).
func thin(label string, name int, of func(*tcp.Options) *bool) option {
	return option{level: unix.IPPROTO_TCP, name: name, label: label, on: onTCP,
		get: func(s socket, v *value) unix.Errno {
			if of != nil {
				v.n = number(*of(&s.(*tcpSocket).opt))
			}
			return 0
		},
		set: func(s socket, v *value) unix.Errno {
			if v.n < 0 || v.n > 1 {
				return unix.EINVAL
			}
			if of != nil {
				*of(&s.(*tcpSocket).opt) = v.n != 0
			}
			return 0
		},
	}
}

func getRTOMax(s socket, v *value) unix.Errno {
	v.n = int(cmp.Or(s.(*tcpSocket).opt.RTOMax, s.common().host.TCPParams().RTOMax) / time.Millisecond)
	return 0
}

func setRTOMax(s socket, v *value) unix.Errno {
	if v.n < rtoMaxLeast || v.n > rtoMaxMost {
		return unix.EINVAL
	}
	s.(*tcpSocket).opt.RTOMax = time.Duration(v.n) * time.Millisecond
	return 0
}

func getRTOMin(s socket, v *value) unix.Errno {
	v.n = int(cmp.Or(s.(*tcpSocket).opt.RTOMin, s.common().host.TCPParams().RTOMin) / time.Microsecond)
	return 0
}

func setRTOMin(s socket, v *value) unix.Errno {
	if v.n < timeoutLeast || v.n > timeoutMost {
		return unix.EINVAL
	}
	s.(*tcpSocket).opt.RTOMin = time.Duration(v.n) * time.Microsecond
	return 0
}

func getDelayMax(s socket, v *value) unix.Errno {
	v.n = timeoutMost
	if d := s.(*tcpSocket).opt.DelayMax; d != 0 {
		v.n = int(d / time.Microsecond)
	}
	return 0
}

func setDelayMax(s socket, v *value) unix.Errno {
	if v.n < timeoutLeast || v.n > timeoutMost {
		return unix.EINVAL
	}
	s.(*tcpSocket).opt.DelayMax = time.Duration(v.n) * time.Microsecond
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
		v.n = int(s.common().host.TCPParams().FinTimeout / time.Second)
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
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, now mono.Time) unix.Errno { v.text = c.Info(now).Congestion.String(); return 0 })
	}
	if a == tcp.AlgorithmDefault {
		a = t.host.TCPParams().Congestion
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
