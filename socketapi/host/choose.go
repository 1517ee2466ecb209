package host

import (
	"github.com/xdpsock/xdpsock/proto/sysctl"
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
	p.lowBelow, p.scarce = lowBelow, scarce
	p.mu.Unlock()
	p.chance.Lock()
	p.all = span{first, last + 1}
	p.chance.Unlock()
}

// A portSet is a bit for each port.
type portSet [1 << 16 / 64]uint64

func (s *portSet) has(port uint16) bool { return s[port/64]>>(port%64)&1 != 0 }

func (s *portSet) set(port uint16, in bool) {
	if bit := uint64(1) << (port % 64); in {
		s[port/64] |= bit
	} else {
		s[port/64] &^= bit
	}
}

// reserve has ports never chosen. Who asks for one gets it.
func (p *Ports) reserve(list []sysctl.Range) {
	var set *portSet
	if len(list) > 0 {
		set = new(portSet)
	}
	for _, r := range list {
		for n := r.First; n <= r.Last; n++ {
			set.set(uint16(n), true)
		}
	}
	p.reserved.Store(set)
}

// draw returns what of the range a socket may have a port of, and which of them is the first to be tried (RFC 6056 §3.3.1). Ends of its
// own range that are outside say nothing.
func (p *Ports) draw(own PortRange) (s span, start int) {
	p.chance.Lock()
	defer p.chance.Unlock()
	s = p.all
	if n := int(own.First); p.all.has(n) {
		s.first = n
	}
	if n := int(own.Last); p.all.has(n) {
		s.end = n + 1
	}
	return s, p.rand.IntN(max(s.len(), 1))
}

func (s span) len() int       { return s.end - s.first }
func (s span) has(n int) bool { return s.first <= n && n < s.end }

// A Walk is ports in the order in which they are tried. It is no closure, so that connect allocates nothing for it.
type Walk struct {
	laps  [4]lap
	n     int
	never *portSet // that are passed over, nil: none
}

// A lap goes round a span from a start on.
type lap struct {
	span
	start, step int
}

// Ports goes through the walk.
func (w *Walk) Ports(yield func(uint16) bool) {
	for i := range w.laps[:w.n] {
		l := &w.laps[i]
		n := l.len()
		for i := 0; i < n; i += l.step {
			if port := uint16(l.first + (l.start+i)%n); (w.never == nil || !w.never.has(port)) && !yield(port) {
				return
			}
		}
	}
}

func (w *Walk) add(s span, start, step int) {
	w.laps[w.n] = lap{s, start, step}
	w.n++
}

// addParities adds a lap over every second port and then one over the others. As on Linux the last port of an odd number
// of them has no turn.
func (w *Walk) addParities(s span, start, parity int) {
	if n := s.len(); n > 1 {
		s.end = s.first + n&^1
	}
	start = start&^1 | parity
	w.add(s, start, 2)
	w.add(s, start^1, 2)
}

// choices are the ports that h may be bound to, in the order in which they are tried: for a stream first the odd ones, which leaves
// the even ones to connect, and with SO_REUSEADDR first those of the lower half.
func (p *Ports) choices(h *Hold) (w Walk) {
	all, start := p.draw(h.Range)
	if h.Protocol == wire.ProtoTCP || h.Protocol == wire.ProtoUDP { // other protocols' are none
		w.never = p.reserved.Load()
	}
	switch n := all.len(); {
	case h.Protocol != wire.ProtoTCP:
		w.add(all, start, 1)
	case h.ReuseAddr && n >= 4:
		half := all.first + n>>2<<1
		w.addParities(span{all.first, half}, start, 1)
		w.addParities(span{half, all.end}, start, 1)
	default:
		w.addParities(all, start, 1)
	}
	return w
}

// Candidates are the ports that connect may choose, in the order in which they are tried: first those that are as even as the
// first of the range, or all in a row where the socket has a range of its own.
func (p *Ports) Candidates(own PortRange) (w Walk) {
	all, start := p.draw(own)
	w.never = p.reserved.Load()
	if own != (PortRange{}) {
		w.add(all, start, 1)
	} else {
		w.addParities(all, start, 0)
	}
	return w
}
