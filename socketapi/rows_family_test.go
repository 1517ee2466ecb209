package socketapi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// A socketCall is socket(2).
type socketCall func(family, typ, proto int) (int, error)

// opening calls f with what opens sockets of this side, without a flag that the program has not said and a thread for each.
func (s *side) opening(f func(socket socketCall)) {
	k, ok := s.api.(linux)
	if !ok {
		f(s.api.Socket)
		return
	}
	s.e.must(k.ns.Do(func() error { f(unix.Socket); return nil }))
}

// try is what socket(2) says.
func (e *env) try(socket socketCall, family, typ, proto int) string {
	fd, err := socket(family, typ, proto)
	if err == nil {
		e.must(e.me.api.Close(fd))
	}
	return show(err)
}

// afMax is AF_MAX: no family has this number or a greater one.
const afMax = 46

// typesOfSockets are all that there are, and some that are none.
var typesOfSockets = []int{0, unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_RDM, unix.SOCK_SEQPACKET, unix.SOCK_DCCP, 7, 8, 9, unix.SOCK_PACKET, 11, 15}

// matrix is a row about what can be opened.
func matrix(name string, f func(e *env, open func(family, typ, proto int) string)) row {
	return row{name, func(e *env) {
		e.me.opening(func(socket socketCall) {
			f(e, func(family, typ, proto int) string { return e.try(socket, family, typ, proto) })
		})
	}}
}

var familyRows = []row{
	matrix("family: every one, by type and protocol", func(e *env, open func(family, typ, proto int) string) {
		for family := -1; family <= afMax+1; family++ {
			protocols := []int{-1, 0, 1, 2, 3, 4, 6, 16, 17, 21, 22, 30, 43, 44, 255, 256, 1 << 30}
			if engineFamily(family) {
				continue // see the next row
			}
			for _, typ := range typesOfSockets {
				for _, proto := range protocols {
					e.note(fmt.Sprint(family, " ", typ, " ", proto), open(family, typ, proto))
				}
			}
		}
		for _, family := range []int{-1 << 31, 99, 1 << 16, 1<<31 - 1} {
			e.note(fmt.Sprint(family), open(family, unix.SOCK_STREAM, 0), open(family, unix.SOCK_DGRAM, 0), open(family, -1, -1))
		}
	}),
	matrix("family: the engine's, by type and every protocol", func(e *env, open func(family, typ, proto int) string) {
		for _, typ := range typesOfSockets {
			e.note(fmt.Sprint("packet ", typ), open(unix.AF_PACKET, typ, -1), open(unix.AF_PACKET, typ, unix.ETH_P_ALL), open(unix.AF_PACKET, typ, 1<<16)) // Linux takes 13 ms to close one
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
			for _, typ := range typesOfSockets {
				if typ == unix.SOCK_PACKET {
					e.note(fmt.Sprint(family, " SOCK_PACKET"), open(family, typ, -1), open(family, typ, unix.ETH_P_ALL), open(family, typ, 1<<16))
					continue
				}
				for proto := -2; proto <= 266; proto++ {
					e.note(fmt.Sprint(family, " ", typ, " ", proto), open(family, typ, proto))
				}
			}
			for _, proto := range []int{-1 << 31, 1 << 16, 1<<31 - 1} {
				e.note(fmt.Sprint(family, " proto ", proto), open(family, unix.SOCK_STREAM, proto), open(family, unix.SOCK_RAW, proto))
			}
		}
	}),
	matrix("family: the engine's, of a thread without CAP_NET_RAW", func(e *env, open func(family, typ, proto int) string) {
		e.withoutRight(unix.CAP_NET_RAW, func() {
			for _, typ := range typesOfSockets {
				e.note(fmt.Sprint("packet ", typ), open(unix.AF_PACKET, typ, 0), open(unix.AF_PACKET, typ, unix.ETH_P_ALL))
				for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
					for _, proto := range []int{-1, 0, unix.IPPROTO_ICMP, unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_ICMPV6, 99, unix.IPPROTO_RAW, 263} {
						e.note(fmt.Sprint(family, " ", typ, " ", proto), open(family, typ, proto))
					}
				}
			}
		})
	}),
	matrix("family: every bit of the type", func(e *env, open func(family, typ, proto int) string) {
		for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_PACKET, unix.AF_UNIX, unix.AF_NETLINK, unix.AF_X25} {
			for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW} {
				for bit := range 32 {
					e.note(fmt.Sprint(family, " ", typ, " bit ", bit), open(family, typ|int(int32(uint32(1)<<bit)), 0))
				}
			}
		}
	}),
	{"family: SOCK_NONBLOCK and SOCK_CLOEXEC, of socket, socketpair and accept4", func(e *env) {
		flagsOf := func(what string, fd int) {
			e.note(what, e.fcntl(fd, unix.F_GETFL, 0), e.fcntl(fd, unix.F_GETFD, 0))
		}
		for _, family := range []int{unix.AF_INET, unix.AF_INET6, unix.AF_PACKET, unix.AF_UNIX, unix.AF_NETLINK} {
			for _, flags := range []int{0, unix.SOCK_NONBLOCK, unix.SOCK_CLOEXEC, unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC} {
				e.me.opening(func(socket socketCall) {
					flagsOf(fmt.Sprint(family, " ", flags), e.me.keep(socket(family, unix.SOCK_DGRAM|flags, 0)))
				})
			}
		}
		l, at := e.me.listener()
		for bit := -1; bit < 32; bit++ {
			flags := int(int32(uint32(1) << max(bit, 0)))
			if bit < 0 {
				flags = 0
			}
			c := e.peer.tcp()
			e.must(e.peer.api.Connect(c, at))
			fd, _, err := e.me.api.Accept4(l, flags)
			e.note(fmt.Sprint("accept4 with bit ", bit), err)
			if err == nil {
				flagsOf("accepted", e.me.keep(fd, nil))
			} else { // it is still there
				e.me.close(e.me.accept(l))
			}
			e.peer.close(c)
		}
	}},
}
