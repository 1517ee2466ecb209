package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/service"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// The clients of the demonstration: ordinary kernel sockets, each used by one thread of
// its own that blocks in its calls, so that there is as little of Go's scheduling in the
// figures as can be.

const (
	// askTimeout is how long an answer is waited for. It is well above a minimal RTO
	// (200 ms), so that a segment that was sent again counts as late, not as lost.
	askTimeout = 500 * time.Millisecond

	// silenceMax is how long a server may answer nothing at all.
	silenceMax = 5 * time.Second

	requestSize = 64       // bytes of payload of an echo request
	bulkSize    = 16 << 20 // bytes of one bulk transfer; the server knows its sum
)

// mismatch is an answer that is not what it ought to be.
type mismatch struct{ what string }

func (m mismatch) Error() string { return m.what }

// A sample is what one slice of time gave.
type sample struct {
	rate        float64 // per second: round trips, or bytes
	median, p99 time.Duration
	count       uint64 // round trips or transfers, each of them checked
	lost        uint64 // requests without an answer in time
}

// A task is one thing to be measured for a while. It runs on a thread inside the
// client's namespace.
type task func(ctx context.Context, server netip.Addr, d time.Duration) (sample, error)

// connect opens a blocking socket that gives up in time.
func connect(kind, protocol int, to netip.AddrPort) (fd int, err error) {
	fd, err = unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	receive, send := unix.NsecToTimeval(int64(askTimeout)), unix.NsecToTimeval(int64(silenceMax))
	err = errors.Join(
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &receive),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &send))
	if err == nil && kind == unix.SOCK_STREAM {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	}
	if err == nil {
		err = connectFD(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to %v: %w", to, err)
	}
	return fd, nil
}

// connectFD goes on where a signal of the Go runtime has interrupted it: on Linux a second
// connect(2) of a blocking socket waits for the first, or says EISCONN if that is over.
func connectFD(fd int, to unix.Sockaddr) error {
	for {
		switch err := unix.Connect(fd, to); err {
		case unix.EINTR:
		case unix.EISCONN:
			return nil
		default:
			return err
		}
	}
}

// recv reads once, and says EINTR and EAGAIN as they are.
func recv(fd int, p []byte) (int, unix.Errno) {
	n, err := unix.Read(fd, p)
	if err == nil {
		return n, 0
	}
	return 0, err.(unix.Errno) // Read returns no others
}

func sendAll(fd int, p []byte) error {
	for len(p) > 0 {
		n, err := unix.Write(fd, p)
		switch err {
		case nil:
			p = p[n:]
		case unix.EINTR:
		default:
			return os.NewSyscallError("write", err)
		}
	}
	return nil
}

// An asker is one way to ask a server. answer reads until the answer to that number is there
// and right; EAGAIN is none in time.
type asker interface {
	ask(n uint64) error
	answer(n uint64) error
	close()
}

// roundTrips asks one question after the other.
func roundTrips(open func(netip.Addr) (asker, error)) task {
	return func(ctx context.Context, server netip.Addr, d time.Duration) (s sample, err error) {
		a, err := open(server)
		if err != nil {
			return s, err
		}
		defer a.close()
		took := make([]time.Duration, 0, 1<<14)
		began := time.Now()
		now, heard := began, began
		for n := uint64(1); ctx.Err() == nil && now.Sub(began) < d; n++ {
			asked := now
			if err := a.ask(n); err != nil {
				return s, err
			}
			err := a.answer(n)
			now = time.Now()
			switch {
			case errors.Is(err, unix.EAGAIN):
				s.lost++
				if now.Sub(heard) > silenceMax {
					return s, fmt.Errorf("%v answered nothing for %v", server, silenceMax)
				}
			case err != nil:
				return s, err
			default:
				heard = now
				took = append(took, now.Sub(asked))
			}
		}
		if len(took) == 0 {
			if ctx.Err() != nil {
				return s, ctx.Err()
			}
			return s, fmt.Errorf("%v answered nothing", server)
		}
		s.count = uint64(len(took))
		s.rate = float64(s.count) / now.Sub(began).Seconds()
		slices.Sort(took)
		s.median, s.p99 = took[len(took)/2], took[len(took)*99/100]
		return s, nil
	}
}

// number writes a request's number at its start and fills the rest by it.
func number(p []byte, n uint64) {
	binary.BigEndian.PutUint64(p, n)
	for i := 8; i < len(p); i++ {
		p[i] = byte(n) + byte(i)
	}
}

// pingAsker asks by ICMP echo, over a raw socket: it hears all ICMP from that host.
type pingAsker struct {
	fd       int
	ident    uint16
	out, in  []byte
	expected []byte
}

