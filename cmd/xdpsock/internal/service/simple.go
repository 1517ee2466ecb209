package service

import (
	"errors"
	"io"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Read first: RFC 862, RFC 863, RFC 864.

// EchoUDP answers each datagram with itself, by as many goroutines as given.
func (g *Group) EchoUDP(conn PacketConn, goroutines int) {
	g.receive("echo", conn, goroutines, echoUDP)
}

// EchoTCP answers with what it reads until the peer has no more to say.
func (g *Group) EchoTCP(l net.Listener) { g.accept("echo", l, echoTCP) }

// DiscardUDP throws datagrams away.
func (g *Group) DiscardUDP(conn PacketConn, goroutines int) {
	g.receive("discard", conn, goroutines, discardUDP)
}

// DiscardTCP throws away what it reads.
func (g *Group) DiscardTCP(l net.Listener) { g.accept("discard", l, discardTCP) }

// ChargenTCP writes lines of characters until the peer closes.
func (g *Group) ChargenTCP(l net.Listener) { g.accept("chargen", l, chargenTCP) }

// talkative says whether a port is that of a service which would answer our answer, so
// that one forged datagram would keep both busy for ever: echo, daytime, qotd,
// chargen, time (inetd refuses them too).
func talkative(port uint16) bool {
	switch port {
	case 0, 7, 13, 17, 19, 37:
		return true
	}
	return false
}

func echoUDP(conn PacketConn, c *counters) error {
	own := localPort(conn)
	buf := make([]byte, bufferSize)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if about(err) {
				continue
			}
			return err
		}
		c.messages.Add(1)
		c.received.Add(uint64(n))
		if talkative(from.Port()) || from.Port() == own {
			c.refused.Add(1)
			continue
		}
		if _, err := conn.WriteToUDPAddrPort(buf[:n], from); err != nil {
			if errors.Is(err, net.ErrClosed) {
				return err
			}
			c.failed.Add(1) // a client that cannot be reached is its own affair
			continue
		}
		c.transmitted.Add(uint64(n))
	}
}

func discardUDP(conn PacketConn, c *counters) error {
	buf := make([]byte, bufferSize)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			if about(err) {
				continue
			}
			return err
		}
		c.messages.Add(1)
		c.received.Add(uint64(n))
	}
}

// about says whether an error of a datagram socket is about a peer, and no reason to end.
func about(err error) bool {
	for _, errno := range []unix.Errno{unix.ECONNREFUSED, unix.EHOSTUNREACH, unix.ENETUNREACH, unix.EMSGSIZE, unix.ENOBUFS} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

func localPort(conn PacketConn) uint16 {
	at, err := netip.ParseAddrPort(conn.LocalAddr().String())
	if err != nil {
		return 0
	}
	return at.Port()
}

// echoTCP copies by hand: io.Copy between two sockets of the kernel is splice(2), which is
// not what a server does that looks at its requests.
func echoTCP(conn net.Conn, c *counters) {
	buf := make([]byte, bufferSize)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			c.messages.Add(1)
			c.received.Add(uint64(n))
			m, err := conn.Write(buf[:n])
			c.transmitted.Add(uint64(m))
			if err != nil {
				c.failed.Add(1)
				return
			}
		}
		if err != nil {
			return
		}
	}
}

func discardTCP(conn net.Conn, c *counters) {
	buf := make([]byte, bufferSize)
	for {
		n, err := conn.Read(buf)
		if n > 0 {
			c.messages.Add(1)
			c.received.Add(uint64(n))
		}
		if err != nil {
			return
		}
	}
}

// pattern is RFC 864 once through, "one popular pattern": 95 lines of 72 characters, each
// beginning one character further on.
var pattern = func() []byte {
	const first, count, width = ' ', 95, 72
	var p []byte
	for line := range count {
		for col := range width {
			p = append(p, byte(first+(line+col)%count))
		}
		p = append(p, '\r', '\n')
	}
	return p
}()

func chargenTCP(conn net.Conn, c *counters) {
	// There is no end at which it could close in an orderly way: what is on its way when
	// we end is not worth waiting for.
	if l, ok := conn.(interface{ SetLinger(int) error }); ok {
		l.SetLinger(0)
	}
	done := make(chan struct{})
	defer func() { <-done }()
	go func() {
		defer close(done)
		io.Copy(io.Discard, struct{ io.Reader }{conn}) // RFC 864: input is thrown away
		conn.Close()
	}()
	defer conn.Close()
	for {
		n, err := conn.Write(pattern)
		c.transmitted.Add(uint64(n))
		if err != nil {
			return
		}
		c.messages.Add(1)
	}
}
