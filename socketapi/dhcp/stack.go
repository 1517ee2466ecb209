package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

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
	c, err := l.stack.ListenLink(l.stack.Host().Index(l.port), wire.EtherTypeIPv4, true)
	if err != nil {
		return nil, err
	}
	return nclient4.NewBroadcastUDPConn(c, &net.UDPAddr{Port: nclient4.ClientPort}), nil
}

func (l *link) Unicast(a netip.Addr) (net.PacketConn, error) {
	return l.stack.ListenUDP(netip.AddrPortFrom(a, nclient4.ClientPort))
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
