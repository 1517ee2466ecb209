package socketapi

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/nettest"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

type dialer func(network, address string) (net.Conn, error)

// pipesBetween makes connections from dial to a listener.
func pipesBetween(l net.Listener, dial dialer) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		type accepted struct {
			c   net.Conn
			err error
		}
		ch := make(chan accepted, 1)
		go func() {
			c, err := l.Accept()
			ch <- accepted{c, err}
		}()
		c1, err = dial("tcp", l.Addr().String())
		a := <-ch
		if err = errors.Join(err, a.err); err != nil {
			return nil, nil, nil, err
		}
		return c1, a.c, func() { c1.Close(); a.c.Close() }, nil
	}
}

// datagramsBetween makes pairs of UDP sockets that are connected to each other, with what nettest wants of them and
// UDP does not have: see whole.
func datagramsBetween(one, other func(local, remote netip.AddrPort) (net.Conn, error), oneAddr, otherAddr string) nettest.MakePipe {
	port := uint16(20000)
	return func() (c1, c2 net.Conn, stop func(), err error) {
		port++
		a, b := netip.AddrPortFrom(netip.MustParseAddr(oneAddr), port), netip.AddrPortFrom(netip.MustParseAddr(otherAddr), port)
		if c1, err = one(a, b); err != nil {
			return nil, nil, nil, err
		}
		if c2, err = other(b, a); err != nil {
			c1.Close()
			return nil, nil, nil, err
		}
		there, back := new(atomic.Int64), new(atomic.Int64)
		c1, c2 = &whole{Conn: c1, out: there, in: back}, &whole{Conn: c2, out: back, in: there}
		return c1, c2, func() { c1.Close(); c2.Close() }, nil
	}
}

// whole is a connected UDP socket that loses nothing, since its writers wait while wholeMax datagrams are on their way to
// a program that does not read them, and that has an end: an empty datagram, at Close.
type whole struct {
	net.Conn
	out, in *atomic.Int64 // datagrams under way
	late    atomic.Int64  // the deadline of writers, in Unix nanoseconds; 0: none
	ended   atomic.Bool   // the peer has
	closed  atomic.Bool
	once    sync.Once
	err     error // of Close
}

const wholeMax = 64 // of a kilobyte, which the default buffers hold

func (c *whole) Write(p []byte) (int, error) {
	for c.out.Load() >= wholeMax && !c.closed.Load() {
		if at := c.late.Load(); at != 0 && at <= time.Now().UnixNano() {
			break // the socket says so
		}
		time.Sleep(50 * time.Microsecond)
	}
	n, err := c.Conn.Write(p)
	if err == nil {
		c.out.Add(1)
	}
	return n, err
}

func (c *whole) Read(p []byte) (int, error) {
	if c.ended.Load() {
		return 0, io.EOF
	}
	n, err := c.Conn.Read(p)
	if err != nil {
		return n, err
	}
	c.in.Add(-1)
	if n == 0 {
		c.ended.Store(true)
		return 0, io.EOF
	}
	return n, nil
}

func (c *whole) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *whole) SetWriteDeadline(t time.Time) error {
	at := t.UnixNano()
	if t.IsZero() {
		at = 0
	}
	c.late.Store(at)
	return c.Conn.SetWriteDeadline(t)
}

// Close may be called by nettest and by whoever has seen the end at the same time.
func (c *whole) Close() error {
	c.once.Do(func() {
		c.closed.Store(true)
		c.Conn.SetWriteDeadline(time.Time{})
		c.Conn.Write(nil)
		c.err = c.Conn.Close()
	})
	return c.err
}

// udpOf dials by a stack, udpIn by the kernel of a namespace.
func udpOf(st *Stack) func(local, remote netip.AddrPort) (net.Conn, error) {
	return func(local, remote netip.AddrPort) (net.Conn, error) { return st.DialUDP(local, remote) }
}

func udpIn(ns *netlab.NS) func(local, remote netip.AddrPort) (net.Conn, error) {
	return func(local, remote netip.AddrPort) (c net.Conn, err error) {
		err = ns.Do(func() (err error) {
			c, err = net.DialUDP("udp", net.UDPAddrFromAddrPort(local), net.UDPAddrFromAddrPort(remote))
			return err
		})
		return c, err
	}
}

// turned is the other end first: nettest tests that more.
func turned(mp nettest.MakePipe) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		c1, c2, stop, err = mp()
		return c2, c1, stop, err
	}
}

// bystander is a socket that stays open, so that no connection is the stack's last: closing
// that one waits for a peer that does not read.
func bystander(t *testing.T, st *Stack) {
	c, err := st.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
}

// Over a wire in memory, both families.
func TestConnEngineToEngine(t *testing.T) {
	a, b := twoFamilies(t, nil)
	bystander(t, a)
	for _, at := range []struct{ name, a, b string }{{"IPv4", addrA, addrB}, {"IPv6", addrA6, addrB6}} {
		t.Run(at.name+" TCP", func(t *testing.T) {
			l, err := b.Listen("tcp", net.JoinHostPort(at.b, "80"))
			fatal(t, err)
			defer l.Close()
			nettest.TestConn(t, pipesBetween(l, a.Dial))
		})
		t.Run(at.name+" UDP", func(t *testing.T) {
			nettest.TestConn(t, datagramsBetween(udpOf(a), udpOf(b), at.a, at.b))
		})
	}
}

// Over a veth pair to the kernel and from it, both families.
func TestConnEngineAndKernel(t *testing.T) {
	t.Parallel()
	for _, queues := range []int{1, 2} {
		st, peer := lab(t, queues, engine.ModeAuto)
		bystander(t, st)
		for _, f := range families {
			if queues > 1 && f.name == "IPv6" {
				continue // the cores are the same
			}
			t.Run(fmt.Sprintf("%d queues %s TCP", queues, f.name), func(t *testing.T) {
				ours, err := st.Listen("tcp", f.ours("80"))
				fatal(t, err)
				defer ours.Close()
				theirs, err := peer.Listen("tcp", f.theirs("80"))
				fatal(t, err)
				defer theirs.Close()
				if queues == 1 {
					t.Run("out", func(t *testing.T) { nettest.TestConn(t, pipesBetween(theirs, st.Dial)) })
				}
				t.Run("in", func(t *testing.T) { nettest.TestConn(t, turned(pipesBetween(ours, peer.Dial))) })
			})
			t.Run(fmt.Sprintf("%d queues %s UDP", queues, f.name), func(t *testing.T) {
				nettest.TestConn(t, datagramsBetween(udpOf(st), udpIn(peer), f.engine, f.kernel))
			})
		}
	}
}
