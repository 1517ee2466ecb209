package proto

import (
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
)

// Output writes the next packet that is to leave by a port into buf and returns its
// length; 0: there is nothing. buf has room for the port's MTU and link header.
//
// On a port with [PortConfig.Trains] it may have written the header of a train, which [Stack.Train] tells.
//
// The order is that of what holds others up: the datagram that a program stands by
// with, questions and answers of the link, the rest of a packet that leaves in fragments, the
// stack's own answers, what waited for a neighbour; then sockets and connections take turns.
func (s *Stack) Output(port int, buf []byte, now mono.Time) int {
	p := &s.ports[port]
	if p.vlans != nil {
		return s.outputVLANs(p, buf, now)
	}
	return s.outputPort(p, buf, now)
}

func (s *Stack) outputPort(p *port, buf []byte, now mono.Time) int {
	if len(s.taps) == 0 {
		return s.output(p, buf, now)
	}
	s.tapped = nil
	n := s.output(p, buf, now)
	if n > 0 {
		s.tap(p, buf[:n], udp.PacketOutgoing, s.tapped, udp.Tag{}, now)
	}
	return n
}

func (s *Stack) output(p *port, buf []byte, now mono.Time) int {
	if s.direct.offered && s.direct.port == p {
		return s.outputDirect(buf)
	}
	if p.frames.Len() > 0 {
		if n := s.outputFrame(p, buf); n > 0 {
			return n
		}
	}
	if p.cutting.Active() {
		return s.outputFragment(p, buf)
	}
	if p.packets.Len() > 0 {
		if n := s.outputPacket(p, buf, now); n > 0 {
			return n
		}
	}
	if len(p.resolved) > 0 {
		if n := s.outputParked(p, buf, now); n > 0 {
			return n
		}
	}
	if p.turn = !p.turn; p.turn && p.ready != nil {
		if n := s.outputReady(p, buf, now); n > 0 {
			return n
		}
	}
	if s.TCP.Talks(p.number) {
		if n := s.outputTCP(p, buf, now); n > 0 {
			return n
		}
	}
	if !p.turn && p.ready != nil {
		return s.outputReady(p, buf, now)
	}
	return 0
}

// outputDirect writes the datagram on offer.
func (s *Stack) outputDirect(buf []byte) int {
	d := &s.direct
	d.offered = len(d.rest) > 0
	if d.sock.Link != nil {
		s.tapped = d.sock
		return d.putFrame(buf)
	}
	n := d.path.putLink(buf, etherTypeOf(d.ip.dst))
	n += s.put(d, buf[n:])
	if d.back {
		s.bringBack(d)
	}
	if d.stamp&udp.StampAny != 0 {
		s.stamp(d.sock, d.stamp, d.key, d.ip.src, buf[:n], d.now)
	}
	d.next()
	return n
}

// outputPacket writes the oldest packet of the stack's own that can go.
func (s *Stack) outputPacket(p *port, buf []byte, now mono.Time) int {
	for p.packets.Len() > 0 {
		if n := s.outputQueued(p, &p.packets, buf, now); n > 0 {
			return n
		}
	}
	return s.outputFrame(p, buf) // a question that was asked on the way
}

// outputFrame writes the oldest whole frame.
func (s *Stack) outputFrame(p *port, buf []byte) int {
	n, _ := p.frames.Get(&s.record, buf, false)
	return n
}

// outputQueued takes the oldest IP packet of a queue and writes it, or its first fragment, if it
// can leave by p now. Otherwise it is parked at its neighbour, or moved to the port that its route
// has changed to, or dropped, and outputQueued returns 0.
func (s *Stack) outputQueued(p *port, q *ring.Datagrams, buf []byte, now mono.Time) int {
	packet := s.take(p, q, buf)
	m := s.record
	w, errno := s.pathBy(m.Iface&^rawRecord>>8, m.To.Addr(), now)
	switch {
	case errno != 0:
		s.Count.Count(unroutable(errno))
	case !w.resolved(now):
		if !w.entry.Parked.Put(&m, packet) {
			s.Count.Count(drop.NeighbourParkingFull)
		}
	case w.port != p:
		s.moved = true
		if !w.port.packets.Put(&m, packet) {
			s.Count.Count(drop.OutboxFull)
		}
	default:
		return s.outputTaken(w, packet, buf, now)
	}
	return 0
}

// take takes the oldest packet of a queue: into buf, where its link header has room before it, or
// if it is longer than p's frames into the memory of what p cuts, which holds nothing now.
func (s *Stack) take(p *port, q *ring.Datagrams, buf []byte) []byte {
	to := buf[p.linkLen():]
	if q.Get(&s.record, nil, true); s.record.Len > len(to) {
		to = p.cutting.Room()
	}
	n, _ := q.Get(&s.record, to, false)
	return to[:n]
}

// outputTaken writes a packet that take has taken, in one piece or the first of several.
func (s *Stack) outputTaken(w *path, packet, buf []byte, now mono.Time) int {
	discover := udp.Discovery(s.record.TTL)
	limit := w.limit(discover)
	link := w.port.linkLen()
	switch {
	case len(packet) <= limit && len(packet) <= len(buf)-link:
		w.putLink(buf, etherTypeOf(w.dst))
		if s.record.TOS != 0 {
			s.stampTaken(buf[:link+len(packet)], now)
		}
		return link + len(packet)
	case !discover.Fragments(): // the path has become narrower since it was sent
		s.Count.Count(drop.TooBig)
		return 0
	}
	if piece := int(uint32(s.record.Time)); piece != 0 {
		limit = min(limit, piece)
	}
	s.cut(w, copy(w.port.cutting.Room(), packet), limit, now)
	if !w.port.cutting.Active() {
		return 0
	}
	if s.record.TOS != 0 {
		s.stampTaken(w.port.cutting.Room()[:len(packet)], now)
	}
	return s.outputFragment(w.port, buf)
}

// outputParked writes a datagram that waited for a neighbour which has answered.
func (s *Stack) outputParked(p *port, buf []byte, now mono.Time) int {
	for len(p.resolved) > 0 {
		e := p.resolved[0]
		if e.Parked.Len() == 0 {
			p.resolved = append(p.resolved[:0], p.resolved[1:]...)
			continue
		}
		packet := s.take(p, &e.Parked, buf)
		to := s.record.To.Addr()
		w, errno := s.path(to, now)
		if errno != 0 || w.entry != e { // routes have changed since: it goes where it was to go
			w = &path{dst: to, port: p, mtu: packetMax(to, p.MTU), entry: e}
		}
		e.Use(now)
		if n := s.outputTaken(w, packet, buf, now); n > 0 {
			return n
		}
	}
	return 0
}

// outputReady writes the oldest datagram of the socket whose turn it is, and puts the
// socket at the end of the list if it has more.
func (s *Stack) outputReady(p *port, buf []byte, now mono.Time) int {
	for p.ready != nil {
		sock := p.ready
		if p.ready = sock.Ready; p.ready == nil {
			p.readyEnd = &p.ready
		}
		sock.Queued, sock.Ready = false, nil
		n := 0
		if sock.Link != nil {
			s.tapped = sock
			n = s.outputFrameOf(p, sock, buf)
		} else {
			s.sending = sock
			n = s.outputQueued(p, &sock.Send, buf, now)
			s.sending = nil
		}
		switch {
		case sock.Send.Len() > 0:
			s.enlist(p, sock)
		case sock.Withdrawn:
			sock.Send.Free()
		}
		s.Wakes.Open(sock.Gate, ring.Out)
		if n > 0 {
			return n
		}
	}
	return s.outputFrame(p, buf)
}
