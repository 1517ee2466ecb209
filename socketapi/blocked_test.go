package socketapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
)

// blockedCalls begins four of each call that waits, on stacks whose peer at kernelAddr or addrB says
// nothing, and returns their descriptors and what becomes of them.
func blockedCalls(t *testing.T, s *Table, silent *unix.SockaddrInet4, sink string) (fds []int, results chan error, calls int) {
	t.Helper()
	results = make(chan error, 100)
	block := func(typ int, prepare func(fd int) error, call func(fd int) error) {
		fd, err := s.Socket(unix.AF_INET, typ, 0)
		fatal(t, err)
		fds = append(fds, fd)
		if prepare != nil {
			fatal(t, prepare(fd))
		}
		for range 4 {
			calls++
			go func() { results <- call(fd) }()
		}
	}
	connect := func(fd int) error { return s.Connect(fd, at(sink)) }
	read := func(fd int) error { _, err := s.Read(fd, make([]byte, 1)); return err }
	block(unix.SOCK_STREAM, connect, read)
	block(unix.SOCK_STREAM, connect, func(fd int) (err error) {
		for err == nil {
			_, err = s.Write(fd, make([]byte, 1<<20))
		}
		return err
	})
	block(unix.SOCK_STREAM, connect, func(fd int) (err error) {
		for err == nil {
			err = s.Sendto(fd, make([]byte, 1<<20), 0, nil)
		}
		return err
	})
	block(unix.SOCK_STREAM, connect, func(fd int) error {
		_, _, err := s.Recvfrom(fd, make([]byte, 9), unix.MSG_PEEK)
		return err
	})
	block(unix.SOCK_STREAM, func(fd int) error { return s.Listen(fd, 1) }, func(fd int) error {
		_, _, err := s.Accept(fd)
		return err
	})
	block(unix.SOCK_DGRAM, func(fd int) error { return s.Bind(fd, at("0.0.0.0:0")) }, read)
	block(unix.SOCK_DGRAM, nil, read)
	once := func(fd int) error {
		_, err := s.Recvmmsg(fd, []Message{{Buffers: [][]byte{make([]byte, 9)}}}, 0, nil)
		return err
	}
	block(unix.SOCK_DGRAM, nil, once)
	block(unix.SOCK_STREAM, connect, once)
	block(unix.SOCK_STREAM, connect, func(fd int) error {
		_, err := s.Readv(fd, [][]byte{make([]byte, 1), make([]byte, 1)})
		return err
	})
	block(unix.SOCK_STREAM, connect, func(fd int) error {
		_, _, _, _, err := s.Recvmsg(fd, make([]byte, 9), make([]byte, 99), unix.MSG_WAITALL)
		return err
	})
	zeros, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	fatal(t, err)
	zeros, err = s.Adopt(zeros)
	fatal(t, err)
	t.Cleanup(func() { s.Close(zeros) })
	block(unix.SOCK_STREAM, connect, func(fd int) (err error) {
		for err == nil {
			_, err = s.Sendfile(fd, zeros, nil, 1<<20)
		}
		return err
	})
	var ends [2]int
	fatal(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
	for i, end := range ends {
		ends[i], err = s.Adopt(end)
		fatal(t, err)
		t.Cleanup(func() { s.Close(ends[i]) })
	}
	block(unix.SOCK_STREAM, connect, func(fd int) error { _, err := s.Splice(fd, nil, ends[1], nil, 9, 0); return err })
	block(unix.SOCK_STREAM, nil, func(fd int) error { return s.Connect(fd, &unix.SockaddrInet4{Addr: silent.Addr, Port: silent.Port}) })
	return fds, results, calls
}

// silentStack is a stack whose neighbour accepts connections and says nothing more.
func silentStack(t *testing.T, queues int) (st *Stack, silent *unix.SockaddrInet4, sink string) {
	t.Helper()
	if queues == 1 {
		a, b := twoHosts(t)
		l, err := b.Listen("tcp", addrB+":7")
		fatal(t, err)
		t.Cleanup(func() { l.Close() })
		return a, at("10.98.0.99:7"), addrB + ":7"
	}
	st, peer := lab(t, queues, engine.ModeAuto)
	l, err := peer.Listen("tcp", kernelAddr+":7")
	fatal(t, err)
	t.Cleanup(func() { l.Close() })
	return st, at("10.99.0.77:7"), kernelAddr + ":7"
}

func TestCloseWakesBlockedCalls(t *testing.T) {
	t.Parallel()
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprint("queues ", queues), func(t *testing.T) {
			st, silent, sink := silentStack(t, queues)
			fds, results, calls := blockedCalls(t, st.Table(), silent, sink)
			time.Sleep(200 * time.Millisecond)
			select {
			case err := <-results:
				t.Fatalf("a call did not wait: %v", err)
			default:
			}
			for _, fd := range fds {
				go st.Table().Close(fd)
			}
			for range calls {
				select {
				case err := <-results:
					if err != unix.EBADF {
						t.Errorf("a call that waited: %v, want EBADF", err)
					}
				case <-time.After(longest):
					t.Fatal("a call still waits at a closed socket")
				}
			}
		})
	}
}

