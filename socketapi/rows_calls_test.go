package socketapi

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// structures are the calls of both stacks for ioctls that package unix has no form for.
type structures interface {
	IoctlBytes(fd int, req uint, arg []byte) error
	IoctlIfconf(fd int, buf []byte) (n int, err error)
}

// callRows are what the calls have that the rows of their subjects do not show.
var callRows = []row{
	{"fcntl: every command", func(e *env) {
		for _, c := range []struct {
			name string
			fd   int
		}{{"tcp", e.me.tcp()}, {"udp", e.me.udp()}, {"unix", e.me.open(unix.AF_UNIX, unix.SOCK_DGRAM, 0)}} {
			for _, cmd := range []int{
				unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_SETOWN_EX, unix.F_GETOWN_EX, unix.F_OFD_GETLK, unix.F_OFD_SETLK,
				unix.F_GETLEASE, unix.F_SETPIPE_SZ, unix.F_GETPIPE_SZ, unix.F_ADD_SEALS, unix.F_GET_SEALS,
				unix.F_GET_RW_HINT, unix.F_SET_RW_HINT, unix.F_GET_FILE_RW_HINT, unix.F_SET_FILE_RW_HINT, 18, 9999, -1,
			} {
				e.note(fmt.Sprint(c.name, " ", cmd), e.fcntl(c.fd, cmd, 0))
			}
			for _, flag := range []int{unix.O_APPEND, unix.O_DIRECT, unix.O_SYNC, unix.O_NONBLOCK | unix.O_APPEND, 0} {
				e.note(fmt.Sprintf("%s F_SETFL %#x", c.name, flag), e.fcntl(c.fd, unix.F_SETFL, flag), e.fcntl(c.fd, unix.F_GETFL, 0))
			}
		}
		e.note("of nothing", e.fcntl(1<<19, unix.F_GETFL, 0), e.fcntl(-1, unix.F_GETFD, 0))
	}},
	{"ioctl: requests with a structure", func(e *env) {
		api := e.me.api.(structures)
		for _, fd := range []int{e.me.udp(), e.me.tcp(), e.me.inet6(unix.SOCK_DGRAM)} {
			for _, name := range []string{"va", "lo", "none"} {
				for _, req := range []uint{unix.SIOCGIFHWADDR, unix.SIOCGIFTXQLEN, unix.SIOCGIFINDEX, unix.SIOCGIFADDR, unix.SIOCGIFFLAGS, unix.SIOCGIFMTU} {
					b := make([]byte, ifreqLen)
					copy(b, name)
					err := api.IoctlBytes(fd, req, b)
					answer := b[unix.IFNAMSIZ:]
					if err == nil && req == unix.SIOCGIFHWADDR && string(answer[2:8]) == string(e.me.mac) {
						copy(answer[2:], "my MAC")
					}
					if err == nil && req == unix.SIOCGIFINDEX && binary.NativeEndian.Uint32(answer) == uint32(e.me.index) {
						copy(answer, "mine")
					}
					e.note(fmt.Sprintf("%s %x", name, req), answer[:8], err)
				}
			}
			for _, index := range []int{e.me.index, 1, 0, -1, 99999} {
				b := make([]byte, ifreqLen)
				binary.NativeEndian.PutUint32(b[unix.IFNAMSIZ:], uint32(int32(index)))
				err := api.IoctlBytes(fd, unix.SIOCGIFNAME, b)
				e.note(fmt.Sprint("SIOCGIFNAME ", index == e.me.index), unix.ByteSliceToString(b[:unix.IFNAMSIZ]), err)
			}
			for _, req := range []uint{unix.SIOCSIFMTU, unix.SIOCSIFFLAGS} {
				b := make([]byte, ifreqLen)
				copy(b, "none")
				e.note(fmt.Sprintf("none %x", req), api.IoctlBytes(fd, req, b))
			}
		}
	}},
	{"ioctl: SIOCGIFCONF", func(e *env) {
		api, fd := e.me.api.(structures), e.me.udp()
		whole, err := api.IoctlIfconf(fd, nil)
		e.note("how many bytes", whole, err)
		for _, room := range []int{0, ifreqLen - 1, ifreqLen, 2*ifreqLen + 7, 10 * ifreqLen} {
			b := make([]byte, room)
			n, err := api.IoctlIfconf(fd, b)
			var list []string
			for p := b[:n]; len(p) >= ifreqLen; p = p[ifreqLen:] {
				list = append(list, fmt.Sprint(unix.ByteSliceToString(p[:unix.IFNAMSIZ]), p[unix.IFNAMSIZ:unix.IFNAMSIZ+16]))
			}
			slices.Sort(list)
			if room == ifreqLen || n != whole && n > 0 { // which of them comes first is nobody's promise
				list = list[:0]
			}
			e.note(fmt.Sprint("room for ", room), n, strings.Join(list, " "), err)
		}
	}},
	{"ioctl: SIOCOUTQNSD", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.note2(e.me.api.IoctlGetInt(mine, unix.SIOCOUTQNSD))
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
		e.sends("held back", &e.me, mine, "abc", 0)
		e.note2(e.me.api.IoctlGetInt(mine, unix.SIOCOUTQNSD))
		e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.note2(e.me.api.IoctlGetInt(mine, unix.SIOCOUTQNSD))
		e.note2(e.me.api.IoctlGetInt(e.me.udp(), unix.SIOCOUTQNSD))
	}},
	{"cmsg: built and parsed by package unix", func(e *env) {
		theirs, at := e.peer.datagram()
		mine, to := e.me.datagram()
		e.me.set(mine, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
		e.me.set(mine, unix.IPPROTO_IP, unix.IP_RECVTTL, 1)
		n, err := e.me.api.SendmsgN(mine, []byte("there"), unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: e.me.ip}), at, 0)
		e.note("with a source", n, err)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		e.must(e.peer.api.Sendto(theirs, []byte("back"), 0, to))
		oob := make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo)+unix.CmsgSpace(4))
		_, oobn, flags, _, err := e.me.api.Recvmsg(mine, make([]byte, 9), oob, 0)
		e.note("as long as they say", oobn, flags, err)
		list, err := unix.ParseSocketControlMessage(oob[:oobn])
		e.note("messages", len(list), err)
		for _, m := range list {
			e.note("one", m.Header.Level, m.Header.Type, len(m.Data))
		}
		for rest := oob[:oobn]; len(rest) > 0; {
			var h unix.Cmsghdr
			if h, _, rest, err = unix.ParseOneSocketControlMessage(rest); err != nil {
				break
			}
			e.note("by itself", h.Level, h.Type, err)
		}
		six := e.me.inet6(unix.SOCK_DGRAM)
		n, err = e.me.api.SendmsgN(six, []byte("x"), unix.PktInfo6(&unix.Inet6Pktinfo{Addr: e.me.ip6, Ifindex: uint32(e.me.index)}), &unix.SockaddrInet6{Addr: e.peer.ip6, Port: at.Port}, 0)
		e.note("with a source of IPv6", n, err)
	}},
	{"cmsg: credentials of AF_UNIX", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		e.me.set(pair[1], unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
		who := &unix.Ucred{Pid: int32(unix.Getpid()), Uid: uint32(unix.Getuid()), Gid: uint32(unix.Getgid())}
		n, err := e.me.api.SendmsgN(pair[0], []byte("x"), unix.UnixCredentials(who), nil, 0)
		e.note("send", n, err)
		oob := make([]byte, unix.CmsgSpace(unix.SizeofUcred))
		_, oobn, flags, _, err := e.me.api.Recvmsg(pair[1], make([]byte, 9), oob, 0)
		e.note("receive", oobn, flags&^unix.MSG_CMSG_CLOEXEC, err)
		list, err := unix.ParseSocketControlMessage(oob[:oobn])
		e.note("messages", len(list), err)
		cred, err := unix.ParseUnixCredentials(&list[0])
		e.note("who", *cred == *who, err)
	}},
	{"send: all calls that send and receive", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		n, err := e.me.api.Write(mine, []byte("a"))
		e.note("write", n, err)
		n, err = e.me.api.Writev(mine, [][]byte{[]byte("b"), nil, []byte("c")})
		e.note("writev", n, err)
		e.note("sendto", e.me.api.Sendto(mine, []byte("d"), 0, nil))
		n, err = e.me.api.SendmsgN(mine, []byte("e"), nil, nil, 0)
		e.note("sendmsg", n, err)
		n, err = e.me.api.SendmsgBuffers(mine, [][]byte{[]byte("f"), []byte("g")}, nil, nil, 0)
		e.note("sendmsg of several", n, err)
		e.reads("the peer reads", &e.peer, theirs, 7, unix.MSG_WAITALL)
		e.sends("the peer sends", &e.peer, theirs, "1234567", 0)
		e.arrived(&e.me, mine, 7)
		b, c := make([]byte, 1), make([]byte, 1)
		n, err = e.me.api.Read(mine, b)
		e.note("read", n, err, b)
		n, err = e.me.api.Readv(mine, [][]byte{b, nil, c})
		e.note("readv", n, err, b, c)
		n, from, err := e.me.api.Recvfrom(mine, b, 0)
		e.note("recvfrom", n, from, err, b)
		n, _, _, from, err = e.me.api.Recvmsg(mine, b, nil, 0)
		e.note("recvmsg", n, from, err, b)
		n, _, _, from, err = e.me.api.RecvmsgBuffers(mine, [][]byte{b, c}, nil, 0)
		e.note("recvmsg of several", n, from, err, b, c)
	}},
}
