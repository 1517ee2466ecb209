package xsk

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Desc is one entry of an rx or tx ring: where a packet, or a piece of one, begins in
// the UMEM, its length in bytes, and [Contd] if the packet goes on in the next entry.
type Desc = unix.XDPDesc

// Contd in [Desc.Options] says that the packet goes on in the next descriptor.
const Contd = unix.XDP_PKT_CONTD

// Mode says how packets pass between driver and frames.
type Mode uint8

const (
	Auto     Mode = iota // zero-copy, or copy where that is refused
	ZeroCopy             // the device reads and writes the frames; fail where the driver cannot
	Copy                 // the kernel copies
)

func (m Mode) String() string {
	return [...]string{"auto", "zerocopy", "copy"}[min(m, Copy)]
}

// Config says what to open. Ring sizes are entries, powers of two.
type Config struct {
	Interface string // name, for errors
	Index     int    // interface index
	Queue     int    // queue of the interface

	RxSize         int // 0: the socket does not receive
	TxSize         int // 0: the socket does not send
	FillSize       int // 0: FillDefault
	CompletionSize int // 0: as TxSize

	// Prime is how many frames are put into the fill ring before bind: a driver looks
	// there when the queue is switched over, and some never look again by themselves.
	Prime int

	Mode        Mode
	MultiBuffer Want // packets of several descriptors (XDP_USE_SG, Linux 6.6)
	NoWakeup    bool // do not ask for need_wakeup: every send is a system call

	// BusyPoll asks the kernel to run the driver from our system calls
	// (SO_PREFER_BUSY_POLL, Linux 5.11) for BusyPollUsec microseconds at most and
	// BusyPollBudget packets a call; zeros are 20 and 64.
	BusyPoll       Want
	BusyPollUsec   int
	BusyPollBudget int

	// TxBudget is how many packets one system call sends in copy mode
	// (XDP_MAX_TX_SKB_BUDGET, Linux 6.17). 0 leaves it at the kernel's 32. It is a wish: a
	// kernel that refuses says so in Info.Refused.
	TxBudget int
}

const (
	// FillDefault is the size of a fill ring that nobody asked for another of, and
	// of a completion ring of a socket that does not send.
	FillDefault = 2048

	// ringSizeMax bounds a ring to what a driver can be expected to accept; the kernel itself
	// allows 2^31 entries.
	ringSizeMax = 1 << 16

	// bindWait is how long a bind that answers EBUSY is tried again: after a close the queue
	// stays taken until deferred work has run (measured: ~30 ms).
	bindWait = time.Second
)

// A Refusal is something that was asked for and is not had.
type Refusal struct {
	What string // such as "zerocopy,sg"
	Err  error  // why
}

func (r Refusal) String() string { return r.What + ": " + r.Err.Error() }

// Info is what a socket got.
type Info struct {
	ZeroCopy    bool      // as the kernel says (XDP_OPTIONS), not as was asked
	MultiBuffer bool      // packets may have several descriptors
	NeedWakeup  bool      // the kernel says when it wants to be woken
	BusyPoll    bool      // system calls run the driver
	TxBudget    int       // packets one system call sends in copy mode, 0: the kernel's default
	Refused     []Refusal // what was preferred and refused
}

// A Socket is one AF_XDP socket, bound to one queue. It belongs to the UMEM's owner.
type Socket struct {
	umem  *UMEM
	cfg   Config
	info  Info
	fd    int
	lead  bool // the queue's fill and completion rings came with this socket
	queue *queue
	rx    consumer[Desc]
	tx    producer[Desc]
	bound bool

	kicks, again, busy, kickErrors, refused, invalid, wakes atomic.Uint64 // see Stats
	lastErrno                                               atomic.Uint32
	dead                                                    atomic.Uint32 // errno that SO_ERROR told, which it tells only once
}

// A queue is what sockets that are bound to the same queue have in common.
type queue struct {
	place
	id         uint8 // in the owner table
	users      int   // open sockets
	fill       producer[uint64]
	completion consumer[uint64]
	inFill     int // frames given to fill and not yet taken from an rx ring
	inTx       int // frames given to a tx ring and not yet taken from completion
}

