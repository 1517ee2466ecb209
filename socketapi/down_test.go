package socketapi

import (
	"testing"
	"time"

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

// TestAWaitThatEndsLeavesWhatWasReceived closes a host, of one core and of several, while a socket that has
// unread data waits to send. What has been received is read after it, by calls that wait, and only then
// do they hear of the end.
func TestAWaitThatEndsLeavesWhatWasReceived(t *testing.T) {
	for _, cores := range []int{1, 2} {
		st, _ := openSelf(t, cores)
		l, err := st.Listen("tcp", addrA+":7")
		fatal(t, err)
		s := st.Table()
		fd, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		fatal(t, err)
		fatal(t, s.Connect(fd, at(addrA+":7")))
		peer, err := l.Accept()
		fatal(t, err)
		if _, err := peer.Write([]byte("last words")); err != nil {
			t.Fatal(err)
		}
		written := make(chan error, 1)
		go func() { // to a peer that never reads
			for {
				if _, err := s.Write(fd, make([]byte, 1<<20)); err != nil {
					written <- err
					return
				}
			}
		}()
		p := make([]byte, 99)
		if _, _, err := s.Recvfrom(fd, p, unix.MSG_PEEK); err != nil { // they have arrived
			t.Fatal(err)
		}
		select {
		case err := <-written:
			t.Fatalf("write: %v before the end", err)
		case <-time.After(50 * time.Millisecond): // usually it waits by then
		}
		fatal(t, st.Close())
		within(t, longest, "the writer", func() {
			if err := <-written; err != unix.ENETDOWN {
				t.Errorf("write: %v, want ENETDOWN", err)
			}
		})
		if n, err := s.Read(fd, p); err != nil || string(p[:n]) != "last words" {
			t.Errorf("%d cores: read what was there: %q, %v", cores, p[:max(n, 0)], err)
		}
		for range 2 {
			if _, err := s.Read(fd, p); err != unix.ENETDOWN {
				t.Errorf("%d cores: read: %v, want ENETDOWN", cores, err)
			}
		}
		fatal(t, s.Close(fd))
	}
}
