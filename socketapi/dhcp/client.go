package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
)

// Read first: RFC 2131 §4.4, figure 5: INIT → SELECTING → REQUESTING → BOUND → RENEWING → REBINDING.

// A binding is a lease and the acknowledgement that it is made of.
type binding struct {
	Lease
	ack *dhcpv4.DHCPv4
}

// errRefused is a server's DHCPNAK.
type errRefused struct{ reason string }

func (e *errRefused) Error() string {
	if e.reason == "" {
		return "the server refused"
	}
	return fmt.Sprintf("the server refused: %q", e.reason)
}

// first gets the lease that Open returns with. What will hardly get better by itself is an error.
func (c *Client) first(ctx context.Context) (*binding, error) {
	for declined := 0; ; {
		b, err := c.acquire(ctx)
		wait := refusedWait
		var refused *errRefused
		switch {
		case err == nil:
			return b, nil
		case errors.Is(err, ErrConflict):
			if declined++; declined == declinedMax {
				return nil, fmt.Errorf("%w: the server's %d offers were all in use: its pool overlaps with addresses that stations have by hand", err, declined)
			}
			wait = restartWait
		case errors.As(err, &refused):
			if declined++; declined == declinedMax {
				return nil, err
			}
		case errors.Is(err, nclient4.ErrNoResponse):
			return nil, fmt.Errorf("%w within %v: is the cable in, and is there a server on this link? Otherwise give an address by hand",
				ErrNoServer, answerWait*(1<<answerTries-1))
		default:
			return nil, err
		}
		if !sleep(ctx, wait) {
			return nil, ctx.Err()
		}
	}
}

// run keeps the lease, and gets another one whenever it is lost.
func (c *Client) run(ctx context.Context, b *binding) {
	for b != nil {
		err := c.keep(ctx, b)
		if ctx.Err() != nil {
			c.release(b)
			return
		}
		c.cfg.Link.Drop(&b.Lease)
		c.notify(Lost, &b.Lease, err)
		last := b.Lease
		for b = nil; b == nil; {
			if !sleep(ctx, refusedWait) {
				return
			}
			if b, err = c.acquire(ctx); err != nil {
				if ctx.Err() != nil {
					return
				}
				c.notify(Retrying, &last, err)
				if !sleep(ctx, restartWait) {
					return
				}
			}
		}
	}
}

// acquire goes from INIT to BOUND.
func (c *Client) acquire(ctx context.Context) (*binding, error) {
	conn, err := c.cfg.Link.Broadcast()
	if err != nil {
		return nil, err
	}
	mac := c.cfg.Link.HardwareAddr()
	n, err := nclient4.NewWithConn(conn, mac, nclient4.WithTimeout(answerWait), nclient4.WithRetry(answerTries))
	if err != nil {
		conn.Close()
		return nil, err
	}
	defer n.Close()
	offer, err := n.DiscoverOffer(ctx, c.modify(true)...)
	if err != nil {
		return nil, err
	}
	if _, err := parseLease(offer, time.Now()); err != nil {
		return nil, err
	}
	asked := time.Now() // the lease counts from here (RFC 2131 §4.4.1)
	got, err := n.RequestFromOffer(ctx, offer, c.modify(true)...)
	var nak *nclient4.ErrNak
	if errors.As(err, &nak) {
		return nil, &errRefused{nak.Nak.Message()}
	}
	if err != nil {
		return nil, err
	}
	b := &binding{ack: got.ACK}
	if b.Lease, err = parseLease(got.ACK, asked); err != nil {
		return nil, err
	}
	if err := c.cfg.Link.Take(ctx, &b.Lease); err != nil {
		if errors.Is(err, ErrConflict) {
			c.decline(conn, b)
		}
		return nil, err
	}
	c.holds(b, Bound)
	return b, nil
}

// holds notes the lease and tells of it.
func (c *Client) holds(b *binding, what What) {
	c.mu.Lock()
	c.lease = b.Lease
	c.mu.Unlock()
	c.notify(what, &b.Lease, nil)
}

// modify is what is added to the library's messages. Before there is an address the server
// is asked to answer to everyone: a frame to an address that is not ours yet would be the kernel's.
func (c *Client) modify(broadcast bool) []dhcpv4.Modifier {
	m := []dhcpv4.Modifier{
		dhcpv4.WithBroadcast(broadcast),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionInterfaceMTU, dhcpv4.OptionDNSDomainSearchList,
			dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue),
	}
	if c.cfg.Hostname != "" {
		m = append(m, dhcpv4.WithOption(dhcpv4.OptHostName(c.cfg.Hostname)))
	}
	return m
}

