package proto

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"strconv"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/siphash"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// PortConfig is one link of the stack.
type PortConfig struct {
	MAC   wire.MAC
	MTU   int  // bytes of an IP packet
	RawIP bool // frames have no link header (TUN)

	// Index is the interface's, which is the zone of the link-local addresses on its link
	// (RFC 4007 §6): fe80::1%Index. 0 stands for the number of the port plus one. No two ports have the same.
	Index uint32

	// VLAN is the 802.1Q VLAN whose frames this port has, and Over the number of the port that carries
	// them, tagged. 0: the port has a link of its own. Over has the same MAC and a VLAN of 0; its
	// frames have room for the tag beside the MTU.
	VLAN uint16
	Over int

	// Loop is the port by which packets to our own addresses and to the loopback addresses go and
	// come back, of which a stack has one at most. It has no addresses of its own and is RawIP.
	Loop bool

	// Trains is how many bytes of payload a packet may have that the link cuts into segments by itself
	// (GSO). 0: packets leave as they are. It is 0 on a port with a VLAN of its own and where RawIP is set.
	Trains int

	// Resolve asks another stack, which has the port's addresses too, for a neighbour's MAC address: this one speaks no
	// ARP and no NDP there, and announces nothing. What it is told comes by [Stack.Neigh]. It is called with
	// the core's lock held, again for as long as there is no answer. nil: the stack is the only one there.
	Resolve func(neighbour netip.Addr)

	// TrustUnfinished takes a transport checksum that the sender left to hardware as
	// good. It is for links whose other end is a kernel of this machine (veth, TAP): such
	// a frame has not been on a wire. On a real NIC it would let damage through.
	TrustUnfinished bool
}

// Config is what a stack is made of.
type Config struct {
	Ports  []PortConfig
	Start  mono.Time // the time now: timers count from here
	Seed   [2]uint64 // of all that looks random: ports, sequence numbers, jitter
	Secret [16]byte  // key of the initial sequence numbers and of hashing, one for all cores
	Memory int       // bytes that sockets may queue; 0: memoryMax
	Peers  Peers     // the other cores; nil: there are none
	Core   int       // number of this one, of Cores
	Cores  int       // 0: 1
	TCP    tcp.Params

	Register tcp.Register // of the ports that connections hold; nil: nobody keeps one
}

// Peers are the other cores of a host, and what they share.
type Peers interface {
	// Owner returns the core of a connection, if that is another one.
	Owner(local, remote netip.AddrPort) (core int, ok bool)
	// Claim makes this core the owner of a connection that does not exist yet. It is
	// false if another core was faster.
	Claim(local, remote netip.AddrPort) bool
	// Disclaim ends what Claim began.
	Disclaim(local, remote netip.AddrPort)
	// HandOver copies a frame to another core. It is false if that core has no room.
	HandOver(core, port int, frame []byte) bool
	// Sighted tells the others of a neighbour.
	Sighted(neigh.Sighting)
	// Redirected tells AutoconfCore where a router has redirected what goes to dst over IPv4.
	Redirected(port int, from, dst, gateway netip.Addr)
	// MayReport takes the host's right to send one ICMP error to dst.
	MayReport(dst netip.Addr, now mono.Time) bool
	// PathMTU tells the others what a router has said of a path.
	PathMTU(dst netip.Addr, p ip.PathMTU)
}

