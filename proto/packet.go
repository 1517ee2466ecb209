package proto

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: packet(7).
//
// A packet socket has a copy of what comes in before anybody judges it, and of what goes
// out as it leaves. A stack that has none pays for one comparison a frame. What a socket
// has no room for it counts, and loses: the frame goes its way all the same.

// AddPacketSocket lets a socket with a Link see frames.
func (s *Stack) AddPacketSocket(sock *udp.Socket) { s.taps = append(s.taps, sock) }

// PacketSockets calls f for each packet socket.
func (s *Stack) PacketSockets(f func(*udp.Socket)) {
	for _, sock := range s.taps {
		f(sock)
	}
}

// RemovePacketSocket ends that. It does nothing if it has not begun.
func (s *Stack) RemovePacketSocket(sock *udp.Socket) {
	if i := slices.Index(s.taps, sock); i >= 0 {
		s.taps = slices.Delete(s.taps, i, i+1)
	}
}

// tapInput shows a frame that came in to the packet sockets. One that another core has handed
// over was seen there.
func (s *Stack) tapInput(p *port, frame []byte, now mono.Time) {
	if s.handedOver {
		return
	}
	if p.RawIP {
		s.tap(p, frame, udp.PacketHost, nil, udp.Tag{}, now)
		return
	}
	eth, ok := wire.ParseEthernet(frame)
	if !ok {
		return
	}
	kind := uint8(udp.PacketOtherHost)
	switch dst := eth.Dst(); {
	case dst == p.MAC:
		kind = udp.PacketHost
	case dst == wire.Broadcast:
		kind = udp.PacketBroadcast
	case dst.IsMulticast():
		kind = udp.PacketMulticast
	}
	typ := eth.Type()
	if (typ != wire.EtherTypeVLAN && typ != wire.EtherTypeQinQ) || len(frame) < wire.EthernetLen+wire.VLANLen {
		s.tap(p, frame, kind, nil, udp.Tag{}, now)
		return
	}
	// The outer tag is told beside the frame, as Linux does, which takes it off first (skb_vlan_untag).
	const macs = 2 * len(wire.MAC{})
	head := [macs + wire.VLANLen]byte(frame)
	copy(frame[wire.VLANLen:], head[:macs])
	s.tap(p, frame[wire.VLANLen:], kind, nil, udp.Tag{Type: typ, TCI: binary.BigEndian.Uint16(head[macs+2:])}, now)
	copy(frame, head[:])
}

// tap queues a frame, which a tag was taken off or is still to be put into, at every packet socket that
// wants it but the one it is from.
func (s *Stack) tap(p *port, frame []byte, kind uint8, from *udp.Socket, tag udp.Tag, now mono.Time) {
	typ, src := etherTypeOfRaw(frame), [16]byte{}
	if !p.RawIP {
		eth := wire.Ethernet(frame)
		mac := eth.Src()
		typ = eth.Type()
		copy(src[:], mac[:])
	}
	r := &s.record
	*r = ring.Datagram{
		From:  netip.AddrPortFrom(netip.AddrFrom16(src), uint16(typ)),
		Iface: uint32(p.number), Time: int64(now), TTL: kind, To: tag.Record(),
	}
	for _, sock := range s.taps {
		if sock == from || !sock.Link.Wants(p.number, typ, kind, tag != udp.Tag{}) {
			continue
		}
		b := frame
		if sock.Link.Cooked {
			b = frame[p.linkLen():]
		}
		sock.Deliver(r, b, s.Wakes)
	}
}

// etherTypeOfRaw is the EtherType of a packet on a link without headers.
func etherTypeOfRaw(ip []byte) wire.EtherType {
	switch {
	case len(ip) > 0 && ip[0]>>4 == 4:
		return wire.EtherTypeIPv4
	case len(ip) > 0 && ip[0]>>4 == 6:
		return wire.EtherTypeIPv6
	}
	return 0
}

// A LinkMessage is what a packet socket sends.
type LinkMessage struct {
	Port    int            // to leave by
	To      wire.MAC       // Cooked: whom to
	Type    wire.EtherType // Cooked: of the payload
	Payload []byte         // the frame; Cooked: what comes behind its header
}

// OfferFrame is Offer for a packet socket. It is EINVAL if the frame is shorter than its header,
// EMSGSIZE if it is longer than the link takes.
func (s *Stack) OfferFrame(sock *udp.Socket, m *LinkMessage) (port int, errno unix.Errno) {
	p := &s.ports[m.Port]
	d := &s.direct
	d.port, d.path, d.sock, d.payload, d.rest, d.linkLen, d.back = p, nil, sock, m.Payload, nil, 0, false
	d.to = uint16(m.Port)
	d.ip.src, d.ip.dst = netip.Addr{}, netip.Addr{}
	most := p.MTU
	switch link := p.linkLen(); {
	case sock.Link.Cooked && link > 0:
		d.linkLen = wire.PutEthernet(d.link[:], m.To, p.MAC, m.Type)
	case !sock.Link.Cooked:
		most += link
		if len(m.Payload) < link {
			return -1, unix.EINVAL
		}
	}
	if len(m.Payload) > most {
		return -1, unix.EMSGSIZE
	}
	if sock.Send.Len() > 0 { // behind what waits already
		return -1, s.queue(d)
	}
	d.offered = true
	return m.Port, 0
}

// putFrame writes the frame of a packet socket.
func (d *direct) putFrame(b []byte) int {
	n := copy(b, d.link[:d.linkLen])
	return n + copy(b[n:], d.payload)
}

// outputFrameOf writes the oldest frame of a packet socket, if it is to leave by p. One that
// leaves by another port goes there.
func (s *Stack) outputFrameOf(p *port, sock *udp.Socket, buf []byte) int {
	n, _ := sock.Send.Get(&s.record, buf, false)
	to := &s.ports[s.record.To.Port()]
	switch {
	case n < s.record.Len:
		s.Count.Count(drop.TooBig)
		return 0
	case to != p:
		s.moved = true
		if !to.frames.Put(&s.record, buf[:n]) {
			s.Count.Count(drop.OutboxFull)
		}
		return 0
	}
	return n
}
