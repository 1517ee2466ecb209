package xsk

import (
	"errors"
	"fmt"
	"math/bits"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Want says how much a feature matters that not every kernel or driver has.
type Want uint8

const (
	Off     Want = iota // do not ask for it
	Prefer              // ask; if it is refused go on without, and keep the reason
	Require             // ask; if it is refused fail
)

// hugePageLen (bytes) is the default huge page of every architecture that has AF_XDP
// in practice; a kernel with another default refuses the mapping and says so.
const hugePageLen = 2 << 20

// packetHeadroom (bytes) is what the kernel leaves free before every received packet
// in addition to the headroom that was asked for (XDP_PACKET_HEADROOM).
const packetHeadroom = unix.XDP_PACKET_HEADROOM

// UMEMConfig says what memory to share with the kernel.
type UMEMConfig struct {
	Frames    int  // how many frames
	FrameSize int  // bytes of one: 2048 or 4096 (the kernel's chunk size)
	Headroom  int  // bytes to leave free before each received packet, besides the kernel's own 256
	HugePages Want // back the memory with huge pages: fewer TLB misses
}

// A UMEM is memory that is shared with the kernel, cut into frames of one size.
// It belongs to one core: there is no lock. Any number of sockets up to
// [MaxSockets] can be open on it, of any queues and interfaces.
type UMEM struct {
	cfg    UMEMConfig
	id     uint64 // distinct for every UMEM of the process
	mem    []byte // the frames
	mapped []byte // what was mapped: mem, rounded up to whole pages
	shift  uint   // log2(FrameSize)

	free  []uint64 // LIFO, so that the frame taken next is the one whose bytes are still in the cache
	owner []uint8  // place of every frame, see owner.go

	sockets []*Socket          // open ones, oldest first
	ids     [MaxSockets]bool   // queue ids in use, see owner.go
	limbo   map[place][]uint64 // frames that a driver may still write to, by the queue that had them

	hugeErr error
	misused atomic.Uint64
}

// place names one queue of one interface.
type place struct{ ifindex, queue int }

var lastUMEM atomic.Uint64

// OpenUMEM maps the memory. Nothing is registered with the kernel before the first
// socket is opened on it.
func OpenUMEM(cfg UMEMConfig) (*UMEM, error) {
	if cfg.FrameSize != 2048 && cfg.FrameSize != 4096 {
		return nil, fmt.Errorf("umem: frame size %d: must be 2048 or 4096 bytes", cfg.FrameSize)
	}
	if cfg.Frames < 1 || cfg.Frames > 1<<24 {
		return nil, fmt.Errorf("umem: %d frames: must be 1 to %d", cfg.Frames, 1<<24)
	}
	if cfg.Headroom < 0 || cfg.RoomRx() < 1 {
		return nil, fmt.Errorf("umem: headroom %d: must be 0 to %d bytes", cfg.Headroom, cfg.FrameSize-packetHeadroom-1)
	}
	u := &UMEM{
		cfg:   cfg,
		id:    lastUMEM.Add(1),
		shift: uint(bits.TrailingZeros(uint(cfg.FrameSize))),
		free:  make([]uint64, cfg.Frames),
		owner: make([]uint8, cfg.Frames),
		limbo: make(map[place][]uint64),
	}
	if err := u.mapMemory(); err != nil {
		return nil, err
	}
	for i := range u.free { // frame 0 on top
		u.free[i] = uint64(cfg.Frames-1-i) << u.shift
	}
	return u, nil
}

func (u *UMEM) mapMemory() error {
	size := u.cfg.Frames << u.shift
	const prot, flags = unix.PROT_READ | unix.PROT_WRITE, unix.MAP_PRIVATE | unix.MAP_ANONYMOUS | unix.MAP_POPULATE
	if u.cfg.HugePages != Off {
		whole := (size + hugePageLen - 1) &^ (hugePageLen - 1)
		mem, err := unix.Mmap(-1, 0, whole, prot, flags|unix.MAP_HUGETLB)
		if err == nil {
			u.mapped, u.mem = mem, mem[:size:size]
			return nil
		}
		u.hugeErr = fmt.Errorf("umem: map %d huge pages: %w (sysctl vm.nr_hugepages=%d would provide them)",
			whole/hugePageLen, err, whole/hugePageLen)
		if u.cfg.HugePages == Require {
			return u.hugeErr
		}
	}
	page := unix.Getpagesize()
	mem, err := unix.Mmap(-1, 0, (size+page-1)&^(page-1), prot, flags)
	if err != nil {
		return fmt.Errorf("umem: map %d bytes: %w", size, err)
	}
	u.mapped, u.mem = mem, mem[:size:size]
	return nil
}

// ID is a number other than 0 that no other UMEM of this process has or had.
func (u *UMEM) ID() uint64 { return u.id }

// Config returns what the UMEM was opened with.
func (u *UMEM) Config() UMEMConfig { return u.cfg }

// HugePagesRefused says why huge pages that were preferred were not had; nil if
// they were, or if they were not asked for.
func (u *UMEM) HugePagesRefused() error { return u.hugeErr }

// RoomRx is the longest packet (bytes) that the kernel receives into one frame.
func (cfg UMEMConfig) RoomRx() int { return cfg.FrameSize - packetHeadroom - cfg.Headroom }

// Sockets is how many sockets are open on the UMEM.
func (u *UMEM) Sockets() int { return len(u.sockets) }

// Avail is how many frames Alloc could give.
func (u *UMEM) Avail() int { return len(u.free) }

// Alloc lends up to len(addrs) free frames to the caller and returns how many. An
// address is the offset of a frame's first byte.
func (u *UMEM) Alloc(addrs []uint64) int {
	n := min(len(addrs), len(u.free))
	rest := len(u.free) - n
	owner, shift := u.owner, u.shift
	for i, addr := range u.free[rest:] {
		owner[addr>>shift] = lent
		addrs[n-1-i] = addr
	}
	u.free = u.free[:rest]
	return n
}

// Free takes back a lent frame. Any address in the frame names it.
func (u *UMEM) Free(addr uint64) {
	if !u.move(addr, lent, free) {
		u.misuse("Free", addr, lent)
		return
	}
	u.push(addr)
}

// push puts a frame whose owner is already free on the stack. The stack was made
// with room for all frames and holds each at most once, so it does not grow.
func (u *UMEM) push(addr uint64) { u.free = append(u.free, u.base(addr)) }

// base is the address of the first byte of the frame that addr lies in.
func (u *UMEM) base(addr uint64) uint64 { return addr &^ uint64(u.cfg.FrameSize-1) }

// Data returns the bytes of the frame from addr on: n of them, with the rest of the
// frame as capacity. It returns nil if they are not all in one frame.
func (u *UMEM) Data(addr uint64, n int) []byte {
	end := u.base(addr) + uint64(u.cfg.FrameSize)
	if addr >= uint64(len(u.mem)) || uint64(n) > end-addr {
		return nil
	}
	return u.mem[addr : addr+uint64(n) : end]
}

// Addr returns the address of data's first byte, and false if data is not in this UMEM.
func (u *UMEM) Addr(data []byte) (addr uint64, ok bool) { return offsetIn(u.mem, data) }

// Close unmaps the memory. Every socket on it must be closed before. Frames that are still lent
// are gone with the memory: nobody may touch them any more. It returns an error, and
// unmaps nevertheless, if the book of the frames does not add up.
func (u *UMEM) Close() error {
	if len(u.sockets) > 0 {
		return fmt.Errorf("umem: %d sockets are still open on it", len(u.sockets))
	}
	if u.mapped == nil {
		return errors.New("umem: closed already")
	}
	err := u.audit()
	if e := unix.Munmap(u.mapped); e != nil {
		err = errors.Join(err, fmt.Errorf("umem: unmap: %w", e))
	}
	u.mapped, u.mem, u.free = nil, nil, nil
	return err
}
