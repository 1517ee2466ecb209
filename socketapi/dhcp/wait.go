package dhcp

import (
	"context"
	"net/netip"
	"time"
)

// Why until returned.
const (
	due = iota
	ended
	taken
	changed
)

// until waits for a time, the end of ctx, or that lost or link is closed.
func until(ctx context.Context, at time.Time, lost, link <-chan struct{}) int {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ended
	case <-lost:
		return taken
	case <-link:
		return changed
	case <-t.C:
		return due
	}
}

// sleep waits, and is false if ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	return until(ctx, time.Now().Add(d), nil, nil) == due
}

func addrPort(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }
