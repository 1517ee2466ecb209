package socketapi

import (
	commandline "flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var edgeSeeds = commandline.Int("edge-seeds", 1, "how many seeds TestNoEdgeIsLost tries")

// TestNoEdgeIsLost moves data between writers and readers that look again only when an epoll tells them to: of an edge, or
// of a shot that they have armed again, by an epoll or by one that waits for it, from connections and from socket pairs of the
// kernel's. Whoever is not told once when he had to be waits for ever.
func TestNoEdgeIsLost(t *testing.T) {
	t.Parallel()
	for seed := range *edgeSeeds {
		for _, how := range []struct {
			name   string
			flags  uint32
			nested bool
		}{{"edges", unix.EPOLLET, false}, {"shots", unix.EPOLLONESHOT, false}, {"shots of edges", unix.EPOLLONESHOT | unix.EPOLLET, false}, {"edges of an epoll's", unix.EPOLLET, true}} {
			t.Run(fmt.Sprint(how.name, " ", seed), func(t *testing.T) { noEdgeIsLost(t, uint64(seed), how.flags, how.nested) })
		}
	}
}

// edgePairs is how many connections there are, edgeBytes what each of them carries, and edgeReaders how many goroutines read.
const (
	edgePairs   = 8
	edgeBytes   = 300_000
	edgeReaders = 4
)

func noEdgeIsLost(t *testing.T, seed uint64, flags uint32, nested bool) {
	a, b := twoHosts(t)
	s, peer := a.Table(), b.Table()
	ep, err := s.EpollCreate1(0)
	fatal(t, err)
	waited := ep
	if nested {
		waited, err = s.EpollCreate1(0)
		fatal(t, err)
		fatal(t, s.EpollCtl(waited, unix.EPOLL_CTL_ADD, ep, &unix.EpollEvent{Events: unix.EPOLLIN}))
	}
	var got [2 * edgePairs]atomic.Int64
	var left sync.WaitGroup // of those who have not got all
	var writers, readers sync.WaitGroup
	fds := map[int]int{} // by reader's descriptor
	for i := range 2 * edgePairs {
		in, by, out := 0, s, 0
		if i < edgePairs {
			by = peer
			in, out = streamPair(t, s, peer)
		} else {
			pair, err := s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			fatal(t, err)
			in, out = pair[0], pair[1]
		}
		fatal(t, s.SetNonblock(in, true))
		fatal(t, by.SetNonblock(out, true))
		fatal(t, s.SetsockoptInt(in, unix.SOL_SOCKET, unix.SO_RCVBUF, 8192))
		fatal(t, by.SetsockoptInt(out, unix.SOL_SOCKET, unix.SO_SNDBUF, 8192))
		fds[in] = i
		left.Add(1)
		writers.Go(func() { writeByEdges(t, by, out, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
	for in, i := range fds { // some while there is data already
		fatal(t, s.EpollCtl(ep, unix.EPOLL_CTL_ADD, in, &unix.EpollEvent{Events: unix.EPOLLIN | flags, Fd: int32(in), Pad: int32(i)}))
	}
	for r := range edgeReaders {
		readers.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(100+r)))
			events, p := make([]unix.EpollEvent, 3), make([]byte, 5000)
			for {
				if nested {
					if _, err := s.EpollWait(waited, events[:1], -1); err != nil {
						return
					}
				}
				timeout := -1
				if nested {
					timeout = 0
				}
				n, err := s.EpollWait(ep, events, timeout)
				if err != nil {
					return
				}
				for _, ev := range events[:n] {
					for {
						n, err := s.Read(int(ev.Fd), p[:1+r.IntN(len(p))])
						if n <= 0 || err != nil {
							break
						}
						if got[ev.Pad].Add(int64(n)) == edgeBytes {
							left.Done()
						}
					}
					if r.IntN(8) == 0 {
						runtime.Gosched()
					}
					if flags&unix.EPOLLONESHOT != 0 {
						s.EpollCtl(ep, unix.EPOLL_CTL_MOD, int(ev.Fd), &unix.EpollEvent{Events: unix.EPOLLIN | flags, Fd: ev.Fd, Pad: ev.Pad})
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); left.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(longest):
		for in, i := range fds {
			unread, _ := s.IoctlGetInt(in, FIONREAD)
			t.Errorf("reader %d has %d of %d bytes, and %d unread", i, got[i].Load(), edgeBytes, unread)
		}
	}
	s.Close(ep)
	if nested {
		s.Close(waited)
	}
	within(t, longest, "the readers", readers.Wait)
	for in := range fds {
		s.Close(in)
	}
}

// writeByEdges writes all, and closes when it was taken. It looks for room when there was none only when it is told of some.
func writeByEdges(t *testing.T, s *Table, fd int, r *rand.Rand) {
	defer s.Close(fd)
	ep, err := s.EpollCreate1(0)
	if err != nil {
		t.Error(err)
		return
	}
	defer s.Close(ep)
	if err := s.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLOUT | unix.EPOLLET}); err != nil {
		t.Error(err)
		return
	}
	p := make([]byte, 20000)
	for sent := 0; sent < edgeBytes; {
		n, err := s.Write(fd, p[:min(1+r.IntN(len(p)), edgeBytes-sent)])
		switch {
		case err == nil:
			sent += n
		case err != unix.EAGAIN:
			t.Errorf("write: %v", err)
			return
		default:
			if n, err := s.EpollWait(ep, make([]unix.EpollEvent, 1), int(longest/time.Millisecond)); n != 1 || err != nil {
				t.Errorf("a writer who has sent %d is not told of room: %d, %v", sent, n, err)
				return
			}
		}
		if r.IntN(16) == 0 {
			time.Sleep(time.Duration(r.IntN(300)) * time.Microsecond)
		}
	}
}

// TestKernelEdgesAreToldOnce writes to descriptors of the kernel's at every moment around their being added to an epoll and its
// being asked: each edge is told once, whoever else is on the way to tell of it.
func TestKernelEdgesAreToldOnce(t *testing.T) {
	t.Parallel()
	a, _ := twoHosts(t)
	s := a.Table()
	const pairs = 400
	var eps, ins, outs [pairs]int
	once := func(i int, what string) {
		t.Helper()
		if n, err := s.EpollWait(eps[i], make([]unix.EpollEvent, 2), int(longest/time.Millisecond)); n != 1 || err != nil {
			t.Fatalf("%s, pair %d: told %d times, %v", what, i, n, err)
		}
	}
	never := func(what string) {
		t.Helper()
		time.Sleep(20 * time.Millisecond) // for those who are on the way
		for i, ep := range eps {
			if n, err := s.EpollWait(ep, make([]unix.EpollEvent, 2), 0); n != 0 || err != nil {
				t.Errorf("%s, pair %d: told again (%d, %v)", what, i, n, err)
			}
		}
	}
	for i := range pairs {
		pair, err := s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
		fatal(t, err)
		ins[i], outs[i] = pair[0], pair[1]
		eps[i], err = s.EpollCreate1(0)
		fatal(t, err)
		fatal(t, s.EpollCtl(eps[i], unix.EPOLL_CTL_ADD, ins[i], &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET}))
		_, err = s.Write(outs[i], []byte("abc"))
		fatal(t, err)
		once(i, "after it was added")
	}
	never("after it was added")
	for i := range pairs {
		written := make(chan struct{})
		go func() {
			s.Write(outs[i], []byte("def"))
			close(written)
		}()
		once(i, "beside the call")
		<-written
	}
	never("beside the call")
	for i := range 20 { // an edge of room is none to who waits for data
		for p := make([]byte, 1<<16); ; {
			if _, err := s.Write(ins[i], p); err != nil {
				break
			}
		}
		for p := make([]byte, 1<<16); ; {
			if _, err := s.Read(outs[i], p); err != nil {
				break
			}
		}
	}
	never("room")
	for i := range pairs {
		s.Close(eps[i])
		s.Close(ins[i])
		s.Close(outs[i])
	}
}