func (cfg *Config) check() error {
	if cfg.FillSize == 0 {
		cfg.FillSize = FillDefault
	}
	if cfg.CompletionSize == 0 {
		cfg.CompletionSize = cfg.TxSize
	}
	if cfg.CompletionSize == 0 {
		cfg.CompletionSize = FillDefault
	}
	for _, r := range []struct {
		name     string
		size     int
		optional bool
	}{{"rx", cfg.RxSize, true}, {"tx", cfg.TxSize, true}, {"fill", cfg.FillSize, false}, {"completion", cfg.CompletionSize, false}} {
		if r.optional && r.size == 0 {
			continue
		}
		if r.size < 1 || r.size > ringSizeMax || bits.OnesCount(uint(r.size)) != 1 {
			return fmt.Errorf("%s ring of %d entries: must be a power of two up to %d", r.name, r.size, ringSizeMax)
		}
	}
	if cfg.RxSize == 0 && cfg.TxSize == 0 {
		return errors.New("neither an rx nor a tx ring")
	}
	if cfg.Prime < 0 || cfg.Prime > cfg.FillSize {
		return fmt.Errorf("prime %d: the fill ring has %d entries", cfg.Prime, cfg.FillSize)
	}
	if cfg.Index < 1 || cfg.Queue < 0 {
		return fmt.Errorf("interface index %d, queue %d: no such thing", cfg.Index, cfg.Queue)
	}
	return nil
}

// Open opens a socket on the UMEM and binds it. Nothing arrives before [Socket.FD] is
// in the XSKMAP of a program on the interface.
//
// A second socket on the same UMEM shares it. On the same queue it shares the first one's fill and
// completion rings too; elsewhere it gets its own, but inherits mode, multi-buffer and need_wakeup.
func Open(u *UMEM, cfg Config) (s *Socket, err error) {
	what := fmt.Sprintf("af_xdp: queue %d of %s", cfg.Queue, cfg.Interface)
	if err := cfg.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s = &Socket{umem: u, cfg: cfg, fd: -1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", what, err), s.undo())
			s = nil
		}
	}()
	s.fd, err = unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return s, fmt.Errorf("socket: %w%s", err, hint(err))
	}
	if err := s.join(); err != nil {
		return s, err
	}
	if err := s.makeRings(); err != nil {
		return s, err
	}
	if err := s.options(); err != nil {
		return s, err
	}
	if n := s.Refill(cfg.Prime); n < cfg.Prime {
		return s, fmt.Errorf("prime the fill ring with %d frames: it had room, and the umem free frames, for %d", cfg.Prime, n)
	}
	if err := s.bind(); err != nil {
		return s, err
	}
	s.bound = true
	opts, _, err := getsockopt[uint32](s.fd, unix.SOL_XDP, unix.XDP_OPTIONS)
	if err != nil {
		return s, fmt.Errorf("ask XDP_OPTIONS: %w", err)
	}
	s.info.ZeroCopy = opts&unix.XDP_OPTIONS_ZEROCOPY != 0
	u.unpark(s.queue.place)
	return s, nil
}

// join finds the socket's place on the UMEM: the first registers the memory, one on a
// queue that has a socket shares that one's queue, any other gets a queue of its own.
func (s *Socket) join() error {
	u, at := s.umem, place{s.cfg.Index, s.cfg.Queue}
	if u.mapped == nil {
		return errors.New("the umem is closed")
	}
	for _, other := range u.sockets {
		if other.lead && other.queue.place == at {
			s.queue = other.queue
			s.enter()
			return nil
		}
	}
	id := 0
	for id < MaxSockets && u.ids[id] {
		id++
	}
	if id == MaxSockets {
		return fmt.Errorf("the umem serves %d queues already", MaxSockets)
	}
	u.ids[id] = true
	s.queue = &queue{place: at, id: uint8(id + 1)}
	s.lead = true
	s.enter()
	if s.leader() == nil {
		return s.register()
	}
	return nil
}

func (s *Socket) enter() {
	s.queue.users++
	s.umem.sockets = append(s.umem.sockets, s)
}

