package load

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TCPConnect opens a connection for every request, and closes it when the answer is there: Conns of them are open at once. The
// latency is from connect to the answer. The client closes first, so that it is the one whose ports wait out TIME-WAIT: its
// namespace has to let them be taken again (net.ipv4.tcp_tw_reuse).
func TCPConnect(c Config) (*Result, error) {
	if c.Size < minSize || c.Conns < 1 {
		return nil, fmt.Errorf("load: %d connections with requests of %d bytes: want at least 1 and %d", c.Conns, c.Size, minSize)
	}
	if c.Conns == 1 {
		return connectOne(c, newPhase(c))
	}
	return connectMany(c, newPhase(c))
}

func connectOne(c Config, p *phase) (*Result, error) {
	r := new(Result)
	k := &conn{ask: make([]byte, c.Size), answer: make([]byte, c.Size)}
	for {
		now := p.now()
		fd, err := connect(unix.SOCK_STREAM, c.Server)
		if err != nil {
			return nil, err
		}
		k.fd = fd
		err = k.exchange(p, now)
		unix.Close(fd)
		if err != nil {
			return nil, err
		}
		now = p.now()
		r.answered(k, now)
		if p.step(now, r) {
			return r, nil
		}
	}
}

// A caller is a place for one connection after the other.
type caller struct {
	conn
	asked bool // the connection is there, and the request on its way
}

// call begins the next connection. The epoll tells of what becomes of it until it is closed.
func (k *caller) call(ep int, place int32, to unix.Sockaddr, family int, now time.Duration) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("load: socket", err)
	}
	k.fd, k.asked, k.begun = fd, false, now
	if err := unix.Connect(fd, to); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("load: connect", err)
	}
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLET&0xffffffff, Fd: place}
	return os.NewSyscallError("load: epoll_ctl", unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &ev))
}

// told does what an event lets it do, and says whether the answer is there.
func (k *caller) told(events uint32) (whole bool, err error) {
	if !k.asked {
		if events&unix.EPOLLERR != 0 {
			errno, err := unix.GetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil {
				err = unix.Errno(errno)
			}
			return false, os.NewSyscallError("load: connect", err)
		}
		k.asked = true
		if err := k.request(k.begun); err != nil {
			return false, err
		}
	}
	return k.receive(unix.MSG_DONTWAIT)
}

func connectMany(c Config, p *phase) (*Result, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("load: epoll_create1", err)
	}
	defer unix.Close(ep)
	to, family := sockaddr(c.Server)
	callers := make([]*caller, c.Conns)
	open := callers[:0]
	defer func() {
		for _, k := range open {
			unix.Close(k.fd)
		}
	}()
	now := p.now()
	for i := range callers {
		callers[i] = &caller{conn: conn{fd: -1, ask: make([]byte, c.Size), answer: make([]byte, c.Size)}}
		open = callers[:i+1]
		if err := callers[i].call(ep, int32(i), to, family, now); err != nil {
			return nil, err
		}
	}
	r := new(Result)
	heard := now
	events := make([]unix.EpollEvent, len(callers))
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])),
			uintptr(len(events)), uintptr(quiet.Milliseconds()), 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return nil, os.NewSyscallError("load: epoll_wait", errno)
		}
		now = p.now()
		if errno != 0 {
			n = 0
		}
		if n > 0 {
			heard = now
		} else if now-heard > giveUp {
			return nil, fmt.Errorf("load: %v answered nothing for %v", c.Server, giveUp)
		}
		for _, ev := range events[:n] {
			k := callers[ev.Fd]
			whole, err := k.told(ev.Events)
			if err != nil {
				return nil, err
			}
			if !whole {
				continue
			}
			now = p.now()
			r.answered(&k.conn, now)
			unix.Close(k.fd)
			if err := k.call(ep, ev.Fd, to, family, now); err != nil {
				return nil, err
			}
		}
		for i, k := range callers {
			if now-k.begun > giveUp {
				return nil, fmt.Errorf("load: connection %d of %d got no answer for %v", i+1, len(callers), giveUp)
			}
		}
		if p.step(now, r) {
			return r, nil
		}
	}
}
