package socketapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The tests of this file do the same by package net over the kernel's loopback and by a stack over its own, and
// compare what comes of it: values, and errors with all that they wrap.

// netSide is package net, or a stack in its place.
type netSide struct {
	t            *testing.T
	listen       func(network, address string) (net.Listener, error)
	listenPacket func(network, address string) (net.PacketConn, error)
	dial         func(ctx context.Context, o dialOptions, network, address string) (net.Conn, error)
	listenWith   func(control controlFunc, network, address string) (net.Listener, error)
	getsockopt   func(fd, level, opt int) (int, error)
	setsockopt   func(fd, level, opt, n int) error
	read         func(fd int, p []byte) (int, error)

	said []string
}

type controlFunc = func(network, address string, c syscall.RawConn) error

type dialOptions struct {
	timeout  time.Duration
	deadline time.Time
	local    net.Addr
	keep     time.Duration
	keepAll  net.KeepAliveConfig
	control  controlFunc

	controlCtx func(ctx context.Context, network, address string, c syscall.RawConn) error
}

// What connections have beside net.Conn, in both packages.
type (
	tcpLike interface {
		net.Conn
		io.ReaderFrom
		io.WriterTo
		CloseRead() error
		CloseWrite() error
		SetLinger(int) error
		SetNoDelay(bool) error
		SetKeepAlive(bool) error
		SetKeepAlivePeriod(time.Duration) error
		SetKeepAliveConfig(net.KeepAliveConfig) error
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
		MultipathTCP() (bool, error)
	}
	udpLike interface {
		net.PacketConn
		Read([]byte) (int, error)
		Write([]byte) (int, error)
		RemoteAddr() net.Addr
		ReadFromUDP([]byte) (int, *net.UDPAddr, error)
		ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error)
		ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
		ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
		WriteToUDP([]byte, *net.UDPAddr) (int, error)
		WriteToUDPAddrPort([]byte, netip.AddrPort) (int, error)
		WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
		WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	}
	listenerLike interface {
		net.Listener
		SetDeadline(time.Time) error
	}
)

var (
	_ tcpLike      = (*net.TCPConn)(nil)
	_ tcpLike      = (*TCPConn)(nil)
	_ udpLike      = (*net.UDPConn)(nil)
	_ udpLike      = (*UDPConn)(nil)
	_ listenerLike = (*net.TCPListener)(nil)
	_ listenerLike = (*TCPListener)(nil)
)

func packageNet(t *testing.T) *netSide {
	return &netSide{
		t: t, listen: net.Listen, listenPacket: net.ListenPacket,
		dial: func(ctx context.Context, o dialOptions, network, address string) (net.Conn, error) {
			d := net.Dialer{Timeout: o.timeout, Deadline: o.deadline, LocalAddr: o.local, KeepAlive: o.keep, KeepAliveConfig: o.keepAll, Control: o.control, ControlContext: o.controlCtx}
			return d.DialContext(ctx, network, address)
		},
		listenWith: func(control controlFunc, network, address string) (net.Listener, error) {
			return (&net.ListenConfig{Control: control}).Listen(context.Background(), network, address)
		},
		getsockopt: unix.GetsockoptInt, setsockopt: unix.SetsockoptInt, read: unix.Read,
	}
}

func stackNet(t *testing.T, st *Stack) *netSide {
	return &netSide{
		t: t, listen: st.Listen, listenPacket: st.ListenPacket,
		dial: func(ctx context.Context, o dialOptions, network, address string) (net.Conn, error) {
			d := Dialer{Stack: st, Timeout: o.timeout, Deadline: o.deadline, LocalAddr: o.local, KeepAlive: o.keep, KeepAliveConfig: o.keepAll, Control: o.control, ControlContext: o.controlCtx}
			return d.DialContext(ctx, network, address)
		},
		listenWith: func(control controlFunc, network, address string) (net.Listener, error) {
			return (&ListenConfig{Stack: st, Control: control}).Listen(context.Background(), network, address)
		},
		getsockopt: st.Table().GetsockoptInt, setsockopt: st.Table().SetsockoptInt, read: st.Table().Read,
	}
}

// say notes what a row is compared by.
func (s *netSide) say(what string, v ...any) {
	for i := range v {
		if err, ok := v[i].(error); ok {
			v[i] = wordError(err)
		} else if a, ok := v[i].(net.Addr); ok {
			v[i] = fmt.Sprintf("%T %v", a, a)
		}
	}
	line := fmt.Sprintln(v...)
	line = tempDir.ReplaceAllString(line, "DIR/")
	s.said = append(s.said, anyPort.ReplaceAllString(what+": "+strings.TrimSpace(line), ":PORT"))
}

// tempDir is a folder of the test's.
var tempDir = regexp.MustCompile(`/\S*TestAsPackageNet\S*/`)

// anyPort is a port that was chosen.
var anyPort = regexp.MustCompile(`:\d{4,5}\b`)

