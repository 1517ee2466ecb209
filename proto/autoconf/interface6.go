package autoconf

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/timer"
)

// Read first: RFC 4862 §5; RFC 4861 §5.1, §6.3.

// Link6 is what an [Interface6] needs of the stack.
type Link6 interface {
	// Probe sends a neighbour solicitation for target from the unspecified address to the
	// solicited-node group, with the nonce (RFC 4862 §5.4.2, RFC 7527 §4.1). It sees to it that
	// answers are heard: the group is joined.
	Probe(target netip.Addr, nonce [6]byte)
	// SolicitRouters sends a router solicitation from source, or from the unspecified address
	// if source is not valid.
	SolicitRouters(source netip.Addr)
	// FirstHop is where packets to dst go now: a router, or dst itself. It is not valid if
	// nothing leads there.
	FirstHop(dst netip.Addr) netip.Addr
	// Changed says that Addrs, Routes, Params, Servers or Domains are others than before,
	// lifetimes aside. It is called at the end of a method or of Expire, once.
	Changed(now mono.Time)
}

// Config6 is what an Interface6 is made of.
type Config6 struct {
	Link   Link6
	Wheel  *timer.Wheel
	Rand   *rand.Rand
	Name   string   // Net_Iface of RFC 7217 §5: with another name come other addresses
	Secret [16]byte // secret_key of RFC 7217 §5, the same at each start of a host
	MTU    int      // bytes of an IP packet that the link takes

	// Transmits is how many solicitations detect a duplicate (DupAddrDetectTransmits); 0:
	// one, below: none, and every address can be used at once.
	Transmits int
	// Auto makes addresses and routes of router advertisements. Otherwise they are refused.
	Auto bool
}

// An Interface6 is the IPv6 addresses of an interface, and what routers say of its link.
// It starts idle; see Start and Add.
type Interface6 struct {
	cfg       Config6
	timer     timer.Timer
	addrs     []*address
	prefixes  []prefix
	routers   []*router
	redirects redirects
	servers   []Server
	domains   []Domain
	params    Params
	doubt     doubting
	told      int // the MTU that routers have said, 0: none
	ask       asking
	spoken    bool // something has been sent since the interface came up
	down      bool // nobody would hear: see Down
	changed   bool
}

// Params are what routers say of the link.
type Params struct {
	MTU           int           // bytes of an IP packet
	HopLimit      uint8         // of packets that we send; 0: nobody said
	ReachableTime time.Duration // 0: nobody said
	RetransTimer  time.Duration
	Managed       bool // addresses are to be had by DHCPv6
	OtherConfig   bool // other configuration is
}

// NewInterface6 returns an interface without addresses.
func NewInterface6(cfg Config6) *Interface6 {
	if cfg.Transmits == 0 {
		cfg.Transmits = dadTransmits
	}
	i := &Interface6{cfg: cfg, params: Params{MTU: cfg.MTU, RetransTimer: retransTimer}}
	i.ask.at, i.doubt.decided = mono.Never, mono.Never
	i.timer.Init(i)
	return i
}

// Start is called when the interface comes up. With Auto it makes a link-local address, unless
// there is one, and then asks for routers.
func (i *Interface6) Start(now mono.Time) {
	i.spoken = false
	if i.cfg.Auto {
		if i.linkLocal() == nil {
			i.add(&address{
				Addr:   Addr{Prefix: linkLocalPrefix, Origin: LinkLocal, Preferred: mono.Never, Valid: mono.Never},
				stable: true,
			}, now)
		}
		i.beginAsking(now)
	}
	i.settle(now)
}

var linkLocalPrefix = netip.MustParsePrefix("fe80::/64")

// Addrs returns the addresses, oldest first.
func (i *Interface6) Addrs() []Addr {
	list := make([]Addr, len(i.addrs))
	for j, a := range i.addrs {
		list[j] = a.Addr
	}
	return list
}

// SetMTU is told that the link takes packets of another length. What routers have said of it counts as
// long as it is less.
func (i *Interface6) SetMTU(mtu int, now mono.Time) {
	i.cfg.MTU, i.params.MTU = mtu, mtu
	if i.told != 0 {
		i.params.MTU = min(i.told, mtu)
	}
	i.changed = true
	i.settle(now)
}

// Params returns what routers say of the link.
func (i *Interface6) Params() Params { return i.params }

// Expire does what is due.
func (i *Interface6) Expire(_ *timer.Timer, now mono.Time) {
	i.runDoubt(now)
	i.runAddrs(now)
	i.runRouters(now)
	i.changed = i.redirects.run(now) || i.changed
	i.runResolver(now)
	i.runAsk(now)
	i.settle(now)
}

// settle ends every change: it sets the timer for what comes next and tells the news.
func (i *Interface6) settle(now mono.Time) {
	next := min(i.ask.at, i.doubt.decided, i.redirects.next())
	for _, a := range i.addrs {
		next = min(next, a.next())
	}
	for _, p := range i.prefixes {
		next = min(next, p.until)
	}
	for _, r := range i.routers {
		next = min(next, r.until)
	}
	for _, s := range i.servers {
		next = min(next, s.Until)
	}
	for _, d := range i.domains {
		next = min(next, d.Until)
	}
	i.cfg.Wheel.Arm(&i.timer, next)
	if i.changed {
		i.changed = false
		i.cfg.Link.Changed(now)
	}
}

// find returns the address that is a, nil if there is none.
func (i *Interface6) find(a netip.Addr) *address {
	if n := slices.IndexFunc(i.addrs, func(x *address) bool { return x.Prefix.Addr() == a }); n >= 0 {
		return i.addrs[n]
	}
	return nil
}

// linkLocal returns the first link-local address that is not a duplicate.
func (i *Interface6) linkLocal() *address {
	for _, a := range i.addrs {
		if a.Prefix.Addr().IsLinkLocalUnicast() && a.State != route.Duplicate {
			return a
		}
	}
	return nil
}

// delay is a random time within max.
func (i *Interface6) delay(max time.Duration) time.Duration {
	return time.Duration(i.cfg.Rand.Int64N(int64(max)))
}

// nonce is one that was never used (RFC 3971 §5.3.2).
func (i *Interface6) nonce() (n [6]byte) {
	v := i.cfg.Rand.Uint64()
	for j := range n {
		n[j] = byte(v >> (8 * j))
	}
	return n
}

// put is the rule of all bounded lists here: what is full takes nothing new.
func put[T any](list *[]T, limit int, v T) bool {
	if len(*list) >= limit {
		return false
	}
	*list = append(*list, v)
	return true
}

var unspecified = netip.IPv6Unspecified()

// reserved says whether an interface identifier belongs to somebody (RFC 5453, IANA
// "Reserved IPv6 Interface Identifiers"): the routers' anycast address, the block of IANA's
// Ethernet addresses, the anycast addresses of a subnet.
func reserved(id uint64) bool {
	return id == 0 ||
		id >= 0x0200_5eff_fe00_0000 && id <= 0x0200_5eff_feff_ffff ||
		id >= 0xfdff_ffff_ffff_ff80 && id <= 0xfdff_ffff_ffff_ffff
}
