package proto

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 5927 §4 (what to believe); RFC 1122 §3.2.2, RFC 4443 §2.4 (d) (whom to tell);
// udp_err in net/ipv4/udp.c, ping_err in net/ipv4/ping.c.

// quote is what an ICMP error of either family says about a packet of ours.
type quote struct {
	protocol      wire.Protocol
	local, remote netip.Addr
	length        int               // of that packet
	hops          uint8             // that packet had left over IPv4, and over IPv6 the error itself has: see tcp.Hears
	transport     []byte            // from the transport header on, as far as it is quoted
	err           udp.ExtendedError // what the message itself says
	hard          bool              // it does not pass by itself
	mtu           int               // of the next hop, with EMSGSIZE
	drops         *quoteDrops
	redirect      netip.Addr // the gateway of a redirect, which is no error; not valid: it is none
}

// quoteDrops are the reasons of a family for not believing an error.
type quoteDrops struct{ short, unknown, implausible drop.Reason }

var (
	quoteDrops4 = quoteDrops{drop.ICMP4QuoteShort, drop.ICMP4QuoteUnknown, drop.ICMP4QuoteImplausible}
	quoteDrops6 = quoteDrops{drop.ICMP6QuoteShort, drop.ICMP6QuoteUnknown, drop.ICMP6QuoteImplausible}
)

// quotedLeast is how many bytes behind the IP header a raw socket wants to see of its packet (RFC 792; Linux:
// icmp_socket_deliver, icmpv6_notify).
const quotedLeast = 8

// inputQuote hands an ICMP error to the sockets that may have sent the packet it quotes. It is believed
// if there is one.
func (s *Stack) inputQuote(q *quote) drop.Reason {
	if !s.in.port.Loop && s.local(q.remote) {
		return q.drops.unknown // what goes to ourselves meets no router
	}
	if q.redirect.IsValid() {
		return s.inputQuoted(q) // that a raw socket is open says nothing of what was sent
	}
	raw := len(q.transport) >= quotedLeast && s.errorRaw(q)
	if r := s.inputQuoted(q); r != q.drops.unknown || !raw {
		return r
	}
	return drop.None
}

// inputQuoted hands an ICMP error to the socket of its protocol.
func (s *Stack) inputQuoted(q *quote) drop.Reason {
	switch q.protocol {
	case wire.ProtoUDP:
		h, ok := wire.ParseQuotedUDP(q.transport)
		if !ok {
			return q.drops.short
		}
		q.err.To = netip.AddrPortFrom(q.remote, h.DstPort())
		return s.reportError(s.UDP.Lookup(netip.AddrPortFrom(q.local, h.SrcPort()), q.err.To), q, q.transport[wire.UDPLen:])
	case wire.ProtoICMP, wire.ProtoICMPv6:
		if len(q.transport) < wire.ICMP4Len {
			return q.drops.short
		}
		// Errors about errors are none, so it was a request of a ping socket, or our reply to one.
		echo, ok := quotedEcho(q.protocol, q.transport)
		if !ok {
			return s.errorReply(q)
		}
		q.err.To = netip.AddrPortFrom(q.remote, 0)
		return s.reportError(s.Ping.Lookup(netip.AddrPortFrom(q.local, echo), q.err.To), q, q.transport)
	case wire.ProtoTCP:
		src, dst, seq, ok := wire.ParseQuotedTCP(q.transport)
		if !ok {
			return q.drops.short
		}
		return s.errorTCP(netip.AddrPortFrom(q.local, src), netip.AddrPortFrom(q.remote, dst), seq, q)
	}
	return q.drops.unknown
}

// quotedEcho is the identifier of a quoted echo request.
func quotedEcho(p wire.Protocol, message []byte) (ident uint16, ok bool) {
	if p == wire.ProtoICMP {
		h := wire.ICMP4(message)
		return h.Ident(), h.Type() == wire.ICMP4Echo
	}
	h := wire.ICMP6(message)
	return h.Ident(), h.Type() == wire.ICMP6Echo
}

// errorReply takes an error about an echo reply, which says something to nobody but that the path is
// narrow. Over IPv4 routers cut it; over IPv6 nothing is left but to believe them: who is
// lied to sends packets of 1280 bytes for a while.
func (s *Stack) errorReply(q *quote) drop.Reason {
	if q.err.Errno != unix.EMSGSIZE || q.protocol != wire.ProtoICMPv6 || wire.ICMP6(q.transport).Type() != wire.ICMP6EchoReply {
		return q.drops.unknown
	}
	if _, ok := s.tooBig(q.remote, q.mtu, q.length, s.in.now); !ok {
		return q.drops.implausible
	}
	return drop.None
}

// reportError tells a datagram socket, if there is one, what a packet of its met.
func (s *Stack) reportError(sock *udp.Socket, q *quote, data []byte) drop.Reason {
	if sock == nil {
		return q.drops.unknown
	}
	in := &s.in
	if q.redirect.IsValid() {
		return s.redirected(q)
	}
	if q.err.Errno == unix.EMSGSIZE {
		discover := sock.DiscoveryTo(q.remote)
		if discover.Believes() {
			if _, ok := s.tooBig(q.remote, q.mtu, q.length, in.now); !ok {
				return q.drops.implausible
			}
		} else if !q.remote.Is4() {
			return drop.None // as Linux has it, for this family alone
		}
		if discover == udp.DiscoverDont && q.remote.Is4() {
			return drop.None // routers cut its packets: this one is lost, and says nothing of the next
		}
		q.hard = discover != udp.DiscoverDont // what is too long now will be so again
	}
	return sock.Report(q.arrived(in), q.hard, data, s.Wakes)
}

// arrived is the error with what the packet says that brought it.
func (q *quote) arrived(in *packet) *udp.ExtendedError {
	q.err.Offender, q.err.Iface, q.err.Time = in.src, uint32(in.port.number), in.now
	q.err.TTL, q.err.TOS = in.ttl, in.tos
	return &q.err
}
