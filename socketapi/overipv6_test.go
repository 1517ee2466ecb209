package socketapi

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Rows that are written for IPv4, run over IPv6 word for word: what they say of families, addresses and options is
// translated on its way to the stack, and what the stack says of addresses on its way back.

// ipv4Alone are the rows that are not run over IPv6, by how their names begin, and why.
var ipv4Alone = map[string]string{
	"bind: a low port,":                "it tries both families itself",
	"datagram: broadcast":              "IPv6 has none",
	"connect: a neighbour that":        "\"errors: a neighbour that does not answer\" has both families, and takes seconds",
	"connect: while another goroutine": "as before",
	"poll: raw, ping and packet":       "it opens both families itself",
	"vector: of a socket pair":         "it is of AF_UNIX",
	"SO_PEEK_OFF: of each kind":        "it opens both families itself",
	"ioctl: interfaces":                "the calls are about addresses of IPv4",
	"tcp option: SO_MAX_PACING_RATE":   "nothing in it has an address",
}

const overIPv6Suffix = ", over IPv6"

// overIPv6 makes another of each row that is of IPv4.
func overIPv6(rows ...row) (six []row) {
	for _, r := range rows {
		if !r.ofIPv4Alone() && !r.ofBoth() {
			six = append(six, row{r.name + overIPv6Suffix, func(e *env) {
				e.me.api, e.peer.api = translated{e.me.api, e}, translated{e.peer.api, e}
				r.run(e)
			}})
		}
	}
	return six
}

func (r row) ofIPv4Alone() bool {
	for prefix := range ipv4Alone {
		if strings.HasPrefix(r.name, prefix) {
			return true
		}
	}
	return false
}

// ofBoth says whether a row has a family of its own, as bothFamilies names it.
func (r row) ofBoth() bool {
	return strings.HasSuffix(r.name, ", "+ipFamilies[0].name) || strings.HasSuffix(r.name, ", "+ipFamilies[1].name)
}

// translated is sockets of IPv6 for a row that speaks of IPv4.
type translated struct {
	berkeley
	e *env
}

// documentation is where addresses are that nobody has, of IPv4 and of IPv6 (RFC 3849): the former are the end of the latter.
var documentation = netip.MustParsePrefix("2001:db8::/96")

// six is the address that stands for one of IPv4.
func (tr translated) six(a [4]byte) [16]byte {
	switch {
	case a == tr.e.me.ip:
		return tr.e.me.ip6
	case a == tr.e.peer.ip:
		return tr.e.peer.ip6
	case a == [4]byte{}:
		return netip.IPv6Unspecified().As16()
	case a == [4]byte{127, 0, 0, 1}:
		return netip.IPv6Loopback().As16()
	case a == [4]byte{224, 0, 0, 1}:
		return netip.MustParseAddr("ff0e::1").As16()
	}
	b := documentation.Addr().As16()
	if [2]byte(a[:]) == [2]byte(tr.e.me.ip[:]) { // of the link, and nobody's
		b = netip.MustParsePrefix(kernelAddr6 + "/64").Masked().Addr().As16()
	}
	copy(b[12:], a[:])
	return b
}

// four is what an address of IPv6 stands for.
func (tr translated) four(a [16]byte) (four [4]byte, ok bool) {
	copy(four[:], a[12:])
	for _, four := range [][4]byte{tr.e.me.ip, tr.e.peer.ip, {}, {127, 0, 0, 1}, {224, 0, 0, 1}, four} {
		if tr.six(four) == a {
			return four, true
		}
	}
	return four, false
}

// to is an address as the stack gets it. One of IPv6 is there for being of another family.
func (tr translated) to(sa unix.Sockaddr) unix.Sockaddr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &unix.SockaddrInet6{Addr: tr.six(sa.Addr), Port: sa.Port}
	case *unix.SockaddrInet6:
		return &unix.SockaddrInet4{Port: sa.Port}
	}
	return sa
}

// from is an address as the row gets it; what it cannot be is left as it is, and its row fails.
func (tr translated) from(sa unix.Sockaddr) unix.Sockaddr {
	if six, ok := sa.(*unix.SockaddrInet6); ok {
		if a, ok := tr.four(six.Addr); ok && six.ZoneId == 0 {
			return &unix.SockaddrInet4{Addr: a, Port: six.Port}
		}
	}
	return sa
}