// A Stack is the protocols of one core.
type Stack struct {
	Count  drop.Counters // packets that came in, by what became of them
	Wakes  *ring.Wakes   // gates with news
	Pool   *ring.Pool    // memory of queues
	UDP    udp.Table
	Ping   udp.Table // sockets of ICMP echo, by identifier
	Raw    udp.Table // raw sockets, by protocol
	TCP    *tcp.TCP
	Neigh  *neigh.Table
	Groups *group.Table
	Routes *route.Table // replaced by SetRoutes

	ports []port
	addrs [][]route.Addr // by port, with those that are not usable
	own   own            // those that are, of all ports
	wheel *timer.Wheel
	rand  *rand.Rand
	peers Peers
	core  int
	loop  *port // of ports; nil: packets to ourselves have no way
	moved bool  // Output has left something to a port that may have been asked before in this turn

	paths      []path // by hash of the destination
	pathSeed   uint64
	pathsFound uint64    // how many there have been
	flowKey    [2]uint64 // of flow labels, the same on all cores
	pinned     path      // of a packet that has to leave by another port than routes say
	answering  bool      // the path that is looked for is of an answer
	pathGen    uint32    // of routes, addresses and neighbour entries; a path of another generation is void

	params Params
	silent []hop // those that routes name and that do not answer, longest first

	in      packet                    // the packet that Input is looking at
	sending *udp.Socket               // whose queue Output is at, nil: none's
	waiting map[*neigh.Entry][]parked // connections by the neighbour that they wait for

	taps      []*udp.Socket // packet sockets
	gathering []*udp.Socket // those that hold what the batch in Input has brought them: see Gathered
	tapped    *udp.Socket   // the one whose frame Output is writing
	direct    direct        // the datagram that Offer has offered
	train     Train         // the last that Output has written the headers of
	begun     bool          // it is what Output has written last
	record    ring.Datagram
	ndp       wire.NDPOptions // of the message in Input
	// handedOver says that the packet in Input has been handed over once: it is answered
	// here, whatever the directory says now.
	handedOver bool
	scratch    []byte // one packet under construction: room for the longest there is, as a frame

	cores      int         // of how many this is one
	key        siphash.Key // of fragments, paths and identifications, the same on all cores
	reassembly *ip.Reassembly
	mtus       *ip.PathMTUs
	idents     *ip.Idents
	icmp       *ip.Limit // the right to send ICMP errors, of which the other cores use a part
}

// port is one link and what waits to leave by it.
type port struct {
	PortConfig
	MTU       int // bytes of an IP packet now: see SetMTU. PortConfig's is that of New
	number    int
	zone      string       // of link-local addresses: Index in decimal
	own       []netip.Addr // those of the stack's addrs that are usable, with their zones
	directed  []uint32     // broadcast addresses of the links of own
	solicited []netip.Addr // solicited-node groups that are joined
	linkLocal netip.Addr   // of own; not valid: there is none
	tentative []netip.Addr // those that are about to be its own: what is said of them is heard; without zones
	conf      *Autoconf    // nil but on AutoconfCore
	mtu6      int          // of IPv6 packets, as routers say; 0: MTU
	hopLimit  uint8        // as routers say; 0: defaultTTL

	frames   ring.Datagrams // whole frames: ARP
	packets  ring.Datagrams // IP packets of the stack's own, To says whom they are for
	resolved []*neigh.Entry // neighbours whose parked datagrams can go
	over     *port          // that carries the port's frames, with a VLAN's tag; nil: it does itself
	vlans    []*port        // those that it carries
	asked    int            // which of itself and vlans Output asks first
	ready    *udp.Socket    // sockets with something in Send for this port, a queue
	readyEnd **udp.Socket
	cutting  cutting // a packet that leaves in fragments
	turn     bool    // sockets were asked last, so connections are next
}