// wordError is an error with all that it wraps and what errors.Is says of it.
func wordError(err error) string {
	words := err.Error()
	for e := err; e != nil; e = errors.Unwrap(e) {
		switch e := e.(type) {
		case *net.OpError:
			words += fmt.Sprintf(" | OpError %s %s %v %v", e.Op, e.Net, e.Source, e.Addr)
		case *os.SyscallError:
			words += " | SyscallError " + e.Syscall
		case syscall.Errno, *net.AddrError, *net.DNSError, net.UnknownNetworkError:
			words += fmt.Sprintf(" | %T %#v", e, e)
		default:
			words += " | error"
		}
	}
	if n, ok := err.(net.Error); ok {
		words += fmt.Sprintf(" | timeout %v", n.Timeout())
	}
	for name, target := range map[string]error{"closed": net.ErrClosed, "EOF": io.EOF} {
		if errors.Is(err, target) {
			words += " is " + name
		}
	}
	for _, target := range []error{os.ErrDeadlineExceeded, context.DeadlineExceeded, context.Canceled} {
		if errors.Is(err, target) {
			words += " is " + reflect.TypeOf(target).String() + " " + target.Error()
		}
	}
	return words
}

// must ends a row that cannot go on.
func (s *netSide) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// server listens at an address of both sides.
func (s *netSide) server(network, address string) listenerLike {
	l, err := s.listen(network, address)
	s.must(err)
	s.t.Cleanup(func() { l.Close() })
	return l.(listenerLike)
}

// pair is the two ends of a connection, the dialled one first.
func (s *netSide) pair(network, address string) (c, d tcpLike) {
	l := s.server(network, address)
	x, err := s.dial(context.Background(), dialOptions{}, network, l.Addr().String())
	s.must(err)
	y, err := l.Accept()
	s.must(err)
	s.t.Cleanup(func() { x.Close(); y.Close() })
	for _, e := range []net.Conn{x, y} {
		s.must(e.SetDeadline(time.Now().Add(longest)))
	}
	return x.(tcpLike), y.(tcpLike)
}

func (s *netSide) udp(network, address string) udpLike {
	c, err := s.listenPacket(network, address)
	s.must(err)
	s.t.Cleanup(func() { c.Close() })
	s.must(c.SetDeadline(time.Now().Add(longest)))
	return c.(udpLike)
}

func (s *netSide) udpTo(network, address string) udpLike {
	c, err := s.dial(context.Background(), dialOptions{}, network, address)
	s.must(err)
	s.t.Cleanup(func() { c.Close() })
	s.must(c.SetDeadline(time.Now().Add(longest)))
	return c.(udpLike)
}

// TestAsPackageNet is the table.
func TestAsPackageNet(t *testing.T) {
	t.Parallel()
	st, _ := openSelf(t, 1)
	for _, row := range slices.Concat(netRows, libraryRows) {
		t.Run(strings.ReplaceAll(row.name, " ", "_"), func(t *testing.T) {
			want, got := packageNet(t), stackNet(t, st)
			row.do(want)
			row.do(got)
			for i := range max(len(want.said), len(got.said)) {
				if i >= len(want.said) || i >= len(got.said) || want.said[i] != got.said[i] {
					t.Errorf("package net says\n\t%s\nand we\n\t%s", strings.Join(want.said, "\n\t"), strings.Join(got.said, "\n\t"))
					break
				}
			}
			t.Log(strings.Join(want.said, "\n"))
			if len(want.said) == 0 {
				t.Error("the row compares nothing")
			}
		})
	}
}

// woken is how a call ends that waits until something is done.
func (s *netSide) woken(call func() (int, error), do func() error) string {
	type result struct {
		n   int
		err error
	}
	ended := make(chan result, 1)
	go func() {
		n, err := call()
		ended <- result{n, err}
	}()
	time.Sleep(20 * time.Millisecond)
	select {
	case r := <-ended:
		return fmt.Sprint("it did not wait: ", r.n, r.err)
	default:
	}
	s.must(do())
	select {
	case r := <-ended:
		if r.err == nil {
			return fmt.Sprint(r.n)
		}
		return fmt.Sprint(r.n, " ", wordError(r.err))
	case <-time.After(longest):
		return "it still waits"
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errors.New("it fails") }
func (failing) Write([]byte) (int, error) { return 0, errors.New("it fails") }

// rawOf is a connection or listener as a descriptor.
func rawOf(c any) (syscall.RawConn, error) {
	if c, ok := c.(interface{ RawConn() syscall.RawConn }); ok {
		return c.RawConn(), nil
	}
	return c.(syscall.Conn).SyscallConn()
}

// option is an option of a connection.
func (s *netSide) option(c net.Conn, opt [2]int) (n int, err error) {
	raw, err := rawOf(c)
	s.must(err)
	s.must(raw.Control(func(fd uintptr) { n, err = s.getsockopt(int(fd), opt[0], opt[1]) }))
	return n, err
}
