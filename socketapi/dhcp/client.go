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
	n, err := c.talk(conn)
	if err != nil {
		return nil, err
	}
	defer n.Close()
	discover, err := dhcpv4.NewDiscovery(c.cfg.Link.HardwareAddr(), c.modify(true)...)
	if err != nil {
		return nil, err
	}
	offer, err := c.discover(ctx, n, discover)
	if err != nil {
		return nil, err
	}
	request, err := dhcpv4.NewRequestFromOffer(offer, c.modify(true)...)
	if err != nil {
		return nil, err
	}
	b, err := c.request(ctx, n, nclient4.DefaultServers, request, answerTries, nclient4.IsCorrectServer(offer.ServerIdentifier()))
	if err != nil {
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

// discover takes the first offer that can be used: one that cannot is no reason to leave another server's. Where
// there are no others, it is what the error says.
func (c *Client) discover(ctx context.Context, n *nclient4.Client, m *dhcpv4.DHCPv4) (*dhcpv4.DHCPv4, error) {
	var unfit error
	fits := func(m *dhcpv4.DHCPv4) bool {
		if m.MessageType() != dhcpv4.MessageTypeOffer {
			return false
		}
		_, err := parseLease(m, time.Now())
		if err != nil {
			unfit = err
		}
		return err == nil
	}
	offer, err := c.ask(ctx, n, nclient4.DefaultServers, m, answerTries, fits)
	if unfit != nil && errors.Is(err, nclient4.ErrNoResponse) {
		err = unfit
	}
	return offer, err
}

// talk makes the library's client of a socket, which ask has try once each time.
func (c *Client) talk(conn net.PacketConn) (*nclient4.Client, error) {
	n, err := nclient4.NewWithConn(conn, c.cfg.Link.HardwareAddr(), nclient4.WithTimeout(answerWait<<answerTries), nclient4.WithRetry(1))
	if err != nil {
		conn.Close()
	}
	return n, err
}

// ask sends a message until it is answered: after 4 seconds, then after twice as long each time, a second
// more or less (RFC 2131 §4.1).
func (c *Client) ask(ctx context.Context, n *nclient4.Client, to *net.UDPAddr, m *dhcpv4.DHCPv4, tries int, match nclient4.Matcher) (*dhcpv4.DHCPv4, error) {
	for try := range tries {
		wait, stop := context.WithTimeout(ctx, answerWait<<try-answerSpread/2+c.cfg.random(answerSpread))
		answer, err := n.SendAndRead(wait, to, m, match)
		stop()
		switch {
		case err == nil:
			return answer, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !errors.Is(err, context.DeadlineExceeded):
			return nil, err
		}
	}
	return nil, nclient4.ErrNoResponse
}

// request asks for a lease, or for more time, and returns what the server has granted, or errRefused.
func (c *Client) request(ctx context.Context, n *nclient4.Client, to *net.UDPAddr, m *dhcpv4.DHCPv4, tries int, of nclient4.Matcher) (*binding, error) {
	asked := time.Now() // the lease counts from here (RFC 2131 §4.4.1)
	match := nclient4.IsMessageType(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak)
	answer, err := c.ask(ctx, n, to, m, tries, func(m *dhcpv4.DHCPv4) bool { return match(m) && (of == nil || of(m)) })
	if err != nil {
		return nil, err
	}
	if answer.MessageType() == dhcpv4.MessageTypeNak {
		return nil, &errRefused{answer.Message()}
	}
	b := &binding{ack: answer}
	if b.Lease, err = parseLease(answer, asked); err != nil {
		return nil, err
	}
	b.Renew = b.Renew.Add(-c.cfg.random(b.Renew.Sub(asked) / renewSpread)) // RFC 2131 §4.4.5: a random "fuzz"
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
		dhcpv4.WithOption(dhcpv4.OptMaxMessageSize(nclient4.MaxMessageSize)),
		// Servers tell little that they are not asked for, and each answer replaces all of the last one.
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionInterfaceMTU,
			dhcpv4.OptionDomainNameServer, dhcpv4.OptionDomainName, dhcpv4.OptionDNSDomainSearchList,
			dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue),
	}
	if c.cfg.Hostname != "" {
		m = append(m, dhcpv4.WithOption(dhcpv4.OptHostName(c.cfg.Hostname)))
	}
	return m
}

