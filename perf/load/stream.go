package load

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// chunk is the bytes of one system call of a stream.
const chunk = 64 << 10

// A pattern is an endless stream of known bytes: it repeats after period.
type pattern struct {
	bytes  []byte // period + chunk of it, so that any chunk of the stream is one slice
	period int
}

func newPattern(period []byte) pattern {
	p := pattern{period: len(period)}
	for len(p.bytes) < len(period)+chunk {
		p.bytes = append(p.bytes, period...)
	}
	return p
}

// at is up to chunk bytes of the stream from offset on.
func (p *pattern) at(offset uint64) []byte {
	from := int(offset % uint64(p.period))
	return p.bytes[from : from+chunk]
}

// check says whether got is what the stream has at offset.
func (p *pattern) check(got []byte, offset uint64) error {
	want := p.at(offset)[:len(got)]
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for got[i] == want[i] {
		i++
	}
	return fmt.Errorf("load: byte %d of the stream is %#02x, want %#02x", offset+uint64(i), got[i], want[i])
}

// numbers is a stream whose period is prime to every power of two, so that a
// segment that is lost, doubled or out of place cannot look right.
var numbers = newPattern(func() []byte {
	p := make([]byte, 65_521) // the largest prime below 2^16
	stamp(p, 1)
	return p
}())

// printable is the stream of RFC 864: lines of 72 of the 95 printing characters,
// each line beginning one further on.
var printable = newPattern(func() []byte {
	const first, count, width = ' ', 95, 72
	var p []byte
	for line := range count {
		for col := range width {
			p = append(p, byte(first+(line+col)%count))
		}
		p = append(p, '\r', '\n')
	}
	return p
}())

// StreamFrom reads a stream of RFC 864 and compares every byte. The service may
// begin at any line.
func StreamFrom(c Config) (*Result, error) {
	fd, err := c.stream()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var (
		r      = new(Result)
		p      = newPhase(c)
		buf    = make([]byte, chunk)
		head   []byte // until the place in the pattern is known
		offset uint64
		placed bool
		heard  time.Duration
	)
	for {
		n, errno := recv(fd, buf, 0)
		now := p.now()
		switch {
		case errno == unix.EINTR || errno == unix.EAGAIN:
			if now-heard > c.patience() {
				return nil, fmt.Errorf("load: %v sent nothing for %v", c.Server, c.patience())
			}
			continue
		case errno != 0:
			return nil, os.NewSyscallError("load: recv", errno)
		case n == 0:
			return nil, errClosed
		}
		heard = now
		if !placed {
			if head = append(head, buf[:n]...); len(head) < 2*74 {
				continue
			}
			at := bytes.Index(printable.bytes, head[:2*74])
			if at < 0 {
				return nil, fmt.Errorf("load: not the stream of RFC 864: %q", head[:74])
			}
			placed, offset = true, uint64(at)
			if err := checkLong(&printable, head, offset); err != nil {
				return nil, err
			}
			offset += uint64(len(head))
			continue
		}
		if err := printable.check(buf[:n], offset); err != nil {
			return nil, err
		}
		offset += uint64(n)
		r.Bytes += uint64(n)
		if p.step(now, r) {
			return r, nil
		}
	}
}

func checkLong(p *pattern, got []byte, offset uint64) error {
	for len(got) > 0 {
		n := min(len(got), chunk)
		if err := p.check(got[:n], offset); err != nil {
			return err
		}
		got, offset = got[n:], offset+uint64(n)
	}
	return nil
}

// StreamTo sends to a service that discards (RFC 863) and then closes. Its time ends
// when the service has closed too, which says that it read all. What it read
// cannot be known: a stream that is compared is StreamThrough.
func StreamTo(c Config) (*Result, error) {
	fd, err := c.stream()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	r, p := new(Result), newPhase(c)
	var offset uint64
	for {
		n, errno := send(fd, numbers.at(offset), 0)
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return nil, os.NewSyscallError("load: send", errno)
		}
		offset += uint64(n)
		now := p.now()
		if p.counting && now-p.begun >= c.Run {
			break
		}
		r.Bytes += uint64(n)
		warming := !p.counting
		p.step(now, r)
		if warming && p.counting {
			// What the buffers hold goes out in the counted time.
			held, err := unix.IoctlGetInt(fd, unix.SIOCOUTQ)
			if err != nil {
				return nil, os.NewSyscallError("load: SIOCOUTQ", err)
			}
			r.Bytes = uint64(held)
		}
	}
	if err := unix.Shutdown(fd, unix.SHUT_WR); err != nil {
		return nil, os.NewSyscallError("load: shutdown", err)
	}
	var one [1]byte
	for began := p.now(); ; {
		n, errno := recv(fd, one[:], 0)
		switch {
		case errno == 0 && n == 0:
			p.finish(p.now(), r)
			return r, nil
		case errno == 0:
			return nil, fmt.Errorf("load: %v answered, and should discard", c.Server)
		case errno != unix.EINTR && errno != unix.EAGAIN:
			return nil, os.NewSyscallError("load: recv", errno)
		case p.now()-began > c.patience():
			return nil, fmt.Errorf("load: %v did not close within %v", c.Server, c.patience())
		}
	}
}

// StreamThrough sends a stream to an echo service and compares every byte that
// comes back. At most streamAhead bytes are between the two, so that a server
// that echoes with blocking writes goes on.
func StreamThrough(c Config) (*Result, error) {
	fd, err := c.stream()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var (
		r         = new(Result)
		p         = newPhase(c)
		buf       = make([]byte, chunk)
		out, back uint64
		heard     time.Duration
	)
	for {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if out-back < streamAhead {
			fds[0].Events |= unix.POLLOUT
		}
		if _, err := unix.Poll(fds, int(quiet.Milliseconds())); err != nil && err != unix.EINTR {
			return nil, os.NewSyscallError("load: poll", err)
		}
		if fds[0].Revents&unix.POLLOUT != 0 {
			room := min(streamAhead-(out-back), chunk)
			n, errno := send(fd, numbers.at(out)[:room], unix.MSG_DONTWAIT)
			if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
				return nil, os.NewSyscallError("load: send", errno)
			}
			if errno == 0 {
				out += uint64(n)
			}
		}
		n, errno := recv(fd, buf, unix.MSG_DONTWAIT)
		now := p.now()
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			if now-heard > c.patience() {
				return nil, fmt.Errorf("load: %v sent nothing back for %v", c.Server, c.patience())
			}
		case errno != 0:
			return nil, os.NewSyscallError("load: recv", errno)
		case n == 0:
			return nil, errClosed
		default:
			if err := numbers.check(buf[:n], back); err != nil {
				return nil, err
			}
			heard = now
			back += uint64(n)
			r.Bytes += uint64(n)
		}
		if p.step(now, r) {
			return r, nil
		}
	}
}

// streamAhead is as much as four socket buffers of the kernel's default size hold.
const streamAhead = 512 << 10

func (c *Config) patience() time.Duration {
	if c.Patience > 0 {
		return c.Patience
	}
	return giveUp
}

// stream opens the connection of a stream.
func (c *Config) stream() (fd int, err error) {
	if fd, err = connect(unix.SOCK_STREAM, c.Server); err != nil {
		return -1, err
	}
	tv := unix.NsecToTimeval(int64(c.patience()))
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &tv)
	if err == nil && c.Congestion != "" {
		err = unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, c.Congestion)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("load: socket options: %w", err)
	}
	return fd, nil
}
