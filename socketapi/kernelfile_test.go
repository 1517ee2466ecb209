package socketapi

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCloseWakesCallsOfTheKernels closes descriptors of the kernel's that calls wait at: none waits in the kernel, where close
// would not reach it. Of what can be had once, one of two has it and the other waits on.
func TestCloseWakesCallsOfTheKernels(t *testing.T) {
	a, b := twoHosts(t)
	s := a.Table()
	type ended struct {
		what string
		err  error
	}
	var fds []int
	keep := func(list ...int) { fds = append(fds, list...) }
	sockets := func(typ int) (x, y int) {
		pair, err := s.Socketpair(unix.AF_UNIX, typ, 0)
		fatal(t, err)
		keep(pair[0], pair[1])
		return pair[0], pair[1]
	}
	pipe := func() (r, w int) {
		var p [2]int
		fatal(t, unix.Pipe2(p[:], unix.O_CLOEXEC))
		r, err := s.Adopt(p[0])
		fatal(t, err)
		w, err = s.Adopt(p[1])
		fatal(t, err)
		keep(r, w)
		return r, w
	}
	full := func(w int) int { // in pieces that fill it to the last byte
		fatal(t, s.SetNonblock(w, true))
		for size := 1 << 12; size > 0; size /= 2 {
			for err := error(nil); err == nil; {
				_, err = s.Write(w, make([]byte, size))
			}
		}
		fatal(t, s.SetNonblock(w, false))
		return w
	}
	results := make(chan ended, 100)
	waiting := 0
	wait := func(what string, call func() error) {
		waiting++
		go func() { results <- ended{what, call()} }()
	}
	much := make([]byte, 1<<21)
	stream, theirs := streamPair(t, s, b.Table())
	keep(stream)
	defer b.Table().Close(theirs)

	x, _ := sockets(unix.SOCK_STREAM)
	wait("write", func() error { _, err := s.Write(full(x), much); return err })
	y, z := sockets(unix.SOCK_STREAM)
	wait("read", func() error { _, err := s.Read(y, much[:9]); return err })
	wait("all of it", func() error { _, _, err := s.Recvfrom(z, much[:9], unix.MSG_WAITALL); return err })
	u := filepath.Join(t.TempDir(), "u")
	datagrams, err := s.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	keep(datagrams)
	fatal(t, s.Bind(datagrams, &unix.SockaddrUnix{Name: u}))
	sender, err := s.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	keep(sender)
	wait("send to whose queue is full", func() error {
		for {
			if err := s.Sendto(sender, []byte("x"), 0, &unix.SockaddrUnix{Name: u}); err != nil {
				return err
			}
		}
	})
	l, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fatal(t, err)
	keep(l)
	name := filepath.Join(t.TempDir(), "l")
	fatal(t, s.Bind(l, &unix.SockaddrUnix{Name: name}))
	fatal(t, s.Listen(l, 9))
	for range 2 {
		wait("accept", func() error {
			fd, _, err := s.Accept(l)
			if err == nil {
				s.Close(fd)
			}
			return err
		})
	}
	full2, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fatal(t, err)
	keep(full2)
	name2 := filepath.Join(t.TempDir(), "f")
	fatal(t, s.Bind(full2, &unix.SockaddrUnix{Name: name2}))
	fatal(t, s.Listen(full2, 0))
	for i := range 2 { // one is in the backlog, for the other there is no room
		c, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		fatal(t, err)
		keep(c)
		if i == 0 {
			fatal(t, s.Connect(c, &unix.SockaddrUnix{Name: name2}))
			continue
		}
		fatal(t, s.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Usec: 30000}))
		if err := s.Connect(c, &unix.SockaddrUnix{Name: name2}); err != unix.EAGAIN {
			t.Errorf("connect in no more than its time: %v, want EAGAIN", err)
		}
		if tv, err := s.GetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO); err != nil || tv.Sec != 0 || tv.Usec < 30000 || tv.Usec > 39999 { // in ticks of the kernel's
			t.Errorf("SO_SNDTIMEO is then %+v, %v", tv, err)
		}
		fatal(t, s.SetsockoptTimeval(c, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{}))
		wait("connect to a full backlog", func() error { return s.Connect(c, &unix.SockaddrUnix{Name: name2}) })
	}
	r, w := pipe()
	for range 2 {
		wait("read a pipe", func() error { _, err := s.Read(r, much[:9]); return err })
	}
	_, w2 := pipe()
	wait("write a pipe", func() error { _, err := s.Write(full(w2), much); return err })
	_, w3 := pipe()
	wait("write pieces to a pipe", func() error { _, err := s.Writev(full(w3), [][]byte{much, much}); return err })
	r4, _ := pipe()
	_, w4 := pipe()
	v, _ := sockets(unix.SOCK_STREAM)
	wait("splice of a pipe", func() error { _, err := s.Splice(r4, nil, v, nil, 9, 0); return err })
	wait("splice to a full pipe", func() error { _, err := s.Splice(v, nil, full(w4), nil, 9, 0); return err })
	r5, _ := pipe()
	_, w5 := pipe()
	wait("splice to a stream", func() error { _, err := s.Splice(r5, nil, stream, nil, 9, 0); return err })
	fatal(t, b.Table().Send(theirs, []byte("x"), 0))
	wait("splice of a stream to a full pipe", func() error { _, err := s.Splice(stream, nil, full(w5), nil, 9, 0); return err })
	file := filepath.Join(t.TempDir(), "file")
	fatal(t, os.WriteFile(file, much, 0o600))
	kernels, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	fatal(t, err)
	in, err := s.Adopt(kernels)
	fatal(t, err)
	keep(in)
	q, _ := sockets(unix.SOCK_STREAM)
	wait("sendfile", func() error { _, err := s.Sendfile(full(q), in, nil, len(much)); return err })
	_, w6 := pipe()
	wait("sendfile to a pipe", func() error { _, err := s.Sendfile(full(w6), in, new(int64), len(much)); return err })

	time.Sleep(100 * time.Millisecond)
	one := func(what string) {
		t.Helper()
		select {
		case e := <-results:
			waiting--
			if e.what != what || e.err != nil {
				t.Errorf("%s: %v, want that of %q", e.what, e.err, what)
			}
		case <-time.After(longest):
			t.Fatalf("nobody has what %q is for", what)
		}
	}
	c, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fatal(t, err)
	keep(c)
	fatal(t, s.Connect(c, &unix.SockaddrUnix{Name: name}))
	one("accept")
	_, err = s.Write(w, []byte("x"))
	fatal(t, err)
	one("read a pipe")
	time.Sleep(20 * time.Millisecond)
	if len(results) > 0 {
		e := <-results
		t.Fatalf("%s did not wait: %v", e.what, e.err)
	}
	for _, fd := range fds {
		fatal(t, s.Close(fd))
	}
	for range waiting {
		select {
		case e := <-results:
			if e.err != unix.EBADF && e.err != unix.EPIPE && e.err != unix.ECONNREFUSED { // the other end may have gone first
				t.Errorf("%s: %v, want EBADF", e.what, e.err)
			}
		case <-time.After(longest):
			t.Fatal("a call still waits at a closed descriptor")
		}
	}
	if n := s.Len(); n != 0 {
		t.Errorf("%d descriptors are left", n)
	}
}