// keep holds a lease, and returns why it is lost.
func (c *Client) keep(ctx context.Context, b *binding) error {
	next := b.Renew
	ups, link := c.cfg.Link.Ups()
	for {
		if b.Forever() {
			next = time.Now().Add(time.Hour) // nothing is ever due
		}
		why := until(ctx, next, c.cfg.Link.Lost(), link)
		began, err := time.Now(), error(nil)
		switch {
		case why == ended:
			return ctx.Err()
		case why == taken:
			c.declineLost(b)
			return ErrConflict
		case !b.Forever() && !began.Before(b.Expires):
			return errors.New("it ran out, and no server has prolonged it")
		case why == changed:
			was := ups
			if ups, link = c.cfg.Link.Ups(); ups == was {
				continue
			}
			err = c.reboot(ctx, b)
		case b.Forever():
			continue
		default:
			err = c.renew(ctx, b)
		}
		var refused *errRefused
		if errors.As(err, &refused) || errors.Is(err, errOther) || ctx.Err() != nil {
			return err
		}
		next = b.Renew
		if err != nil {
			c.notify(Retrying, &b.Lease, err)
			if !began.Before(next) {
				next = b.retry(began, time.Now())
			}
		}
	}
}

// retry is when the attempt after one that began, and has failed now, is due: after half of the time that was left
// to T2, or then to the end, but not within a minute unless that is over sooner (RFC 2131 §4.4.5).
func (l *Lease) retry(began, now time.Time) time.Time {
	end := l.Rebind
	if !began.Before(end) {
		end = l.Expires
	}
	left := end.Sub(now)
	return now.Add(min(left, max(left/2, renewLeast)))
}

// renew asks for more time: the lease's own server, and after T2 everybody.
func (c *Client) renew(ctx context.Context, b *binding) error {
	now := time.Now()
	end, to, of := b.Rebind, net.UDPAddrFromAddrPort(addrPort(b.Server, nclient4.ServerPort)), nclient4.IsCorrectServer(b.ack.ServerIdentifier())
	open := func() (net.PacketConn, error) { return c.cfg.Link.Leased(b.Addr.Addr()) }
	if !now.Before(b.Rebind) {
		end, to, of = b.Expires, nclient4.DefaultServers, nil
	}
	request, err := dhcpv4.NewRenewFromAck(b.ack, c.modify(false)...)
	if err != nil {
		return err
	}
	wait, stop := context.WithDeadline(ctx, end)
	defer stop()
	err = c.prolong(wait, b, open, to, request, renewTries, of)
	if wait.Err() != nil && ctx.Err() == nil {
		return nclient4.ErrNoResponse
	}
	return err
}

// reboot asks whether the lease holds where the interface is now (INIT-REBOOT: RFC 2131 §3.2, §4.3.2): the
// server of another network refuses it. If nobody answers it is kept until it ends (§3.2 (4)).
func (c *Client) reboot(ctx context.Context, b *binding) error {
	request, err := dhcpv4.New(append(c.modify(true),
		dhcpv4.WithHwAddr(c.cfg.Link.HardwareAddr()),
		dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(b.ack.YourIPAddr)),
	)...)
	if err != nil {
		return err
	}
	wait, stop := context.WithDeadline(ctx, b.Expires)
	defer stop()
	return c.prolong(wait, b, c.cfg.Link.Broadcast, nclient4.DefaultServers, request, answerTries, nil)
}

// errOther is the error of a server that gives another address to who asks for the one that it has.
var errOther = errors.New("the server gives another address")

// prolong asks for a lease that is held, and takes over what is granted.
func (c *Client) prolong(ctx context.Context, b *binding, open func() (net.PacketConn, error), to *net.UDPAddr, m *dhcpv4.DHCPv4, tries int, of nclient4.Matcher) error {
	conn, err := open()
	if err != nil {
		return err
	}
	n, err := c.talk(conn)
	if err != nil {
		return err
	}
	defer n.Close()
	got, err := c.request(ctx, n, to, m, tries, of)
	if err != nil {
		return err
	}
	if got.Addr.Addr() != b.Addr.Addr() {
		return fmt.Errorf("%w, %v", errOther, got.Addr)
	}
	if err := c.cfg.Link.Update(&got.Lease); err != nil {
		return err
	}
	*b = *got
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
	if conn, e := c.cfg.Link.Leased(b.Addr.Addr()); e != nil {
		err = e
	} else {
		var m *dhcpv4.DHCPv4
		if m, err = dhcpv4.NewReleaseFromACK(b.ack); err == nil {
			_, err = conn.WriteTo(m.ToBytes(), net.UDPAddrFromAddrPort(addrPort(b.Server, nclient4.ServerPort)))
		}
		wait, stop := context.WithTimeout(context.Background(), releaseAtMost)
		c.cfg.Link.Settle(wait)
		stop()
		conn.Close()
	}
	c.notify(Released, &b.Lease, errors.Join(err, c.cfg.Link.Drop(&b.Lease)))
}
