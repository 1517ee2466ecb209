package host

import (
	"iter"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 6056 §3; inet_csk_find_open_port in net/ipv4/inet_connection_sock.c, __inet_hash_connect in
// net/ipv4/inet_hashtables.c, udp_lib_get_port in net/ipv4/udp.c.

// A span is the ports from first on, before end.
type span struct{ first, end int }

// setRange moves the range that ports are chosen from, and the port below which one needs a right. Scarce has ports chosen for
// sockets with SO_REUSEADDR that others like them have, when there is no other.
func (p *Ports) setRange(first, last, lowBelow int, scarce bool) {
	p.mu.Lock()
	p.first, p.last, p.lowBelow, p.scarce = first, last, lowBelow, scarce
	p.mu.Unlock()
}

// span is what of the range a socket may have a port of. Ends of its own that are outside say nothing. mu is held.
func (p *Ports) span(own PortRange) span {
	s := span{p.first, p.last + 1}
	if n := int(own.First); p.first <= n && n <= p.last {
		s.first = n
	}
	if n := int(own.Last); p.first <= n && n <= p.last {
		s.end = n + 1
	}
	return s
}

// choices are the ports that h may be bound to, in the order in which they are tried: from a random one on (RFC 6056 §3.3.1), for a
// stream first the odd ones, which leaves the even ones to connect, and with SO_REUSEADDR first those of the lower half. mu is held.
func (p *Ports) choices(h *Hold) iter.Seq[uint16] {
	all := p.span(h.Range)
	return func(yield func(uint16) bool) {
		switch n := all.end - all.first; {
		case h.Protocol != wire.ProtoTCP:
			all.walk(p.rand.IntN(max(n, 1)), 1, yield)
		case h.ReuseAddr && n >= 4:
			half := all.first + n>>2<<1
			_ = p.alternate(span{all.first, half}, 1, yield) && p.alternate(span{half, all.end}, 1, yield)
		default:
			p.alternate(all, 1, yield)
		}
	}
}

// Candidates are the ports that connect may choose, in the order in which they are tried: from a random one on, first those that are
// as even as the first of the range, or in a row where the socket has a range of its own.
func (p *Ports) Candidates(own PortRange) iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		p.mu.Lock()
		all := p.span(own)
		start := p.rand.IntN(max(all.end-all.first, 1))
		p.mu.Unlock()
		if own != (PortRange{}) {
			all.walk(start, 1, yield)
			return
		}
		all.parities(start, 0, yield)
	}
}

func (p *Ports) alternate(s span, parity int, yield func(uint16) bool) bool {
	return s.parities(p.rand.IntN(max(s.end-s.first, 1)), parity, yield)
}

// parities is a walk over every second port and then one over the others. As on Linux the last port of an odd number
// of them has no turn.
func (s span) parities(start, parity int, yield func(uint16) bool) bool {
	if n := s.end - s.first; n > 1 {
		s.end = s.first + n&^1
	}
	start = start&^1 | parity
	return s.walk(start, 2, yield) && s.walk(start^1, 2, yield)
}

// walk goes round from start on, and says whether it came to its end.
func (s span) walk(start, step int, yield func(uint16) bool) bool {
	n := s.end - s.first
	for i := 0; i < n; i += step {
		if !yield(uint16(s.first + (start+i)%n)) {
			return false
		}
	}
	return true
}
