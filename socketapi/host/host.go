package host

import (
	"cmp"
	crand "crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/siphash"
)

// A Host is the cores of a program and what they share.
type Host struct {
	Ports *Ports

	cores     []*Core
	nics      []*engine.NIC // of the interfaces that were opened by name
	byPort    []*engine.NIC // the same by port; nil: devices
	net       networks
	detection detection
	sysctls   sysctls
	reports   reports
	groups    groups
	mirrored  mirrored
	sharing   sharing
	directory *directory
	clock     engine.Clock
	drainMax  time.Duration
	ports     int   // interfaces; each core has one port more, its loop
	over      []int // by interface: the one whose devices it has, itself but for a VLAN
	portOf    []int // by device of a core
	deviceOf  []int // by port
	room      []int // by port: the longest packet that its device takes
	link      links
	indexes   []int         // by port: what programs name the interfaces by
	names     []string      // by port: what people name them by
	turn      atomic.Uint32 // of cores, for Choose

	mu      sync.Mutex
	sockets int // open ones; guarded by mu
	closed  bool
	lost    bool // all interfaces have gone: the cores are closed, or about to be

	done    chan struct{} // closed when the cores are about to be
	ending  sync.WaitGroup
	watcher *engine.LinkWatcher // nil: no interface was opened by name
}

// Open opens the interfaces, makes a core for each of their queues, and takes the
// addresses. What it has opened is closed if it fails.
func Open(cfg Config) (h *Host, err error) {
	h = &Host{clock: cfg.Clock, drainMax: cmp.Or(cfg.Drain, drainMax), done: make(chan struct{})}
	if h.clock == nil {
		h.clock = engine.SystemClock
	}
	devices := make([][]engine.Device, len(cfg.Interfaces)) // by interface, then core; those of a VLAN are none
	defer func() {
		if err != nil {
			h.undo(devices)
			h = nil
		}
	}()
	for i := range cfg.Interfaces { // first, so that all of them are closed if anything fails
		devices[i] = slices.Clone(cfg.Interfaces[i].Devices) // makeCores takes them out
	}
	if cfg.Interfaces, h.over, err = trunks(cfg.Interfaces); err != nil {
		return h, err
	}
	devices = append(devices, make([][]engine.Device, len(cfg.Interfaces)-len(devices))...)
	for i := range cfg.Interfaces {
		if err = checkShare(&cfg.Interfaces[i]); err != nil {
			return h, err
		}
	}
	for i := range cfg.Interfaces {
		if in := &cfg.Interfaces[i]; in.Name != "" && in.VLAN == 0 {
			if devices[i], err = h.openInterface(in); err != nil {
				devices[i] = slices.Clone(in.Devices)
				return h, err
			}
		}
	}
	if err = check(&cfg, h.over, devices); err != nil {
		return h, err
	}
	if err = h.makeCores(&cfg, devices); err != nil {
		return h, err
	}
	if err = h.startSysctls(cfg.Sysctls); err != nil {
		return h, err
	}
	if err = h.watchNeighbours(); err != nil {
		return h, err
	}
	if err = h.watchLinks(); err != nil {
		return h, err
	}
	if err = h.startDetection(&cfg); err != nil {
		return h, err
	}
	if err = h.takeAddrs(&cfg); err != nil {
		return h, err
	}
	if err = h.startMirrors(&cfg); err != nil {
		return h, err
	}
	if cfg.Manual {
		return h, h.settle()
	}
	return h, h.awaitDetection()
}

// openInterface opens an interface by its name, and returns its devices, one for each core.
func (h *Host) openInterface(in *Interface) ([]engine.Device, error) {
	if in.Devices != nil {
		return nil, fmt.Errorf("host: interface %s has both a name and devices: give one of them", in.Name)
	}
	nic, err := engine.OpenNIC(engine.NICConfig{Interface: in.Name, Mode: in.Mode, Queues: in.Queues, BusyPoll: in.BusyPoll, MTUMax: in.MTUMax, Groups: true})
	if err != nil {
		return nil, err
	}
	h.nics = append(h.nics, nic)
	if in.Share && nic.Program() == nil {
		return nil, sharedByXDP(in, strings.Join(nic.Info().Refused, "; "))
	}
	return nic.Devices(), nil
}

// makeCores makes the cores, each with one device of every interface.
// piggyback is how long quick acknowledgements wait for the program's answer: longer than it takes to run a goroutine that a turn
// has woken, shorter than a peer that waits for them would notice. A connection for each request
// is answered with three segments then instead of five (SYN-ACK, answer, FIN).
const piggyback = 40 * time.Microsecond

