package bpf

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// Config says what to load.
type Config struct {
	// Queues is the number of receive queues that sockets may be set for. A frame
	// that comes by a queue past them passes to the kernel.
	Queues int

	// Frags loads the program of the kind that accepts frames of several buffers
	// (section xdp.frags, Linux 5.18): needed where the MTU is too large for one
	// page. The sockets must then be bound with XDP_USE_SG (Linux 6.6).
	Frags bool
}

// queuesMax bounds Config.Queues. The kernel's own bound on the queues of an
// interface is 4096 (its documentation of IFLA_NUM_RX_QUEUES).
const queuesMax = 4096

// ErrFrags is returned by Load where the kernel has no programs for frames of
// several buffers.
var ErrFrags = errors.New("programs for frames of several buffers (xdp.frags) need Linux 5.18: leave Config.Frags off and the MTU within one page")

// A Program is the steering program of one interface, with its rules. All methods
// may be called by several goroutines.
type Program struct {
	cfg  Config
	spec *ebpf.CollectionSpec // what judge is loaded from
	maps steerMaps
	prog *ebpf.Program // the one that Attach attaches

	mu      sync.Mutex // guards what follows
	closed  bool
	rules   rules
	link    link.Link     // nil unless attached
	testing *ebpf.Program // xdpsock_judge, loaded by the first Test
}

// Load loads the program and its maps into the kernel. Nothing is steered yet:
// there are no rules, no sockets, and no interface.
func Load(cfg Config) (_ *Program, err error) {
	if cfg.Queues < 1 || cfg.Queues > queuesMax {
		return nil, fmt.Errorf("bpf: load: %d queues, must be 1 to %d", cfg.Queues, queuesMax)
	}
	spec, err := loadSteer()
	if err != nil {
		return nil, fmt.Errorf("bpf: load: %w", err)
	}
	spec.Maps[steerMapXsks].MaxEntries = uint32(cfg.Queues)

	// Kernels before 5.11 charge maps to RLIMIT_MEMLOCK; later ones need nothing,
	// and who may not raise the limit learns by the load whether it was too low.
	_ = rlimit.RemoveMemlock()

	p := &Program{cfg: cfg, spec: spec}
	if err := spec.LoadAndAssign(&p.maps, nil); err != nil {
		return nil, fmt.Errorf("bpf: create maps: %w", permission(err))
	}
	defer func() {
		if err != nil {
			p.maps.Close()
		}
	}()
	p.rules = newRules(&p.maps)
	name := steerProgXdpsockSteer
	if cfg.Frags {
		name = steerProgXdpsockFrags
	}
	if p.prog, err = p.load(name); err != nil && cfg.Frags && errors.Is(err, unix.EINVAL) {
		// EINVAL is also what a kernel says that does not know the flag: it
		// is that, if the same source loads without.
		if plain, plainErr := p.load(steerProgXdpsockSteer); plainErr == nil {
			plain.Close()
			err = fmt.Errorf("%w (%w)", ErrFrags, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("bpf: load %s: %w", name, permission(err))
	}
	return p, nil
}

// load loads one program of the object over p's maps. The others are left out of
// the specification: a kernel that cannot have one of them may have the rest.
func (p *Program) load(name string) (*ebpf.Program, error) {
	spec := p.spec.Copy()
	spec.Programs = map[string]*ebpf.ProgramSpec{name: spec.Programs[name]}
	coll, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{
		MapReplacements: map[string]*ebpf.Map{
			steerMapAddrs:        p.maps.Addrs,
			steerMapBlocks:       p.maps.Blocks,
			steerMapFlows:        p.maps.Flows,
			steerMapFragments:    p.maps.Fragments,
			steerMapPorts:        p.maps.Ports,
			steerMapRulesInForce: p.maps.RulesInForce,
			steerMapVerdicts:     p.maps.Verdicts,
			steerMapXsks:         p.maps.Xsks,
		},
	})
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}

// judge returns the program that only tells its verdict, loading it the first
// time.
func (p *Program) judge() (*ebpf.Program, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("bpf: test run: %w", os.ErrClosed)
	}
	if p.testing == nil {
		prog, err := p.load(steerProgXdpsockJudge)
		if err != nil {
			return nil, fmt.Errorf("bpf: load %s: %w", steerProgXdpsockJudge, permission(err))
		}
		p.testing = prog
	}
	return p.testing, nil
}

// SetSocket makes the AF_XDP socket fd the receiver of a queue's redirected
// frames. The socket takes itself out when it is closed.
func (p *Program) SetSocket(queue int, fd int) error {
	if queue < 0 || queue >= p.cfg.Queues {
		return fmt.Errorf("bpf: set socket of queue %d: the program was loaded for queues 0 to %d", queue, p.cfg.Queues-1)
	}
	err := p.maps.Xsks.Update(uint32(queue), uint32(fd), ebpf.UpdateAny)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTSOCK):
		return fmt.Errorf("bpf: set socket of queue %d: descriptor %d is not an AF_XDP socket: %w", queue, fd, err)
	case err != nil:
		return fmt.Errorf("bpf: set socket of queue %d: %w", queue, permission(err))
	}
	return nil
}

// ClearSocket leaves a queue's frames to the kernel. A queue without a socket is
// no error.
func (p *Program) ClearSocket(queue int) error {
	err := p.maps.Xsks.Delete(uint32(queue))
	if queue < 0 || queue >= p.cfg.Queues || err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("bpf: clear socket of queue %d (of %d): %w", queue, p.cfg.Queues, err)
	}
	return nil
}

// Close detaches the program, if it is attached, and frees it and its maps. From
// then on every frame goes to the kernel.
func (p *Program) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return fmt.Errorf("bpf: close: %w", os.ErrClosed)
	}
	p.closed = true
	var errs []error
	if p.link != nil {
		errs = append(errs, p.link.Close())
	}
	if p.testing != nil {
		errs = append(errs, p.testing.Close())
	}
	errs = append(errs, p.prog.Close(), p.maps.Close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("bpf: close: %w", err)
	}
	return nil
}