// New returns a stack without addresses and routes.
func New(cfg Config) *Stack {
	if cfg.Memory == 0 {
		cfg.Memory = memoryMax
	}
	s := &Stack{
		Wakes:   new(ring.Wakes),
		Pool:    ring.NewPool(cfg.Memory),
		Routes:  route.New(nil),
		ports:   make([]port, len(cfg.Ports)),
		addrs:   make([][]route.Addr, len(cfg.Ports)),
		wheel:   timer.New(cfg.Start),
		rand:    rand.New(rand.NewPCG(cfg.Seed[0], cfg.Seed[1])),
		peers:   cfg.Peers,
		paths:   make([]path, pathsMax),
		waiting: make(map[*neigh.Entry][]parked),
		core:    cfg.Core,
		cores:   max(cfg.Cores, 1),
		key:     siphash.New(cfg.Secret),
	}
	s.pathSeed = s.rand.Uint64() | 1
	s.pathGen = 1
	s.UDP.Seed = s.pathSeed * 0x9e3779b97f4a7c15
	s.flowKey = [2]uint64{binary.LittleEndian.Uint64(cfg.Secret[:]), binary.LittleEndian.Uint64(cfg.Secret[8:])}
	own := ring.NewPool(ownMemory + 2*len(s.ports)*outboxMax)
	for i := range s.ports {
		p := &s.ports[i]
		p.PortConfig, p.number = cfg.Ports[i], i
		p.MTU = p.PortConfig.MTU
		if p.Index == 0 {
			p.Index = uint32(i + 1)
		}
		p.zone = strconv.FormatUint(uint64(p.Index), 10)
		p.frames.Init(own, outboxMax)
		p.packets.Init(own, outboxMax)
		p.readyEnd = &p.ready
		if p.Loop {
			p.RawIP, s.loop = true, p
		}
	}
	for i := range s.ports {
		if p := &s.ports[i]; p.VLAN != 0 {
			p.over = &s.ports[p.Over]
			p.over.vlans = append(p.over.vlans, p)
		}
	}
	// Numbers of its own, lest a neighbour that is confirmed once more change what TCP draws.
	random := rand.New(rand.NewPCG(cfg.Seed[1], cfg.Seed[0]))
	s.Neigh = neigh.New(neigh.Config{Link: (*link)(s), Wheel: s.wheel, Pool: own, Rand: random})
	s.Groups = group.New(group.Config{
		Sender: (*groupSender)(s), Wheel: s.wheel, Rand: s.rand, Ports: len(s.ports), Silent: s.core != groupCore,
	})
	s.scratch = make([]byte, wire.EthernetLen+wire.IPv6Len+65535)
	s.reassembly = ip.New(ip.Config{Wheel: s.wheel, Count: &s.Count, Key: s.key, TimedOut: s.reassemblyTimedOut})
	s.mtus = ip.NewPathMTUs(s.key)
	s.idents = ip.NewIdents(s.key, s.core, s.cores)
	s.params = defaultParams
	s.icmp = ip.NewLimit(s.key, s.params.ICMP, cfg.Start)
	s.TCP = tcp.New(s.tcpConfig(&cfg))
	return s
}

// SetAddrs gives a port its addresses, each with the prefix of its link, for ever. A port with IPv6
// addresses has a link-local one among them (RFC 4291 §2.1): [LinkLocal].
func (s *Stack) SetAddrs(port int, addrs []netip.Prefix) {
	var all []route.Addr
	for _, prefix := range addrs {
		all = append(all, route.Addr{Prefix: prefix})
	}
	s.PutAddrs(port, all)
}

// PutAddrs is SetAddrs of addresses that have a state. It replaces those that the port had, and
// keeps the slice.
func (s *Stack) PutAddrs(port int, addrs []route.Addr) {
	p := &s.ports[port]
	s.addrs[port] = addrs
	p.own, p.directed, p.tentative = nil, nil, nil
	for i := range addrs {
		a := &addrs[i]
		if a.State == route.Tentative {
			p.tentative = append(p.tentative, a.Prefix.Addr())
		}
		if !a.Usable() {
			continue
		}
		p.own = append(p.own, p.scoped(a.Prefix.Addr()))
		if a.Prefix.Addr().Is4() && a.Prefix.Bits() < 31 { // RFC 3021: a /31 has none
			p.directed = append(p.directed, lastOf4(a.Prefix))
		}
	}
	s.setOwn()
	s.ownGroups(p)
	s.reroute()
}

