package socketapi

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// datagramPair is two sockets that are connected to each other.
func datagramPair(t *testing.T, a, b *Table) (x, y int) {
	t.Helper()
	x, err := a.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	y, err = b.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	fatal(t, a.Bind(x, at(addrA+":1000")))
	fatal(t, b.Bind(y, at(addrB+":1000")))
	fatal(t, a.Connect(x, at(addrB+":1000")))
	fatal(t, b.Connect(y, at(addrA+":1000")))
	return x, y
}

// streamPair is a connection between two tables.
func streamPair(t *testing.T, a, b *Table) (x, y int) {
	t.Helper()
	l, err := b.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	fatal(t, b.Listen(l, 1))
	name, err := b.Getsockname(l)
	fatal(t, err)
	to := at(fmt.Sprint(addrB, ":", name.(*unix.SockaddrInet4).Port))
	x, err = a.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	fatal(t, a.Connect(x, to))
	y, _, err = b.Accept(l)
	fatal(t, err)
	fatal(t, b.Close(l))
	return x, y
}

func TestManyMessages(t *testing.T) {
	a, b := twoHosts(t)
	for _, kind := range []string{"engine", "kernel"} {
		t.Run(kind, func(t *testing.T) {
			from, to := a.Table(), b.Table()
			x, y := 0, 0
			if kind == "engine" {
				x, y = datagramPair(t, from, to)
			} else {
				pair, err := from.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
				fatal(t, err)
				x, y, to = pair[0], pair[1], from
			}
			out := make([]Message, 5)
			for i := range out {
				out[i].Buffers = pieces(fmt.Sprint("message ", i), " in pieces")
			}
			n, err := from.Sendmmsg(x, out, 0)
			if n != 5 || err != nil || out[4].N != len("message 4 in pieces") {
				t.Fatalf("sent %d, %v, the last %d bytes", n, err, out[4].N)
			}
			in := make([]Message, 8)
			for i := range in {
				in[i].Buffers = room(9, 6)
			}
			got := 0
			for got < 5 {
				n, err = to.Recvmmsg(y, in[got:], unix.MSG_WAITFORONE, nil)
				fatal(t, err)
				got += n
			}
			for i := range got {
				if text := string(bytes.Join(in[i].Buffers, nil)); text != fmt.Sprint("message ", i, " in pi") || in[i].Flags != unix.MSG_TRUNC || in[i].N != 15 {
					t.Errorf("message %d: %q, flags %#x, %d bytes", i, text, in[i].Flags, in[i].N)
				}
			}
			if n, err = to.Recvmmsg(y, in, unix.MSG_DONTWAIT, nil); n != -1 || err != unix.EAGAIN {
				t.Errorf("nothing: %d, %v", n, err)
			}
			// The time is looked at after a message.
			if _, err = from.Sendmmsg(x, out[:1], 0); err != nil {
				t.Fatal(err)
			}
			left := unix.Timespec{}
			if n, err = to.Recvmmsg(y, in, 0, &left); n != 1 || err != nil {
				t.Errorf("in no time: %d, %v", n, err)
			}
			if _, err = from.Sendmmsg(x, out[:2], 0); err != nil {
				t.Fatal(err)
			}
			left = unix.Timespec{Sec: 30}
			if n, err = to.Recvmmsg(y, in[:2], 0, &left); n != 2 || err != nil || left.Sec < 10 || left.Sec > 30 {
				t.Errorf("in half a minute: %d, %v, %v left", n, err, left)
			}
			if _, err = to.Recvmmsg(y, in[:2], 0, &unix.Timespec{Nsec: -1}); err != unix.EINVAL {
				t.Errorf("a time that is none: %v", err)
			}
			fatal(t, from.Close(x))
			fatal(t, to.Close(y))
			if _, err = to.Recvmmsg(y, in, 0, nil); err != unix.EBADF {
				t.Errorf("closed: %v", err)
			}
			if _, err = from.Sendmmsg(x, out, 0); err != unix.EBADF {
				t.Errorf("closed: %v", err)
			}
		})
	}
}

