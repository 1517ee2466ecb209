package tcp

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7.1, §3.10.7.2.

// inputClosed is a segment that belongs to no connection on this core. Another core is asked before
// anything is answered: a flow may have changed its queue, and a reset would kill it.
func (t *TCP) inputClosed(k *key, local, remote netip.Addr, s *segment, now mono.Time) drop.Reason {
	if t.cfg.Miss != nil && t.cfg.Miss(netip.AddrPortFrom(local, k.localPort()), netip.AddrPortFrom(remote, k.remotePort())) {
		return drop.None
	}
	if remote.IsMulticast() || remote.IsUnspecified() || local.IsMulticast() || local.IsUnspecified() {
		return drop.TCPNotUnicast // MUST-57
	}
	l := t.listening(local, k.localPort())
	switch {
	case l == nil:
		t.reset(k, s)
		if s.flags&(wire.SYN|wire.ACK|wire.RST) == wire.SYN {
			return drop.TCPNoListener
		}
		return drop.TCPNoConnection
	case !l.hears(k):
		return drop.TCPMinTTL
	case s.flags&wire.RST != 0: // §3.10.7.2, first
		return drop.TCPNoConnection
	case s.flags&wire.ACK != 0: // second
		reason, ok := l.inputCookie(k, s, now)
		if !ok {
			t.reset(k, s)
		}
		return reason
	case s.flags&wire.SYN == 0: // fourth
		return drop.TCPFlagsBad
	}
	return l.inputListen(k, s, nil, now) // third
}