func TestHostCloseWakesBlockedCalls(t *testing.T) {
	t.Parallel()
	for _, queues := range []int{1, 2} {
		t.Run(fmt.Sprint("queues ", queues), func(t *testing.T) {
			st, silent, sink := silentStack(t, queues)
			fds, results, calls := blockedCalls(t, st.Table(), silent, sink)
			time.Sleep(200 * time.Millisecond)
			fatal(t, st.Close())
			for range calls {
				select {
				case err := <-results:
					if err != unix.ENETDOWN && err != unix.EHOSTUNREACH { // the silent one may have failed by then
						t.Errorf("a call that waited: %v, want ENETDOWN", err)
					}
				case <-time.After(longest):
					t.Fatal("a call still waits at a closed host")
				}
			}
			for _, fd := range fds {
				fatal(t, st.Table().Close(fd))
			}
			if _, err := st.Table().Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != unix.ENETDOWN {
				t.Errorf("a new socket: %v, want ENETDOWN", err)
			}
		})
	}
}

// TestCloseEndsAWriteUnderWay closes a connection whose writer never waits for long, since the
// peer keeps up with it.
func TestCloseEndsAWriteUnderWay(t *testing.T) {
	t.Parallel()
	a, b := twoHosts(t)
	l, err := b.Listen("tcp", addrB+":7")
	fatal(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		io.Copy(io.Discard, c)
		c.Close()
	}()
	c, err := a.Dial("tcp", addrB+":7")
	fatal(t, err)
	p := make([]byte, 1<<30) // only read, so there is one page of it
	done := make(chan int, 1)
	go func() {
		n, err := c.Write(p)
		if !errors.Is(err, net.ErrClosed) {
			t.Errorf("write: %v", err)
		}
		done <- n
	}()
	time.Sleep(50 * time.Millisecond)
	fatal(t, c.Close())
	select {
	case n := <-done:
		if n == len(p) {
			t.Error("the close waited for all of the write")
		}
	case <-time.After(longest):
		t.Error("the write goes on after the close")
	}
}

// TestCloseWakesBlockedDatagramSenders closes sockets whose send queues are full, since nobody takes what the device has.
func TestCloseWakesBlockedDatagramSenders(t *testing.T) {
	t.Parallel()
	const size, frameSize = 1000, 14 + 20 + 8 + 1000
	everyone := at("255.255.255.255:9") // for whom no neighbour is asked
	pa, pb := newPipe()
	s := openOver(t, pa, addrA).Table()
	open := func() int {
		fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		fatal(t, err)
		fatal(t, s.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
		return fd
	}
	another := open() // with which none that is closed is the last one, whose close waits for what was sent
	var accepted atomic.Int64
	var fds []int
	results := make(chan error, 4)
	for range cap(results) {
		fd := open()
		fds = append(fds, fd)
		go func() {
			for {
				if err := s.Sendto(fd, make([]byte, size), 0, everyone); err != nil {
					results <- err
					return
				}
				accepted.Add(1)
			}
		}()
	}
	eventually(t, "a full device", func() bool { return pb.in.tail.Load()-pb.in.head.Load() == pipeSlots })
	for _, fd := range fds {
		eventually(t, "a full queue", func() bool {
			err := s.Sendto(fd, make([]byte, size), unix.MSG_DONTWAIT, everyone)
			if err == nil {
				accepted.Add(1)
			} else if err != unix.EAGAIN {
				t.Fatalf("without waiting: %v, want EAGAIN", err)
			}
			return err != nil
		})
	}
	time.Sleep(50 * time.Millisecond) // until they wait
	select {
	case err := <-results:
		t.Fatalf("a sender did not wait: %v", err)
	default:
	}
	for _, fd := range fds {
		fatal(t, s.Close(fd))
	}
	for range fds {
		select {
		case err := <-results:
			if err != unix.EBADF {
				t.Errorf("a sender that waited: %v, want EBADF", err)
			}
		case <-time.After(longest):
			t.Fatal("a sender still waits at a closed socket")
		}
	}
	frames, left := make([]engine.Frame, 64), accepted.Load()
	eventually(t, "what the closed sockets had accepted", func() bool {
		n := pb.Peek(frames)
		for i := range n {
			if len(frames[i].Data) == frameSize {
				left--
			}
		}
		pb.Release(frames[:n])
		return left == 0
	})
	fatal(t, s.Close(another))
}
