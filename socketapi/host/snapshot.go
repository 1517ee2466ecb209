package host

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"

	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// What a host holds, for people to look at. Everything here is a copy, taken core by core
// with that core's lock, in steps that end soon: packets wait for a step and never for the
// whole. So it is no picture of one moment.

// stepMax is how many places of a table are looked at before a core's lock is let go, if they are
// unused, and as long as a sixteenth of them take that are used. BenchmarkSocketsStep: 3 to
// 30 µs, depending on how busy the machine is: as long as a turn of a full batch.
const stepMax = 512

// Interfaces returns the names of the host's interfaces.
func (h *Host) Interfaces() []string { return slices.Clone(h.names[:h.ports]) }

// nameOf is what people name a port by.
func (h *Host) nameOf(port int) string {
	if port < 0 || port >= len(h.names) {
		return fmt.Sprintf("port %d", port)
	}
	return h.names[port]
}

// Named returns a as people write it: with the name of an interface for its zone, where it has one.
func (h *Host) Named(a netip.Addr) netip.Addr {
	if index, err := strconv.Atoi(a.Zone()); err == nil {
		if port, ok := h.PortOf(index); ok {
			return a.WithZone(h.nameOf(port))
		}
	}
	return a
}

// A Neighbour is one entry of a core's neighbour table.
type Neighbour struct {
	Interface string
	Core      int
	Addr      netip.Addr
	MAC       wire.MAC // zero while it is not known
	State     neigh.State
	Waiting   int // datagrams that wait for it to answer
}

// Neighbours returns the neighbours of all cores, by interface, address and core. Each core
// has a table of its own, so a neighbour can be there several times.
func (h *Host) Neighbours() (list []Neighbour) {
	for _, c := range h.cores {
		c.Lock()
		n := c.Stack.Neigh.Len()
		c.Unlock()
		list = slices.Grow(list, n) // outside of the lock, as far as it can be known
		c.Lock()
		c.Stack.Neigh.All(func(e *neigh.Entry) { // a limited number
			n := Neighbour{Interface: h.nameOf(e.Port), Core: c.Index, Addr: e.Addr, State: e.State(), Waiting: e.Parked.Len()}
			if n.State != neigh.Incomplete {
				n.MAC = e.MAC
			}
			list = append(list, n)
		})
		c.Unlock()
	}
	slices.SortFunc(list, func(a, b Neighbour) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), a.Addr.Compare(b.Addr), cmp.Compare(a.Core, b.Core))
	})
	return list
}

// A Route is one route of the host.
type Route struct {
	route.Route
	Interface string // that Port stands for; "" for a route that leads nowhere
}

// Routes returns the routes in the order in which they are looked at.
func (h *Host) Routes() (list []Route) {
	first := h.cores[0] // they are the same for all
	first.Lock()
	table := first.Stack.Routes
	first.Unlock()
	for _, r := range table.Routes() { // it never changes
		named := Route{Route: r}
		if r.Kind == route.Unicast {
			named.Interface = h.nameOf(r.Port)
		}
		list = append(list, named)
	}
	return list
}

// An Addr is one address of the host.
type Addr struct {
	route.Addr
	Interface string
}

// Addrs returns the host's addresses, interface by interface, those of its loop last.
func (h *Host) Addrs() (list []Addr) {
	first := h.cores[0] // they are the same for all
	for j, name := range h.names {
		first.Lock()
		addrs := first.Stack.Addrs(j)
		first.Unlock()
		for _, a := range addrs { // replaced whole, never changed
			list = append(list, Addr{a, name})
		}
	}
	return list
}

// A Kind of socket is what it takes.
type Kind uint8

const (
	Stream   Kind = iota // a connection, or who waits for some
	Datagram             // datagrams of UDP, or ICMP echo
	Raw                  // packets of an IP protocol
	Packet               // frames of an interface
)

// A Socket is a socket, or a connection that is still there after its program has closed it.
type Socket struct {
	Kind     Kind
	Protocol wire.Protocol
	Local    netip.AddrPort // for ICMP, the port is the identifier
	Remote   netip.AddrPort // not valid: none

	// Of a packet socket, instead of the three above: what it is bound to, "" for all
	// interfaces.
	Interface string
	EtherType wire.EtherType

	// State is that of TCP. As in Linux, a datagram socket that is connected is in
	// tcp.Established, and another in tcp.Closed.
	State tcp.State
	Core  int // that it lives on; -1: all of them
	// RecvQ and SendQ are what waits for the program and for the peer, in bytes, those of
	// datagrams with their overhead. Of a listener, they are the connections that wait to be
	// accepted and its backlog.
	RecvQ, SendQ int
	Dropped      uint64 // datagrams for which there was no room
}

