package socketapi

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// kernelDescriptors counts the process's.
func kernelDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	fatal(t, err)
	return len(list)
}

// descriptorsOpen says what the process's are.
func descriptorsOpen(t *testing.T) (list []string) {
	t.Helper()
	dir, err := os.ReadDir("/proc/self/fd")
	fatal(t, err)
	for _, e := range dir {
		to, _ := os.Readlink("/proc/self/fd/" + e.Name())
		list = append(list, e.Name()+" "+to)
	}
	return list
}

// waits is the calls that wait for one descriptor, each until it can be read.
var waits = []struct {
	name string
	call func(s *Table, fd int) (string, error)
}{
	{"poll", func(s *Table, fd int) (string, error) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := s.Poll(fds, -1)
		return fmt.Sprint(n, pollNamed(uint32(uint16(fds[0].Revents)))), err
	}},
	{"select", func(s *Table, fd int) (string, error) {
		var r unix.FdSet
		r.Set(fd)
		n, err := s.Select(fd+1, &r, nil, nil, nil)
		return fmt.Sprint(n), err
	}},
	{"read", func(s *Table, fd int) (string, error) {
		n, err := s.Read(fd, make([]byte, 1))
		return fmt.Sprint(n), err
	}},
}

// TestCloseWakesPollers closes what goroutines wait for: an engine socket of each kind and one of the kernel's.
func TestCloseWakesPollers(t *testing.T) {
	a, b := twoHosts(t)
	s := a.Table()
	for _, kind := range []string{"datagram", "stream", "kernel"} {
		for _, w := range waits {
			t.Run(kind+" "+w.name, func(t *testing.T) {
				fd := openKind(t, s, b.Table(), kind)
				done := in(func() error {
					got, err := w.call(s, fd)
					if err == nil && got != "1[NVAL]" {
						err = fmt.Errorf("it said %s", got)
					}
					return err
				})
				time.Sleep(20 * time.Millisecond)
				fatal(t, s.Close(fd))
				select {
				case err := <-done:
					if err != unix.EBADF && (w.name != "poll" || err != nil) {
						t.Errorf("%v", err)
					}
				case <-time.After(longest):
					t.Fatal("it sleeps on")
				}
			})
		}
	}
}

// openKind opens a descriptor that has nothing to read.
func openKind(t *testing.T, s, peer *Table, kind string) int {
	t.Helper()
	var fd int
	var err error
	switch kind {
	case "datagram":
		fd, err = s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	case "stream":
		l, lerr := peer.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		fatal(t, lerr)
		fatal(t, peer.Listen(l, 1))
		name, lerr := peer.Getsockname(l)
		fatal(t, lerr)
		fd, err = s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		fatal(t, err)
		to := name.(*unix.SockaddrInet4)
		to.Addr = at(addrB + ":1").Addr
		fatal(t, s.Connect(fd, to))
		t.Cleanup(func() { peer.Close(l) })
	case "kernel":
		var pair [2]int
		pair, err = s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		t.Cleanup(func() { s.Close(pair[1]) })
		fd = pair[0]
	}
	fatal(t, err)
	return fd
}

func TestCloseWakesEpoll(t *testing.T) {
	a, b := twoHosts(t)
	s := a.Table()
	ep, err := s.EpollCreate1(0)
	fatal(t, err)
	for _, kind := range []string{"datagram", "stream", "kernel"} {
		fatal(t, s.EpollCtl(ep, unix.EPOLL_CTL_ADD, openKind(t, s, b.Table(), kind), &unix.EpollEvent{Events: unix.EPOLLIN}))
	}
	done := in(func() error { _, err := s.EpollWait(ep, make([]unix.EpollEvent, 1), -1); return err })
	time.Sleep(20 * time.Millisecond)
	fatal(t, s.Close(ep))
	select {
	case err := <-done:
		if err != unix.EBADF {
			t.Errorf("%v, want EBADF", err)
		}
	case <-time.After(longest):
		t.Fatal("it sleeps on")
	}
}

// TestPollLateness wants timeouts that are neither early nor far too late.
func TestPollLateness(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	defer s.Close(fd)
	best := time.Hour
	for range 20 {
		start := time.Now()
		n, err := s.Ppoll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, &unix.Timespec{Nsec: 2e6 + 3e5}, nil)
		took := time.Since(start)
		if n != 0 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		if took < 2300*time.Microsecond {
			t.Fatalf("it waited %v, less than 2.3 ms", took)
		}
		best = min(best, took)
	}
	if best > 50*time.Millisecond {
		t.Errorf("it waited %v for 2.3 ms at best", best)
	}
}

