package socketapi

import (
	"bytes"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi/internal/ifreq"
)

// ifreq is an ioctl about an interface of this side.
func (s *side) ifreq(fd int, req uint, name string) (*unix.Ifreq, error) {
	s.e.t.Helper()
	ifr, err := unix.NewIfreq(name)
	s.e.must(err)
	return ifr, s.api.IoctlIfreq(fd, req, ifr)
}

var ioctlRows = []row{
	{"ioctl: FIONREAD and SIOCOUTQ", func(e *env) {
		ask := func(what string, fd int) {
			n, err := e.me.api.IoctlGetInt(fd, FIONREAD)
			e.note(what+" FIONREAD", n, err)
			n, err = e.me.api.IoctlGetInt(fd, unix.SIOCOUTQ)
			e.note(what+" SIOCOUTQ", n, err)
		}
		fd := e.me.tcp()
		ask("fresh", fd)
		e.must(e.me.api.Listen(fd, 1))
		ask("listener", fd)
		mine, theirs := e.me.connected(&e.peer)
		ask("idle", mine)
		e.sends("the peer sends", &e.peer, theirs, "abcde", 0)
		e.arrived(&e.me, mine, 5)
		ask("to read", mine)
		e.sends("send", &e.me, mine, "abc", 0)
		e.until("all acknowledged", func() bool { n, _ := e.me.api.IoctlGetInt(mine, unix.SIOCOUTQ); return n == 0 })
		e.reads("read", &e.me, mine, 2, 0)
		ask("the rest", mine)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end", &e.me, mine, unix.POLLRDHUP)
		ask("the end", mine)
		d, at := e.me.datagram()
		ask("datagram", d)
		u := e.peer.udp()
		e.must(e.peer.api.Sendto(u, []byte("abc"), 0, at))
		e.must(e.peer.api.Sendto(u, []byte("defgh"), 0, at))
		e.awaits("both", &e.me, d, unix.POLLIN)
		ask("the next one", d)
		e.reads("it", &e.me, d, 9, 0)
		e.awaits("the other", &e.me, d, unix.POLLIN)
		ask("the other", d)
		ask("raw", e.me.open(unix.AF_INET, unix.SOCK_RAW, 200))
	}},
	{"ioctl: FIONBIO, FIOCLEX, FIOASYNC", func(e *env) {
		fd := e.me.udp()
		e.note("FIONBIO", e.me.api.IoctlSetPointerInt(fd, FIONBIO, 1), e.fcntl(fd, unix.F_GETFL, 0))
		e.reads("read", &e.me, fd, 1, 0)
		e.note("FIONBIO 0", e.me.api.IoctlSetPointerInt(fd, FIONBIO, 0), e.fcntl(fd, unix.F_GETFL, 0))
		e.note("FIOASYNC", e.me.api.IoctlSetPointerInt(fd, FIOASYNC, 1), e.fcntl(fd, unix.F_GETFL, 0))
		e.note("FIOASYNC 0", e.me.api.IoctlSetPointerInt(fd, FIOASYNC, 0), e.fcntl(fd, unix.F_GETFL, 0))
		e.note("FIOCLEX", e.me.api.IoctlSetInt(fd, FIOCLEX, 0), e.fcntl(fd, unix.F_GETFD, 0))
		e.note("FIONCLEX", e.me.api.IoctlSetInt(fd, FIONCLEX, 0), e.fcntl(fd, unix.F_GETFD, 0))
		e.note("owner", e.me.api.IoctlSetPointerInt(fd, unix.SIOCSPGRP, 0))
		n, err := e.me.api.IoctlGetInt(fd, unix.SIOCGPGRP)
		e.note("owner", n, err)
		_, err = e.me.api.IoctlGetInt(fd, 0x7777)
		e.note("an unknown one", err)
		_, err = e.me.api.IoctlGetInt(1<<19, FIONREAD)
		e.note("not open", err)
		_, err = e.me.api.IoctlGetInt(fd, unix.SIOCATMARK)
		e.note("the mark of datagrams", err)
	}},
	{"ioctl: SIOCATMARK", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.note2(e.me.api.IoctlGetInt(mine, unix.SIOCATMARK))
		e.sends("the peer sends", &e.peer, theirs, "ab", unix.MSG_OOB)
		e.arrived(&e.me, mine, 1)
		e.note2(e.me.api.IoctlGetInt(mine, unix.SIOCATMARK))
		e.reads("read", &e.me, mine, 9, 0)
		e.note2(e.me.api.IoctlGetInt(mine, unix.SIOCATMARK))
	}},
	{"ioctl: interfaces", func(e *env) {
		fd := e.me.udp()
		for _, name := range []string{"va", "lo", "none", ""} {
			for _, req := range []uint{unix.SIOCGIFADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFBRDADDR, unix.SIOCGIFDSTADDR} {
				ifr, err := e.me.ifreq(fd, req, name)
				a, _ := ifr.Inet4Addr()
				e.note(fmt.Sprintf("%s %x", name, req), a, err)
			}
			ifr, err := e.me.ifreq(fd, unix.SIOCGIFFLAGS, name)
			e.note(name+" flags", ifr.Uint16(), err)
			for _, req := range []uint{unix.SIOCGIFMTU, unix.SIOCGIFMETRIC, unix.SIOCGIFMAP} {
				ifr, err := e.me.ifreq(fd, req, name)
				e.note(fmt.Sprintf("%s %x", name, req), ifr.Uint32(), err)
			}
			ifr, err = e.me.ifreq(fd, unix.SIOCGIFINDEX, name)
			e.note(name+" index", name == "va" && ifr.Uint32() == uint32(e.me.index), err)
		}
	}},
	{"ioctl: every request of an interface", func(e *env) {
		for _, fd := range []int{e.me.udp(), e.me.tcp(), e.me.inet6(unix.SOCK_DGRAM), e.me.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)} {
			for _, name := range []string{"va", "none"} {
				for _, req := range []uint{
					unix.SIOCGIFNAME, unix.SIOCGIFFLAGS, unix.SIOCGIFADDR, unix.SIOCGIFDSTADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFMETRIC, unix.SIOCGIFMEM,
					unix.SIOCGIFMTU, unix.SIOCGIFHWADDR, unix.SIOCGIFENCAP, unix.SIOCGIFINDEX, unix.SIOCGIFSLAVE, unix.SIOCGIFPFLAGS,
					unix.SIOCGIFTXQLEN, unix.SIOCGIFMAP, unix.SIOCGIFCOUNT, 0, 0x7777,
				} {
					ifr, err := unix.NewIfreq(name)
					e.must(err)
					if req == unix.SIOCGIFNAME {
						ifr.SetUint32(uint32(e.me.index))
						err = e.me.api.IoctlIfreq(fd, req, ifr)
						e.note("SIOCGIFNAME", ifr.Name(), err)
						continue
					}
					err = e.me.api.IoctlIfreq(fd, req, ifr)
					b := ifreq.Bytes(ifr)[unix.IFNAMSIZ:]
					switch {
					case err == nil && req == unix.SIOCGIFHWADDR:
						e.note("SIOCGIFHWADDR", bytes.Equal(b[2:8], e.me.mac), b[:2], b[8:])
					case err == nil && req == unix.SIOCGIFINDEX:
						e.note("SIOCGIFINDEX", ifr.Uint32() == uint32(e.me.index))
					default:
						e.note(fmt.Sprintf("%s %x", name, req), b, err)
					}
				}
			}
		}
	}},
}
