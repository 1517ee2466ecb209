package engine

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/xdpsock/xdpsock/xsk"
)

// AFXDPConfig says which queue to open and on what memory.
type AFXDPConfig struct {
	// UMEM is the memory; the ports of one core share it, no two cores do.
	UMEM *xsk.UMEM
	// CloseUMEM closes the UMEM with the last device on it. An Open that fails leaves it open.
	CloseUMEM bool

	Interface string
	Index     int // of the interface
	Queue     int
	Driver    string
	Addr      net.HardwareAddr
	MTU       int  // bytes of an IP packet
	Virtual   bool // see [Info.Virtual]
	SKB       bool // the program is attached in generic mode; only for Info.Mode

	Mode        xsk.Mode
	MultiBuffer xsk.Want // packets of several descriptors; see [UMEMFor]
	BusyPoll    xsk.Want

	// Trains takes trains of segments where packets are copied: see [Train]. A queue without a copy takes none, nor does a
	// kernel without packet sockets.
	Trains bool

	RxRing, TxRing int // descriptors; 0: 2048 and 1024

	Clock Clock // what Wait's deadlines are of; nil: SystemClock

	// Steer puts the socket into the XSKMAP, so that frames begin to arrive. It is the last
	// step of Open; nil leaves it to the caller, by FD. A socket leaves the map by being closed.
	Steer func(queue, fd int) error
}

// AFXDP is a [Device] over one AF_XDP socket: one queue of one interface.
type AFXDP struct {
	xs   *xsk.Socket
	umem *xsk.UMEM
	info Info

	closeUMEM bool
	target    int  // frames that the kernel is to have for receiving
	multi     bool // packets may have several descriptors
	descMax   int  // descriptors that Peek looks at

	// spare are the frames that Reserve shows, the next one last. They are lent to us by the
	// UMEM and stay here from turn to turn, so that a turn with nothing to say costs no Alloc.
	spare  [batchMax]uint64
	spares int

	back   []uint64           // scratch, empty between calls: frames that go to the fill ring, or stay spare
	descs  [batchMax]xsk.Desc // scratch of Submit: packets on their way to the tx ring
	queued int                // of descs
	big    scratch            // packets of several descriptors
	trains *trainSocket       // nil: it takes none

	gone  atomic.Pointer[error] // why the device will never work again
	asked atomic.Uint32         // calls of Err, see there
	clock Clock
	sleep sleeper       // Wait and Wake
	ready func() bool   // Ready, made once
	count afxdpCounters // see Stats
}

// afxdpCounters are written by the core and read by anyone.
type afxdpCounters struct {
	rxPackets, rxBytes, rxOversize, txPackets, txBytes, txBusy, txInvalid, txNoFrame, kicks atomic.Uint64
}

// OpenAFXDP opens one queue. Interfaces that are down can be opened.
func OpenAFXDP(cfg AFXDPConfig) (d *AFXDP, err error) {
	rx, tx := cfg.RxRing, cfg.TxRing
	if rx == 0 {
		rx = afxdpRxRing
	}
	if tx == 0 {
		tx = afxdpTxRing
	}
	if cfg.UMEM == nil {
		return nil, fmt.Errorf("engine: open queue %d of %s: no umem", cfg.Queue, cfg.Interface)
	}
	d = &AFXDP{umem: cfg.UMEM, target: rx, closeUMEM: cfg.CloseUMEM}
	d.info.Name, d.info.Queue = cfg.Interface, cfg.Queue
	if d.clock = cfg.Clock; d.clock == nil {
		d.clock = SystemClock
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.undo())
			d = nil
		}
	}()
	d.xs, err = xsk.Open(cfg.UMEM, xsk.Config{
		Interface: cfg.Interface, Index: cfg.Index, Queue: cfg.Queue,
		RxSize: rx, TxSize: tx, FillSize: rx, CompletionSize: tx, Prime: rx,
		Mode: cfg.Mode, MultiBuffer: cfg.MultiBuffer, BusyPoll: cfg.BusyPoll,
	})
	if err != nil {
		return d, fmt.Errorf("engine: open: %w", err)
	}
	got := d.xs.Info()
	d.multi = got.MultiBuffer
	d.descMax = batchMax
	if d.multi {
		d.descMax = rx // a packet's end may lie far behind its beginning
	}
	d.back = make([]uint64, 0, d.descMax+batchMax)
	d.info = Info{
		Name: cfg.Interface, Driver: cfg.Driver, Queue: cfg.Queue, Addr: cfg.Addr,
		MTU: cfg.MTU, Virtual: cfg.Virtual, KeepMax: afxdpKeepMax,
		Region: cfg.UMEM.ID(), FrameLen: cfg.UMEM.Config().FrameSize, Mode: "native copy",
	}
	d.info.MTUMax = cfg.UMEM.Config().RoomRx() - linkHeaderMax
	if d.multi { // only what we send has to fit into one frame
		d.info.MTUMax = d.info.FrameLen - linkHeaderMax
	}
	switch {
	case got.ZeroCopy:
		d.info.Mode = "zerocopy"
	case cfg.SKB:
		d.info.Mode = "skb"
	}
	if err := d.sleep.open(d.xs.FD()); err != nil {
		return d, err
	}
	if cfg.Trains && !got.ZeroCopy {
		if err := d.openTrains(cfg.Index); err != nil {
			return d, err
		}
	}
	d.ready = d.xs.Ready
	if cfg.Steer != nil {
		if err := cfg.Steer(cfg.Queue, d.xs.FD()); err != nil {
			return d, fmt.Errorf("engine: steer queue %d of %s to its socket: %w", cfg.Queue, cfg.Interface, err)
		}
	}
	return d, nil
}

