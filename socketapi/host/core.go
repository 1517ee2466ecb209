package host

import (
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// A Core is one stack and the engine that turns it. The stack is touched between
// Lock and Unlock only.
type Core struct {
	*engine.Core
	Stack *proto.Stack
	Index int

	host *Host
	loop engine.Device // of packets to ourselves, the last of its ports
	inbox
	mail mail
	to   []bool // cores that this turn has sent mail to; this core's
	sent bool   // any of them

	train engine.Train // what Output has written last
	lost  int          // ports whose interface has gone
	gone  []bool       // the same by device: what Output writes for them goes nowhere
}

// handler is a Core as its engine sees it.
type handler Core

func (h *handler) Input(device int, frames []engine.Frame, now mono.Time) {
	port := h.host.portOf[device]
	for i := range frames {
		h.Stack.Input(port, frames[i].Data, now)
	}
	h.Stack.Gathered()
}

func (h *handler) Output(device int, frames []engine.Frame, now mono.Time) int {
	port := h.host.portOf[device]
	for i := range frames {
		n := h.Stack.Output(port, frames[i].Data, now)
		if n == 0 {
			return i
		}
		frames[i].Data = frames[i].Data[:n]
		t := h.Stack.Train()
		if h.gone[device] {
			h.countGone(t)
			continue
		}
		if t != nil {
			h.train = engine.Train{Pieces: t.Pieces, Len: t.Len, Segment: t.Segment, At: t.At}
			frames[i].Train = &h.train
			return i + 1
		}
	}
	return len(frames)
}

// countGone accounts for a frame, or a train of them, that has no interface to leave by.
func (h *handler) countGone(t *proto.Train) {
	pieces := 1
	if t != nil {
		pieces = (t.Len + t.Segment - 1) / t.Segment
	}
	h.Stack.Count[drop.InterfaceGone] += uint64(pieces)
}

func (h *handler) Advance(now mono.Time) (work int) {
	work = h.inbox.run(now)
	if h.mail.full.Load() {
		work += h.readMail(now)
	}
	return work + h.Stack.Advance(now)
}

func (h *handler) Deadline() mono.Time { return h.Stack.Deadline() }

func (h *handler) Posted() bool { return h.inbox.head.Load() != nil || h.mail.full.Load() }

func (h *handler) Wake() (woken int) {
	if h.sent {
		h.sent = false
		for i, to := range h.to {
			if to {
				h.to[i] = false
				h.host.cores[i].Attention()
			}
		}
	}
	if h.Stack.Wakes.Empty() {
		return 0
	}
	return h.Stack.Wakes.Flush()
}

// PortFailed ends what goes on at a core whose interface has gone.
func (h *handler) PortFailed(device int, _ error) {
	h.gone[device] = true
	h.host.portFailed((*Core)(h), h.host.portOf[device])
}

// Send pulls one packet for a port: see [engine.Core.Send].
func (c *Core) Send(port int) { c.Core.Send(c.host.deviceOf[port]) }

// A Post is something that a program asks a core to do. It is asked for again only
// after it was done, so a socket needs one.
type Post struct {
	// Do runs with the core's lock held. It is set once.
	Do func(now mono.Time)

	next   *Post
	queued atomic.Bool
}

// Post has p done: now, if the core is free, else by the one who holds it. The lock
// is not held.
func (c *Core) Post(p *Post) {
	if p.queued.CompareAndSwap(false, true) {
		c.inbox.push(p)
	}
	c.Core.Post()
}

// inbox is a stack of posts that many push and the holder of the lock takes whole.
type inbox struct{ head atomic.Pointer[Post] }

func (in *inbox) push(p *Post) {
	for {
		p.next = in.head.Load()
		if in.head.CompareAndSwap(p.next, p) {
			return
		}
	}
}

// run does all posts, oldest first.
func (in *inbox) run(now mono.Time) (work int) {
	if in.head.Load() == nil {
		return 0
	}
	var first *Post
	for p := in.head.Swap(nil); p != nil; {
		next := p.next
		p.next, first = first, p
		p = next
	}
	for p := first; p != nil; {
		next := p.next
		p.next = nil
		p.queued.Store(false) // before Do: what is asked for during it is done after it
		p.Do(now)
		work++
		p = next
	}
	return work
}

// mailMax is how many bytes of frames wait for one core, charged with their
// overhead: a few turns' worth, since a core that is behind is better told by a loss.
const mailMax = 512 << 10

// mail is what other cores have sent to a core.
type mail struct {
	mu      sync.Mutex
	frames  ring.Datagrams   // Put under mu; Get by the core
	seen    []neigh.Sighting // under mu
	mtus    []pathMTU        // under mu
	ways    []redirect       // under mu
	full    atomic.Bool      // there is something
	scratch []byte           // the core's
	seeing  []neigh.Sighting // the core's
	reading []pathMTU        // the core's
	turning []redirect       // the core's
}

// frameMax is the longest frame that is handed over: the longest IPv6 packet, put together of
// fragments, behind an Ethernet header with two tags.
const frameMax = 22 + 40 + 65535

// pathMTU is what a core has been told of the path to dst.
type pathMTU struct {
	dst netip.Addr
	ip.PathMTU
}

// redirect is what a gateway of a port has said of the way to dst.
type redirect struct {
	port               int
	from, dst, gateway netip.Addr
}

// peers is a Core as its stack sees the others.
type peers Core

func (p *peers) Owner(local, remote netip.AddrPort) (core int, ok bool) {
	core, ok = p.host.directory.owner(local, remote)
	return core, ok && core != p.Index
}

func (p *peers) Claim(local, remote netip.AddrPort) bool {
	return p.host.directory.claim(local, remote, p.Index)
}

func (p *peers) Disclaim(local, remote netip.AddrPort) { p.host.directory.disclaim(local, remote) }

// HandOver copies a frame to its owner. It is woken at the end of the turn.
func (p *peers) HandOver(core, port int, frame []byte) bool {
	m := &p.host.cores[core].mail
	m.mu.Lock()
	ok := m.frames.Put(&ring.Datagram{Iface: uint32(port)}, frame)
	m.mu.Unlock()
	if ok {
		m.full.Store(true)
		p.to[core], p.sent = true, true
	}
	return ok
}

func (p *peers) Sighted(seen neigh.Sighting) {
	for i, other := range p.host.cores {
		if i == p.Index {
			continue
		}
		m := &other.mail
		m.mu.Lock()
		if len(m.seen) < sightingsMax {
			m.seen = append(m.seen, seen)
		}
		m.mu.Unlock()
		m.full.Store(true)
		p.to[i], p.sent = true, true
	}
}

func (p *peers) Redirected(port int, from, dst, gateway netip.Addr) {
	m := &p.host.cores[proto.AutoconfCore].mail
	m.mu.Lock()
	if len(m.ways) < sightingsMax {
		m.ways = append(m.ways, redirect{port, from, dst, gateway})
	}
	m.mu.Unlock()
	m.full.Store(true)
	p.to[proto.AutoconfCore], p.sent = true, true
}

func (p *peers) MayReport(dst netip.Addr, now mono.Time) bool {
	r := &p.host.reports
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.limit.Take(dst, now) == drop.None
}

func (p *peers) PathMTU(dst netip.Addr, m ip.PathMTU) {
	for i, other := range p.host.cores {
		if i == p.Index {
			continue
		}
		box := &other.mail
		box.mu.Lock()
		if len(box.mtus) < sightingsMax {
			box.mtus = append(box.mtus, pathMTU{dst, m})
		}
		box.mu.Unlock()
		box.full.Store(true)
		p.to[i], p.sent = true, true
	}
}

// reports is the right of all cores to send ICMP errors.
type reports struct {
	mu    sync.Mutex
	limit *ip.Limit
}

// sightingsMax is how many sightings of neighbours, how many reports of paths and how many redirects wait for one core. A
// lost one is seen again: the neighbour is asked once more, the router meets the next packet.
const sightingsMax = 256

// readMail takes in what other cores have sent.
func (h *handler) readMail(now mono.Time) (work int) {
	m := &h.mail
	m.full.Store(false) // before looking: what comes meanwhile is looked for again
	m.mu.Lock()
	m.seeing = append(m.seeing[:0], m.seen...)
	m.seen = m.seen[:0]
	m.reading = append(m.reading[:0], m.mtus...)
	m.mtus = m.mtus[:0]
	m.turning = append(m.turning[:0], m.ways...)
	m.ways = m.ways[:0]
	m.mu.Unlock()
	for _, w := range m.turning {
		h.Stack.Redirected(w.port, w.from, w.dst, w.gateway, now)
		work++
	}
	for _, p := range m.reading {
		h.Stack.LearnPathMTU(p.dst, p.PathMTU)
		work++
	}
	for _, seen := range m.seeing {
		h.Stack.Neigh.See(seen, now)
		work++
	}
	// What comes meanwhile sets full again: another core's flood does not make this turn endless.
	for range m.frames.Len() {
		var r ring.Datagram
		n, _ := m.frames.Get(&r, m.scratch, false)
		if n < r.Len {
			h.Stack.Count.Count(drop.FrameOversize)
			continue
		}
		h.Stack.InputHandedOver(int(r.Iface), m.scratch[:n], now)
		work++
	}
	h.Stack.Gathered()
	return work
}
