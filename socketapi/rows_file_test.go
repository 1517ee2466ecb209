package socketapi

import (
	"bytes"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// file is a descriptor of a file with so much of body in it.
func (e *env) file(n, flags int) int {
	e.t.Helper()
	name := filepath.Join(e.t.TempDir(), "file")
	e.must(os.WriteFile(name, body(n), 0o600))
	fd, err := unix.Open(name, flags|unix.O_CLOEXEC, 0)
	e.must(err)
	return e.me.keep(e.me.api.Adopt(fd))
}

// pipe is both ends of a pipe.
func (e *env) pipe(flags int) (r, w int) {
	e.t.Helper()
	var fds [2]int
	e.must(unix.Pipe2(fds[:], flags|unix.O_CLOEXEC))
	return e.me.keep(e.me.api.Adopt(fds[0])), e.me.keep(e.me.api.Adopt(fds[1]))
}

// sockets is two sockets of the kernel's that are connected.
func (e *env) sockets(typ int) (a, b int) {
	e.t.Helper()
	fds, err := e.me.api.Socketpair(unix.AF_UNIX, typ, 0)
	return e.me.keep(fds[0], err), e.me.keep(fds[1], nil)
}

// drain reads all until the end, and notes whether it is want.
func (e *env) drain(what string, s *side, fd int, want []byte) {
	e.t.Helper()
	var got bytes.Buffer
	p := make([]byte, 1<<16)
	for {
		n, err := s.api.Read(fd, p)
		if n <= 0 || err != nil {
			e.note(what, got.Len(), bytes.Equal(got.Bytes(), want), err)
			return
		}
		got.Write(p[:n])
	}
}

// drains reads all until the end, and notes whether it is so much.
func (e *env) drains(what string, s *side, fd, want int) {
	e.t.Helper()
	p := make([]byte, 1<<16)
	for {
		n, err := s.api.Read(fd, p)
		if n <= 0 || err != nil {
			e.note(what, want == 0, err)
			return
		}
		want -= n
	}
}

// fill writes to a non-blocking descriptor until it takes no more, and returns how much that was.
func (e *env) fill(fd int) (n int) {
	for quiet := 0; quiet < 20; time.Sleep(time.Millisecond) {
		m, err := e.me.api.Write(fd, make([]byte, 1<<16))
		if quiet++; err == nil {
			n, quiet = n+m, 0
		}
	}
	return n
}

// whole makes a call again that a signal has ended when it had moved a part, as the kernel has it of the Go runtime's.
func (e *env) whole(want int, call func(n int) (int, error)) (n int, err error) {
	for m := 1; err == nil && m > 0 && n < want; n += max(m, 0) {
		m, err = call(n)
	}
	return n, err
}

// writes notes how much of a write that waits is written.
func (e *env) writes(what string, fd int, p []byte) {
	n, err := e.whole(len(p), func(n int) (int, error) { return e.me.api.Write(fd, p[n:]) })
	e.note(what, n, err)
}

// sendfile notes what a call brings, and where it leaves its offset.
func (e *env) sendfile(what string, out, in int, offset int64, count int) {
	e.t.Helper()
	at := &offset
	if offset == nowhere {
		at = nil
	}
	n, err := e.me.api.Sendfile(out, in, at, count)
	e.note(what, n, err, offset)
}

// nowhere is no offset.
const nowhere = -99

var fileRows = []row{
	{"sendfile: a stream", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		in := e.file(5000, unix.O_RDONLY)
		e.sendfile("from an offset", mine, in, 1000, 2000)
		e.sendfile("beyond the end", mine, in, 9000, 2000)
		e.sendfile("nothing", mine, in, 100, 0)
		e.sendfile("from where it is", mine, in, nowhere, 100)
		e.sendfile("and on", mine, in, nowhere, 1<<30)
		e.sendfile("at the end", mine, in, nowhere, 1)
		e.sendfile("up to it", mine, in, 4000, 1<<40)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		b := body(5000)
		e.drain("the peer reads", &e.peer, theirs, bytes.Join([][]byte{b[1000:3000], b, b[4000:]}, nil))
		e.sendfile("after shutdown", mine, in, 0, 1)
	}},
	{"sendfile: what is not one", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		in, onlyWrite := e.file(100, unix.O_RDONLY), e.file(100, unix.O_WRONLY)
		e.sendfile("less than nothing", mine, in, 0, -1)
		e.sendfile("before the beginning", mine, in, -1, 1)
		e.sendfile("of a file that is written", mine, onlyWrite, 0, 1)
		e.sendfile("of a file that is written", mine, onlyWrite, nowhere, 1)
		e.sendfile("to a file that is read", in, in, 0, 1)
		e.sendfile("not open", 1<<19, in, 0, 1)
		e.sendfile("not open", mine, 1<<19, 0, 1)
		r, w := e.pipe(0)
		_, err := e.me.api.Write(w, []byte("abc"))
		e.must(err)
		e.sendfile("of a pipe", mine, r, nowhere, 1)
		e.sendfile("of a pipe with an offset", mine, r, 0, 1)
		e.sendfile("of a pipe's other end", mine, w, nowhere, 1)
		a, _ := e.sockets(unix.SOCK_STREAM)
		e.sendfile("of a socket pair", mine, a, nowhere, 1)
		e.sendfile("of a socket pair with an offset", mine, a, 0, 1)
		dir, err := unix.Open(e.t.TempDir(), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		e.must(err)
		dir = e.me.keep(e.me.api.Adopt(dir))
		e.sendfile("of a directory", mine, dir, nowhere, 1)
		e.sendfile("of a directory with an offset", mine, dir, 0, 1)
		e.sendfile("of a connection", mine, mine, nowhere, 1)
		e.sendfile("of a connection with an offset", mine, mine, 0, 1)
		e.sendfile("of a fresh socket", mine, e.me.tcp(), nowhere, 1)
		ep := e.me.epoll()
		e.sendfile("of an epoll", mine, ep, nowhere, 1)
		e.sendfile("to an epoll", ep, in, nowhere, 1)
		l, _ := e.me.listener()
		e.sendfile("to a listener", l, in, 0, 1)
		e.sendfile("to a fresh socket", e.me.tcp(), in, 0, 1)
		e.sendfile("to a datagram socket without a peer", e.me.udp(), in, 0, 1)
	}},
	{"sendfile: no room", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetNonblock(mine, true))
		size := 64 << 20
		name := filepath.Join(e.t.TempDir(), "sparse")
		e.must(os.WriteFile(name, nil, 0o600))
		e.must(os.Truncate(name, int64(size)))
		fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		e.must(err)
		sparse := e.me.keep(e.me.api.Adopt(fd))
		offset := int64(0)
		n, err := e.me.api.Sendfile(mine, sparse, &offset, size)
		e.note("a part", n > 0 && n < size, offset == int64(n), err)
		more := e.fill(mine)
		at := offset
		for err = nil; err == nil; { // it may find room yet that the peer has made
			at = offset
			_, err = e.me.api.Sendfile(mine, sparse, &offset, size)
		}
		e.note("none", err, offset == at)
		e.must(e.me.api.SetNonblock(mine, false))
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.drains("the peer reads", &e.peer, theirs, int(offset)+more)
	}},
	{"sendfile: into what is the kernel's", func(e *env) {
		from := e.file(300_000, unix.O_RDONLY)
		a, b := e.sockets(unix.SOCK_STREAM)
		offset, moved := int64(0), 0
		sent := in(func() (err error) {
			moved, err = e.whole(300_000, func(n int) (int, error) { return e.me.api.Sendfile(a, from, &offset, 1<<20) })
			e.me.api.Shutdown(a, unix.SHUT_WR)
			return err
		})
		e.drain("what came", &e.me, b, body(300_000))
		e.note("to a socket pair", <-sent, moved, offset)
		r, w := e.pipe(0)
		e.sendfile("to a pipe", w, from, nowhere, 1000)
		p := make([]byte, 2000)
		n, err := e.me.api.Read(r, p)
		e.note("what came", n, bytes.Equal(p[:1000], body(1000)), err)
		e.sendfile("to the end that reads", r, from, nowhere, 1000)
		e.me.close(r)
		e.sendfile("to a broken pipe", w, from, nowhere, 1000)
		e.sendfile("to a broken pair", a, from, nowhere, 1000)
		x, y := e.sockets(unix.SOCK_STREAM | unix.SOCK_NONBLOCK)
		e.fill(x)
		e.sendfile("to a full pair", x, from, 0, 1000)
		_ = y
	}},
	{"sendfile: datagrams", func(e *env) {
		mine, theirs := e.peers()
		in := e.file(200_000, unix.O_RDONLY)
		e.sendfile("a little", mine, in, 0, 100)
		p := make([]byte, 1<<16)
		n, err := e.peer.api.Read(theirs, p)
		e.note("the peer reads", n, bytes.Equal(p[:n], body(100)), err)
		e.sendfile("up to the end", mine, in, 199_900, 1000)
		n, err = e.peer.api.Read(theirs, p)
		e.note("the peer reads", n, err)
		e.sendfile("as much as one has", mine, in, 0, 60_000)
		n, err = e.peer.api.Read(theirs, p)
		e.note("the peer reads", n, bytes.Equal(p[:n], body(60_000)), err)
	}},
	{"splice: from a pipe to a stream and back", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		r, w := e.pipe(0)
		splice := func(what string, rfd, wfd, n, flags int) {
			m, err := e.me.api.Splice(rfd, nil, wfd, nil, n, flags)
			e.note(what, m, err)
		}
		splice("an empty pipe", r, mine, 9, unix.SPLICE_F_NONBLOCK)
		n, err := e.me.api.Write(w, []byte("abcdef"))
		e.note("write", n, err)
		splice("some", r, mine, 4, 0)
		splice("nothing", r, mine, 0, 0)
		splice("the rest", r, mine, 99, unix.SPLICE_F_MOVE)
		e.reads("the peer reads", &e.peer, theirs, 6, unix.MSG_WAITALL)
		e.must(e.me.api.SetNonblock(mine, true)) // a socket does not look at SPLICE_F_NONBLOCK
		splice("an empty stream", mine, w, 9, 0)
		e.must(e.me.api.SetNonblock(mine, false))
		e.sends("the peer sends", &e.peer, theirs, "ghijk", 0)
		e.arrived(&e.me, mine, 5)
		splice("some", mine, w, 3, 0)
		splice("the rest", mine, w, 99, 0)
		p := make([]byte, 9)
		n, err = e.me.api.Read(r, p)
		e.note("read", p[:n], err)
		splice("of a flag that is none", mine, w, 9, 64)
		splice("less than nothing", mine, w, -1, 0)
		splice("into the end that reads", mine, r, 9, 0)
		splice("of the end that writes", w, mine, 9, 0)
		splice("of what is not open", 1<<19, w, 9, 0)
		splice("into what is not open", r, 1<<19, 9, 0)
		zero := int64(0)
		m, err := e.me.api.Splice(r, &zero, mine, nil, 9, 0)
		e.note("a pipe has no offset", m, err)
		m, err = e.me.api.Splice(r, nil, mine, &zero, 9, 0)
		e.note("nor has a stream", m, err)
		e.soon(func() { e.peer.api.Sendto(theirs, []byte("late"), 0, nil) })
		splice("waits", mine, w, 9, 0)
		e.soon(func() { e.peer.api.Shutdown(theirs, unix.SHUT_WR) })
		splice("waits for the end", mine, w, 9, 0)
		l, _ := e.me.listener()
		e.must(e.me.api.SetNonblock(l, true))
		splice("of a listener", l, w, 9, 0)
		splice("into a listener", r, l, 9, unix.SPLICE_F_NONBLOCK)
		splice("of a fresh socket", e.me.tcp(), w, 9, unix.SPLICE_F_NONBLOCK)
		splice("into a fresh socket", r, e.me.tcp(), 9, unix.SPLICE_F_NONBLOCK)
		n, err = e.me.api.Read(r, p)
		e.note("what nobody took", p[:max(n, 0)], err)
		e.must(e.me.api.SetNonblock(mine, true))
		e.fill(mine)
		_, err = e.me.api.Write(w, []byte("kept"))
		e.must(err)
		for err = nil; err == nil; { // it may find room yet that the peer has made
			if _, err = e.me.api.Splice(r, nil, mine, nil, 9, 0); err == nil {
				_, err = e.me.api.Write(w, []byte("kept"))
			}
		}
		e.note("into a full stream", err)
		n, err = e.me.api.Read(r, p)
		e.note("what it did not take", p[:max(n, 0)], err)
		e.me.close(w)
		splice("of a pipe that has ended", r, mine, 9, 0)
	}},
	{"splice: datagrams", func(e *env) {
		mine, theirs := e.peers()
		r, w := e.pipe(0)
		_, err := e.me.api.Write(w, []byte("abc"))
		e.must(err)
		m, err := e.me.api.Splice(r, nil, mine, nil, 9, unix.SPLICE_F_NONBLOCK)
		e.note("into one", m, err)
		e.must(e.peer.api.Sendto(theirs, []byte("def"), 0, e.me.name(mine)))
		e.awaits("one", &e.me, mine, unix.POLLIN)
		m, err = e.me.api.Splice(mine, nil, w, nil, 9, unix.SPLICE_F_NONBLOCK)
		e.note("of one", m, err)
		m, err = e.me.api.Splice(mine, nil, w, nil, 0, -1)
		e.note("nothing, with flags that are none", m, err)
	}},
	{"splice: among the kernel's", func(e *env) {
		r, w := e.pipe(0)
		r2, w2 := e.pipe(0)
		a, b := e.sockets(unix.SOCK_STREAM)
		in := e.file(5000, unix.O_RDONLY)
		splice := func(what string, rfd, wfd, n, flags int) {
			m, err := e.me.api.Splice(rfd, nil, wfd, nil, n, flags)
			e.note(what, m, err)
		}
		offset := int64(1000)
		m, err := e.me.api.Splice(in, &offset, w, nil, 2000, 0)
		e.note("of a file", m, err, offset)
		splice("to a pipe", r, w2, 500, 0)
		splice("to a pair", r2, a, 400, 0)
		p := make([]byte, 400)
		n, _, err := e.me.api.Recvfrom(b, p, unix.MSG_WAITALL)
		e.note("read", n, bytes.Equal(p, body(5000)[1000:1400]), err)
		splice("of a pair, empty", b, w2, 9, unix.SPLICE_F_NONBLOCK)
		e.soon(func() { e.me.api.Write(a, []byte("late")) })
		splice("of a pair, waits", b, w2, 9, 0)
		splice("of both ends", r, w, 9, 0)
		splice("of two that are no pipes", in, a, 9, 0)
		splice("of two that are no pipes", a, b, 9, 0)
		e.me.close(w)
		for m = 1; m > 0 && err == nil; {
			m, err = e.me.api.Splice(r, nil, a, nil, 1<<20, 0)
		}
		e.note("the end", m, err)
	}},
	{"messages: many in a call", func(e *env) {
		mine, theirs := e.peers()
		out := make([]Message, 4)
		for i := range out {
			out[i].Buffers = pieces("ab", "", "cdefgh"[:i+1])
		}
		n, err := e.me.api.Sendmmsg(mine, out, 0)
		e.note("send", n, err)
		for i := range out {
			e.note("of it", out[i].N)
			e.reads("the peer reads", &e.peer, theirs, 9, 0)
		}
		n, err = e.me.api.Sendmmsg(mine, nil, 0)
		e.note("none", n, err)
		n, err = e.me.api.Sendmmsg(mine, make([]Message, 3), 0)
		e.note("empty ones", n, err)
		for range 3 {
			e.reads("the peer reads", &e.peer, theirs, 9, 0)
		}
		out[2].Buffers = [][]byte{make([]byte, 65508)}
		n, err = e.me.api.Sendmmsg(mine, out, 0)
		e.note("the third is too long", n, err)
		n, err = e.me.api.Sendmmsg(mine, out[2:], 0)
		e.note("it is the first", n, err)
		for range 2 {
			e.reads("the peer reads", &e.peer, theirs, 9, 0)
		}
		n, err = e.me.api.Sendmmsg(mine, []Message{{Buffers: make([][]byte, 1025)}}, 0)
		e.note("of too many pieces", n, err)
		n, err = e.me.api.Sendmmsg(mine, []Message{{Buffers: pieces("x"), OOB: make([]byte, 16)}}, 0)
		e.note("with nonsense", n, err)
		n, err = e.me.api.Sendmmsg(1<<19, nil, 0)
		e.note("not open", n, err)
		n, err = e.me.api.Recvmmsg(1<<19, nil, 0, nil)
		e.note("not open", n, err)
		n, err = e.me.api.Recvmmsg(mine, nil, 0, nil)
		e.note("none", n, err)
		in := make([]Message, 4)
		for i := range in {
			in[i].Buffers = room(2, 0, 2)
		}
		to := e.me.name(mine)
		for _, text := range []string{"abc", "", "defgh"} {
			e.must(e.peer.api.Sendto(theirs, []byte(text), 0, to))
		}
		e.until("all three", func() bool {
			n, err = e.me.api.Recvmmsg(mine, in, unix.MSG_PEEK|unix.MSG_WAITFORONE, nil)
			return n == 4 // each of them the first
		})
		time.Sleep(10 * time.Millisecond)
		n, err = e.me.api.Recvmmsg(mine, in, unix.MSG_WAITFORONE, nil)
		e.note("receive", n, err)
		for i := range in[:3] {
			e.note("message", in[i].N, in[i].Flags, in[i].Buffers[0], in[i].Buffers[2])
		}
		n, err = e.me.api.Recvmmsg(mine, in, unix.MSG_DONTWAIT, nil)
		e.note("nothing", n, err)
		n, err = e.me.api.Recvmmsg(mine, in, unix.MSG_DONTWAIT, &unix.Timespec{Nsec: 1e9})
		e.note("a time that is none", n, err)
		n, err = e.me.api.Recvmmsg(1<<19, in, 0, &unix.Timespec{Nsec: 1e9})
		e.note("a time that is none, not open", n, err)
		n, err = e.me.api.Recvmmsg(mine, []Message{{Buffers: make([][]byte, 1025)}}, unix.MSG_DONTWAIT, nil)
		e.note("into too many pieces", n, err)
		left := unix.Timespec{}
		e.must(e.peer.api.Sendto(theirs, []byte("abc"), 0, to))
		n, err = e.me.api.Recvmmsg(mine, in, 0, &left)
		e.note("in no time", n, err, left)
	}},
	{"messages: many of a stream", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		n, err := e.me.api.Sendmmsg(mine, []Message{{Buffers: pieces("ab", "c")}, {Buffers: pieces("def")}}, 0)
		e.note("send", n, err)
		e.reads("the peer reads", &e.peer, theirs, 6, unix.MSG_WAITALL)
		e.sends("the peer sends", &e.peer, theirs, "abcdefgh", 0)
		e.arrived(&e.me, mine, 8)
		in := []Message{{Buffers: room(2, 1)}, {Buffers: room(3)}, {Buffers: room(9)}, {Buffers: room(9)}}
		n, err = e.me.api.Recvmmsg(mine, in, unix.MSG_WAITFORONE, nil)
		e.note("receive", n, err)
		for i := range in[:3] {
			e.note("message", in[i].N, bytes.Join(in[i].Buffers, nil))
		}
		n, err = e.me.api.Recvmmsg(mine, in, unix.MSG_DONTWAIT, nil)
		e.note("nothing", n, err)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		n, err = e.me.api.Recvmmsg(mine, in[:2], 0, nil)
		e.note("the end", n, err, in[0].N, in[1].N)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		n, err = e.me.api.Sendmmsg(mine, []Message{{Buffers: pieces("ab", "c")}}, 0)
		e.note("after shutdown", n, err)
	}},
	{"vector: of nothing and of too much", func(e *env) {
		mine, theirs := e.peers()
		e.must(e.me.api.SetNonblock(mine, true))
		e.readv("into no pieces", &e.me, mine)
		e.readv("into empty ones", &e.me, mine, 0, 0)
		e.must(e.peer.api.Sendto(theirs, []byte("abc"), 0, e.me.name(mine)))
		e.awaits("a datagram", &e.me, mine, unix.POLLIN)
		e.readv("into no pieces", &e.me, mine)
		e.readv("into empty ones", &e.me, mine, 0, 0)
		n, _, _, _, err := e.me.api.RecvmsgBuffers(mine, make([][]byte, 1025), nil, 0)
		e.note("too many", n, err)
		e.readv("it is still there", &e.me, mine, 9)
		e.readv("too many", &e.me, mine, make([]int, 1025)...)
		n, err = e.me.api.SendmsgBuffers(mine, make([][]byte, 1025), nil, nil, 0)
		e.note("too many", n, err)
		stream, _ := e.me.connected(&e.peer)
		n, err = e.me.api.SendmsgBuffers(stream, make([][]byte, 1025), nil, nil, 0)
		e.note("too many for a stream", n, err)
		n, _, _, _, err = e.me.api.RecvmsgBuffers(stream, make([][]byte, 1025), nil, unix.MSG_DONTWAIT)
		e.note("too many of a stream", n, err)
		huge := make([]byte, 1<<30)
		list := make([][]byte, 1024)
		for i := range list {
			list[i] = huge
		}
		n, err = e.me.api.Writev(mine, list)
		e.note("a tebibyte", n, err)
		n, err = e.me.api.SendmsgBuffers(mine, list, nil, nil, 0)
		e.note("a tebibyte", n, err)
	}},
	{"vector: one time limit for all pieces", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 400000}))
		e.beside(func() {
			time.Sleep(300 * time.Millisecond)
			e.peer.api.Sendto(theirs, []byte("ab"), 0, nil)
			time.Sleep(300 * time.Millisecond)
			e.peer.api.Sendto(theirs, []byte("cd"), 0, nil)
		})
		list := room(2, 2)
		n, _, _, _, err := e.me.api.RecvmsgBuffers(mine, list, nil, unix.MSG_WAITALL)
		e.note("receive", n, err, list[0], list[1])
	}},
	{"unix: nothing to read or write", func(e *env) {
		for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_SEQPACKET} {
			a, b := e.sockets(typ)
			n, err := e.me.api.Read(a, nil)
			e.note("read", n, err)
			e.readv("readv", &e.me, a, 0, 0)
			n, err = e.me.api.Write(b, nil)
			e.note("write", n, err)
			n, err = e.me.api.Writev(b, nil)
			e.note("writev", n, err)
			n, _, err = e.me.api.Recvfrom(a, make([]byte, 1), unix.MSG_DONTWAIT)
			e.note("what came", n, err)
		}
		r, w := e.pipe(0)
		n, err := e.me.api.Read(r, nil)
		e.note("pipe: read", n, err)
		e.readv("readv", &e.me, r, 0, 0)
		n, err = e.me.api.Write(w, nil)
		e.note("pipe: write", n, err)
	}},
	{"pipe: there and back", func(e *env) {
		r, w := e.pipe(0)
		e.soon(func() { e.me.api.Write(w, []byte("hello")) })
		p := make([]byte, 9)
		n, err := e.me.api.Read(r, p)
		e.note("read", p[:max(n, 0)], err)
		delete(e.me.fds, w)
		written := 0
		sent := in(func() (err error) {
			written, err = e.whole(300_000, func(n int) (int, error) { return e.me.api.Write(w, body(300_000)[n:]) })
			e.me.api.Close(w)
			return err
		})
		e.drain("what came", &e.me, r, body(300_000))
		e.note("write", <-sent, written)
		r, w = e.pipe(unix.O_NONBLOCK)
		n, err = e.me.api.Read(r, p)
		e.note("nothing", n, err)
		n, err = e.me.api.Writev(w, [][]byte{body(50_000), body(50_000)})
		e.note("what fits", n, err)
		n, err = e.me.api.Write(w, p)
		e.note("full", n, err)
		e.me.close(r)
		n, err = e.me.api.Write(w, p)
		e.note("broken", n, err)
		_, _, err = e.me.api.Recvfrom(w, p, 0)
		e.note("no socket", err)
		e.note("no socket", e.me.api.Sendto(w, p, 0, nil))
	}},
}