// Info describes the device.
func (d *AFXDP) Info() Info { return d.info }

// Socket says what was had and what was refused.
func (d *AFXDP) Socket() xsk.Info { return d.xs.Info() }

// FD is the socket, for the XSKMAP and to wait on.
func (d *AFXDP) FD() int { return d.xs.FD() }

// errPause is how many calls of Err share one question to the kernel. It is asked
// after each sleep of the core; a question costs 150 ns.
const errPause = 64

// Err is nil while the device works. It asks the kernel now and then; Probe asks at once.
func (d *AFXDP) Err() error {
	if e := d.gone.Load(); e != nil {
		return *e
	}
	if d.asked.Add(1)%errPause == 0 {
		return d.Probe()
	}
	return nil
}

// Probe is Err by the kernel's answer now: for whoever heard that the interface is gone, which
// no ring and no poll(2) ever tells. Anyone may call it.
func (d *AFXDP) Probe() error {
	if e := d.gone.Load(); e != nil {
		return *e
	}
	err := d.xs.Err()
	if err == nil {
		return nil
	}
	gone := fmt.Errorf("engine: queue %d of %s: the interface was deleted or moved away: %w", d.info.Queue, d.info.Name, err)
	d.gone.Store(&gone)
	return gone
}

// Stats returns the counters. It asks the kernel for its own: a system call. The bytes
// of frames that the driver dropped (TxBusy) are in TxBytes: which ones they were is not told.
func (d *AFXDP) Stats() DeviceStats {
	c, x := &d.count, d.xs.Stats()
	s := DeviceStats{
		RxPackets: c.rxPackets.Load(), RxBytes: c.rxBytes.Load(), RxOversize: c.rxOversize.Load(),
		TxPackets: c.txPackets.Load(), TxBytes: c.txBytes.Load(),
		TxBusy: c.txBusy.Load() + x.Busy, TxInvalid: c.txInvalid.Load() + x.Refused, TxNoFrame: c.txNoFrame.Load(),
		Kicks: c.kicks.Load() + x.Kicks, KickErrors: x.KickErrors, Wakeups: d.sleep.slept.Load(),
	}
	s.TxPackets -= min(s.TxPackets, s.TxBusy+s.TxInvalid) // at another moment: perhaps a few ahead
	if k, err := d.xs.KernelStats(); err == nil {
		s.RxDropped = k.RxDropped + k.RxRingFull
		s.TxInvalid += k.TxInvalid
	}
	return s
}

// Close gives everything back. What was not sent is lost; it returns an error, and closes all
// the same, if not every frame is accounted for.
func (d *AFXDP) Close() error {
	d.xs.Kick()
	err := d.undo()
	if d.closeUMEM && d.umem.Sockets() == 0 {
		err = errors.Join(err, d.umem.Close())
	}
	return err
}

func (d *AFXDP) undo() error {
	var errs []error
	for _, addr := range d.spare[:d.spares] {
		d.umem.Free(addr)
	}
	d.spares = 0
	if d.xs != nil {
		errs = append(errs, d.xs.Close())
	}
	errs = append(errs, d.trains.close(), d.sleep.close())
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("engine: close queue %d of %s: %w", d.info.Queue, d.info.Name, err)
	}
	return nil
}

var _ Pollable = (*AFXDP)(nil)