func TestSendfileAndSplice(t *testing.T) {
	a, b := twoHosts(t)
	s, peer := a.Table(), b.Table()
	x, y := streamPair(t, s, peer)
	content := body(300_000)
	name := filepath.Join(t.TempDir(), "content")
	fatal(t, os.WriteFile(name, content, 0o600))
	file, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	fatal(t, err)
	in, err := s.Adopt(file)
	fatal(t, err)

	// receive wants that much of the content from the peer's end.
	receive := func(what string, want []byte) {
		t.Helper()
		got := make([]byte, len(want))
		n, _, err := peer.Recvfrom(y, got, unix.MSG_WAITALL)
		if n != len(want) || err != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s: %d bytes of %d, or others: %v", what, n, len(want), err)
		}
	}
	sent := func(n int, err error) error {
		if err == nil && n != len(content) {
			err = fmt.Errorf("%d bytes were sent", n)
		}
		return err
	}
	offset := int64(1000)
	done := make(chan error, 1)
	go func() {
		n, err := s.Sendfile(x, in, &offset, 1<<20)
		done <- sent(n+1000, err)
	}()
	receive("from an offset", content[1000:])
	fatal(t, <-done)
	if at, _ := unix.Seek(file, 0, unix.SEEK_CUR); offset != int64(len(content)) || at != 0 {
		t.Errorf("the offset is %d, and the file at %d", offset, at)
	}
	go func() {
		n, err := s.Sendfile(x, in, nil, 1<<20)
		done <- sent(n, err)
	}()
	receive("from where it is", content)
	fatal(t, <-done)
	if n, err := s.Sendfile(x, in, nil, 9); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := s.Sendfile(x, x, nil, 9); err != unix.EINVAL {
		t.Errorf("of a socket: %v", err)
	}

	// From a stream into a pair of the kernel's, back out of it into the stream, and to the peer.
	pair, err := s.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	fatal(t, err)
	if _, err := peer.Write(y, content[:5000]); err != nil {
		t.Fatal(err)
	}
	for moved := 0; moved < 5000; {
		n, err := s.Splice(x, nil, pair[0], nil, 5000-moved, 0)
		fatal(t, err)
		moved += int(n)
	}
	for moved := 0; moved < 5000; {
		n, err := s.Splice(pair[1], nil, x, nil, 5000-moved, 0)
		fatal(t, err)
		moved += int(n)
	}
	receive("spliced", content[:5000])
	if _, err := s.Splice(x, nil, pair[0], nil, 9, unix.SPLICE_F_NONBLOCK); err != unix.EAGAIN {
		t.Errorf("nothing: %v", err)
	}

	// From one stream of the engine's to another.
	x2, y2 := streamPair(t, s, peer)
	if _, err := peer.Write(y2, content[:5000]); err != nil {
		t.Fatal(err)
	}
	for moved := 0; moved < 5000; {
		n, err := s.Splice(x2, nil, x, nil, 5000-moved, 0)
		fatal(t, err)
		moved += int(n)
	}
	receive("from stream to stream", content[:5000])
	fatal(t, peer.Shutdown(y2, unix.SHUT_WR))
	if n, err := s.Splice(x2, nil, x, nil, 9, 0); n != 0 || err != nil {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := s.Splice(x, nil, x, nil, 9, 0); err != unix.EINVAL {
		t.Errorf("to itself: %v", err)
	}
	off := int64(0)
	if _, err := s.Splice(x, &off, x2, nil, 9, 0); err != unix.EINVAL {
		t.Errorf("with an offset: %v", err)
	}
	for _, fd := range []int{x, x2, in, pair[0], pair[1]} {
		fatal(t, s.Close(fd))
	}
	fatal(t, peer.Close(y))
	fatal(t, peer.Close(y2))
}