func openPing(server netip.Addr) (asker, error) {
	fd, err := connect(unix.SOCK_RAW, unix.IPPROTO_ICMP, netip.AddrPortFrom(server, 0))
	if err != nil {
		return nil, err
	}
	return &pingAsker{
		fd: fd, ident: uint16(os.Getpid()), out: make([]byte, wire.ICMP4Len+requestSize),
		in: make([]byte, 2048), expected: make([]byte, requestSize),
	}, nil
}

func (a *pingAsker) close() { unix.Close(a.fd) }

func (a *pingAsker) ask(n uint64) error {
	wire.PutICMP4(a.out, wire.ICMP4Echo, 0, wire.ICMPEcho(a.ident, uint16(n)))
	number(a.out[wire.ICMP4Len:], n)
	wire.ICMP4(a.out).Seal()
	return sendAll(a.fd, a.out)
}

func (a *pingAsker) answer(n uint64) error {
	for {
		m, errno := recv(a.fd, a.in)
		switch errno {
		case 0:
		case unix.EINTR:
			continue
		default:
			return errno
		}
		ip, ok := wire.ParseIPv4(a.in[:m])
		if !ok {
			return mismatch{"ping: a reply without an IP header"}
		}
		icmp, ok := wire.ParseICMP4(ip.Payload())
		if !ok || icmp.Type() != wire.ICMP4EchoReply || icmp.Ident() != a.ident || icmp.Seq() != uint16(n) {
			continue // somebody else's, or late
		}
		number(a.expected, n)
		if !icmp.ChecksumOK() {
			return mismatch{fmt.Sprintf("ping: the ICMP checksum of reply %d is wrong", n)}
		}
		if !bytes.Equal(icmp.Payload(), a.expected) {
			return mismatch{fmt.Sprintf("ping: reply %d is not what was sent", n)}
		}
		return nil
	}
}

// echoAsker asks an echo service.
type echoAsker struct {
	fd      int
	stream  bool
	out, in []byte
}

func openEcho(kind int) func(netip.Addr) (asker, error) {
	return func(server netip.Addr) (asker, error) {
		fd, err := connect(kind, 0, netip.AddrPortFrom(server, echoPort))
		if err != nil {
			return nil, err
		}
		return &echoAsker{fd: fd, stream: kind == unix.SOCK_STREAM, out: make([]byte, requestSize), in: make([]byte, 2048)}, nil
	}
}

func (a *echoAsker) close() { unix.Close(a.fd) }

func (a *echoAsker) ask(n uint64) error {
	number(a.out, n)
	return sendAll(a.fd, a.out)
}

func (a *echoAsker) answer(n uint64) error {
	got := 0
	for {
		m, errno := recv(a.fd, a.in[got:])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN && a.stream && got == 0:
			// On a stream the answer may be late, but it comes, and before any other.
			return fmt.Errorf("TCP echo: no answer to request %d within %v", n, askTimeout)
		case errno != 0:
			return errno
		case m == 0 && a.stream:
			return errors.New("TCP echo: the server closed the connection")
		}
		got += m
		if a.stream && got < len(a.out) {
			continue
		}
		if !a.stream && got == len(a.out) && binary.BigEndian.Uint64(a.in) < n {
			got = 0 // late: it was counted as lost
			continue
		}
		if !bytes.Equal(a.in[:got], a.out) {
			return mismatch{fmt.Sprintf("echo: answer %d is not what was sent", n)}
		}
		return nil
	}
}

// httpAsker asks over one connection that is kept.
type httpAsker struct {
	fd      int
	request []byte
	in      []byte
}

func openHTTP(server netip.Addr) (asker, error) {
	fd, err := connect(unix.SOCK_STREAM, 0, netip.AddrPortFrom(server, httpPort))
	if err != nil {
		return nil, err
	}
	return &httpAsker{fd: fd, request: []byte("GET / HTTP/1.1\r\nHost: " + server.String() + "\r\n\r\n"), in: make([]byte, 4096)}, nil
}

func (a *httpAsker) close() { unix.Close(a.fd) }

func (a *httpAsker) ask(uint64) error { return sendAll(a.fd, a.request) }

func (a *httpAsker) answer(uint64) error {
	_, body, length, err := readHeader(a.fd, a.in)
	if err != nil {
		return err
	}
	if len(body) < length {
		return mismatch{"HTTP: a body of a few bytes in more than one read"}
	}
	if string(body) != service.Hello {
		return mismatch{fmt.Sprintf("HTTP: the body is %q", body)}
	}
	return nil
}

