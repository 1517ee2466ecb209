package proto

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: Documentation/networking/timestamping.rst of Linux, §1.3, §2.1; __skb_tstamp_tx in
// net/core/skbuff.c.

// stamp tells a socket when a datagram of its was written into a frame: that is when it is given to the interface
// (SCM_TSTAMP_SCHED) and when it is sent (SCM_TSTAMP_SND), as there is no queue between the two. Of one that leaves in
// fragments it is the first. Where the frame is told, the offender of an IPv6 one is its source, as on Linux.
func (s *Stack) stamp(sock *udp.Socket, what udp.Stamp, key uint32, from netip.Addr, frame []byte, now mono.Time) {
	e := udp.ExtendedError{Errno: unix.ENOMSG, Origin: udp.OriginStamp, Data: key, Time: now}
	switch {
	case what&udp.StampOnly != 0:
		frame = nil
	case from.Is6():
		e.Offender = from
	}
	for _, kind := range [...]struct {
		bit  udp.Stamp
		info uint32
	}{{udp.StampScheduled, unix.SCM_TSTAMP_SCHED}, {udp.StampSent, unix.SCM_TSTAMP_SND}} {
		if what&kind.bit == 0 {
			continue
		}
		if e.Info = kind.info; !sock.Errors.Put(&e, frame) {
			s.Count.Count(drop.StampsFull)
		}
	}
	s.Wakes.Open(sock.Gate, ring.Err)
}

// stampTaken is stamp for the datagram that take has taken, by its record. The one whose socket it was and which
// waited for a neighbour is found by its addresses, unless it is a raw socket's, of which several may have them.
func (s *Stack) stampTaken(frame []byte, now mono.Time) {
	m := &s.record
	sock := s.sending
	if sock == nil && m.Iface&rawRecord == 0 {
		sock = s.senderOf(m)
	}
	if sock != nil {
		s.stamp(sock, udp.Stamp(m.TOS), uint32(m.Time>>32), m.From.Addr(), frame, now)
	}
}

// senderOf is the socket that has sent a datagram, nil if it is gone.
func (s *Stack) senderOf(m *ring.Datagram) *udp.Socket {
	switch wire.Protocol(m.Iface) {
	case wire.ProtoUDP:
		return s.UDP.Lookup(m.From, m.To)
	case wire.ProtoICMP, wire.ProtoICMPv6:
		return s.Ping.Lookup(m.From, m.To)
	}
	return nil
}