// Sockets returns the sockets of all cores by kind, protocol, state and address, at most so many:
// more says that some were left out. A TCP socket that neither listens nor is connected is no
// core's business, and missing.
func (h *Host) Sockets(most int) (list []Socket, more bool) {
	l := listing{most: most, sole: len(h.cores) == 1, shared: make(map[*ring.Gate]int)}
	for _, c := range h.cores {
		l.streams(c)
		l.datagrams(c, &c.Stack.UDP, func(*udp.Socket) (Kind, wire.Protocol) { return Datagram, wire.ProtoUDP })
		l.datagrams(c, &c.Stack.Ping, func(end *udp.Socket) (Kind, wire.Protocol) {
			if end.Local.Addr().Is4() {
				return Datagram, wire.ProtoICMP
			}
			return Datagram, wire.ProtoICMPv6
		})
		l.datagrams(c, &c.Stack.Raw, func(end *udp.Socket) (Kind, wire.Protocol) { return Raw, wire.Protocol(end.Local.Port()) })
		l.packets(c)
	}
	slices.SortStableFunc(l.list, func(a, b Socket) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Protocol, b.Protocol), cmp.Compare(rank(a.State), rank(b.State)),
			cmp.Compare(a.Local.Port(), b.Local.Port()), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	return l.list, l.more
}

// rank is the order of states: who waits for others first, what is over last.
func rank(s tcp.State) int {
	switch s {
	case tcp.Listen, tcp.Closed:
		return 0
	case tcp.TimeWait:
		return 2
	}
	return 1
}

// A listing is Sockets at work.
type listing struct {
	list   []Socket
	most   int
	more   bool
	sole   bool               // there is one core, so what is on all of them is on that
	shared map[*ring.Gate]int // what is on several cores, by the one gate it has: where it is in list
}

// grow makes room for what a step may find, outside of the lock.
func (l *listing) grow() { l.list = slices.Grow(l.list, min(stepMax, l.most-len(l.list))) }

// add enters a socket, or its end on one more core.
func (l *listing) add(s Socket, gate *ring.Gate) {
	if gate != nil {
		if !l.sole {
			s.Core = -1
		}
		if i, ok := l.shared[gate]; ok {
			l.list[i].join(s)
			return
		}
	}
	if len(l.list) == l.most {
		l.more = true
		return
	}
	if gate != nil {
		l.shared[gate] = len(l.list)
	}
	l.list = append(l.list, s)
}

// join adds the end of one more core. A backlog is the socket's, not the end's.
func (s *Socket) join(end Socket) {
	s.RecvQ += end.RecvQ
	s.Dropped += end.Dropped
	if s.State != tcp.Listen {
		s.SendQ += end.SendQ
	}
}

func (l *listing) datagrams(c *Core, table *udp.Table, what func(*udp.Socket) (Kind, wire.Protocol)) {
	for port := 0; port <= 65535 && !l.more; {
		l.grow()
		c.Lock()
		port = table.Walk(port, stepMax, func(end *udp.Socket) {
			s := socketOf(end, c)
			s.Kind, s.Protocol = what(end)
			l.add(s, end.Gate)
		})
		c.Unlock()
	}
}

// packets lists the packet sockets, which programs have few of.
func (l *listing) packets(c *Core) {
	c.Lock()
	defer c.Unlock()
	c.Stack.PacketSockets(func(end *udp.Socket) {
		s := socketOf(end, c)
		s.Kind, s.EtherType = Packet, end.Link.Type
		if end.Link.Port >= 0 {
			s.Interface = c.host.nameOf(end.Link.Port)
		}
		l.add(s, end.Gate)
	})
}

// socketOf is what all sockets but streams have in common.
func socketOf(end *udp.Socket, c *Core) Socket {
	s := Socket{
		Local: end.Local, Remote: end.Remote, State: tcp.Closed, Core: c.Index,
		RecvQ: end.Recv.Charged(), SendQ: end.Send.Charged(), Dropped: end.Dropped,
	}
	if end.Remote.IsValid() {
		s.State = tcp.Established
	}
	return s
}

func (l *listing) streams(c *Core) {
	for at := (tcp.Cursor{}); !at.Over() && !l.more; {
		l.grow()
		c.Lock()
		at = c.Stack.TCP.Walk(at, stepMax, func(r tcp.Row) {
			l.add(Socket{
				Kind: Stream, Protocol: wire.ProtoTCP, Local: r.Local, Remote: r.Remote, State: r.State, Core: c.Index,
				RecvQ: r.RecvQ, SendQ: r.SendQ,
			}, r.Gate)
		})
		c.Unlock()
	}
}
