package proto

import (
	"cmp"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// tcpConfig is what the core's TCP gets from the stack.
func (s *Stack) tcpConfig(cfg *Config) tcp.Config {
	t := tcp.Config{
		Pool: s.Pool, Wheel: s.wheel, Wakes: s.Wakes, Count: &s.Count,
		Secret: cfg.Secret, Rand: s.rand, Params: cfg.TCP, Lanes: len(s.ports), MSS: s.mss,
		Packet: s.headers, Register: cfg.Register,
	}
	for i := range s.ports {
		if s.ports[i].Loop {
			t.Loop = uint32(i + 1)
		}
	}
	if s.peers != nil {
		t.Miss, t.Claim, t.Disclaim = s.missTCP, s.peers.Claim, s.peers.Disclaim
	}
	return t
}

// mss is the largest segment between two addresses, without header and options (RFC
// 9293 §3.7.1: from the MTU of the link).
func (s *Stack) mss(_, remote netip.Addr) uint16 {
	mtu, ok := s.linkMTU(remote)
	if !ok {
		mtu = packetMax(remote, s.ports[0].MTU)
	}
	return uint16(max(mtu-headerLen(remote)-wire.TCPLen, 0))
}

// headers are those of the segment in Input: of its link, and those of IP and TCP.
func (s *Stack) headers() (link, rest []byte) {
	in := &s.in
	at := 0
	if in.ip[0]>>4 == 4 {
		at = len(in.ip) - len(wire.IPv4(in.ip).Payload())
	} else {
		e := wire.WalkExtensions(wire.IPv6(in.ip))
		at = e.Offset
	}
	h := wire.TCP(in.ip[at:])
	return in.frame[:in.link], in.ip[:at+len(h)-len(h.Payload())]
}

// missTCP hands the packet in Input over to the core that its connection lives on. Where that
// has no room the packet is lost, but it is not taken for one without a connection.
func (s *Stack) missTCP(local, remote netip.AddrPort) bool {
	if s.handedOver {
		return false
	}
	core, ok := s.peers.Owner(local, remote)
	if ok && !s.handOver(core) {
		s.in.lost = true
	}
	return ok
}

// missed is what became of a packet that another core owns.
func (s *Stack) missed() drop.Reason {
	if s.in.lost {
		return drop.HandOverFull
	}
	return drop.None
}

// inputTCP judges a segment's checksum and gives it to TCP.
func (s *Stack) inputTCP(b []byte, pseudo wire.Sum) drop.Reason {
	in := &s.in
	if in.group {
		return drop.TCPNotUnicast // RFC 1122 §4.2.3.10
	}
	h, ok := wire.ParseTCP(b)
	if !ok {
		if wire.FaultTCP(b) == wire.FaultShort {
			return drop.TCPShort
		}
		return drop.TCPOffset
	}
	if !(in.port.TrustUnfinished && wire.Unfinished(h.Checksum(), pseudo)) && h.Check(pseudo) != wire.ChecksumGood {
		return drop.TCPChecksum
	}
	s.TCP.Arrives(uint32(s.via()+1), in.ttl)
	if r := s.TCP.Input(in.dst, in.src, b, wire.ECN(in.tos&3), in.now); r != drop.None {
		return r
	}
	if s.TCP.Progress() {
		s.confirm(in.src, in.now)
	}
	return s.missed()
}

// errorTCP hands an ICMP error to the connection whose segment it quotes, on whichever
// core that is.
func (s *Stack) errorTCP(local, remote netip.AddrPort, seq wire.Seq, q *quote) drop.Reason {
	if s.peers != nil && !s.handedOver {
		if s.missTCP(local, remote) {
			return s.missed()
		}
	}
	if !s.TCP.Hears(local, remote, q.hops) {
		return drop.TCPMinTTL
	}
	believed := false
	if q.redirect.IsValid() {
		if s.TCP.InFlight(local, remote, seq) {
			return s.redirected(q)
		}
	} else if q.err.Errno == unix.EMSGSIZE {
		if mtu, ok := 0, false; s.TCP.InFlight(local, remote, seq) {
			if !udp.Discovery(s.TCP.Lookup(local, remote).Discover()).Believes() {
				return drop.None
			}
			if mtu, ok = s.tooBig(remote.Addr(), q.mtu, q.length, s.in.now); ok {
				believed = s.TCP.TooBig(local, remote, seq, mtu, s.in.now)
			}
		}
	} else {
		if s.TCP.InFlight(local, remote, seq) {
			q.err.To = remote
			s.tellOpening(s.TCP.Lookup(local, remote), q.arrived(&s.in), q.transport)
		}
		believed = s.TCP.Unreachable(local, remote, seq, q.err.Errno, s.in.now)
	}
	if !believed {
		return q.drops.implausible
	}
	return drop.None
}

// openErrorsMax bounds what waits to be read of errors that ended attempts to connect, in bytes with their overhead:
// an attempt ends by its first.
const openErrorsMax = 16 << 10

// tellOpening puts what ends the opening of a connection into its error queue, with as much of the segment as was
// quoted.
func (s *Stack) tellOpening(c *tcp.Conn, e *udp.ExtendedError, segment []byte) {
	if q := c.Telling(); q != nil && !(*udp.ErrQueue)(q.Make(openErrorsMax)).Put(e, segment) {
		s.Count.Count(drop.UDPErrorsFull)
	}
}

// sortTCP puts connections into the lanes of the ports that they leave by.
func (s *Stack) sortTCP(p *port, now mono.Time) {
	for c := s.TCP.Newcomer(); c != nil; c = s.TCP.Newcomer() {
		w, errno := s.pathOf(c, now)
		if errno != 0 {
			s.TCP.Fail(c, errno, now)
			continue
		}
		s.moveTCP(c, p, w.port)
	}
}

// pathOf is the way that a connection's segments take. One that another host opens has none but answers yet.
func (s *Stack) pathOf(c *tcp.Conn, now mono.Time) (*path, unix.Errno) {
	s.answering = c.State() == tcp.SynReceived
	w, errno := s.pathBy(c.Device(), c.Remote().Addr(), now)
	s.answering = false
	return w, errno
}

// moveTCP puts a connection that was met while p was asked into the lane of its port.
func (s *Stack) moveTCP(c *tcp.Conn, p, to *port) {
	s.TCP.Move(c, to.number)
	s.moved = s.moved || to != p
}

// outputTCP writes one segment that leaves by p.
func (s *Stack) outputTCP(p *port, buf []byte, now mono.Time) int {
	s.sortTCP(p, now)
	if n := s.outputReply(p, buf, now); n > 0 {
		return n
	}
	link := p.linkLen()
	for c := s.TCP.Front(p.number); c != nil; c = s.TCP.Front(p.number) {
		w, errno := s.wayOf(c, now)
		switch {
		case errno != 0:
			s.TCP.Fail(c, errno, now)
			continue
		case w.port != p:
			s.moveTCP(c, p, w.port)
			continue
		case !w.resolved(now):
			s.TCP.Park(c)
			s.waiting[w.entry] = append(s.waiting[w.entry], parked{c, c.Epoch()})
			continue
		}
		discover := udp.Discovery(c.Discover())
		mtu, header := w.limit(discover), headerLen(w.dst)
		c.SetPMTU(mtu, now)
		routers := !discover.DF(true) || w.small && discover == udp.DiscoverWant
		n, more := s.outputSegment(c, buf[link+header:link+mtu], s.trainMost(p, routers), now)
		if n == 0 {
			continue
		}
		if more > 0 {
			s.train.At = link + header
		}
		w.putLink(buf, etherTypeOf(w.dst))
		ttl, tos := cmp.Or(c.TTL(), w.ttl), c.TOS()
		if src, dst, ok := c.Addrs4(); ok && !routers {
			wire.PutIPv4Head((*[wire.IPv4Len]byte)(buf[link:]), header+n+more, tos, ttl, wire.ProtoTCP, true, 0, src, dst)
		} else {
			s.putTCP(buf[link:], c.Local().Addr(), w.dst, n+more, ttl, tos, routers)
		}
		return link + header + n
	}
	return s.outputFrame(p, buf) // a question that was asked on the way
}

// wayOf returns the way to a connection's peer. It is remembered with the connection as long as neither
// routes nor addresses change, so that addresses are compared but once.
func (s *Stack) wayOf(c *tcp.Conn, now mono.Time) (*path, unix.Errno) {
	pinned := c.Device() != 0
	if w := &s.paths[c.Way%pathsMax]; w.id == c.Way && w.gen == s.pathGen && !pinned && now.Before(w.until) {
		return w, 0
	}
	w, errno := s.pathOf(c, now)
	if errno != 0 {
		return nil, errno
	}
	if local := c.Local().Addr(); local != w.src && !s.local(local) {
		return nil, unix.ENETUNREACH // taken from the host; it may come back
	}
	if !pinned {
		c.Way = w.id
	}
	return w, 0
}

// putTCP writes the IP header before a segment of n bytes and returns the length of the
// packet. A TTL of 0 is the default. Where routers may have to cut it, it goes without DF.
func (s *Stack) putTCP(b []byte, local, remote netip.Addr, n int, ttl, tos uint8, routers bool) int {
	if ttl == 0 {
		ttl = defaultTTL
	}
	h := header{protocol: wire.ProtoTCP, src: local, dst: remote, ttl: ttl, tos: tos, payload: n}
	switch {
	case remote.Is4() && routers:
		h.routers, h.id = true, uint16(s.idents.Next6())
	case !remote.Is4():
		segment := wire.TCP(b[wire.IPv6Len:])
		h.flow = s.flowLabel(wire.ProtoTCP, netip.AddrPortFrom(local, segment.SrcPort()), netip.AddrPortFrom(remote, segment.DstPort()))
	}
	header, _ := h.put(b)
	return header + n
}

// outputReply writes a segment that belongs to no connection.
func (s *Stack) outputReply(p *port, buf []byte, now mono.Time) int {
	link := p.linkLen()
	for to := s.TCP.ReplyTo(); to.IsValid(); to = s.TCP.ReplyTo() {
		n, local, remote := s.TCP.Reply(buf[link+headerLen(to):], now)
		n = s.putTCP(buf[link:], local, remote, n, 0, 0, false)
		w, errno := s.pathBack(remote, now)
		if errno == 0 && w.port == p && w.resolved(now) {
			w.putLink(buf, etherTypeOf(remote))
			return link + n
		}
		s.moved = true
		if r := s.post(remote, buf[link:link+n], now); r != drop.None {
			s.Count.Count(r)
		}
	}
	return 0
}

// unparkTCP lets the connections go that waited for a neighbour.
func (s *Stack) unparkTCP(e *neigh.Entry) {
	for _, w := range s.waiting[e] {
		if w.live() {
			s.TCP.Unpark(w.c)
		}
	}
	delete(s.waiting, e)
}

// parked is a connection that waits for a neighbour. It may end meanwhile, and its slot
// become another.
type parked struct {
	c     *tcp.Conn
	epoch uint32
}

func (w *parked) live() bool { return w.c.Epoch() == w.epoch }

// failTCP tells the connections that waited for a neighbour, and have no other way, that it does not
// answer. Their timers have them ask again.
func (s *Stack) failTCP(e *neigh.Entry, now mono.Time) {
	waiting := s.waiting[e]
	delete(s.waiting, e)
	for _, w := range waiting {
		switch {
		case !w.live():
		case s.detour(e, w.c.Remote().Addr(), w.c.Device()):
			s.TCP.Unpark(w.c)
		default:
			e := noAnswer(w.c.Remote(), w.c.Local().Addr(), now)
			s.tellOpening(w.c, &e, nil) // its segment waits in the connection, and is not made
			s.TCP.Fail(w.c, e.Errno, now)
		}
	}
}

// busyTCP says whether a connection still has to hear that its last data and FIN have
// arrived: in every state that a close leads to, but those where it has.
func (s *Stack) busyTCP() bool {
	t := s.TCP
	return t.Replies() || t.Deadline() != mono.Never || t.Count(tcp.FinWait1)+t.Count(tcp.Closing)+t.Count(tcp.LastAck) > 0
}