func (h *Host) makeCores(cfg *Config, devices [][]engine.Device) error {
	seed := cfg.Seed
	if seed == nil {
		var b [16]byte
		crand.Read(b[:]) // never fails (Go 1.24)
		seed = &[2]uint64{binary.LittleEndian.Uint64(b[:]), binary.LittleEndian.Uint64(b[8:])}
	}
	random := rand.New(rand.NewPCG(seed[0], seed[1]))
	var key [32]byte // of a generator whose next number does not follow from those before: peers see the ports (RFC 6056 §3.3)
	for i := 0; i < len(key); i += 8 {
		binary.LittleEndian.PutUint64(key[i:], random.Uint64())
	}
	h.Ports = newPorts(rand.New(rand.NewChaCha8(key)))
	if len(h.nics) > 0 {
		h.Ports.kernel.namespace = hereNamespace()
	}
	h.directory = newDirectory()
	h.ports = len(devices)
	h.setIndexes(cfg)
	h.makeSharing(cfg)
	h.net.now, h.net.gone = newNetwork(h.ports), make([]bool, h.ports)
	h.link.states, h.link.changed = make([]LinkState, h.ports), make(chan struct{})
	h.link.heard = make([]bool, h.ports)
	h.room = make([]int, h.ports)
	h.net.own.Store(new(map[netip.Addr]struct{}))
	h.setDevices(cfg, devices)
	var secret [16]byte
	binary.LittleEndian.PutUint64(secret[:], random.Uint64())
	binary.LittleEndian.PutUint64(secret[8:], random.Uint64())

	h.reports.limit = ip.NewLimit(siphash.New(secret), ip.DefaultLimit, h.clock.Now())
	count := len(devices[h.over[0]])
	for i := range count {
		c := &Core{Index: i, host: h, to: make([]bool, count), gone: make([]bool, len(h.portOf))}
		c.mail.frames.Init(ring.NewPool(mailMax), mailMax)
		c.mail.scratch = make([]byte, frameMax)
		pcfg := proto.Config{Start: h.clock.Now(), Seed: [2]uint64{random.Uint64(), random.Uint64()}, Secret: secret, Memory: cfg.Memory, Core: i, Cores: count}
		pcfg.TCP.Piggyback = piggyback
		if count > 1 {
			pcfg.Peers = (*peers)(c)
		}
		for j := range devices {
			info := devices[h.over[j]][i].Info()
			p := portConfig(&cfg.Interfaces[j], info)
			h.room[j] = roomOf(&cfg.Interfaces[j], info)
			h.net.now.mtus[j], h.link.states[j] = p.MTU, LinkState{MTU: p.MTU, LinkMTU: info.MTU}
			p.Over = h.over[j]
			p.Index = uint32(h.indexes[j])
			p.Resolve = h.resolver(j)
			pcfg.Ports = append(pcfg.Ports, p)
		}
		loop := engine.NewLoop()
		pcfg.Ports = append(pcfg.Ports, loopConfig(loop.Info()))
		c.loop = loop
		pcfg.Register = h.Ports.register()
		c.Stack = proto.New(pcfg)
		h.cores = append(h.cores, c)
	}
	stable := [16]byte{}
	binary.LittleEndian.PutUint64(stable[:], random.Uint64())
	binary.LittleEndian.PutUint64(stable[8:], random.Uint64())
	if cfg.Seed == nil {
		stable = stableSecret(stable)
	}
	h.makeDetection(cfg, stable)
	for i, c := range h.cores {
		var own []engine.Device
		for _, port := range h.portOf[:len(h.portOf)-1] {
			own = append(own, devices[port][i])
		}
		own = append(own, c.loop)
		core, err := engine.Open(engine.Config{
			Devices: own, Handler: (*handler)(c), Clock: h.clock, Policy: cfg.Policy, Manual: cfg.Manual,
		})
		if err != nil {
			return err
		}
		c.Core = core
		for _, port := range h.portOf[:len(h.portOf)-1] {
			devices[port][i] = nil // the core's from here on
		}
	}
	return nil
}

// takeAddrs gives the host the addresses and routes of its configuration.
func (h *Host) takeAddrs(cfg *Config) error {
	for j := range cfg.Interfaces {
		if h.shared(j) {
			continue // startMirrors
		}
		var list []route.Addr
		for _, p := range cfg.Interfaces[j].Addrs {
			list = append(list, route.Addr{Prefix: p})
		}
		if err := h.ReplaceAddrs(Manual, j, list); err != nil {
			return err
		}
	}
	metric := map[netip.Prefix]int{} // of the next gateway
	for j := range cfg.Interfaces {
		for _, gw := range cfg.Interfaces[j].Gateways {
			all := netip.PrefixFrom(netip.IPv4Unspecified(), 0)
			if !gw.Is4() {
				all = netip.PrefixFrom(netip.IPv6Unspecified(), 0)
			}
			if err := h.AddRoute(route.Route{Prefix: all, Port: j, Gateway: gw, Metric: metric[all]}); err != nil {
				return err
			}
			metric[all]++
		}
	}
	return nil
}

