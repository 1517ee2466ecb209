package proto

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// path is the way to one destination: what routes, addresses and neighbours have
// to say about it, remembered until one of them changes.
type path struct {
	dst   netip.Addr
	gen   uint32     // pathGen when this was found out
	id    uint64     // of no other path that was found before or after; modulo pathsMax its place
	port  *port      // to leave by
	src   netip.Addr // ours, unless the socket has its own
	mtu   int
	ttl   uint8        // or hop limit, of packets that have none of their own
	group bool         // dst is one
	entry *neigh.Entry // the next hop; nil where mac is known without asking
	mac   wire.MAC     // of a group, or everyone
	until mono.Time    // when mtu is to be found out anew
	small bool         // the path is of less than mtu: packets leave without DF
}

// path returns the way to dst. The neighbour may yet be unresolved: resolved asks.
func (s *Stack) path(dst netip.Addr, now mono.Time) (*path, unix.Errno) {
	slot := s.pathSlot(dst)
	w := &s.paths[slot]
	if w.gen == s.pathGen && w.dst == dst && now.Before(w.until) {
		return w, 0
	}
	if len(s.silent) > 0 {
		s.askSilent(now)
	}
	gen := s.pathGen
	found, errno := s.findPath(dst, now)
	if errno != 0 {
		return nil, errno
	}
	// Finding it may have pushed a neighbour out of the table, which voids all paths,
	// this one excepted: it was looked up after that.
	if s.pathGen != gen && found.entry != nil && found.entry.State() == neigh.Failed {
		return nil, unix.ENOBUFS
	}
	s.pathsFound++
	found.gen, found.id = s.pathGen, s.pathsFound*pathsMax+slot
	found.reduce(s.mtus, now)
	if len(s.silent) > 0 { // one that is asked for may answer, and one whose time has come is asked for
		found.until = min(found.until, now.Add(silentInterval))
	}
	*w = found
	return w, 0
}

// pathSlot is a destination's place among the paths: the high bits of a product, 10 of them
// for pathsMax.
func (s *Stack) pathSlot(dst netip.Addr) uint64 {
	if dst.Is4() {
		a := dst.As4()
		return uint64(binary.LittleEndian.Uint32(a[:])) * s.pathSeed >> (64 - 10)
	}
	a := dst.As16()
	h := binary.LittleEndian.Uint64(a[8:]) ^ binary.LittleEndian.Uint64(a[:8])*0x9e3779b97f4a7c15
	h = (h ^ h>>32) * s.pathSeed
	return h >> (64 - 10)
}

func (s *Stack) findPath(dst netip.Addr, now mono.Time) (path, unix.Errno) {
	if s.local(dst) {
		return s.loopPath(dst)
	}
	r, ok := s.route(dst)
	if !ok {
		return path{}, unix.ENETUNREACH
	}
	return s.pathOver(&r, dst, now)
}

// pathOver is the way to dst by a route.
func (s *Stack) pathOver(r *route.Route, dst netip.Addr, now mono.Time) (path, unix.Errno) {
	switch {
	case r.Kind == route.Blackhole:
		return path{}, unix.EINVAL
	case r.Kind == route.Unreachable:
		return path{}, unix.EHOSTUNREACH
	case r.Kind == route.Prohibit:
		return path{}, unix.EACCES
	}
	p := &s.ports[r.Port]
	w := path{dst: dst, port: p, src: r.Source, mtu: packetMax(dst, p.MTU), ttl: defaultTTL}
	if r.MTU > 0 {
		w.mtu = min(w.mtu, r.MTU)
	}
	if !dst.Is4() {
		w.mtu = min(w.mtu, cmp.Or(p.mtu6, w.mtu))
		w.ttl = cmp.Or(p.hopLimit, defaultTTL)
	}
	if dst.IsMulticast() {
		w.group, w.ttl = true, multicastTTL
	}
	hop := p.scoped(r.Hop(dst))
	if !w.src.IsValid() {
		w.src = s.source(p, dst, hop)
	}
	switch {
	case !w.src.IsValid():
		return path{}, unix.EADDRNOTAVAIL
	case p.RawIP:
	case w.group:
		w.mac = wire.MulticastMAC(dst)
	case p.broadcast4(dst):
		w.mac = wire.Broadcast
	default:
		if w.entry = s.want(p, hop, now); w.entry == nil {
			return path{}, unix.ENOBUFS
		}
	}
	return w, 0
}