// TestPollAfterTheHostHasEnded: its sockets say so, and the kernel's work on.
func TestPollAfterTheHostHasEnded(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	u, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	pair, err := s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fatal(t, err)
	fds := []unix.PollFd{{Fd: int32(u), Events: unix.POLLIN}}
	done := in(func() error { _, err := s.Poll(fds, -1); return err })
	time.Sleep(10 * time.Millisecond)
	fatal(t, a.Close())
	within(t, longest, "the poller", func() { fatal(t, <-done) })
	if fds[0].Revents&unix.POLLERR == 0 {
		t.Errorf("the socket says %s", pollNamed(uint32(fds[0].Revents)))
	}
	fds = []unix.PollFd{{Fd: int32(pair[0]), Events: unix.POLLIN}}
	if n, err := s.Poll(fds, 5); n != 0 || err != nil {
		t.Errorf("%d, %v before", n, err)
	}
	time.AfterFunc(10*time.Millisecond, func() { s.Write(pair[1], []byte("x")) })
	if n, err := s.Poll(fds, -1); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	for _, fd := range []int{u, pair[0], pair[1]} {
		fatal(t, s.Close(fd))
	}
}

// TestAdopt puts files of the kernel's beside sockets, and the standard three.
func TestAdopt(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	before := kernelDescriptors(t)
	var pipe [2]int
	fatal(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	r, err := s.Adopt(pipe[0])
	fatal(t, err)
	w, err := s.Adopt(pipe[1])
	fatal(t, err)
	time.AfterFunc(10*time.Millisecond, func() { s.Write(w, []byte("abc")) })
	p := make([]byte, 9)
	if n, err := s.Read(r, p); n != 3 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
	if _, err := s.Getsockname(r); err != unix.ENOTSOCK {
		t.Errorf("getsockname of a pipe: %v", err)
	}
	if k, err := s.Kernel(r); k != pipe[0] || err != nil {
		t.Errorf("the kernel's number: %d, %v", k, err)
	}
	ep, err := s.EpollCreate1(0)
	fatal(t, err)
	file, err := unix.Open("/proc/self/exe", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	fatal(t, err)
	f, err := s.Adopt(file)
	fatal(t, err)
	if err := s.EpollCtl(ep, unix.EPOLL_CTL_ADD, f, &unix.EpollEvent{Events: unix.EPOLLIN}); err != unix.EPERM {
		t.Errorf("epoll of a file: %v, want EPERM", err)
	}
	if n, err := s.Poll([]unix.PollFd{{Fd: int32(f), Events: unix.POLLIN}}, -1); n != 1 || err != nil {
		t.Errorf("poll of a file: %d, %v", n, err)
	}
	if n, err := s.Poll([]unix.PollFd{{Fd: 2, Events: unix.POLLOUT}}, 0); n != 1 || err != nil {
		t.Errorf("poll of descriptor 2: %d, %v", n, err)
	}
	if err := s.Close(2); err != unix.EBADF {
		t.Errorf("close of descriptor 2: %v", err)
	}
	if _, err := s.Adopt(1 << 20); err != unix.EBADF {
		t.Errorf("adopt of nothing: %v", err)
	}
	for _, fd := range []int{r, w, ep, f} {
		fatal(t, s.Close(fd))
	}
	for start := time.Now(); kernelDescriptors(t) > before; time.Sleep(time.Millisecond) {
		if time.Since(start) > longest {
			t.Fatalf("%d descriptors of the kernel's, there were %d: %q", kernelDescriptors(t), before, descriptorsOpen(t))
		}
	}
}

// TestStandardDescriptorsLeaveNothing waits for what nobody closes, so that the kernel reports on it meanwhile: no reporter is left with it.
func TestStandardDescriptorsLeaveNothing(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	var pipe [2]int
	fatal(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	s.standard[2].kernel.fd = pipe[1] // of a program whose output is a pipe
	before := kernelDescriptors(t)
	for range 3 {
		if n, err := s.Poll([]unix.PollFd{{Fd: 2, Events: unix.POLLIN}}, 10); n != 0 || err != nil {
			t.Fatalf("poll: %d, %v", n, err)
		}
	}
	for start := time.Now(); kernelDescriptors(t) > before; time.Sleep(time.Millisecond) {
		if time.Since(start) > longest {
			t.Fatalf("%d descriptors of the kernel's, there were %d: %q", kernelDescriptors(t), before, descriptorsOpen(t))
		}
	}
}

// TestManyPollers opens, uses, closes, polls and epolls from thousands of goroutines at once, over hosts of
// one and of several cores, and looks for what is left.
func TestManyPollers(t *testing.T) {
	for _, cores := range []int{1, 3} {
		t.Run(fmt.Sprint(cores, " cores"), func(t *testing.T) { manyPollers(t, cores) })
	}
}

func manyPollers(t *testing.T, cores int) {
	before, descriptors := runtime.NumGoroutine(), kernelDescriptors(t)
	st, _ := openSelf(t, cores)
	s := st.Table()
	l, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	fatal(t, err)
	fatal(t, s.Bind(l, at("127.0.0.1:7")))
	fatal(t, s.Listen(l, 4096))
	ep, err := s.EpollCreate1(0)
	fatal(t, err)
	fatal(t, s.EpollCtl(ep, unix.EPOLL_CTL_ADD, l, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(l)}))
	var servers, clients sync.WaitGroup
	for range 4 {
		servers.Go(func() { serveEpoll(t, s, ep, l) })
	}
	workers := 2000
	if testing.Short() {
		workers = 400
	}
	var served atomic.Int32
	for i := range workers {
		clients.Go(func() {
			r := rand.New(rand.NewPCG(uint64(i), 0))
			if err := pollingClient(s, r, fmt.Sprint("client ", i)); err != nil {
				t.Errorf("client %d: %v", i, err)
				return
			}
			served.Add(1)
		})
	}
	within(t, 2*longest, "the clients", clients.Wait)
	fatal(t, s.Close(ep))
	within(t, longest, "the servers", servers.Wait)
	fatal(t, s.Close(l))
	if n := int(served.Load()); n != workers {
		t.Errorf("%d of %d clients were served", n, workers)
	}
	for fd := descriptorBase; s.Len() > 0 && fd < 1<<14; fd++ {
		s.Close(fd) // what the servers had in their hands when the epoll was closed
	}
	drainedPools(t, st)
	fatal(t, st.Close())
	sameGoroutines(t, before)
	for start := time.Now(); kernelDescriptors(t) > descriptors; time.Sleep(time.Millisecond) {
		if time.Since(start) > longest {
			t.Fatalf("%d descriptors of the kernel's, there were %d: %q", kernelDescriptors(t), descriptors, descriptorsOpen(t))
		}
	}
}

// serveEpoll echoes until the epoll is closed. Each connection is told of once at a time, so that several
// servers do not have it in hand together.
func serveEpoll(t *testing.T, s *Table, ep, l int) {
	events, p := make([]unix.EpollEvent, 16), make([]byte, 2048)
	const once = unix.EPOLLIN | unix.EPOLLONESHOT
	for {
		n, err := s.EpollWait(ep, events, -1)
		if err == unix.EBADF {
			return
		}
		fatal(t, err)
		for _, ev := range events[:n] {
			if fd := int(ev.Fd); fd != l {
				if n, err := s.Read(fd, p); n <= 0 || err != nil {
					s.Close(fd)
					continue
				} else if _, err := s.Write(fd, p[:n]); err != nil {
					s.Close(fd)
					continue
				}
				s.EpollCtl(ep, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: once, Fd: ev.Fd})
				continue
			}
			for {
				fd, _, err := s.Accept(l)
				if err != nil {
					break
				}
				if err := s.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: once, Fd: int32(fd)}); err != nil && err != unix.EBADF {
					t.Errorf("epoll_ctl: %v", err)
				}
			}
		}
	}
}

