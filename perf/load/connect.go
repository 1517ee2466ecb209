package load

import (
	"fmt"
	"os"
	"time"

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

// callers are places for one connection after the other each.
type callers struct {
	many
	to     unix.Sockaddr
	family int
	asked  []bool // the connection is there, and the request on its way
}

// call begins the next connection.
func (k *callers) call(i int, now time.Duration) error {
	fd, err := unix.Socket(k.family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return os.NewSyscallError("load: socket", err)
	}
	k.conns[i].fd, k.conns[i].begun, k.asked[i] = fd, now, false
	if err := unix.Connect(fd, k.to); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("load: connect", err)
	}
	return k.watch(i, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLET&0xffffffff)
}

// told does what an event lets a connection do, and says whether the answer is there.
func (k *callers) told(i int, events uint32) (whole bool, err error) {
	c := k.conns[i]
	if !k.asked[i] {
		if events&unix.EPOLLERR != 0 {
			errno, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
			if err == nil {
				err = unix.Errno(errno)
			}
			return false, os.NewSyscallError("load: connect", err)
		}
		k.asked[i] = true
		if err := c.request(c.begun); err != nil {
			return false, err
		}
	}
	return c.receive(unix.MSG_DONTWAIT)
}

// again closes a connection that was answered, and begins the next.
func (k *callers) again(i int, now time.Duration) error {
	fd := k.conns[i].fd
	k.conns[i].fd = -1
	unix.Close(fd)
	return k.call(i, now)
}

func connectMany(c Config, p *phase) (*Result, error) {
	conns := make([]*conn, c.Conns)
	for i := range conns {
		conns[i] = &conn{fd: -1, ask: make([]byte, c.Size), answer: make([]byte, c.Size)}
	}
	m, err := newMany(p, conns)
	if err != nil {
		return nil, err
	}
	defer unix.Close(m.ep)
	k := &callers{many: m, asked: make([]bool, c.Conns)}
	k.to, k.family = sockaddr(c.Server)
	defer func() {
		for _, c := range conns {
			if c.fd >= 0 {
				unix.Close(c.fd)
			}
		}
	}()
	for i := range conns {
		if err := k.call(i, p.now()); err != nil {
			return nil, err
		}
	}
	return k.run(k.told, k.again)
}