// A connection that there is no descriptor for stays where it is.
func TestNoDescriptorLosesNoConnection(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	name := &unix.SockaddrUnix{Name: filepath.Join(t.TempDir(), "l")}
	var fds [2]int
	for i := range fds {
		fd, err := s.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		fatal(t, err)
		fds[i] = fd
		defer s.Close(fd)
	}
	fatal(t, s.Bind(fds[0], name))
	fatal(t, s.Listen(fds[0], 9))
	fatal(t, s.Connect(fds[1], name))
	s.SetLimit(len(fds))
	if _, _, err := s.Accept(fds[0]); err != unix.EMFILE {
		t.Errorf("accept: %v, want EMFILE", err)
	}
	s.SetLimit(len(fds) + 1)
	fd, _, err := s.Accept(fds[0])
	if fatal(t, err); fd != descriptorBase+len(fds) {
		t.Errorf("the connection has descriptor %d", fd)
	}
	fatal(t, s.Close(fd))
	if n := s.Len(); n != len(fds) {
		t.Errorf("%d descriptors", n)
	}
}

// A descriptor of the engine's means nothing to another process: a message that passes one is EBADF, whatever else is in it.
func TestEnginesDescriptorsAreNotPassed(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	pair, err := s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	fatal(t, err)
	tcp, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	ep, err := s.EpollCreate1(0)
	fatal(t, err)
	for _, rights := range [][]int{{tcp}, {pair[1], tcp}, {ep}, {pair[1], 1 << 20}, {-1}} {
		if n, err := s.SendmsgN(pair[0], []byte("x"), unix.UnixRights(rights...), nil, 0); n > 0 || err != unix.EBADF {
			t.Errorf("%v: %d, %v, want EBADF", rights, n, err)
		}
	}
	if _, err := s.Read(pair[1], make([]byte, 9)); err != unix.EAGAIN {
		t.Errorf("something was sent: %v", err)
	}
	before := s.Len()
	if _, err := s.SendmsgN(pair[0], []byte("x"), unix.UnixRights(pair[1]), nil, 0); err != nil {
		t.Error(err)
	}
	if _, _, _, _, err := s.Recvmsg(pair[1], make([]byte, 9), make([]byte, 64), 0); err != nil || s.Len() != before+1 {
		t.Errorf("one of the kernel's: %v, %d descriptors more", err, s.Len()-before)
	}
	for fd := range s.Len() {
		fatal(t, s.Close(descriptorBase+fd))
	}
}
