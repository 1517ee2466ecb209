package load

import (
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// quiet is how long a receive blocks: what is not there by then is looked at
	// as lost. Well above a minimal RTO (200 ms), so that a retransmitted segment
	// counts as late, not lost.
	quiet = 500 * time.Millisecond

	// giveUp is how long a server may say nothing at all.
	giveUp = 5 * time.Second
)

func sockaddr(at netip.AddrPort) (sa unix.Sockaddr, family int) {
	if at.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, unix.AF_INET
	}
	return &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}, unix.AF_INET6
}

// connect opens a kernel socket of the calling thread's namespace.
func connect(kind int, to netip.AddrPort) (int, error) {
	sa, family := sockaddr(to)
	fd, err := unix.Socket(family, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("load: socket: %w", err)
	}
	tv := unix.NsecToTimeval(int64(quiet))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv)
	if err == nil {
		// A client that neither reads nor can write must not block for ever.
		tv := unix.NsecToTimeval(int64(giveUp))
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	}
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil && kind == unix.SOCK_DGRAM {
		// 256 answers at once must fit; what the client drops is not the server's loss.
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
		if err != nil {
			err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 4<<20)
		}
	}
	if err == nil {
		if err = unix.Connect(fd, sa); err == unix.EINTR {
			err = connected(fd)
		}
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("load: connect to %v: %w", to, err)
	}
	return fd, nil
}

// connected waits for a connect that a signal interrupted: it goes on by itself.
func connected(fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for deadline := time.Now().Add(giveUp); ; {
		n, err := unix.Poll(fds, int(quiet.Milliseconds()))
		if err != nil && err != unix.EINTR {
			return err
		}
		if err == nil && n > 0 {
			errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err != nil || errno == 0 {
				return err
			}
			return unix.Errno(errno)
		}
		if time.Now().After(deadline) {
			return unix.ETIMEDOUT
		}
	}
}

// The calls below are raw: the runtime neither hands the processor on nor wakes a
// thread for them. A preemption signal ends a blocked one with EINTR, since the
// socket has a timeout.

func recv(fd int, p []byte, flags int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(flags), 0, 0)
	return int(n), errno
}

func send(fd int, p []byte, flags int) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), uintptr(flags|unix.MSG_NOSIGNAL), 0, 0)
	return int(n), errno
}

// sendAll writes a short request whole.
func sendAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, errno := send(fd, p, 0)
		switch errno {
		case 0:
			p = p[n:]
		case unix.EINTR:
		default:
			return os.NewSyscallError("load: send", errno)
		}
	}
	return nil
}

// Await asks until a server answers, or gives up after d: an echo at udp, a
// connection at each of tcp (invalid addresses are skipped). It resolves the
// neighbour on the way.
func Await(udp, tcp netip.AddrPort, d time.Duration) error {
	deadline := time.Now().Add(d)
	for {
		err := probe(udp, tcp)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("load: no server after %v: %w", d, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func probe(udp, tcp netip.AddrPort) error {
	if udp.IsValid() {
		fd, err := connect(unix.SOCK_DGRAM, udp)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var ask, answer [32]byte
		stamp(ask[:], uint64(time.Now().UnixNano()))
		// Nothing is measured yet: let others have the processor meanwhile.
		if _, err := unix.Write(fd, ask[:]); err != nil {
			return os.NewSyscallError("send", err)
		}
		n, err := unix.Read(fd, answer[:])
		for err == unix.EINTR {
			n, err = unix.Read(fd, answer[:])
		}
		if err != nil {
			return os.NewSyscallError("recv", err)
		}
		if n != len(ask) || answer != ask {
			return mismatch(answer[:n])
		}
	}
	if tcp.IsValid() {
		fd, err := connect(unix.SOCK_STREAM, tcp)
		if err != nil {
			return err
		}
		unix.Close(fd)
	}
	return nil
}
