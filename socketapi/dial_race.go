package socketapi

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Read first: RFC 8305 §4-5, RFC 6555; the documentation of net.Dialer, whose ways these are.

const (
	// fallbackDelay is how long the first family is tried alone (RFC 6555 §5.5 has 150 to 250 ms, RFC 8305 §5 250 ms;
	// package net has this).
	fallbackDelay = 300 * time.Millisecond
	// dialLeast is what each of several addresses gets of a dial's time at least, at the expense of the last ones.
	dialLeast = 2 * time.Second
)

// dialling is one dial of several addresses.
type dialling struct {
	d       *Dialer
	network string
}

// one is how an attempt to reach the addresses of one family ended.
type one struct {
	c   net.Conn
	err error
}

// race tries the addresses that are of the first one's family, and when they have failed or FallbackDelay has passed
// the others too. The first connection wins; the one that comes too late is closed. The error is that of the first family.
func (t *dialling) race(ctx context.Context, addrs []netip.AddrPort) (net.Conn, error) {
	var first, other []netip.AddrPort
	for _, a := range addrs {
		if a.Addr().Is4() == addrs[0].Addr().Is4() {
			first = append(first, a)
		} else {
			other = append(other, a)
		}
	}
	if len(other) == 0 {
		return t.serially(ctx, first)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the loser's dial
	delay := t.d.FallbackDelay
	if delay == 0 {
		delay = fallbackDelay
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	won := make(chan struct{})
	defer close(won)
	start := func(addrs []netip.AddrPort) chan one {
		ended := make(chan one)
		go func() {
			c, err := t.serially(ctx, addrs)
			select {
			case ended <- one{c, err}:
			case <-won:
				if c != nil {
					c.Close()
				}
			}
		}()
		return ended
	}
	var firstErr, otherErr error
	firstEnds, otherEnds := start(first), chan one(nil)
	for {
		select {
		case <-timer.C:
			otherEnds = start(other)
			continue
		case r := <-firstEnds:
			if r.err == nil {
				return r.c, nil
			}
			firstErr = r.err
			if otherEnds == nil && timer.Stop() {
				timer.Reset(0)
			}
		case r := <-otherEnds:
			if r.err == nil {
				return r.c, nil
			}
			otherErr = r.err
		}
		if firstErr != nil && otherErr != nil {
			return nil, firstErr
		}
	}
}

// serially tries addresses one after another, each for its share of the time that there is. The error is that of the
// first, or, if the dial was given up, of the one that was to be tried then.
func (t *dialling) serially(ctx context.Context, addrs []netip.AddrPort) (c net.Conn, first error) {
	for i, a := range addrs {
		over := ctx.Err()
		err := ended(over)
		switch {
		case over == nil:
			if c, err = t.one(ctx, a, len(addrs)-i); err == nil {
				return c, nil
			}
		case first != nil && over == context.DeadlineExceeded:
			return nil, first
		}
		if first == nil || over != nil {
			first = &net.OpError{Op: "dial", Net: t.network, Source: t.d.LocalAddr, Addr: netAddrOf(t.network[:3], t.d.Stack.named(a)), Err: err}
		}
		if over != nil {
			break
		}
	}
	return nil, first
}

// one tries one address, of so many that are left.
func (t *dialling) one(ctx context.Context, a netip.AddrPort, left int) (net.Conn, error) {
	local, err := t.d.localAddr()
	if err != nil {
		return nil, err
	}
	if at, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, share(time.Until(at), left))
		defer cancel()
	}
	return t.d.connect(ctx, t.network, local, a)
}

// share is how much of the time that remains the next of so many addresses gets.
func share(remains time.Duration, left int) time.Duration {
	return min(max(remains/time.Duration(left), dialLeast), remains)
}
