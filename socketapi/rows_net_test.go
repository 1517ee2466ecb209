package socketapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const loop = "127.0.0.1:0"

// closedPort is a port that nobody listens at.
func (s *netSide) closedPort(network string) string {
	if network[:3] == "udp" {
		c := s.udp(network, loop)
		defer c.Close()
		return c.LocalAddr().String()
	}
	l := s.server(network, loop)
	defer l.Close()
	return l.Addr().String()
}

var background = context.Background()

var netRows = []struct {
	name string
	do   func(s *netSide)
}{
	{"addresses that are none", func(s *netSide) {
		for _, network := range []string{"tcp", "tcp4", "tcp6", "udp", "udp4", "udp6", "tcp5", "", "udp:", "sctp", "unix4", "ip", "ip5:icmp"} {
			for _, address := range []string{"", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:-1", "127.0.0.1:99999", "127.0.0.1:no-such-service", "::1:80", "[::1", "[::1]", "[::1]80", "[127.0.0.1:1", ":x"} {
				_, err := s.dial(background, dialOptions{}, network, address)
				if err != nil {
					s.say("dial "+network+" "+address, err)
				}
				if address == "127.0.0.1:" || address == "" {
					continue
				}
				if len(network) < 3 || network[:3] != "udp" {
					_, err := s.listen(network, address)
					s.say("listen "+network+" "+address, err)
				}
				if len(network) < 3 || network[:3] != "tcp" {
					_, err := s.listenPacket(network, address)
					s.say("listenPacket "+network+" "+address, err)
				}
			}
		}
	}},
	{"the kernel's networks", func(s *netSide) {
		path := filepath.Join(s.t.TempDir(), "x")
		_, err := s.dial(background, dialOptions{}, "unix", "/nonexistent/x")
		s.say("nobody", err)
		_, err = s.listen("unix", "/nonexistent/x")
		s.say("nowhere", err)
		_, err = s.listen("unixgram", path+"1")
		s.say("of datagrams", err)
		_, err = s.listenPacket("unix", path+"2")
		s.say("of streams", err)
		for _, network := range []string{"unix", "unixpacket"} {
			l, err := s.listen(network, path)
			s.must(err)
			control := func(network, address string, c syscall.RawConn) error {
				s.say("control", network, address == path, c.Control(func(fd uintptr) {
					domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
					s.say("the kernel's", domain, err)
				}))
				return nil
			}
			c, err := s.dial(background, dialOptions{control: control, timeout: longest}, network, path)
			s.must(err)
			d, err := l.Accept()
			s.must(err)
			_, err = c.Write([]byte("x"))
			s.must(err)
			n, err := d.Read(make([]byte, 9))
			s.say("read", network, n, err, fmt.Sprintf("%T", c))
			for _, e := range []io.Closer{c, d, l} {
				s.must(e.Close())
			}
		}
		u, err := s.listenPacket("unixgram", path)
		s.must(err)
		defer u.Close()
		c, err := s.dial(background, dialOptions{}, "unixgram", path)
		s.must(err)
		defer c.Close()
		_, err = c.Write([]byte("x"))
		s.must(err)
		n, _, err := u.ReadFrom(make([]byte, 9))
		s.say("datagram", n, err)
	}},
	{"families that do not suit", func(s *netSide) {
		for _, c := range [][2]string{{"tcp4", "[::1]:80"}, {"tcp6", "127.0.0.1:80"}, {"udp4", "[::1]:80"}, {"udp6", "127.0.0.1:80"}} {
			_, err := s.dial(background, dialOptions{}, c[0], c[1])
			s.say("dial "+c[0]+" "+c[1], err)
		}
		for _, c := range [][2]string{{"tcp4", "[::1]:0"}, {"tcp6", "127.0.0.1:0"}} {
			_, err := s.listen(c[0], c[1])
			s.say("listen "+c[0]+" "+c[1], err)
		}
		_, err := s.listenPacket("udp6", "127.0.0.1:0")
		s.say("listenPacket", err)
	}},
	{"where it listens", func(s *netSide) {
		for _, c := range [][2]string{{"tcp", ":0"}, {"tcp", "0.0.0.0:0"}, {"tcp", "[::]:0"}, {"tcp4", ":0"}, {"tcp4", "0.0.0.0:0"}, {"tcp6", ":0"}, {"tcp6", "[::]:0"}, {"tcp", "127.0.0.1:0"}, {"tcp", "localhost:0"}, {"tcp", ""}} {
			l, err := s.listen(c[0], c[1])
			s.must(err)
			s.say(c[0]+" "+c[1], l.Addr())
			l.Close()
		}
		for _, c := range [][2]string{{"udp", ":0"}, {"udp", "0.0.0.0:0"}, {"udp", "[::]:0"}, {"udp4", ":0"}, {"udp4", "0.0.0.0:0"}, {"udp6", ":0"}, {"udp", "127.0.0.1:0"}, {"udp", "localhost:0"}, {"udp", ""}} {
			u, err := s.listenPacket(c[0], c[1])
			s.must(err)
			s.say(c[0]+" "+c[1], u.LocalAddr())
			u.Close()
		}
	}},
	{"it cannot listen", func(s *netSide) {
		l := s.server("tcp", loop)
		_, err := s.listen("tcp", l.Addr().String())
		s.say("in use", err)
		_, err = s.listen("tcp", "192.0.2.1:0")
		s.say("of nobody", err)
		_, err = s.listen("udp", loop)
		s.say("udp", err)
		u := s.udp("udp", loop)
		_, err = s.listenPacket("udp", u.LocalAddr().String())
		s.say("udp in use", err)
		_, err = s.listenPacket("udp4", "192.0.2.1:0")
		s.say("udp of nobody", err)
		_, err = s.listenPacket("tcp", loop)
		s.say("tcp", err)
	}},
	{"nobody listens", func(s *netSide) {
		for _, network := range []string{"tcp", "tcp4"} {
			_, err := s.dial(background, dialOptions{}, network, s.closedPort(network))
			s.say(network, err)
			_, err = s.dial(background, dialOptions{local: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}}, network, s.closedPort(network))
			s.say(network+" from", err)
		}
		_, err := s.dial(background, dialOptions{}, "tcp", "127.0.0.1:0")
		s.say("port 0", err)
	}},
	{"local addresses", func(s *netSide) {
		l := s.server("tcp", loop)
		for _, local := range []net.Addr{
			&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.IPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.TCPAddr{IP: net.IPv6loopback},
			&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}, l.Addr(), &net.UnixAddr{Name: "x", Net: "unix"},
		} {
			_, err := s.dial(background, dialOptions{local: local}, "tcp", l.Addr().String())
			s.say(local.Network()+" "+local.String(), err)
		}
		for _, local := range []net.Addr{&net.TCPAddr{}, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 7)}, &net.TCPAddr{IP: net.IPv4zero}, &net.TCPAddr{IP: net.IPv6unspecified}} {
			c, err := s.dial(background, dialOptions{local: local}, "tcp", l.Addr().String())
			s.must(err)
			s.say(local.String(), c.LocalAddr(), c.RemoteAddr())
			c.Close()
		}
		u := s.udp("udp", loop)
		c, err := s.dial(background, dialOptions{local: &net.UDPAddr{IP: net.IPv4(127, 0, 0, 7)}}, "udp", u.LocalAddr().String())
		s.must(err)
		s.say("udp", c.LocalAddr(), c.RemoteAddr())
		c.Close()
	}},
	{"local addresses of any family", func(s *netSide) {
		for _, at := range []string{"127.0.0.1:0", "[::1]:0"} {
			l, u := s.server("tcp", at), s.udp("udp", at)
			for _, any := range []net.IP{nil, net.IPv4zero, net.IPv6unspecified} {
				_, port, _ := net.SplitHostPort(s.closedPort("udp"))
				free, _ := strconv.Atoi(port)
				for _, c := range []struct {
					network string
					to      net.Addr
					local   net.Addr
				}{
					{"tcp", l.Addr(), &net.TCPAddr{IP: any}}, {"udp", u.LocalAddr(), &net.UDPAddr{IP: any}},
					{"udp", u.LocalAddr(), &net.UDPAddr{IP: any, Port: free}},
				} {
					x, err := s.dial(background, dialOptions{local: c.local}, c.network, c.to.String())
					if err != nil {
						s.say("dial", err)
						continue
					}
					s.say(c.network, x.LocalAddr(), x.RemoteAddr())
					x.Close()
				}
			}
		}
	}},
	{"this host as nobody", func(s *netSide) {
		l := s.server("tcp", ":0")
		_, port, _ := net.SplitHostPort(l.Addr().String())
		for _, network := range []string{"tcp", "tcp4"} {
			for _, name := range []string{"", "0.0.0.0"} {
				c, err := s.dial(background, dialOptions{}, network, net.JoinHostPort(name, port))
				s.must(err)
				s.say(network+name, c.RemoteAddr().(*net.TCPAddr).IP.IsLoopback())
				c.Close()
			}
		}
	}},
	{"contexts", func(s *netSide) {
		l := s.server("tcp", loop)
		ctx, cancel := context.WithCancel(background)
		cancel()
		_, err := s.dial(ctx, dialOptions{}, "tcp", l.Addr().String())
		s.say("canceled", err)
		_, err = s.dial(background, dialOptions{timeout: -1}, "tcp", l.Addr().String())
		s.say("timeout", err)
		_, err = s.dial(background, dialOptions{deadline: time.Now().Add(-time.Second)}, "tcp", l.Addr().String())
		s.say("deadline", err)
		_, err = s.dial(background, dialOptions{timeout: -1}, "udp", l.Addr().String())
		s.say("udp timeout", err)
		cause, cancelCause := context.WithCancelCause(background)
		cancelCause(errors.New("because"))
		_, err = s.dial(cause, dialOptions{}, "tcp", l.Addr().String())
		s.say("cause", err)
	}},
	{"a closed connection", func(s *netSide) {
		c, _ := s.pair("tcp", loop)
		s.say("close", c.Close())
		s.say("close again", c.Close())
		n, err := c.Read(make([]byte, 1))
		s.say("read", n, err)
		n, err = c.Read(nil)
		s.say("read nothing", n, err)
		n, err = c.Write([]byte("x"))
		s.say("write", n, err)
		s.say("deadline", c.SetDeadline(time.Now()))
		s.say("read deadline", c.SetReadDeadline(time.Now()))
		s.say("write deadline", c.SetWriteDeadline(time.Now()))
		s.say("read buffer", c.SetReadBuffer(4096))
		s.say("write buffer", c.SetWriteBuffer(4096))
		s.say("no delay", c.SetNoDelay(true))
		s.say("keep alive", c.SetKeepAlive(true))
		s.say("period", c.SetKeepAlivePeriod(time.Minute))
		s.say("config", c.SetKeepAliveConfig(net.KeepAliveConfig{}))
		s.say("linger", c.SetLinger(0))
		s.say("close read", c.CloseRead())
		s.say("close write", c.CloseWrite())
		s.say("addresses", c.LocalAddr(), c.RemoteAddr())
		m, err := c.ReadFrom(strings.NewReader("x"))
		s.say("read from", m, err)
		m, err = c.WriteTo(io.Discard)
		s.say("write to", m, err)
	}},
	{"a closed connection of tcp4", func(s *netSide) {
		c, d := s.pair("tcp4", loop)
		for _, e := range []tcpLike{c, d} {
			e.Close()
			_, err := e.Read(make([]byte, 1))
			s.say("read", err)
		}
	}},
	{"a closed listener", func(s *netSide) {
		l := s.server("tcp", loop)
		s.say("close", l.Close())
		s.say("again", l.Close())
		_, err := l.Accept()
		s.say("accept", err)
		s.say("deadline", l.SetDeadline(time.Now()))
		s.say("address", l.Addr())
	}},
	{"deadlines", func(s *netSide) {
		c, _ := s.pair("tcp", loop)
		s.must(c.SetReadDeadline(time.Now().Add(-time.Second)))
		_, err := c.Read(make([]byte, 1))
		s.say("read", err)
		n, err := c.Read(nil)
		s.say("read nothing", n, err)
		s.must(c.SetWriteDeadline(time.Now().Add(-time.Second)))
		n, err = c.Write([]byte("x"))
		s.say("write", n, err)
		m, err := c.ReadFrom(strings.NewReader("x"))
		s.say("read from", m, err)
		m, err = c.WriteTo(io.Discard)
		s.say("write to", m, err)
		s.must(c.SetDeadline(time.Time{}))
		n, err = c.Write([]byte("x"))
		s.say("write", n, err)
		s.must(c.SetDeadline(time.Now().Add(290 * 365 * 24 * time.Hour)))
		n, err = c.Write([]byte("x"))
		s.say("in centuries", n, err)
		s.must(c.SetDeadline(time.Unix(1<<40, 0)))
		n, err = c.Write([]byte("x"))
		s.say("after the sun", n, err)
		s.must(c.SetDeadline(time.Unix(0, 0)))
		n, err = c.Write([]byte("x"))
		s.say("in 1970", n, err)
		s.must(c.SetReadDeadline(time.Now().Add(time.Nanosecond)))
		_, err = c.Read(make([]byte, 1))
		s.say("soon", err)
		l := s.server("tcp", loop)
		s.must(l.SetDeadline(time.Now().Add(time.Millisecond)))
		_, err = l.Accept()
		s.say("accept", err)
		u := s.udp("udp", loop)
		s.must(u.SetReadDeadline(time.Now().Add(time.Microsecond)))
		_, _, err = u.ReadFrom(make([]byte, 1))
		s.say("udp", err)
		s.must(u.SetWriteDeadline(time.Now().Add(-time.Second)))
		_, err = u.WriteTo([]byte("x"), u.LocalAddr())
		s.say("udp write", err)
	}},
	{"half a connection", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		s.say("close write", c.CloseWrite())
		_, err := c.Write([]byte("x"))
		s.say("write", err)
		n, err := c.Write(nil)
		s.say("write nothing", n, err)
		s.say("again", c.CloseWrite())
		n, err = d.Read(make([]byte, 1))
		s.say("the peer reads", n, err)
		_, err = d.Write([]byte("answer"))
		s.say("the peer writes", err)
		p := make([]byte, 99)
		n, err = c.Read(p)
		s.say("read", string(p[:n]), err)
		s.say("close read", c.CloseRead())
		n, err = c.Read(p)
		s.say("read", n, err)
		s.say("the peer's close write", d.CloseWrite())
	}},
	{"a reset", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		s.must(d.SetLinger(0))
		s.must(d.Close())
		n, err := c.Read(make([]byte, 1))
		s.say("read", n, err)
		n, err = c.Read(make([]byte, 1))
		s.say("read again", n, err)
		n, err = c.Write([]byte("x"))
		s.say("write", n, err)
		s.say("close write", c.CloseWrite())
		s.say("no delay", c.SetNoDelay(true))
		s.say("close", c.Close())
	}},
	{"a reset while it writes", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		_, err := c.Write([]byte("x"))
		s.must(err)
		_, err = io.ReadFull(d, make([]byte, 1))
		s.must(err)
		s.must(d.SetLinger(0))
		s.must(d.Close())
		for err == nil {
			_, err = c.Write([]byte("x"))
		}
		s.say("write", errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)) // one or the other, as it comes
		for !errors.Is(err, syscall.EPIPE) {
			_, err = c.Write([]byte("x"))
		}
		s.say("write", err)
		m, err := c.ReadFrom(strings.NewReader("x"))
		s.say("read from", m, err)
	}},
	{"copying", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		text := strings.Repeat("all of it ", 50_000)
		done := make(chan string)
		go func() {
			var b strings.Builder
			n, err := io.Copy(&b, d)
			done <- fmt.Sprint(n, err, b.String() == text)
		}()
		n, err := io.Copy(c, io.LimitReader(strings.NewReader(text), int64(len(text))))
		s.say("to", n, err)
		s.must(c.CloseWrite())
		s.say("from", <-done)
		n, err = c.ReadFrom(io.MultiReader(strings.NewReader("x"), failing{}))
		s.say("of a reader that fails", n, err)
		c, d = s.pair("tcp", loop)
		_, err = d.Write([]byte("x"))
		s.must(err)
		n, err = c.WriteTo(failing{})
		s.say("to a writer that fails", n, err)
	}},
	{"calls that wait are woken", func(s *netSide) {
		for _, act := range []struct {
			name string
			do   func(c tcpLike) error
		}{
			{"close read", tcpLike.CloseRead},
			{"close", tcpLike.Close},
			{"deadline", func(c tcpLike) error { return c.SetReadDeadline(time.Unix(1, 0)) }},
		} {
			c, _ := s.pair("tcp", loop)
			s.say("read, "+act.name, s.woken(func() (int, error) { return c.Read(make([]byte, 9)) }, func() error { return act.do(c) }))
		}
		for _, act := range []struct {
			name string
			do   func(c tcpLike) error
		}{
			{"close write", tcpLike.CloseWrite},
			{"close", tcpLike.Close},
			{"deadline", func(c tcpLike) error { return c.SetWriteDeadline(time.Unix(1, 0)) }},
		} {
			c, _ := s.pair("tcp", loop)
			p := make([]byte, 1<<28) // which is read alone: one page of it is there
			write := func() (int, error) { _, err := c.Write(p); return 0, err }
			second := make(chan string, 1)
			go func() { // it waits for the first
				time.Sleep(10 * time.Millisecond)
				_, err := c.Write(p)
				second <- fmt.Sprint(errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.EPIPE))
			}()
			s.say("write, "+act.name, s.woken(write, func() error { return act.do(c) }), <-second)
		}
		l := s.server("tcp", loop)
		s.say("accept, deadline", s.woken(func() (int, error) { _, err := l.Accept(); return 0, err }, func() error { return l.SetDeadline(time.Unix(1, 0)) }))
		s.must(l.SetDeadline(time.Time{}))
		s.say("accept, close", s.woken(func() (int, error) { _, err := l.Accept(); return 0, err }, l.Close))
		u := s.udp("udp", loop)
		s.say("datagram, deadline", s.woken(func() (int, error) { return u.Read(make([]byte, 9)) }, func() error { return u.SetReadDeadline(time.Unix(1, 0)) }))
		s.must(u.SetReadDeadline(time.Time{}))
		s.say("datagram, close", s.woken(func() (int, error) { n, _, err := u.ReadFrom(make([]byte, 9)); return n, err }, u.Close))
		raw, _ := s.pair("tcp", loop)
		r, err := rawOf(raw)
		s.must(err)
		s.say("raw, close", s.woken(func() (int, error) { return 0, r.Read(func(uintptr) bool { return false }) }, raw.Close))
	}},
	{"a deadline that is moved", func(s *netSide) {
		var c tcpLike
		for late := true; late; { // again if the machine is so busy that it passes before it is moved
			var d tcpLike
			c, d = s.pair("tcp", loop)
			at := time.Now().Add(100 * time.Millisecond)
			s.must(c.SetReadDeadline(at))
			read := s.woken(func() (int, error) { return c.Read(make([]byte, 9)) }, func() error {
				err := c.SetReadDeadline(time.Time{})
				if late = time.Now().After(at); late || err != nil {
					return errors.Join(err, c.Close())
				}
				time.Sleep(time.Until(at.Add(20 * time.Millisecond)))
				_, err = d.Write([]byte("late"))
				return err
			})
			if !late {
				s.say("read", read)
			}
		}
		s.say("read", s.woken(func() (int, error) { return c.Read(make([]byte, 9)) }, func() error { return c.SetReadDeadline(time.Now().Add(time.Millisecond)) }))
	}},
	{"writes do not mix", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		const writers, length = 8, 300_000
		for i := range writers {
			go c.Write(bytes.Repeat([]byte{byte('a' + i)}, length))
		}
		p := make([]byte, length)
		for range writers {
			if _, err := io.ReadFull(d, p); err != nil || bytes.Count(p, p[:1]) != length {
				s.say("a write", bytes.Count(p, p[:1]), err)
			}
		}
		s.say("all", "read")
	}},
	{"accepted by nobody", func(s *netSide) {
		l := s.server("tcp", loop)
		c, err := s.dial(background, dialOptions{}, "tcp", l.Addr().String())
		s.must(err)
		defer c.Close()
		s.must(l.Close())
		s.must(c.SetDeadline(time.Now().Add(longest)))
		_, err = c.Read(make([]byte, 1))
		s.say("read", err)
	}},
	{"what is unread at a close", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		_, err := d.Write([]byte("unread"))
		s.must(err)
		_, err = io.ReadFull(c, make([]byte, 1))
		s.must(err)
		s.must(c.Close())
		n, err := d.Read(make([]byte, 1))
		s.say("read", n, err)
	}},
	{"what was written before a close", func(s *netSide) {
		for _, linger := range []int{-1, 5} {
			c, d := s.pair("tcp", loop)
			s.must(c.SetLinger(linger))
			_, err := c.Write([]byte("farewell"))
			s.must(err)
			s.must(c.Close())
			p, err := io.ReadAll(d)
			s.say("read", string(p), err)
		}
	}},
	{"options", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		for _, e := range []tcpLike{c, d} {
			for _, n := range []int{-1, 0, 3} {
				s.say("linger", e.SetLinger(n))
			}
			s.must(e.SetLinger(-1))
			s.say("no delay", e.SetNoDelay(false), e.SetNoDelay(true))
			s.say("keep alive", e.SetKeepAlive(false), e.SetKeepAlive(true))
			for _, d := range []time.Duration{-1, 0, 1, time.Second, 1500 * time.Millisecond, 1e6 * time.Second} {
				s.say("period", d, e.SetKeepAlivePeriod(d))
				s.say("config", e.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: d, Interval: d, Count: int(d / 1000)}))
			}
			s.say("buffers", e.SetReadBuffer(0), e.SetReadBuffer(1<<16), e.SetWriteBuffer(1<<16))
		}
	}},
	{"what connections begin with", func(s *netSide) {
		for _, o := range []dialOptions{{}, {keep: -1}, {keep: time.Minute}, {keepAll: net.KeepAliveConfig{Enable: true, Idle: 40 * time.Second, Interval: -1, Count: 4}}} {
			l := s.server("tcp", loop)
			c, err := s.dial(background, o, "tcp", l.Addr().String())
			s.must(err)
			d, err := l.Accept()
			s.must(err)
			for _, e := range []net.Conn{c, d} {
				for _, opt := range [][2]int{{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_KEEPCNT}, {unix.IPPROTO_TCP, unix.TCP_NODELAY}} {
					n, err := s.option(e, opt)
					s.say(fmt.Sprint(opt), n, err)
				}
				e.Close()
			}
		}
	}},
	{"control", func(s *netSide) {
		control := func(network, address string, c syscall.RawConn) error {
			return c.Control(func(fd uintptr) {
				s.say("control", network, address)
				s.say("set", s.setsockopt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 777))
				s.say("unknown", s.setsockopt(int(fd), 9999, 9999, 1))
			})
		}
		l, err := s.listenWith(control, "tcp", loop)
		s.must(err)
		s.t.Cleanup(func() { l.Close() })
		c, err := s.dial(background, dialOptions{control: control}, "tcp", l.Addr().String())
		s.must(err)
		s.t.Cleanup(func() { c.Close() })
		_, err = s.dial(background, dialOptions{control: func(string, string, syscall.RawConn) error { return errors.New("no") }}, "tcp", l.Addr().String())
		s.say("refused", err)
		_, err = s.listenWith(func(string, string, syscall.RawConn) error { return errors.New("no") }, "tcp", loop)
		s.say("refused", err)
		u, err := s.dial(background, dialOptions{control: func(network, address string, c syscall.RawConn) error {
			s.say("control", network, address)
			return nil
		}}, "udp", "127.0.0.1:9")
		s.must(err)
		u.Close()
	}},
	{"control with a context", func(s *netSide) {
		type key struct{}
		ctx := context.WithValue(background, key{}, "mine")
		control := func(ctx context.Context, network, address string, c syscall.RawConn) error {
			s.say("control", ctx.Value(key{}), network, address)
			return c.Control(func(fd uintptr) { s.say("set", s.setsockopt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE, 0)) })
		}
		never := func(string, string, syscall.RawConn) error {
			s.t.Error("Control was called beside ControlContext")
			return nil
		}
		l, u := s.server("tcp", loop), s.udp("udp", loop)
		for network, at := range map[string]net.Addr{"tcp": l.Addr(), "udp": u.LocalAddr()} {
			for _, o := range []dialOptions{{controlCtx: control}, {controlCtx: control, control: never}} {
				c, err := s.dial(ctx, o, network, at.String())
				s.must(err)
				c.Close()
			}
		}
		slices.Sort(s.said)
		deadline := func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
			at, ok := ctx.Deadline()
			s.say("deadline", ok, time.Until(at) > longest/2)
			return errors.New("no")
		}
		_, err := s.dial(ctx, dialOptions{controlCtx: deadline, timeout: longest}, "tcp", l.Addr().String())
		s.say("refused", err)
		ended, cancel := context.WithCancel(background)
		_, err = s.dial(ended, dialOptions{controlCtx: func(context.Context, string, string, syscall.RawConn) error { cancel(); return nil }}, "tcp", l.Addr().String())
		s.say("canceled meanwhile", err)
	}},
	{"raw connections", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		raw, err := rawOf(c)
		s.must(err)
		time.AfterFunc(10*time.Millisecond, func() { d.Write([]byte("x")) })
		n := 0
		s.say("read", raw.Read(func(fd uintptr) bool { n, err = s.read(int(fd), make([]byte, 9)); return err != unix.EAGAIN }), n, err)
		s.say("write", raw.Write(func(uintptr) bool { return true }))
		s.must(c.SetReadDeadline(time.Now().Add(-time.Second)))
		s.say("late", raw.Read(func(uintptr) bool { return true }))
		s.must(c.Close())
		s.say("closed", raw.Control(func(uintptr) { s.t.Error("it was called") }))
		s.say("closed", raw.Read(func(uintptr) bool { return true }))
		s.say("closed", raw.Write(func(uintptr) bool { return true }))
		l := s.server("tcp", loop)
		raw, err = rawOf(l)
		s.must(err)
		s.say("listener", raw.Read(func(uintptr) bool { return true }))
		s.say("listener", raw.Control(func(uintptr) {}))
		s.must(l.Close())
		s.say("listener", raw.Control(func(uintptr) {}))
	}},
	{"datagrams", func(s *netSide) {
		u, v := s.udp("udp", loop), s.udp("udp", ":0")
		to := u.LocalAddr().(*net.UDPAddr)
		n, err := v.WriteTo([]byte("hello"), to)
		s.say("write to", n, err)
		p := make([]byte, 3)
		n, from, err := u.ReadFrom(p)
		s.say("read from", n, string(p), from, err)
		n, err = v.WriteToUDP([]byte("hello"), to)
		s.say("write to UDP", n, err)
		n, fromUDP, err := u.ReadFromUDP(p)
		s.say("read from UDP", n, fromUDP, err)
		n, err = v.WriteToUDPAddrPort([]byte("hello"), to.AddrPort())
		s.say("write to addrport", n, err)
		n, ap, err := u.ReadFromUDPAddrPort(p)
		s.say("read from addrport", n, ap.Addr().Unmap(), err)
		n, oobn, err := v.WriteMsgUDP([]byte("hello"), nil, to)
		s.say("write msg", n, oobn, err)
		n, oobn, flags, fromUDP, err := u.ReadMsgUDP(p, nil)
		s.say("read msg", n, oobn, flags&^unix.MSG_CMSG_CLOEXEC, fromUDP, err)
		n, oobn, err = v.WriteMsgUDPAddrPort([]byte("hi"), nil, to.AddrPort())
		s.say("write msg addrport", n, oobn, err)
		n, oobn, flags, ap, err = u.ReadMsgUDPAddrPort(p, nil)
		s.say("read msg addrport", n, oobn, flags&^unix.MSG_CMSG_CLOEXEC, ap.Addr().Unmap(), err)
		n, err = v.WriteTo(nil, to)
		s.say("write nothing", n, err)
		n, err = v.WriteTo([]byte("next"), to)
		s.say("write", n, err)
		n, err = u.Read(nil)
		s.say("read into nothing", n, err)
		n, _, err = u.ReadFrom(p)
		s.say("the empty one", n, err)
		n, _, err = u.ReadFrom(nil)
		s.say("read into nothing", n, err)
		s.say("remote", u.RemoteAddr() == nil)
		s.say("buffers", u.SetReadBuffer(1<<16), u.SetWriteBuffer(1<<16))
	}},
	{"datagrams that go nowhere", func(s *netSide) {
		u := s.udp("udp4", loop)
		six := &net.UDPAddr{IP: net.IPv6loopback, Port: 9}
		_, err := u.WriteTo([]byte("x"), six)
		s.say("IPv6 over udp4", err)
		_, err = u.WriteToUDPAddrPort([]byte("x"), six.AddrPort())
		s.say("IPv6 over udp4, addrport", err)
		_, _, err = u.WriteMsgUDP([]byte("x"), nil, six)
		s.say("IPv6 over udp4, message", err)
		_, err = u.Write([]byte("x"))
		s.say("write", err)
		_, err = u.WriteTo([]byte("x"), &net.TCPAddr{})
		s.say("of TCP", err)
		_, err = u.WriteTo([]byte("x"), nil)
		s.say("nil", err)
		_, err = u.WriteToUDP([]byte("x"), nil)
		s.say("nil UDP", err)
		_, _, err = u.WriteMsgUDP([]byte("x"), nil, nil)
		s.say("nil message", err)
		_, err = u.WriteToUDPAddrPort([]byte("x"), netip.AddrPort{})
		s.say("no addrport", err)
		_, _, err = u.WriteMsgUDPAddrPort([]byte("x"), nil, netip.AddrPort{})
		s.say("message to no addrport", err)
		_, err = u.WriteTo([]byte("x"), (*net.UDPAddr)(nil))
		s.say("nil of a type", err)
		_, err = u.WriteTo(make([]byte, 65508), u.LocalAddr())
		s.say("too long", err)
		_, _, err = u.WriteMsgUDP(make([]byte, 65508), nil, u.LocalAddr().(*net.UDPAddr))
		s.say("message too long", err)
		_, err = u.WriteTo([]byte("x"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		s.say("port 0", err)
		s.say("close", u.Close())
		s.say("again", u.Close())
		_, err = u.WriteTo([]byte("x"), six)
		s.say("closed", err)
		_, _, err = u.ReadFrom(make([]byte, 1))
		s.say("closed", err)
		_, _, _, _, err = u.ReadMsgUDP(make([]byte, 1), nil)
		s.say("closed", err)
		_, err = u.Read(nil)
		s.say("closed", err)
		s.say("closed", u.SetDeadline(time.Now()))
		s.say("closed", u.SetReadBuffer(1))
		s.say("address", u.LocalAddr())
	}},
	{"a connected datagram socket", func(s *netSide) {
		u := s.udp("udp", loop)
		c := s.udpTo("udp", u.LocalAddr().String())
		n, err := c.Write([]byte("hello"))
		s.say("write", n, err)
		p := make([]byte, 99)
		n, from, err := u.ReadFrom(p)
		s.say("read", n, err)
		_, err = u.WriteTo([]byte("answer"), from)
		s.must(err)
		n, err = c.Read(p)
		s.say("read", string(p[:n]), err)
		_, err = c.WriteTo([]byte("x"), from)
		s.say("write to", err)
		_, err = c.WriteToUDP([]byte("x"), nil)
		s.say("write to nobody", err)
		_, err = c.WriteToUDPAddrPort([]byte("x"), from.(*net.UDPAddr).AddrPort())
		s.say("write to addrport", err)
		_, _, err = c.WriteMsgUDP([]byte("x"), nil, from.(*net.UDPAddr))
		s.say("write message", err)
		n, oobn, err := c.WriteMsgUDP([]byte("x"), nil, nil)
		s.say("write message", n, oobn, err)
		n, oobn, err = c.WriteMsgUDPAddrPort([]byte("x"), nil, netip.AddrPort{})
		s.say("write message", n, oobn, err)
		_, err = c.WriteToUDPAddrPort([]byte("x"), netip.AddrPort{})
		s.say("write to no addrport", err)
		_, _, err = c.WriteMsgUDPAddrPort(make([]byte, 70_000), nil, netip.AddrPort{})
		s.say("a message too long", err)
		_, _, err = c.WriteMsgUDP(make([]byte, 70_000), nil, nil)
		s.say("a message too long", err)
		s.say("addresses", c.LocalAddr(), c.RemoteAddr())
		_, err = c.Write(make([]byte, 70_000))
		s.say("too long", err)
	}},
	{"a datagram that nobody wants", func(s *netSide) {
		c := s.udpTo("udp", s.closedPort("udp"))
		_, err := c.Write([]byte("x"))
		s.must(err)
		_, err = c.Read(make([]byte, 1))
		s.say("read", err)
		_, err = c.Write([]byte("x"))
		s.must(err)
		_, _, err = c.ReadFrom(make([]byte, 1))
		s.say("read from", err)
		_, err = c.Write([]byte("x"))
		s.must(err)
		_, _, _, _, err = c.ReadMsgUDP(make([]byte, 1), nil)
		s.say("read message", err)
	}},
	{"control messages", func(s *netSide) {
		u, v := s.udp("udp4", loop), s.udp("udp4", loop)
		raw, err := rawOf(u)
		s.must(err)
		s.must(raw.Control(func(fd uintptr) {
			s.must(s.setsockopt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTTL, 1))
			s.must(s.setsockopt(int(fd), unix.IPPROTO_IP, unix.IP_RECVTOS, 1))
		}))
		ttl := unix.CmsgSpace(4)
		oob := make([]byte, ttl)
		h := (&control{b: oob})
		h.putInt(unix.IPPROTO_IP, unix.IP_TTL, 33)
		n, oobn, err := v.WriteMsgUDP([]byte("x"), oob[:h.n], u.LocalAddr().(*net.UDPAddr))
		s.say("write", n, oobn, err)
		p, room := make([]byte, 9), make([]byte, 128)
		n, oobn, flags, _, err := u.ReadMsgUDP(p, room)
		s.say("read", n, fmt.Sprintf("% x", room[:oobn]), flags&^unix.MSG_CMSG_CLOEXEC, err)
		_, _, err = v.WriteMsgUDP([]byte("x"), oob[:h.n], u.LocalAddr().(*net.UDPAddr))
		s.must(err)
		n, oobn, flags, _, err = u.ReadMsgUDP(p, room[:20])
		s.say("cut off", n, oobn, flags&^unix.MSG_CMSG_CLOEXEC, err)
		_, _, err = v.WriteMsgUDP([]byte("x"), []byte("no control message at all"), u.LocalAddr().(*net.UDPAddr))
		s.say("nonsense", err)
	}},
}
