package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"

	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// OnStack is the Link of a port of a stack's host.
func OnStack(st *socketapi.Stack, port int) Link { return &link{stack: st, port: port} }

type link struct {
	stack *socketapi.Stack
	port  int
	lost  <-chan struct{} // of the address that was taken last
}

func (l *link) Name() string { return l.stack.Host().Interfaces()[l.port] }

func (l *link) HardwareAddr() net.HardwareAddr {
	mac := l.stack.Host().Cores()[0].Stack.Port(l.port).MAC // never changes
	return mac[:]
}

// Broadcast is a packet socket: the stack itself sends nothing without an address.
func (l *link) Broadcast() (net.PacketConn, error) {
	c, err := l.listen()
	if err != nil {
		return nil, err
	}
	return at(c, netip.Addr{}), nil
}

// listen opens a packet socket for IPv4.
func (l *link) listen() (*socketapi.LinkConn, error) {
	return l.stack.ListenLink(l.stack.Host().Index(l.port), wire.EtherTypeIPv4, true)
}

// at is port 68 of an address, or of none, on a packet socket.
func at(c *socketapi.LinkConn, a netip.Addr) net.PacketConn {
	return nclient4.NewBroadcastUDPConn(c, &net.UDPAddr{IP: a.AsSlice(), Port: nclient4.ClientPort})
}

// A leasedConn reads all that comes to port 68 and writes from an address of its own: to one station by
// routes and neighbours, to everyone on its own link. The first has the port, or what the server sends to
// the address would be answered by ICMP.
type leasedConn struct {
	*socketapi.UDPConn
	heard, everyone net.PacketConn // one packet socket, read without and written with the address
}

func (l *link) Leased(a netip.Addr) (net.PacketConn, error) {
	own, err := l.stack.ListenUDP(netip.AddrPortFrom(a, nclient4.ClientPort))
	if err != nil {
		return nil, err
	}
	c, err := l.listen()
	if err != nil {
		own.Close()
		return nil, err
	}
	return &leasedConn{own, at(c, netip.Addr{}), at(c, a)}, nil
}

func (c *leasedConn) ReadFrom(p []byte) (int, net.Addr, error) { return c.heard.ReadFrom(p) }

func (c *leasedConn) WriteTo(p []byte, to net.Addr) (int, error) {
	if u, ok := to.(*net.UDPAddr); ok && u.IP.Equal(net.IPv4bcast) {
		return c.everyone.WriteTo(p, to)
	}
	return c.UDPConn.WriteTo(p, to)
}

func (c *leasedConn) Close() error { return errors.Join(c.heard.Close(), c.UDPConn.Close()) }

// settleStep is how long it is between looks at who waits for an answer of ARP.
const settleStep = 5 * time.Millisecond

func (l *link) Settle(ctx context.Context) {
	waits := func(c *host.Core) bool {
		c.Lock()
		defer c.Unlock()
		return c.Stack.Neigh.Parked()
	}
	for slices.ContainsFunc(l.stack.Host().Cores(), waits) && sleep(ctx, settleStep) {
	}
}

func (l *link) Take(ctx context.Context, lease *Lease) (err error) {
	l.lost, err = l.stack.Host().AddLease(ctx, l.port, leaseOf(lease))
	var duplicate *host.DuplicateError
	if errors.As(err, &duplicate) {
		return fmt.Errorf("%w (%s has %s)", ErrConflict, duplicate.Rival, duplicate.Addr)
	}
	return err
}

func (l *link) Update(lease *Lease) error { return l.stack.Host().SetLease(l.port, leaseOf(lease)) }

func (l *link) Drop(lease *Lease) error {
	return l.stack.Host().RemoveLease(l.port, lease.Addr.Addr())
}

func (l *link) Lost() <-chan struct{} { return l.lost }

func (l *link) Ups() (n int, changed <-chan struct{}) {
	state, changed := l.stack.Host().Link(l.port)
	return state.Ups, changed
}

// metric is that of the routes of a lease: below none that a program gives by hand.
const metric = 100

// leaseOf is a lease as a host takes it.
func leaseOf(l *Lease) host.Lease {
	h := host.Lease{Addr: l.Addr, MTU: l.MTU}
	for i, gw := range l.Routers {
		h.Routes = append(h.Routes, route.Route{Prefix: netip.PrefixFrom(netip.IPv4Unspecified(), 0), Gateway: gw, Metric: metric + i})
	}
	for _, r := range l.Routes {
		way := route.Route{Prefix: r.Prefix, Gateway: r.Gateway, Metric: metric}
		if r.Gateway.IsUnspecified() {
			way.Gateway = netip.Addr{}
		}
		h.Routes = append(h.Routes, way)
	}
	return h
}
