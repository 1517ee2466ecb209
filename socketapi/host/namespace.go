package host

import (
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// Read first: network_namespaces(7), setns(2).

// A namespace is the network namespace that a host was opened in. Its programs may call from threads of another.
type namespace struct {
	fd   int // -1: not known, and that of any thread will do
	stat unix.Stat_t
}

// threadNamespace is where the kernel says which the calling thread is in.
const threadNamespace = "/proc/thread-self/ns/net"

// hereNamespace is that of the calling thread.
func hereNamespace() (n namespace) {
	fd, err := unix.Open(threadNamespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err == nil {
		if err = unix.Fstat(fd, &n.stat); err != nil {
			unix.Close(fd)
		}
	}
	n.fd = fd
	if err != nil {
		n.fd = -1
	}
	return n
}

func (n *namespace) close() {
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.fd = -1
}

// do calls f on a thread that is in the namespace. It is EPERM if the thread has to go there and may not (setns(2)).
func (n *namespace) do(f func() unix.Errno) unix.Errno {
	var here unix.Stat_t
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if n.fd < 0 || unix.Stat(threadNamespace, &here) != nil || here.Dev == n.stat.Dev && here.Ino == n.stat.Ino {
		return f()
	}
	home, err := unix.Open(threadNamespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err.(unix.Errno)
	}
	defer unix.Close(home)
	if err := unix.Setns(n.fd, unix.CLONE_NEWNET); err != nil {
		return err.(unix.Errno)
	}
	defer func() {
		if unix.Setns(home, unix.CLONE_NEWNET) != nil {
			runtime.LockOSThread() // it stays locked, and ends with its goroutine
		}
	}()
	return f()
}

// has says whether an address is one of the kernel's there, ready or not.
func (n *namespace) has(a netip.Addr) bool {
	errno := n.do(func() unix.Errno {
		p := kernelPort{kernelName: kernelName{addr: a, only6: true}}
		family := unix.AF_INET6
		if a.Is4() {
			family = unix.AF_INET
		}
		fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err.(unix.Errno)
		}
		defer unix.Close(fd)
		if err := unix.Bind(fd, p.sockaddr()); err != nil {
			return err.(unix.Errno)
		}
		return 0
	})
	return errno == 0
}