// want returns the entry of a neighbour, nil if there is no room for one more that may not exist.
func (s *Stack) want(p *port, hop netip.Addr, now mono.Time) *neigh.Entry {
	if s.answering {
		return s.Neigh.WantToAnswer(p.number, hop, now)
	}
	return s.Neigh.Want(p.number, hop, now)
}

// pathBack is path for an answer to who says that he is dst.
func (s *Stack) pathBack(dst netip.Addr, now mono.Time) (w *path, errno unix.Errno) {
	s.answering = true
	w, errno = s.path(dst, now)
	s.answering = false
	return w, errno
}

// route returns the route to dst. The port of one that is Unicast exists.
func (s *Stack) route(dst netip.Addr) (route.Route, bool) {
	if dst.Is4In6() {
		return route.Route{}, false // means IPv4, and never stands in a packet (RFC 4038 §4.2)
	}
	if !dst.Is4() && (dst.IsLinkLocalUnicast() || dst.IsLinkLocalMulticast()) {
		p, ok := s.zonePort(dst.Zone())
		return route.Route{Port: p}, ok
	}
	if r, ok := s.Routes.Choose(dst, s.flowKey[0]); ok {
		r = s.answeringRoute(r, dst, -1)
		return *r, r.Kind != route.Throw && (r.Kind != route.Unicast || r.Port >= 0 && r.Port < len(s.ports))
	}
	// Groups, and everyone, are on the first port, where no route says otherwise.
	return route.Route{}, (dst == limitedBroadcast || dst.IsMulticast()) && len(s.ports) > 0
}

// zonePort returns the port of a zone, and for no zone the first that has IPv6 (RFC 4007 §6: the
// default zone).
func (s *Stack) zonePort(zone string) (int, bool) {
	for i := range s.ports {
		p := &s.ports[i]
		if zone == p.zone {
			return i, true
		}
		if zone == "" && slices.ContainsFunc(p.own, netip.Addr.Is6) {
			return i, true
		}
	}
	return 0, false
}

// pathBy is path for a packet that has to leave by a port, counted from 1; 0 is any. The way is
// valid until the next call.
func (s *Stack) pathBy(port uint32, dst netip.Addr, now mono.Time) (*path, unix.Errno) {
	if port == 0 {
		return s.path(dst, now)
	}
	if dst.Is6() && dst.Zone() == "" {
		dst = s.ports[port-1].scoped(dst)
	}
	if w, errno := s.path(dst, now); errno == 0 && (w.port.number == int(port-1) || w.port.Loop) {
		return w, 0
	}
	w, errno := s.pathOver(s.routeOver(int(port-1), dst), dst, now)
	if errno == 0 {
		w.reduce(s.mtus, now)
	}
	s.pinned = w
	return &s.pinned, errno
}

// OnLink says whether a destination is reached without a router, over any port or one counted from 1 (MSG_DONTROUTE).
func (s *Stack) OnLink(port uint32, dst netip.Addr, now mono.Time) bool {
	w, errno := s.pathBy(port, dst, now)
	return errno == 0 && w.onLink()
}

// onLink says whether there is no router on the way.
func (w *path) onLink() bool { return w.entry == nil || w.entry.Addr == w.dst }

// Hops returns the TTL or hop limit of packets to a destination that say none, over any port or one counted from 1; 0 where there is no
// way, or it is a group.
func (s *Stack) Hops(port uint32, dst netip.Addr, now mono.Time) uint8 {
	w, errno := s.pathBy(port, dst, now)
	if errno != 0 || w.group {
		return 0
	}
	return w.ttl
}

// loopPath is the way to ourselves, from the address that is asked for.
func (s *Stack) loopPath(dst netip.Addr) (path, unix.Errno) {
	if s.loop == nil {
		return path{}, unix.ENETUNREACH
	}
	w := path{dst: dst, port: s.loop, src: dst, mtu: packetMax(dst, s.loop.MTU), ttl: defaultTTL}
	if dst.IsLoopback() && dst.Is4() {
		w.src = loopback4
	}
	return w, 0
}