// pollingClient talks over a connection and a socket pair of the kernel's, each awaited by one of the
// calls for it, both at once.
func pollingClient(s *Table, r *rand.Rand, text string) error {
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer s.Close(fd)
	pair, err := s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	defer s.Close(pair[0])
	defer s.Close(pair[1])
	if err := s.Connect(fd, at("127.0.0.1:7")); err != unix.EINPROGRESS && err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}, {Fd: int32(pair[0]), Events: unix.POLLIN}}
	if _, err := s.Poll(fds, -1); err != nil {
		return err
	}
	if n, err := s.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); n != 0 || err != nil {
		return fmt.Errorf("SO_ERROR %v, %v", unix.Errno(n), err)
	}
	for range 3 {
		if _, err := s.Write(fd, []byte(text)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		if _, err := s.Write(pair[1], []byte("x")); err != nil {
			return fmt.Errorf("write to the pair: %w", err)
		}
		for got, here := "", ""; got != text || here != "x"; {
			fds[0].Events = unix.POLLIN
			if r.IntN(2) == 0 || fd >= unix.FD_SETSIZE || pair[0] >= unix.FD_SETSIZE {
				if n, err := s.Poll(fds, 20000); n <= 0 || err != nil {
					return fmt.Errorf("poll: %d, %v with %q and %q", n, err, got, here)
				}
			} else {
				var set unix.FdSet
				set.Set(fd)
				set.Set(pair[0])
				if n, err := s.Select(max(fd, pair[0])+1, &set, nil, nil, &unix.Timeval{Sec: 20}); n <= 0 || err != nil {
					return fmt.Errorf("select: %d, %v with %q and %q", n, err, got, here)
				}
			}
			p := make([]byte, 99)
			if n, _, err := s.Recvfrom(fd, p, unix.MSG_DONTWAIT); err == nil {
				got += string(p[:n])
			}
			if n, _, err := s.Recvfrom(pair[0], p, unix.MSG_DONTWAIT); err == nil {
				here += string(p[:n])
			}
		}
	}
	return nil
}
