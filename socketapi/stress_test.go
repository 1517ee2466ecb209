package socketapi

import (
	"errors"
	commandline "flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// longest is how long what must happen may take on a busy machine.
const longest = 60 * time.Second

// outboxChunks is what a stack's own queues hold once they have been used: a chunk each for
// frames and for packets of its port.
const outboxChunks = 2 * 4096

// drainedPools waits until no socket holds memory of a host's cores.
func drainedPools(t *testing.T, st *Stack) {
	t.Helper()
	start := time.Now()
	for _, c := range st.Host().Cores() {
		for c.Stack.Pool.Used() > outboxChunks {
			if time.Since(start) > longest {
				t.Errorf("%d bytes of queues are left", c.Stack.Pool.Used())
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// sameGoroutines waits until there are no more goroutines than before.
func sameGoroutines(t *testing.T, before int) {
	t.Helper()
	for start := time.Now(); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
		if time.Since(start) > longest {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, there were %d:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func at(addr string) *unix.SockaddrInet4 {
	a := netip.MustParseAddrPort(addr)
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}

// TestManyAtOnce opens, uses and closes sockets from hundreds of goroutines.
func TestManyAtOnce(t *testing.T) { eachJoint(t, manyAtOnce) }

func manyAtOnce(t *testing.T, j joint) {
	before := runtime.NumGoroutine()
	a, b := j.open()
	server, client := b.Table(), a.Table()

	l, err := server.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	fatal(t, server.Bind(l, at(addrB+":7")))
	fatal(t, server.Listen(l, 1024))
	d, err := server.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	fatal(t, server.Bind(d, at(addrB+":7")))

	var servers sync.WaitGroup
	for range 4 {
		servers.Go(func() { echoDatagrams(server, d) })
		servers.Go(func() {
			for {
				c, _, err := server.Accept(l)
				if err != nil {
					return
				}
				servers.Go(func() { echoStream(server, c) })
			}
		})
	}

	workers, rounds := 200, 5
	if testing.Short() {
		rounds = 1
	}
	var clients sync.WaitGroup
	for i := range workers {
		clients.Go(func() {
			for round := range rounds {
				var err error
				if i%2 == 0 {
					err = useStream(client, fmt.Sprint("stream ", i, round))
				} else {
					err = useDatagram(client, fmt.Sprint("datagram ", i, round))
				}
				if err != nil {
					t.Errorf("goroutine %d, round %d: %v", i, round, err)
				}
			}
		})
	}
	within(t, 2*longest, "the clients", clients.Wait)
	fatal(t, server.Close(l))
	fatal(t, server.Close(d))
	within(t, longest, "the servers", servers.Wait)
	for _, st := range []*Stack{a, b} {
		if n := st.Table().Len(); n != 0 {
			t.Errorf("%d descriptors are left", n)
		}
		drainedPools(t, st)
	}
	fatal(t, a.Close())
	fatal(t, b.Close())
	j.whole()
	sameGoroutines(t, before)
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func echoDatagrams(s *Table, fd int) {
	p := make([]byte, 2048)
	for {
		n, from, err := s.Recvfrom(fd, p, 0)
		if err == unix.EBADF {
			return
		}
		if err == nil {
			s.Sendto(fd, p[:n], 0, from)
		}
	}
}

func echoStream(s *Table, fd int) {
	defer s.Close(fd)
	p := make([]byte, 2048)
	for {
		n, err := s.Read(fd, p)
		if n <= 0 || err != nil {
			return
		}
		if _, err := s.Write(fd, p[:n]); err != nil {
			return
		}
	}
}

func useStream(s *Table, text string) error {
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer s.Close(fd)
	if err := s.Connect(fd, at(addrB+":7")); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if _, err := s.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	p := make([]byte, len(text))
	if n, _, err := s.Recvfrom(fd, p, unix.MSG_WAITALL); err != nil || string(p) != text {
		return fmt.Errorf("read %q, %d bytes: %w", p, n, err)
	}
	return nil
}

func useDatagram(s *Table, text string) error {
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		return err
	}
	defer s.Close(fd)
	if err := s.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 500000}); err != nil {
		return err
	}
	for range 20 { // a datagram may be lost
		if err := s.Sendto(fd, []byte(text), 0, at(addrB+":7")); err != nil {
			return fmt.Errorf("sendto: %w", err)
		}
		p := make([]byte, 99)
		n, _, err := s.Recvfrom(fd, p, 0)
		if err == unix.EAGAIN {
			continue
		}
		if err != nil || string(p[:n]) != text {
			return fmt.Errorf("received %q: %w", p[:max(n, 0)], err)
		}
		return nil
	}
	return errors.New("no answer to 20 datagrams")
}

// meddlers is how many goroutines TestRandomCallsOnSharedDescriptors has, and sharedDescriptors how many descriptors they share.
const (
	meddlers          = 2000
	sharedDescriptors = 96
)

var (
	meddleTime = commandline.Duration("meddle", time.Second, "how long TestRandomCallsOnSharedDescriptors goes on over each joint")
	meddleSeed = commandline.Uint64("meddle-seed", 7, "what its calls are chosen by")
)

// TestRandomCallsOnSharedDescriptors lets thousands of goroutines call anything on descriptors that others are closing, polling
// and duplicating. Any result will do; nothing may hang, race or be left.
func TestRandomCallsOnSharedDescriptors(t *testing.T) { eachJoint(t, randomCallsOnSharedDescriptors) }

func randomCallsOnSharedDescriptors(t *testing.T, j joint) {
	before, kernels := runtime.NumGoroutine(), kernelDescriptors(t)
	a, b := j.open()
	l, err := b.Listen("tcp", addrB+":7")
	fatal(t, err)
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	s := a.Table()
	s.SetLimit(sharedDescriptors)
	stop := time.Now().Add(*meddleTime)
	var wg sync.WaitGroup
	goroutines := meddlers
	if testing.Short() {
		goroutines /= 4
	}
	for i := range goroutines {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), *meddleSeed))
			p := make([]byte, 3000)
			for k := i; time.Now().Before(stop); k++ {
				fd, other := descriptorBase+r.IntN(sharedDescriptors), descriptorBase+r.IntN(sharedDescriptors)
				switch r.IntN(24) {
				case 16:
					s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
				case 17:
					s.EpollCreate1(0)
				case 18:
					s.Dup2(fd, other)
				case 19:
					s.EpollCtl(fd, 1+k%3, other, &unix.EpollEvent{Events: uint32(r.Uint64())&^unix.EPOLLWAKEUP | unix.EPOLLIN, Fd: int32(other)})
				case 20:
					s.EpollWait(fd, make([]unix.EpollEvent, 4), r.IntN(5))
				case 21:
					fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}, {Fd: int32(other), Events: unix.POLLIN | unix.POLLOUT | unix.POLLPRI}}
					s.Poll(fds, r.IntN(5))
				case 22:
					var in, out unix.FdSet
					in.Set(fd)
					out.Set(other)
					s.Select(max(fd, other)+1, &in, &out, nil, &unix.Timeval{Usec: int64(r.IntN(5000))})
				case 23:
					s.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, other)
				case 0:
					s.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
				case 1:
					s.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
				case 2:
					s.Close(fd)
				case 3, 4:
					s.Connect(fd, at(addrB+":7"))
				case 5:
					s.Connect(fd, nil)
				case 6:
					s.Write(fd, p)
				case 7:
					s.Read(fd, p)
				case 8:
					s.Shutdown(fd, k%3)
				case 9:
					s.Bind(fd, &unix.SockaddrInet4{Port: 6000 + k%8})
				case 10:
					s.Listen(fd, 3)
				case 11:
					s.Accept(fd)
				case 12:
					s.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1000*(k%9))
				case 13:
					s.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
					s.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
				case 14:
					s.Sendto(fd, p[:k%1500], unix.MSG_DONTWAIT, at(addrB+":9"))
					s.Recvfrom(fd, p, unix.MSG_PEEK|unix.MSG_DONTWAIT)
				case 15:
					s.Getsockname(fd)
					s.Getpeername(fd)
				}
			}
		})
	}
	within(t, *meddleTime+longest, "the calls", wg.Wait)
	for fd := range 4096 {
		s.Close(fd)
	}
	if n := s.Len(); n != 0 {
		t.Errorf("%d descriptors are left", n)
	}
	drainedPools(t, a)
	l.Close()
	fatal(t, a.Close())
	fatal(t, b.Close())
	j.whole()
	sameGoroutines(t, before)
	for start := time.Now(); kernelDescriptors(t) > kernels; time.Sleep(time.Millisecond) {
		if time.Since(start) > longest {
			t.Fatalf("%d descriptors of the kernel's, there were %d: %q", kernelDescriptors(t), kernels, descriptorsOpen(t))
		}
	}
}
