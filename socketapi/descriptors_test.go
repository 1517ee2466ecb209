package socketapi

import (
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestDescriptors(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	open := func() int {
		fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		fatal(t, err)
		return fd
	}
	for want := descriptorBase; want < descriptorBase+200; want++ {
		if fd := open(); fd != want {
			t.Fatalf("descriptor %d, want %d", fd, want)
		}
	}
	for _, fd := range []int{150, 7, 70} {
		fatal(t, s.Close(fd))
	}
	for _, want := range []int{7, 70, 150, 203} {
		if fd := open(); fd != want {
			t.Errorf("descriptor %d, want the lowest that is free, %d", fd, want)
		}
	}
	s.SetLimit(s.Len())
	if _, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != unix.EMFILE {
		t.Errorf("one too many: %v, want EMFILE", err)
	}
	if _, err := s.Dup(7); err != unix.EMFILE {
		t.Errorf("dup: %v, want EMFILE", err)
	}
	fatal(t, s.Close(9))
	if fd, err := s.Dup(7); fd != 9 || err != nil {
		t.Errorf("dup: %d, %v", fd, err)
	}
	for fd := descriptorBase; s.Len() > 0; fd++ {
		fatal(t, s.Close(fd))
	}
}

func TestUse(t *testing.T) {
	if _, err := Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != unix.ENETDOWN {
		t.Errorf("without a stack: %v, want ENETDOWN", err)
	}
	if err := Close(3); err != unix.EBADF {
		t.Errorf("close without a stack: %v, want EBADF", err)
	}
	a, b := twoHosts(t)
	c, err := b.ListenUDP(netip.MustParseAddrPort(addrB + ":7"))
	fatal(t, err)
	defer c.Close()
	go echoUDP(c)
	Use(a)
	defer Use(nil)
	fd, err := Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	fatal(t, Sendto(fd, []byte("ported"), 0, at(addrB+":7")))
	p := make([]byte, 99)
	n, from, err := Recvfrom(fd, p, 0)
	if err != nil || string(p[:n]) != "ported" || show(from) != addrB+":7" {
		t.Errorf("%q from %v, %v", p[:max(n, 0)], from, err)
	}
	fatal(t, Close(fd))
}

// Who wants no stack gets none, and nothing is opened to find that out.
func TestUseOfNone(t *testing.T) {
	before, openBefore := current.Load(), openGiven
	defer func() { openGiven = openBefore; current.Store(before) }()
	openGiven = func() error { t.Error("the stack of the environment is opened"); return nil }
	complain = sync.Once{}
	Use(nil)
	if _, err := Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != unix.ENETDOWN {
		t.Errorf("socket: %v, want ENETDOWN", err)
	}
}

// TestAcceptWithoutADescriptor leaves the connection where it is, for the next accept.
func TestAcceptWithoutADescriptor(t *testing.T) {
	a, b := twoHosts(t)
	s := a.Table()
	l, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	fatal(t, s.Bind(l, at(addrA+":7")))
	fatal(t, s.Listen(l, 1))
	c, err := b.Dial("tcp", addrA+":7")
	fatal(t, err)
	defer c.Close()
	s.SetLimit(1)
	if _, _, err := s.Accept(l); err != unix.EMFILE {
		t.Fatalf("accept: %v, want EMFILE", err)
	}
	s.SetLimit(2)
	fd, _, err := s.Accept(l)
	fatal(t, err)
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Read(fd, make([]byte, 9)); n != 1 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
	fatal(t, s.Close(fd))

	fatal(t, s.SetNonblock(l, true)) // a failed accept gives its descriptor back
	for range 3 {
		if _, _, err := s.Accept(l); err != unix.EAGAIN {
			t.Errorf("accept: %v, want EAGAIN", err)
		}
	}
	if n := s.Len(); n != 1 {
		t.Errorf("%d descriptors are open, want 1", n)
	}
	if again, err := s.Dup(l); again != fd || err != nil {
		t.Errorf("dup: %d, %v, want %d", again, err, fd)
	}
}