// SetMTU is told that a port's link takes packets of another length, no longer than its frames have
// room for. Connections, paths and members of groups hear of it with their next packet.
func (s *Stack) SetMTU(port, mtu int, now mono.Time) {
	p := &s.ports[port]
	if p.MTU == mtu {
		return
	}
	p.MTU = mtu
	if p.conf != nil {
		p.conf.V6.SetMTU(mtu, now)
	}
	s.reroute()
}

// Port returns what a port is. It does not change; anyone may ask.
func (s *Stack) Port(i int) PortConfig { return s.ports[i].PortConfig }

// Addrs returns a port's addresses. They are not to be changed.
func (s *Stack) Addrs(port int) []route.Addr { return s.addrs[port] }

// SetRoutes replaces the routes.
func (s *Stack) SetRoutes(t *route.Table) {
	s.Routes = t
	s.forgetSilent()
	s.reroute()
}

// reroute makes everyone ask the way again, those included who wait for a neighbour.
func (s *Stack) reroute() {
	s.pathGen++
	s.TCP.Resort()
	s.Neigh.All(s.unparkTCP)
}

// Advance does what is due at now, and says how much it was.
func (s *Stack) Advance(now mono.Time) (work int) {
	if s.moved {
		s.moved = false
		work++
	}
	return work + s.TCP.Advance(now) + s.wheel.Advance(now)
}

// Deadline is when Advance has something to do next.
func (s *Stack) Deadline() mono.Time {
	if s.moved {
		return 0 // the turn that follows asks all ports again
	}
	return min(s.wheel.Deadline(), s.TCP.Deadline())
}

// Busy says whether something that was accepted from a program is still to be sent, or
// was sent and is not yet acknowledged while no program holds it any more.
func (s *Stack) Busy() bool {
	for i := range s.ports {
		p := &s.ports[i]
		if p.packets.Len() > 0 || p.cutting.Active() || len(p.resolved) > 0 || p.ready != nil {
			return true
		}
	}
	return s.Neigh.Parked() || s.busyTCP()
}

// scoped is an address as it is known beyond the port's link: a link-local one has the zone.
func (p *port) scoped(a netip.Addr) netip.Addr {
	if a.IsLinkLocalUnicast() && !a.Is4() {
		return a.WithZone(p.zone)
	}
	return a
}

// LinkLocal is the link-local address that a port has for itself where nobody chooses another. It is
// made of the MAC address, but is not its modified EUI-64 (RFC 4291 appendix A): that is the kernel's own
// address on the interface that the port is on. So the bit that is modified there is not here
// (RFC 7136 §5: it says nothing).
func LinkLocal(cfg *PortConfig) netip.Prefix {
	mac := cfg.MAC
	mac[0] ^= 2
	return netip.PrefixFrom(wire.LinkLocal(mac), 64)
}

// scopedOwn gives a link-local address that has come round the loop the zone of the port that has it.
func (s *Stack) scopedOwn(a netip.Addr) netip.Addr {
	for i := range s.ports {
		if p := &s.ports[i]; p.owns(p.scoped(a)) {
			return p.scoped(a)
		}
	}
	return a
}

// foreign says whether a packet between two IPv4 addresses cannot have come by p: one of them means
// this host, and no packet of a link may say so (RFC 1122 §3.2.1.3 (g); our own address as the source
// is the land attack), or it has come round where only our own go.
func (s *Stack) foreign(p *port, src, dst netip.Addr) bool {
	if p.Loop {
		return !s.local(src)
	}
	return dst.IsLoopback() || s.local(src)
}

var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// lastOf4 is the address of an IPv4 prefix whose host bits are all ones.
func lastOf4(p netip.Prefix) uint32 {
	a := p.Addr().As4()
	return binary.BigEndian.Uint32(a[:]) | (1<<(32-p.Bits()) - 1)
}