// TestSignals: SIGIO and the signal of F_SETSIG for what comes, SIGURG for urgent data, SIGPIPE where it is asked for,
// each to the owner alone.
func TestSignals(t *testing.T) {
	a, b := twoHosts(t)
	s, peer := a.Table(), b.Table()
	x, y := streamPair(t, s, peer)
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGIO, unix.SIGUSR1, unix.SIGURG, unix.SIGPIPE)
	defer signal.Stop(signals)
	// wants waits for a signal. SIGURG is also what the runtime sends itself.
	wants := func(what string, want os.Signal) {
		t.Helper()
		for end := time.After(longest); ; {
			select {
			case got := <-signals:
				if got == want {
					return
				}
			case <-end:
				t.Fatalf("%s: no %v", what, want)
			}
		}
	}
	// quiet wants none but SIGURG, which is not ours alone.
	quiet := func(what string) {
		t.Helper()
		for end := time.After(20 * time.Millisecond); ; {
			select {
			case got := <-signals:
				if got != unix.SIGURG {
					t.Errorf("%s: %v", what, got)
				}
			case <-end:
				return
			}
		}
	}
	fcntl := func(cmd, arg int) {
		t.Helper()
		_, err := s.FcntlInt(uintptr(x), cmd, arg)
		fatal(t, err)
	}
	send := func(flags int) { t.Helper(); fatal(t, peer.Send(y, []byte("x"), flags)) }
	send(0)
	quiet("before anybody asked")
	fcntl(unix.F_SETFL, unix.O_ASYNC)
	send(0)
	quiet("without an owner")
	if _, err := s.FcntlInt(uintptr(x), unix.F_SETOWN, 1<<30); err != unix.ESRCH {
		t.Errorf("an owner that there is not: %v", err)
	}
	fcntl(unix.F_SETOWN, os.Getpid())
	send(0)
	wants("O_ASYNC", unix.SIGIO)
	fcntl(unix.F_SETSIG, int(unix.SIGUSR1))
	send(0)
	wants("F_SETSIG", unix.SIGUSR1)
	fcntl(unix.F_SETFL, 0)
	time.Sleep(time.Millisecond)
	for len(signals) > 0 {
		<-signals
	}
	send(0)
	quiet("not O_ASYNC any more")
	send(unix.MSG_OOB)
	wants("urgent data", unix.SIGURG)

	fatal(t, s.Shutdown(x, unix.SHUT_WR))
	if err := s.Send(x, []byte("x"), 0); err != unix.EPIPE {
		t.Errorf("send after shutdown: %v", err)
	}
	quiet("EPIPE alone")
	s.RaiseSigpipe(true)
	if err := s.Send(x, []byte("x"), unix.MSG_NOSIGNAL); err != unix.EPIPE {
		t.Errorf("send after shutdown: %v", err)
	}
	quiet("MSG_NOSIGNAL")
	if err := s.Send(x, []byte("x"), 0); err != unix.EPIPE {
		t.Errorf("send after shutdown: %v", err)
	}
	wants("a broken pipe", unix.SIGPIPE)
	fatal(t, s.Close(x))
	fatal(t, peer.Close(y))
}

func TestInterfaces(t *testing.T) {
	a, _ := twoHosts(t)
	list := a.Interfaces()
	if len(list) != 2 || list[1].Name != "lo" || list[0].HardwareAddr.String() != "02:00:00:00:00:01" {
		t.Errorf("interfaces: %+v", list)
	}
	index, err := a.IfNametoindex(list[0].Name)
	fatal(t, err)
	name, err := a.IfIndextoname(index)
	if name != list[0].Name || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if _, err := a.IfNametoindex("none"); err != unix.ENODEV {
		t.Errorf("a name of none: %v", err)
	}
	if _, err := a.IfIndextoname(4711); err != unix.ENXIO {
		t.Errorf("an index of none: %v", err)
	}
	found := 0
	for _, x := range a.Getifaddrs() {
		switch x.Addr.String() {
		case addrA + "/24":
			found++
			if x.Name != name || x.Index != index || x.Broadcast.String() != "10.98.0.255" {
				t.Errorf("%+v", x)
			}
		case "127.0.0.1/8", "::1/128":
			found++
			if x.Name != "lo" || x.Broadcast.IsValid() {
				t.Errorf("%+v", x)
			}
		}
	}
	if found != 3 {
		t.Errorf("%d of 3 addresses: %+v", found, a.Getifaddrs())
	}
	s := a.Table()
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	defer s.Close(fd)
	ifr := make([]byte, ifreqLen)
	copy(ifr, name)
	fatal(t, s.IoctlBytes(fd, unix.SIOCGIFHWADDR, ifr))
	if !bytes.Equal(ifr[16:24], []byte{1, 0, 2, 0, 0, 0, 0, 1}) {
		t.Errorf("SIOCGIFHWADDR: %x", ifr)
	}
	copy(ifr, "somebody else")
	copy(ifr[16:], []byte{byte(index), byte(index >> 8), byte(index >> 16), byte(index >> 24)})
	fatal(t, s.IoctlBytes(fd, unix.SIOCGIFNAME, ifr))
	if unix.ByteSliceToString(ifr) != name {
		t.Errorf("SIOCGIFNAME: %q", ifr)
	}
	if err := s.IoctlBytes(fd, unix.SIOCSIFMTU, ifr); err != unix.EPERM {
		t.Errorf("SIOCSIFMTU: %v, want EPERM", err)
	}
	if err := s.IoctlBytes(fd, unix.SIOCGIFMTU, ifr[:10]); err != unix.EFAULT {
		t.Errorf("too short: %v, want EFAULT", err)
	}
	all, err := s.IoctlIfconf(fd, nil)
	fatal(t, err)
	buf := make([]byte, all)
	if n, err := s.IoctlIfconf(fd, buf); n != 2*ifreqLen || all != n || err != nil || unix.ByteSliceToString(buf) != name || !bytes.Equal(buf[20:24], []byte{10, 98, 0, 1}) {
		t.Errorf("SIOCGIFCONF: %d of %d, %v: %x", n, all, err, buf)
	}
}
