// Package service is the small services that a machine offers to be tested with:
// RFC 862 echo and RFC 863 discard over TCP and UDP, RFC 864 character generator over
// TCP, and a little HTTP.
//
// In come listeners and packet sockets, of whichever stack; out come answers and
// counters. It must never know whose sockets they are: what is measured over the
// engine and over the kernel is the very same code.
package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A PacketConn is what a datagram service needs of a UDP socket; *net.UDPConn has it.
type PacketConn interface {
	ReadFromUDPAddrPort(p []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error)
	LocalAddr() net.Addr
	Close() error
}

// bufferSize is how much a service reads at once, in bytes: no datagram is longer.
const bufferSize = 64 << 10

// acceptPause is how long a listener rests that is out of descriptors or memory.
const acceptPause = 5 * time.Millisecond

// Stats counts what a service did since it began.
type Stats struct {
	Name        string `json:"name"`              // "echo", ...
	Network     string `json:"network"`           // "tcp" or "udp"
	Addr        string `json:"addr"`              // where it answers
	Connections uint64 `json:"connections"`       // accepted, TCP only
	Messages    uint64 `json:"messages"`          // datagrams, reads or requests
	RxBytes     uint64 `json:"rx_bytes"`          // payload
	TxBytes     uint64 `json:"tx_bytes"`          // payload
	Failed      uint64 `json:"failed,omitempty"`  // answers that could not be sent
	Refused     uint64 `json:"refused,omitempty"` // datagrams from a port that would answer the answer
}

// counters is Stats while the service runs. Any goroutine of the service writes.
type counters struct {
	name, network, addr                                           string
	connections, messages, received, transmitted, failed, refused atomic.Uint64
}

func (c *counters) stats() Stats {
	return Stats{
		Name: c.name, Network: c.network, Addr: c.addr,
		Connections: c.connections.Load(), Messages: c.messages.Load(),
		RxBytes: c.received.Load(), TxBytes: c.transmitted.Load(),
		Failed: c.failed.Load(), Refused: c.refused.Load(),
	}
}

// A Group is services that end together. The zero Group has none.
type Group struct {
	// Report hears why a service ended before Close. It may be nil.
	Report func(error)

	mu      sync.Mutex
	closed  bool
	all     []*counters
	closers map[closer]struct{} // what is open
	running sync.WaitGroup
}

type closer interface{ Close() error }

// open notes what Close must close. It is false if that was called already.
func (g *Group) open(c closer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	if g.closers == nil {
		g.closers = make(map[closer]struct{})
	}
	g.closers[c] = struct{}{}
	return true
}

func (g *Group) shut(c closer) {
	g.mu.Lock()
	delete(g.closers, c)
	g.mu.Unlock()
	c.Close()
}

func (g *Group) count(name, network string, addr net.Addr) *counters {
	c := &counters{name: name, network: network, addr: addr.String()}
	g.mu.Lock()
	g.all = append(g.all, c)
	g.mu.Unlock()
	return c
}

// Stats returns what each service did, in the order they were added.
func (g *Group) Stats() []Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	stats := make([]Stats, len(g.all))
	for i, c := range g.all {
		stats[i] = c.stats()
	}
	return stats
}

// Close ends all services and waits for them. Answers that were given are still sent.
func (g *Group) Close() {
	g.mu.Lock()
	g.closed = true
	var open []closer
	for c := range g.closers {
		open = append(open, c)
	}
	g.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
	g.running.Wait()
}

// failed reports the end of a service, unless it was asked for.
func (g *Group) failed(c *counters, err error) {
	if !errors.Is(err, net.ErrClosed) && g.Report != nil {
		g.Report(fmt.Errorf("%s over %s at %s: %w", c.name, c.network, c.addr, err))
	}
}

// accept serves each connection of a listener by a goroutine of its own, and owns both.
func (g *Group) accept(name string, l net.Listener, serve func(net.Conn, *counters)) {
	c := g.count(name, "tcp", l.Addr())
	if !g.open(l) {
		l.Close()
		return
	}
	g.running.Go(func() {
		defer g.shut(l)
		for {
			conn, err := l.Accept()
			switch {
			case err == nil:
			case passing(err):
				time.Sleep(acceptPause)
				continue
			default:
				g.failed(c, err)
				return
			}
			if !g.open(conn) {
				conn.Close()
				return
			}
			c.connections.Add(1)
			g.running.Go(func() {
				defer g.shut(conn)
				serve(conn, c)
			})
		}
	})
}

// passing says whether an error of Accept is about one connection, or about a lack that
// may pass (accept(2), "Error handling").
func passing(err error) bool {
	for _, errno := range []unix.Errno{unix.ECONNABORTED, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EPROTO} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// receive serves the datagrams of a socket by n goroutines, and owns it.
func (g *Group) receive(name string, conn PacketConn, n int, serve func(PacketConn, *counters) error) {
	c := g.count(name, "udp", conn.LocalAddr())
	if !g.open(conn) {
		conn.Close()
		return
	}
	for range max(n, 1) {
		g.running.Go(func() {
			defer g.shut(conn)
			g.failed(c, serve(conn, c))
		})
	}
}
