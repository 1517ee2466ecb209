package netlab

import (
	"context"
	"fmt"
	"net"
)

// Listen is net.Listen inside the namespace. The listener, and what it accepts,
// stays inside whoever uses it. As everywhere here, addresses are literal; an
// IPv6 zone is a number, since package net caches names of another namespace.
func (ns *NS) Listen(network, address string) (l net.Listener, err error) {
	err = ns.Do(func() error {
		l, err = (&net.ListenConfig{}).Listen(context.Background(), network, address)
		return err
	})
	return l, err
}

// ListenPacket is net.ListenPacket inside the namespace.
func (ns *NS) ListenPacket(network, address string) (c net.PacketConn, err error) {
	err = ns.Do(func() error {
		c, err = (&net.ListenConfig{}).ListenPacket(context.Background(), network, address)
		return err
	})
	return c, err
}

// Dial is net.Dial inside the namespace.
func (ns *NS) Dial(network, address string) (net.Conn, error) {
	return ns.DialContext(context.Background(), network, address)
}

// DialContext is net.Dialer.DialContext inside the namespace. It takes literal
// addresses only: package net looks names up, and dials several addresses of one
// name, on goroutines of its own, which are outside.
func (ns *NS) DialContext(ctx context.Context, network, address string) (c net.Conn, err error) {
	if host, _, err := net.SplitHostPort(address); err == nil && !literal(host) {
		return nil, fmt.Errorf("netlab: dial %s: want a literal address, not a name", address)
	}
	err = ns.Do(func() error {
		c, err = (&net.Dialer{}).DialContext(ctx, network, address)
		return err
	})
	return c, err
}