// keep holds a lease, and returns why it is lost.
func (c *Client) keep(ctx context.Context, b *binding) error {
	conn, err := c.cfg.Link.Unicast(b.Addr.Addr())
	if err != nil {
		return err
	}
	n, err := nclient4.NewWithConn(conn, c.cfg.Link.HardwareAddr())
	if err != nil {
		conn.Close()
		return err
	}
	defer n.Close()
	next := b.Renew
	for {
		if b.Forever() {
			next = time.Now().Add(time.Hour) // nothing is ever due
		}
		switch until(ctx, next, c.cfg.Link.Lost()) {
		case ended:
			return ctx.Err()
		case taken:
			c.declineLost(b)
			return ErrConflict
		}
		if b.Forever() {
			continue
		}
		now := time.Now()
		if !now.Before(b.Expires) {
			return errors.New("it ran out, and no server has prolonged it")
		}
		err := c.renew(ctx, n, b)
		var refused *errRefused
		if errors.As(err, &refused) || ctx.Err() != nil {
			return err
		}
		next = b.Renew
		if err != nil {
			c.notify(Retrying, &b.Lease, err)
			next = b.retry(time.Now())
		}
	}
}

// retry is when the next attempt to renew is due: after half of the time that is left to T2, or
// then to the end, but not within a minute unless that is over sooner (RFC 2131 §4.4.5).
func (l *Lease) retry(now time.Time) time.Time {
	end := l.Rebind
	if !now.Before(end) {
		end = l.Expires
	}
	left := end.Sub(now)
	return now.Add(min(left, max(left/2, renewLeast)))
}

// renew asks for more time: the lease's own server, and after T2 everybody.
func (c *Client) renew(ctx context.Context, n *nclient4.Client, b *binding) error {
	now := time.Now()
	to := net.UDPAddrFromAddrPort(addrPort(b.Server, nclient4.ServerPort))
	rebinding := !now.Before(b.Rebind)
	end := b.Rebind
	if rebinding {
		end = b.Expires
		conn, err := c.cfg.Link.Broadcast()
		if err != nil {
			return err
		}
		if n, err = nclient4.NewWithConn(conn, c.cfg.Link.HardwareAddr()); err != nil {
			conn.Close()
			return err
		}
		defer n.Close()
		to = nclient4.DefaultServers
	}
	request, err := dhcpv4.NewRenewFromAck(b.ack, c.modify(false)...)
	if err != nil {
		return err
	}
	wait, stop := context.WithTimeout(ctx, max(min(answerWait*2, end.Sub(now)), 0))
	defer stop()
	reply, err := n.SendAndRead(wait, to, request, func(m *dhcpv4.DHCPv4) bool {
		t := m.MessageType()
		return (t == dhcpv4.MessageTypeAck || t == dhcpv4.MessageTypeNak) && (rebinding || m.ServerIdentifier().Equal(b.ack.ServerIdentifier()))
	})
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		err = nclient4.ErrNoResponse
	}
	if err != nil {
		return err
	}
	if reply.MessageType() == dhcpv4.MessageTypeNak {
		return &errRefused{reply.Message()}
	}
	lease, err := parseLease(reply, now)
	if err != nil {
		return err
	}
	if lease.Addr.Addr() != b.Addr.Addr() {
		return fmt.Errorf("the server prolongs another address, %v", lease.Addr)
	}
	if err := c.cfg.Link.Update(&lease); err != nil {
		return err
	}
	b.Lease, b.ack = lease, reply
	c.holds(b, Renewed)
	return nil
}

// decline tells the server that its address is in use (RFC 2131 §4.4.4).
func (c *Client) decline(conn net.PacketConn, b *binding) {
	m, err := dhcpv4.New(
		dhcpv4.WithHwAddr(c.cfg.Link.HardwareAddr()),
		dhcpv4.WithMessageType(dhcpv4.MessageTypeDecline),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(b.ack.YourIPAddr)),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(b.ack.ServerIdentifier())),
	)
	if err == nil {
		conn.WriteTo(m.ToBytes(), nclient4.DefaultServers) // if it is lost, the server finds out by itself
	}
}

// declineLost is decline for an address that was in use here.
func (c *Client) declineLost(b *binding) {
	if conn, err := c.cfg.Link.Broadcast(); err == nil {
		c.decline(conn, b)
		conn.Close()
	}
}

// release gives the lease back (RFC 2131 §4.4.6). No answer comes.
func (c *Client) release(b *binding) {
	var err error
	if conn, e := c.cfg.Link.Unicast(b.Addr.Addr()); e != nil {
		err = e
	} else {
		var m *dhcpv4.DHCPv4
		if m, err = dhcpv4.NewReleaseFromACK(b.ack); err == nil {
			_, err = conn.WriteTo(m.ToBytes(), net.UDPAddrFromAddrPort(addrPort(b.Server, nclient4.ServerPort)))
		}
		conn.Close()
	}
	c.notify(Released, &b.Lease, errors.Join(err, c.cfg.Link.Drop(&b.Lease)))
}