// readHeader reads a response into buf up to the end of its header, and whatever of the
// body came along.
func readHeader(fd int, buf []byte) (header string, body []byte, length int, err error) {
	got := 0
	for late := 0; ; {
		n, errno := recv(fd, buf[got:])
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.EAGAIN:
			if late++; time.Duration(late)*askTimeout < silenceMax {
				continue
			}
			return "", nil, 0, fmt.Errorf("HTTP: no answer within %v", silenceMax)
		case errno != 0:
			return "", nil, 0, os.NewSyscallError("read", errno)
		case n == 0:
			return "", nil, 0, errors.New("HTTP: the server closed the connection")
		}
		got += n
		if end := bytes.Index(buf[:got], []byte("\r\n\r\n")); end >= 0 {
			header, body = string(buf[:end+2]), buf[end+4:got]
			break
		}
		if got == len(buf) {
			return "", nil, 0, mismatch{"HTTP: a header without end"}
		}
	}
	if !strings.HasPrefix(header, "HTTP/1.1 200 ") {
		status, _, _ := strings.Cut(header, "\r\n")
		return "", nil, 0, mismatch{"HTTP: the server says " + status}
	}
	length, err = strconv.Atoi(field(header, "Content-Length"))
	if err != nil || length < len(body) {
		return "", nil, 0, mismatch{"HTTP: the header has no true Content-Length"}
	}
	return header, body, length, nil
}

// field is the value of a header field.
func field(header, name string) string {
	for line := range strings.Lines(header) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.EqualFold(key, name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// transfers moves bulk data one way, again and again over one connection. The sum is
// taken between the transfers, and is not in the figures.
func transfers(once func(fd int, server netip.Addr, buf []byte) (time.Duration, error)) task {
	return func(ctx context.Context, server netip.Addr, d time.Duration) (s sample, err error) {
		fd, err := connect(unix.SOCK_STREAM, 0, netip.AddrPortFrom(server, httpPort))
		if err != nil {
			return s, err
		}
		defer unix.Close(fd)
		buf := make([]byte, bulkSize+4096)
		var took time.Duration
		for began := time.Now(); s.count == 0 || time.Since(began) < d; s.count++ {
			if ctx.Err() != nil {
				return s, ctx.Err()
			}
			t, err := once(fd, server, buf)
			if err != nil {
				return s, err
			}
			took += t
		}
		s.rate = float64(s.count) * bulkSize / took.Seconds()
		return s, nil
	}
}

func download(fd int, server netip.Addr, buf []byte) (time.Duration, error) {
	began := time.Now()
	if err := sendAll(fd, fmt.Appendf(nil, "GET /blob/%d HTTP/1.1\r\nHost: %s\r\n\r\n", bulkSize, server)); err != nil {
		return 0, err
	}
	header, body, length, err := readHeader(fd, buf)
	if err != nil {
		return 0, err
	}
	if length != bulkSize {
		return 0, mismatch{fmt.Sprintf("download: %d bytes instead of %d", length, bulkSize)}
	}
	start := cap(buf) - cap(body)
	heard := began
	for got := len(body); got < length; {
		n, errno := recv(fd, buf[start+got:start+length])
		switch {
		case errno == unix.EINTR:
		case errno == unix.EAGAIN && time.Since(heard) < silenceMax:
		case errno != 0:
			return 0, fmt.Errorf("download: after %d of %d bytes: %w", got, length, os.NewSyscallError("read", errno))
		case n == 0:
			return 0, mismatch{fmt.Sprintf("download: ends after %d of %d bytes", got, length)}
		default:
			heard = time.Now()
			got += n
		}
	}
	took := time.Since(began)
	sum, want := sha256.Sum256(buf[start:start+length]), service.BlobSum(bulkSize)
	if sum != want || field(header, "Repr-Digest") != "sha-256=:"+base64.StdEncoding.EncodeToString(sum[:])+":" {
		return 0, mismatch{fmt.Sprintf("download: the SHA-256 is %x instead of %x", sum, want)}
	}
	return took, nil
}

func upload(fd int, server netip.Addr, buf []byte) (time.Duration, error) {
	if buf[len(buf)-1] == 0 { // the first time
		fill := bytes.NewBuffer(buf[:0])
		service.WriteBlob(fill, bulkSize)
		buf[len(buf)-1] = 1
	}
	began := time.Now()
	if err := sendAll(fd, fmt.Appendf(nil, "POST /sum HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n", server, bulkSize)); err != nil {
		return 0, err
	}
	if err := sendAll(fd, buf[:bulkSize]); err != nil {
		return 0, fmt.Errorf("upload: %w", err)
	}
	_, body, length, err := readHeader(fd, make([]byte, 4096))
	if err != nil {
		return 0, err
	}
	took := time.Since(began)
	want := service.BlobSum(bulkSize)
	if length != len(body) || string(body) != hex.EncodeToString(want[:])+"\n" {
		return 0, mismatch{fmt.Sprintf("upload: the server's SHA-256 is %q instead of %x", body, want)}
	}
	return took, nil
}