// Cores returns the cores.
func (h *Host) Cores() []*Core { return h.cores }

// Choose returns the core that a new connection to a peer is to live on: they take
// turns. Its answers come in wherever the NIC hashes them to, and are handed over.
func (h *Host) Choose(netip.AddrPort) *Core {
	if len(h.cores) == 1 {
		return h.cores[0]
	}
	return h.cores[h.turn.Add(1)%uint32(len(h.cores))]
}

// Owner returns the core that a connection lives on, or what is left of it; nil: there is none.
func (h *Host) Owner(local, remote netip.AddrPort) *Core {
	if core, ok := h.directory.owner(local, remote); ok {
		return h.cores[core]
	}
	return nil
}

// Clock returns the host's clock.
func (h *Host) Clock() engine.Clock { return h.clock }

// NICs returns the interfaces that were opened by name.
func (h *Host) NICs() []*engine.NIC { return h.nics }

// Stats returns what became of the packets that came in, over all cores.
func (h *Host) Stats() (total drop.Counters) {
	for _, c := range h.cores {
		c.Lock()
		total.Add(&c.Stack.Count)
		c.Unlock()
	}
	return total
}

// SocketOpened, SocketClosed and SocketAbandoned count sockets.
func (h *Host) SocketOpened() unix.Errno {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed || h.lost {
		return unix.ENETDOWN
	}
	h.sockets++
	return 0
}

// SocketClosed is called after a socket has given up what it held. When it was the last
// one it waits until what was sent has left, since the program may be about to end.
func (h *Host) SocketClosed() {
	h.mu.Lock()
	h.sockets--
	last := h.sockets == 0 && !h.closed && !h.lost
	h.mu.Unlock()
	if last {
		h.drain()
	}
}

// SocketAbandoned is SocketClosed for a socket that no program has sent anything by: a
// dial that failed, or was given up. It never waits.
func (h *Host) SocketAbandoned() {
	h.mu.Lock()
	h.sockets--
	h.mu.Unlock()
}

// drain waits until nothing that was accepted from programs is still to be sent, or
// for at most Config.Drain, over all cores. It turns the cores meanwhile if nobody does.
func (h *Host) drain() {
	if h.drainMax < 0 {
		return
	}
	w := engine.NewWaiter()
	until := h.clock.Now().Add(h.drainMax)
	for _, c := range h.cores {
		c.Wait(w, &drained{c: c, until: until})
	}
}

// drained is over when a core has nothing left to send. Nobody calls its waiter: it
// looks again each millisecond.
type drained struct {
	c     *Core
	until mono.Time
	next  mono.Time
}

func (d *drained) Done(now mono.Time) bool {
	d.next = now.Add(time.Millisecond)
	return !d.c.Stack.Busy() || d.until.Due(now)
}
func (d *drained) Deadline() mono.Time   { return min(d.next, d.until) }
func (d *drained) Arm(*engine.Waiter)    {}
func (d *drained) Disarm(*engine.Waiter) {}

// Close sends what programs have sent and ends the host. Sockets that are still open
// fail from then on.
func (h *Host) Close() error {
	h.mu.Lock()
	if h.closed {
		h.mu.Unlock()
		return nil
	}
	h.closed = true
	lost := h.lost
	h.mu.Unlock()
	if !lost {
		h.drain()
		close(h.done)
	}
	h.ending.Wait()
	return h.undo(nil)
}

// Done is closed when the host has ended: nothing comes in or goes out any more.
func (h *Host) Done() <-chan struct{} { return h.done }

// Closed says whether Done is closed.
func (h *Host) Closed() bool {
	select {
	case <-h.done:
		return true
	default:
		return false
	}
}

// undo closes everything that is open, in reverse.
func (h *Host) undo(devices [][]engine.Device) error {
	var errs []error
	h.stopDetection()
	if h.watcher != nil {
		errs = append(errs, h.watcher.Close())
	}
	errs = append(errs, h.stopMirrors()...)
	errs = append(errs, h.stopNeighbours()...)
	for _, nic := range h.nics { // first: from here on every frame is the kernel's
		errs = append(errs, nic.Close())
	}
	for _, c := range h.cores {
		if c.Core != nil {
			errs = append(errs, c.Core.Close())
		}
	}
	for _, of := range devices {
		for _, dev := range of {
			if dev != nil {
				errs = append(errs, dev.Close())
			}
		}
	}
	if h.Ports != nil {
		h.Ports.close()
	}
	return errors.Join(errs...)
}
