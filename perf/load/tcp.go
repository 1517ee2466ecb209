package load

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errClosed is a server that ended a connection which was still in use.
var errClosed = errors.New("load: the server closed the connection")

// conn is one connection with at most one request on its way.
type conn struct {
	fd     int
	ask    []byte
	answer []byte
	got    int // bytes of the answer so far
	seq    uint64
	begun  time.Duration
}

func (k *conn) request(now time.Duration) error {
	k.seq++
	k.got = 0
	k.begun = now
	stamp(k.ask, k.seq)
	return sendAll(k.fd, k.ask)
}

// receive reads what is there and says whether the answer is whole.
func (k *conn) receive(flags int) (whole bool, err error) {
	n, errno := recv(k.fd, k.answer[k.got:], flags)
	switch {
	case errno == unix.EINTR || errno == unix.EAGAIN:
		return false, nil
	case errno != 0:
		return false, os.NewSyscallError("load: recv", errno)
	case n == 0:
		return false, errClosed
	}
	if k.got += n; k.got < len(k.answer) {
		return false, nil
	}
	if seq, ok := stamped(k.answer, len(k.ask)); !ok || seq != k.seq {
		return false, mismatch(k.answer)
	}
	return true, nil
}

// TCPEcho keeps one request on its way on each of Conns connections. With one
// connection it blocks in recv, with more in epoll_wait. Connecting is part of
// warming up.
func TCPEcho(c Config) (*Result, error) {
	if c.Size < minSize || c.Conns < 1 {
		return nil, fmt.Errorf("load: %d connections with requests of %d bytes: want at least 1 and %d", c.Conns, c.Size, minSize)
	}
	p := newPhase(c)
	conns := make([]*conn, 0, c.Conns)
	defer func() {
		for _, k := range conns {
			unix.Close(k.fd)
		}
	}()
	for range c.Conns {
		fd, err := connect(unix.SOCK_STREAM, c.Server)
		if err != nil {
			return nil, err
		}
		conns = append(conns, &conn{fd: fd, ask: make([]byte, c.Size), answer: make([]byte, c.Size)})
	}
	if c.Conns == 1 {
		return tcpOne(c, p, conns[0])
	}
	return tcpMany(c, p, conns)
}

func tcpOne(c Config, p *phase, k *conn) (*Result, error) {
	r := new(Result)
	for now := p.now(); ; {
		if err := k.exchange(p, now); err != nil {
			return nil, err
		}
		now = p.now()
		r.answered(k, now)
		if p.step(now, r) {
			return r, nil
		}
	}
}

// exchange sends a request and waits for the answer. begun is when it began for the one who asks.
func (k *conn) exchange(p *phase, begun time.Duration) error {
	if err := k.request(begun); err != nil {
		return err
	}
	for {
		whole, err := k.receive(0)
		if whole || err != nil {
			return err
		}
		if p.now()-begun > giveUp {
			return fmt.Errorf("load: %v answered nothing for %v", p.c.Server, giveUp)
		}
	}
}

func (r *Result) answered(k *conn, now time.Duration) {
	r.Ops++
	r.Bytes += uint64(len(k.answer))
	r.Latency.Add(now - k.begun)
}

func tcpMany(c Config, p *phase, conns []*conn) (*Result, error) {
	m, err := newMany(p, conns)
	if err != nil {
		return nil, err
	}
	defer unix.Close(m.ep)
	for i, k := range conns {
		if err := m.watch(i, unix.EPOLLIN); err != nil {
			return nil, err
		}
		if err := k.request(p.now()); err != nil {
			return nil, err
		}
	}
	return m.run(func(i int, _ uint32) (bool, error) { return conns[i].receive(unix.MSG_DONTWAIT) },
		func(i int, now time.Duration) error { return conns[i].request(now) })
}

// many is several connections with a request each on its way, waited for by one epoll.
type many struct {
	p     *phase
	ep    int
	conns []*conn
}

func newMany(p *phase, conns []*conn) (m many, err error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return many{p, ep, conns}, os.NewSyscallError("load: epoll_create1", err)
}

// watch has the epoll tell of what becomes of a connection until it is closed.
func (m *many) watch(i int, events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(i)}
	return os.NewSyscallError("load: epoll_ctl", unix.EpollCtl(m.ep, unix.EPOLL_CTL_ADD, m.conns[i].fd, &ev))
}

// run takes answers until the time is over: told does what an event lets a connection do and says whether its answer is there, and
// again begins the next request then.
func (m *many) run(told func(i int, events uint32) (whole bool, err error), again func(i int, now time.Duration) error) (*Result, error) {
	r, p := new(Result), m.p
	now := p.now()
	heard := now
	events := make([]unix.EpollEvent, len(m.conns))
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(m.ep), uintptr(unsafe.Pointer(&events[0])),
			uintptr(len(events)), uintptr(quiet.Milliseconds()), 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return nil, os.NewSyscallError("load: epoll_wait", errno)
		}
		now = p.now()
		if errno != 0 || n == 0 {
			if now-heard > giveUp {
				return nil, fmt.Errorf("load: %v answered nothing for %v", p.c.Server, giveUp)
			}
			n = 0
		} else {
			heard = now
		}
		for _, ev := range events[:n] {
			i := int(ev.Fd)
			whole, err := told(i, ev.Events)
			if err != nil {
				return nil, err
			}
			if !whole {
				continue
			}
			now = p.now()
			r.answered(m.conns[i], now)
			if err := again(i, now); err != nil {
				return nil, err
			}
		}
		if err := stuck(m.conns, now); err != nil {
			return nil, err
		}
		if p.step(now, r) {
			return r, nil
		}
	}
}

// stuck names a connection that gets no answer while others do.
func stuck(conns []*conn, now time.Duration) error {
	for i, k := range conns {
		if now-k.begun > giveUp {
			return fmt.Errorf("load: connection %d of %d got no answer for %v", i+1, len(conns), giveUp)
		}
	}
	return nil
}