// option is the one that stands for an option of IPv4.
func (tr translated) option(level, opt int) (int, int) {
	if level != unix.IPPROTO_IP {
		return level, opt
	}
	six, ok := map[int]int{
		unix.IP_TTL: unix.IPV6_UNICAST_HOPS, unix.IP_TOS: unix.IPV6_TCLASS, unix.IP_RECVERR: unix.IPV6_RECVERR,
		unix.IP_MTU_DISCOVER: unix.IPV6_MTU_DISCOVER, unix.IP_MTU: unix.IPV6_MTU, unix.IP_MINTTL: unix.IPV6_MINHOPCOUNT,
	}[opt]
	if !ok {
		tr.e.t.Errorf("option %d of IPv4 has no counterpart here", opt)
	}
	return unix.IPPROTO_IPV6, six
}

func (tr translated) Socket(domain, typ, proto int) (int, error) {
	switch domain {
	case unix.AF_INET:
		domain = unix.AF_INET6
	case unix.AF_INET6:
		domain = unix.AF_INET
	}
	return tr.berkeley.Socket(domain, typ, proto)
}

func (tr translated) Bind(fd int, sa unix.Sockaddr) error { return tr.berkeley.Bind(fd, tr.to(sa)) }

func (tr translated) Connect(fd int, sa unix.Sockaddr) error {
	return tr.berkeley.Connect(fd, tr.to(sa))
}

func (tr translated) Accept(fd int) (int, unix.Sockaddr, error) {
	n, sa, err := tr.berkeley.Accept(fd)
	return n, tr.from(sa), err
}

func (tr translated) Accept4(fd, flags int) (int, unix.Sockaddr, error) {
	n, sa, err := tr.berkeley.Accept4(fd, flags)
	return n, tr.from(sa), err
}

func (tr translated) Getsockname(fd int) (unix.Sockaddr, error) {
	sa, err := tr.berkeley.Getsockname(fd)
	return tr.from(sa), err
}

func (tr translated) Getpeername(fd int) (unix.Sockaddr, error) {
	sa, err := tr.berkeley.Getpeername(fd)
	return tr.from(sa), err
}

func (tr translated) Sendto(fd int, p []byte, flags int, to unix.Sockaddr) error {
	return tr.berkeley.Sendto(fd, p, flags, tr.to(to))
}

func (tr translated) SendmsgN(fd int, p, oob []byte, to unix.Sockaddr, flags int) (int, error) {
	return tr.berkeley.SendmsgN(fd, p, oob, tr.to(to), flags)
}

func (tr translated) SendmsgBuffers(fd int, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (int, error) {
	return tr.berkeley.SendmsgBuffers(fd, buffers, oob, tr.to(to), flags)
}

func (tr translated) Recvfrom(fd int, p []byte, flags int) (int, unix.Sockaddr, error) {
	n, from, err := tr.berkeley.Recvfrom(fd, p, flags)
	return n, tr.from(from), err
}

func (tr translated) Recvmsg(fd int, p, oob []byte, flags int) (n, oobn, rflags int, from unix.Sockaddr, err error) {
	n, oobn, rflags, from, err = tr.berkeley.Recvmsg(fd, p, oob, flags)
	return n, oobn, rflags, tr.from(from), err
}

func (tr translated) RecvmsgBuffers(fd int, buffers [][]byte, oob []byte, flags int) (n, oobn, rflags int, from unix.Sockaddr, err error) {
	n, oobn, rflags, from, err = tr.berkeley.RecvmsgBuffers(fd, buffers, oob, flags)
	return n, oobn, rflags, tr.from(from), err
}

func (tr translated) GetsockoptInt(fd, level, opt int) (int, error) {
	level, opt = tr.option(level, opt)
	return tr.berkeley.GetsockoptInt(fd, level, opt)
}

func (tr translated) SetsockoptInt(fd, level, opt, n int) error {
	level, opt = tr.option(level, opt)
	return tr.berkeley.SetsockoptInt(fd, level, opt, n)
}
