package socketapi

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestCallsThatDoNotWaitHearOfTheEnd closes a host: what has been received can still be read, and then
// no call says "not yet" any more.
func TestCallsThatDoNotWaitHearOfTheEnd(t *testing.T) {
	pa, pb := newPipe()
	pb.drop = func(frame []byte) bool { // port 9 says nothing
		return len(frame) > 36 && frame[12] == 8 && frame[13] == 0 && frame[23] == unix.IPPROTO_TCP && frame[34] == 0 && frame[35] == 9
	}
	a, b := openOver(t, pa, addrA), openOver(t, pb, addrB)
	sink, err := b.Listen("tcp", addrB+":7")
	fatal(t, err)
	defer sink.Close()
	s := a.Table()
	open := func(typ int) int {
		fd, err := s.Socket(unix.AF_INET, typ, 0)
		fatal(t, err)
		return fd
	}
	stream, listener, datagram, pending := open(unix.SOCK_STREAM), open(unix.SOCK_STREAM), open(unix.SOCK_DGRAM), open(unix.SOCK_STREAM)
	fatal(t, s.Connect(stream, at(addrB+":7")))
	fatal(t, s.Listen(listener, 1))
	fatal(t, s.Bind(datagram, at(addrA+":7")))
	fatal(t, s.SetNonblock(pending, true))
	if err := s.Connect(pending, at(addrB+":9")); err != unix.EINPROGRESS {
		t.Fatalf("connect: %v, want EINPROGRESS", err)
	}
	peer, err := sink.Accept()
	fatal(t, err)
	defer peer.Close()
	fatal(t, peer.(*TCPConn).SetLinger(0)) // nobody will acknowledge its FIN
	if _, err := peer.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 99)
	if _, _, err := s.Recvfrom(stream, p, unix.MSG_PEEK); err != nil { // they have arrived
		t.Fatal(err)
	}
	for _, fd := range []int{stream, listener, datagram} {
		fatal(t, s.SetNonblock(fd, true))
	}
	if _, err := s.Read(datagram, p); err != unix.EAGAIN {
		t.Fatalf("read before the end: %v, want EAGAIN", err)
	}

	fatal(t, a.Close())
	calls := []struct {
		what string
		call func() error
	}{
		{"write", func() error { _, err := s.Write(stream, p); return err }},
		{"receive", func() error { _, err := s.Read(datagram, p); return err }},
		{"accept", func() error { _, _, err := s.Accept(listener); return err }},
		{"connect", func() error { return s.Connect(pending, at(addrB+":9")) }},
	}
	for _, c := range calls {
		for range 2 {
			if err := c.call(); err != unix.ENETDOWN {
				t.Errorf("%s: %v, want ENETDOWN", c.what, err)
			}
		}
	}
	if n, err := s.Read(stream, p); err != nil || string(p[:n]) != "last words" {
		t.Errorf("read what was there: %q, %v", p[:max(n, 0)], err)
	}
	for range 2 {
		if _, err := s.Read(stream, p); err != unix.ENETDOWN {
			t.Errorf("read: %v, want ENETDOWN", err)
		}
	}
	for _, fd := range []int{stream, listener, datagram, pending} {
		fatal(t, s.Close(fd))
	}
}
