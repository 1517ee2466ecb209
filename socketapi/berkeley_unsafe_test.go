package socketapi

import (
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// connectUnspec is connect(2) with AF_UNSPEC, which the unix package cannot say.
func connectUnspec(fd int) error {
	var raw unix.RawSockaddr
	_, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&raw)), unix.SizeofSockaddrInet4)
	return failure(errno)
}

// An ownerEx is struct f_owner_ex.
type ownerEx struct{ typ, who int32 }

// ownersEx has those whose address fcntl(2) is told: what is on a goroutine's stack moves.
var ownersEx sync.Map

// fcntlOwner is fcntl(2) with the address of a struct f_owner_ex.
func (e *env) fcntlOwner(fd, cmd int, o ownerEx) (ownerEx, error) {
	p := &o
	ownersEx.Store(p, nil)
	defer ownersEx.Delete(p)
	_, err := e.me.api.FcntlInt(uintptr(fd), cmd, int(uintptr(unsafe.Pointer(p))))
	return o, err
}

// Getsockopt is getsockopt(2), which the unix package has for some types alone.
func (linux) Getsockopt(fd, level, opt int, p []byte) (int, error) {
	n := uint32(len(p))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(opt), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// mmsghdr is struct mmsghdr.
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// headers are messages as the kernel has them. Their addresses are nobody's.
func headers(messages []Message) []mmsghdr {
	list := make([]mmsghdr, len(messages))
	for i := range messages {
		m, h := &messages[i], &list[i].hdr
		iovs := make([]unix.Iovec, len(m.Buffers))
		for j, b := range m.Buffers {
			iovs[j].Base = unsafe.SliceData(b)
			iovs[j].SetLen(len(b))
		}
		h.Iov = unsafe.SliceData(iovs)
		h.SetIovlen(len(iovs))
		h.Control = unsafe.SliceData(m.OOB)
		h.SetControllen(len(m.OOB))
	}
	return list
}

// Sendmmsg is sendmmsg(2), which the unix package does not have. Addresses are not looked at.
func (linux) Sendmmsg(fd int, messages []Message, flags int) (int, error) {
	list := headers(messages)
	n, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(flags|unix.MSG_NOSIGNAL), 0, 0)
	if errno != 0 {
		return -1, errno
	}
	for i := range list[:n] {
		messages[i].N = int(list[i].len)
	}
	return int(n), nil
}

// Recvmmsg is recvmmsg(2), which the unix package does not have. It does not say who sent.
func (linux) Recvmmsg(fd int, messages []Message, flags int, timeout *unix.Timespec) (int, error) {
	list := headers(messages)
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(list))), uintptr(len(list)), uintptr(flags), uintptr(unsafe.Pointer(timeout)), 0)
	if errno != 0 {
		return -1, errno
	}
	for i := range list[:n] {
		messages[i].N, messages[i].OOBN, messages[i].Flags = int(list[i].len), int(list[i].hdr.Controllen), int(list[i].hdr.Flags)
	}
	return int(n), nil
}

// IoctlBytes is ioctl(2) with any structure.
func (linux) IoctlBytes(fd int, req uint, arg []byte) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(req), uintptr(unsafe.Pointer(unsafe.SliceData(arg))))
	return failure(errno)
}

// IoctlIfconf is SIOCGIFCONF.
func (linux) IoctlIfconf(fd int, buf []byte) (int, error) {
	conf := struct {
		len int32
		buf unsafe.Pointer
	}{int32(len(buf)), unsafe.Pointer(unsafe.SliceData(buf))}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFCONF, uintptr(unsafe.Pointer(&conf)))
	return int(conf.len), failure(errno)
}