// register tells the kernel of the memory. The full struct of 32 bytes works on every kernel
// from 5.10 on, whose struct is shorter, as long as the new fields are 0.
func (s *Socket) register() error {
	reg := unix.XDPUmemReg{
		Addr:     umemAddr(s.umem.mem),
		Len:      uint64(len(s.umem.mem)),
		Size:     uint32(s.umem.cfg.FrameSize),
		Headroom: uint32(s.umem.cfg.Headroom),
	}
	if err := setsockopt(s.fd, unix.XDP_UMEM_REG, &reg); err != nil {
		return fmt.Errorf("register a umem of %d bytes: %w%s", len(s.umem.mem), err, hint(err))
	}
	return nil
}

// leader returns an open, bound socket of the UMEM whose queue is ours, or if there is
// none, any bound one; nil if we are the first. One whose interface is gone leads nobody.
func (s *Socket) leader() *Socket {
	var any *Socket
	for _, other := range s.umem.sockets {
		if !other.bound || other.Err() != nil {
			continue
		}
		if other.lead && other.queue == s.queue {
			return other
		}
		if any == nil {
			any = other
		}
	}
	return any
}

// makeRings has the kernel make the rings and maps them.
func (s *Socket) makeRings() error {
	type want struct {
		name         string
		option, size int
	}
	wants := []want{{"rx", unix.XDP_RX_RING, s.cfg.RxSize}, {"tx", unix.XDP_TX_RING, s.cfg.TxSize}}
	if s.lead {
		wants = append(wants, want{"fill", unix.XDP_UMEM_FILL_RING, s.cfg.FillSize},
			want{"completion", unix.XDP_UMEM_COMPLETION_RING, s.cfg.CompletionSize})
	}
	for _, w := range wants {
		if w.size == 0 {
			continue
		}
		if err := unix.SetsockoptInt(s.fd, unix.SOL_XDP, w.option, w.size); err != nil {
			return fmt.Errorf("make a %s ring of %d entries: %w", w.name, w.size, err)
		}
	}
	off, n, err := getsockopt[unix.XDPMmapOffsets](s.fd, unix.SOL_XDP, unix.XDP_MMAP_OFFSETS)
	if err != nil {
		return fmt.Errorf("ask XDP_MMAP_OFFSETS: %w", err)
	}
	if full := 4 * 4 * 8; n < full {
		return fmt.Errorf("XDP_MMAP_OFFSETS has %d of %d bytes: needs Linux 5.4", n, full)
	}
	if err := mapRing(&s.rx.ring, s.fd, "rx", unix.XDP_PGOFF_RX_RING, off.Rx, s.cfg.RxSize); err != nil {
		return err
	}
	if err := mapRing(&s.tx.ring, s.fd, "tx", unix.XDP_PGOFF_TX_RING, off.Tx, s.cfg.TxSize); err != nil {
		return err
	}
	if !s.lead {
		return nil
	}
	if err := mapRing(&s.queue.fill.ring, s.fd, "fill", unix.XDP_UMEM_PGOFF_FILL_RING, off.Fr, s.cfg.FillSize); err != nil {
		return err
	}
	return mapRing(&s.queue.completion.ring, s.fd, "completion", unix.XDP_UMEM_PGOFF_COMPLETION_RING, off.Cr, s.cfg.CompletionSize)
}

func mapRing[T any](r *ring[T], fd int, name string, pgoff int64, off unix.XDPRingOffset, size int) error {
	if size == 0 {
		return nil
	}
	mem, err := unix.Mmap(fd, pgoff, ringBytes[T](off, size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_POPULATE)
	if err != nil {
		return fmt.Errorf("map the %s ring: %w", name, err)
	}
	if *r, err = ringOver[T](mem, off, size); err != nil {
		return errors.Join(fmt.Errorf("map the %s ring: %w", name, err), unix.Munmap(mem))
	}
	return nil
}

// hint is what to do about an errno that has one usual cause.
func hint(err error) string {
	switch {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return " (needs Linux 5.10 with CONFIG_XDP_SOCKETS)"
	case errors.Is(err, unix.EPERM):
		return " (needs CAP_NET_RAW, and for more locked memory than `ulimit -l` allows CAP_IPC_LOCK)"
	case errors.Is(err, unix.ENOBUFS), errors.Is(err, unix.ENOMEM):
		return " (more locked memory than `ulimit -l` or the cgroup allows)"
	}
	return ""
}
