package load

import (
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// UDPEcho asks one datagram at a time and waits for its echo.
func UDPEcho(c Config) (*Result, error) {
	if c.Size < minSize {
		return nil, fmt.Errorf("load: a request needs %d bytes, not %d", minSize, c.Size)
	}
	fd, err := connect(unix.SOCK_DGRAM, c.Server)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)

	r := new(Result)
	p := newPhase(c)
	ask, answer := make([]byte, c.Size), make([]byte, c.Size+1) // one more: too long an answer shows
	begun, heard := p.now(), p.now()
	for seq := uint64(1); ; seq++ {
		stamp(ask, seq)
		if err := sendAll(fd, ask); err != nil {
			return nil, err
		}
		err := await(fd, answer, c.Size, seq)
		now := p.now()
		switch {
		case err == unix.EAGAIN:
			r.Lost++
			if now-heard > giveUp {
				return nil, fmt.Errorf("load: %v answered nothing for %v", c.Server, giveUp)
			}
		case err != nil:
			return nil, err
		default:
			heard = now
			r.Ops++
			r.Bytes += uint64(c.Size)
			r.Latency.Add(now - begun)
		}
		if p.step(now, r) {
			return r, nil
		}
		begun = now
	}
}

// await receives the echo of request seq, passing over late ones of earlier
// requests. It answers EAGAIN where none comes.
func await(fd int, buf []byte, size int, seq uint64) error {
	for {
		n, errno := recv(fd, buf, 0)
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return unix.EAGAIN
		default:
			return os.NewSyscallError("load: recv", errno)
		}
		got, ok := stamped(buf[:n], size)
		if !ok || got > seq {
			return mismatch(buf[:n])
		}
		if got == seq {
			return nil
		}
	}
}

const (
	burst = 64 // datagrams a system call

	// slots is how many requests back an answer is still known: at a million a
	// second that is 65 ms.
	slots = 1 << 16

	// lostAfter is how long an answer may take when others overtake it. On one flow of
	// a veth pair nothing reorders; what is missing this long was dropped.
	lostAfter = 50 * time.Millisecond
)

// window is the state of UDPWindow: requests sent and not yet answered.
type window struct {
	sent    [slots]time.Duration // by number modulo slots; 0: answered, or given up
	next    uint64               // number of the next request
	oldest  uint64               // no request before it is unanswered
	pending int
}

// expire gives up requests that were sent before then, or whose slot is needed.
func (w *window) expire(then time.Duration) (lost uint64) {
	for w.oldest < w.next {
		at := &w.sent[w.oldest%slots]
		if *at != 0 {
			if *at > then && w.next-w.oldest < slots-burst {
				break
			}
			*at = 0
			w.pending--
			lost++
		}
		w.oldest++
	}
	return lost
}

// UDPWindow keeps InFlight datagrams of one flow on their way.
func UDPWindow(c Config) (*Result, error) {
	if c.Size < minSize || c.InFlight < 1 || c.InFlight > slots/2 {
		return nil, fmt.Errorf("load: %d requests in flight of %d bytes: want 1 to %d of at least %d", c.InFlight, c.Size, slots/2, minSize)
	}
	fd, err := connect(unix.SOCK_DGRAM, c.Server)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)

	r, w := new(Result), &window{next: 1, oldest: 1}
	out, in := newBatch(c.Size), newBatch(c.Size+1)
	p := newPhase(c)
	now := p.now()
	heard := now
	for {
		for room := c.InFlight - w.pending; room > 0; {
			n := min(room, burst)
			if n, err = w.send(fd, out, n, now); err != nil {
				return nil, err
			}
			room -= n
		}
		n, errno := in.call(unix.SYS_RECVMMSG, fd, burst, unix.MSG_WAITFORONE)
		now = p.now()
		switch errno {
		case 0:
			heard = now
			if err := w.receive(in, n, c.Size, now, r); err != nil {
				return nil, err
			}
		case unix.EINTR, unix.EAGAIN:
			if now-heard > giveUp {
				return nil, fmt.Errorf("load: %v answered nothing for %v", c.Server, giveUp)
			}
		default:
			return nil, os.NewSyscallError("load: recvmmsg", errno)
		}
		r.Lost += w.expire(now - lostAfter)
		if p.step(now, r) {
			return r, nil
		}
	}
}

func (w *window) send(fd int, out *batch, n int, now time.Duration) (int, error) {
	for i := range n {
		stamp(out.data[i], w.next+uint64(i))
	}
	for {
		sent, errno := out.call(unix.SYS_SENDMMSG, fd, n, 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return 0, os.NewSyscallError("load: sendmmsg", errno)
		}
		for range sent {
			w.sent[w.next%slots] = max(now, 1)
			w.next++
			w.pending++
		}
		return sent, nil
	}
}

func (w *window) receive(in *batch, n, size int, now time.Duration, r *Result) error {
	for i := range n {
		msg := in.data[i][:in.hdrs[i].len]
		seq, ok := stamped(msg, size)
		if !ok || seq == 0 || seq >= w.next {
			return mismatch(msg)
		}
		if w.next-seq > slots {
			continue // its slot is another's by now; counted as lost
		}
		at := &w.sent[seq%slots]
		if *at == 0 {
			continue // given up, or a duplicate
		}
		r.Ops++
		r.Bytes += uint64(size)
		r.Latency.Add(now - *at)
		*at = 0
		w.pending--
	}
	return nil
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

// A batch is the memory of one sendmmsg or recvmmsg.
type batch struct {
	data [burst][]byte
	iovs [burst]unix.Iovec
	hdrs [burst]mmsghdr
}

func newBatch(size int) *batch {
	b := new(batch)
	for i := range burst {
		b.data[i] = make([]byte, size)
		b.iovs[i].Base = &b.data[i][0]
		b.iovs[i].SetLen(size)
		b.hdrs[i].hdr.Iov = &b.iovs[i]
		b.hdrs[i].hdr.SetIovlen(1)
	}
	return b
}

func (b *batch) call(nr uintptr, fd, n, flags int) (int, unix.Errno) {
	got, _, errno := unix.RawSyscall6(nr, uintptr(fd), uintptr(unsafe.Pointer(&b.hdrs)), uintptr(n), uintptr(flags), 0, 0)
	return int(got), errno
}