// loopback4 is whom packets to 127.0.0.0/8 come from.
var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// packetMax is the longest packet to dst on a link of an MTU: the length field of IPv4 has 16 bits and
// counts the header.
func packetMax(dst netip.Addr, mtu int) int {
	if dst.Is4() {
		return min(mtu, 65535)
	}
	return mtu
}

// source chooses the address that packets to dst leave p with, over hop.
func (s *Stack) source(p *port, dst, hop netip.Addr) netip.Addr {
	a, of, ok := route.Source(dst, hop, p.number, s.addrs, false)
	if !ok {
		return netip.Addr{}
	}
	return s.ports[of].scoped(a)
}

// sourceOn is source among the addresses of p's own link, which is where questions of the link
// come from.
func (s *Stack) sourceOn(p *port, dst netip.Addr) netip.Addr {
	a, _, _ := route.Source(dst, dst, p.number, s.addrs, true)
	return p.scoped(a)
}

// resolved says whether a packet can leave by w now, and if not it begins to
// find out where to.
func (w *path) resolved(now mono.Time) bool {
	if w.entry == nil {
		return true
	}
	if w.entry.State() == neigh.Incomplete {
		return false
	}
	w.entry.Use(now)
	return true
}

// confirm says that packets to dst arrive: the neighbour that they are handed to is there (RFC 4861
// §7.3.1).
func (s *Stack) confirm(dst netip.Addr, now mono.Time) {
	w := &s.paths[s.pathSlot(dst)]
	if w.gen == s.pathGen && w.dst == dst && w.entry != nil {
		w.entry.Confirm(now)
	}
}

// putLink writes the link header of a packet that leaves by w and returns its length.
// w is resolved.
func (w *path) putLink(buf []byte, etherType wire.EtherType) int {
	if w.port.RawIP {
		return 0
	}
	mac := &w.mac
	if w.entry != nil {
		mac = &w.entry.MAC
	}
	h := buf[:wire.EthernetLen]
	copy(h[0:6], mac[:])
	copy(h[6:12], w.port.MAC[:])
	wire.Ethernet(h).SetType(etherType)
	return wire.EthernetLen
}

// linkLen is the length of the link header of a port's frames.
func (p *port) linkLen() int {
	if p.RawIP {
		return 0
	}
	return wire.EthernetLen
}

// etherTypeOf is the EtherType of packets to a.
func etherTypeOf(a netip.Addr) wire.EtherType {
	if a.Is4() {
		return wire.EtherTypeIPv4
	}
	return wire.EtherTypeIPv6
}

// Source returns the address that packets to dst leave with, of a socket that is bound to local: that
// one, or the host's choice where it is unspecified or not valid. by is the port that they leave by,
// counted from 1; 0: any. The errors are those of connect(2).
func (s *Stack) Source(by uint32, local, dst netip.Addr, now mono.Time) (netip.Addr, unix.Errno) {
	w, errno := s.pathBy(by, dst, now)
	if errno != 0 {
		return netip.Addr{}, errno
	}
	return s.from(w, local)
}

// from is the source of a packet that leaves by w, of a socket that is bound to local, which may have
// been taken from the host since.
func (s *Stack) from(w *path, local netip.Addr) (netip.Addr, unix.Errno) {
	switch {
	case local == w.src || !local.IsValid() || local.IsUnspecified():
		return w.src, 0
	case local.Is4() && w.dst.Is6():
		return netip.Addr{}, unix.EAFNOSUPPORT // Linux: ip6_dst_lookup_tail
	case local.IsMulticast(), w.port.broadcast4(local):
		return w.src, 0
	case local.Is6() && w.dst.Is4():
		return netip.Addr{}, unix.ENETUNREACH
	case local.IsLoopback() && !w.port.Loop:
		return netip.Addr{}, unix.EINVAL // such a source never leaves a host (Linux: ip_route_output_key)
	case local.Is4() && !s.local(local):
		return netip.Addr{}, unix.ENETUNREACH // Linux likewise for IPv4; over IPv6 it sends all the same
	}
	return local, 0
}
