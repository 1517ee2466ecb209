package engine

// Read first: Documentation/networking/tuntap.rst.

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A TapConfig describes a [Tap].
type TapConfig struct {
	// Name of the interface, which is made if there is none; "" lets the kernel choose.
	Name string

	// FD is an attached descriptor of somebody else's making (IFF_NO_PI, no
	// IFF_VNET_HDR), which a device that opens takes over and closes. 0: none; open /dev/net/tun.
	FD int

	TUN        bool             // packets begin with the IP header; without it, with an Ethernet header
	MultiQueue bool             // IFF_MULTI_QUEUE: each Open of the name is one more queue
	Queue      int              // for Info
	Addr       net.HardwareAddr // ours; nil: the interface's with the last bit turned, since that one is the kernel's
	MTU        int              // bytes of an IP packet; 0: the interface's
	Clock      Clock            // nil: SystemClock
}

// A Tap is a device whose other end is a network interface of this kernel: what
// Submit sends the kernel receives on that interface, and what the kernel sends there
// Peek lends. With TUN there are no link headers, no addresses and no ARP.
//
// The kernel finishes checksums and cuts packets to the MTU before it hands them
// over, as no offload is asked for. The interface is made down: it is for its owner
// to give it addresses and to bring it up.
type Tap struct {
	lender
	sleeper sleeper
	clock   Clock
	fd      int
	info    Info
	looks   atomic.Uint32
	err     atomic.Pointer[error]
}

const tunPath = "/dev/net/tun"

// OpenTap opens the device in the network namespace of the calling thread.
func OpenTap(cfg TapConfig) (t *Tap, err error) {
	t = &Tap{fd: cfg.FD, clock: cfg.Clock}
	defer func() {
		if err != nil {
			if cfg.FD != 0 {
				t.fd = -1 // still the caller's
			}
			t.Close()
			t = nil
		}
	}()
	if t.clock == nil {
		t.clock = SystemClock
	}
	if t.fd == 0 {
		t.fd, err = attachTun(cfg)
		if err != nil {
			t.fd = -1
			return t, err
		}
	}
	name, flags, err := tunIdentity(t.fd)
	if err != nil {
		return t, err
	}
	if flags&unix.IFF_NO_PI == 0 || flags&unix.IFF_VNET_HDR != 0 {
		return t, fmt.Errorf("engine: tap %s: the descriptor needs IFF_NO_PI and must not have IFF_VNET_HDR (flags %#x)", name, flags)
	}
	if tun := flags&unix.IFF_TUN != 0; tun != cfg.TUN {
		return t, fmt.Errorf("engine: tap %s: the interface is a %s", name, map[bool]string{true: "TUN", false: "TAP"}[tun])
	}
	if err := unix.SetNonblock(t.fd, true); err != nil {
		return t, fmt.Errorf("engine: tap %s: %w", name, err)
	}
	if cfg.MTU == 0 {
		if cfg.MTU, err = interfaceMTU(name); err != nil {
			return t, fmt.Errorf("engine: tap %s: MTU (say it in the config if the interface is in another namespace): %w", name, err)
		}
	}
	if cfg.MTU < 1 || cfg.MTU > mtuMax {
		return t, fmt.Errorf("engine: tap %s: MTU %d is not between 1 and %d", name, cfg.MTU, mtuMax)
	}
	mode, room := "tun", cfg.MTU
	if !cfg.TUN {
		mode, room = "tap", cfg.MTU+linkRoom
		if cfg.Addr == nil {
			if cfg.Addr, err = otherEnd(t.fd); err != nil {
				return t, fmt.Errorf("engine: tap %s: hardware address: %w", name, err)
			}
		}
	} else if cfg.Addr != nil {
		return t, fmt.Errorf("engine: tap %s: a TUN has no hardware address", name)
	}
	if err := t.sleeper.open(t.fd); err != nil {
		return t, err
	}
	// One byte more, by which a frame is seen to be too long: read(2) cuts silently.
	region := t.init(max(room, wireRoomMin)+1, room)
	t.info = Info{
		Name: name, Driver: "tun", Mode: mode, Queue: cfg.Queue, Addr: cfg.Addr, MTU: cfg.MTU, RawIP: cfg.TUN,
		KeepMax: lenderKeepMax, Region: region, FrameLen: room,
	}
	return t, nil
}

// attachTun opens a queue of the interface.
func attachTun(cfg TapConfig) (int, error) {
	fd, err := unix.Open(tunPath, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("engine: open %s (is the tun module loaded?): %w", tunPath, err)
	}
	req, err := unix.NewIfreq(cfg.Name)
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("engine: tap %q: %w", cfg.Name, err)
	}
	flags := uint16(unix.IFF_TAP | unix.IFF_NO_PI)
	if cfg.TUN {
		flags = unix.IFF_TUN | unix.IFF_NO_PI
	}
	if cfg.MultiQueue {
		flags |= unix.IFF_MULTI_QUEUE
	}
	req.SetUint16(flags)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		unix.Close(fd)
		why := "needs CAP_NET_ADMIN"
		switch {
		case errors.Is(err, unix.EBUSY):
			why = "somebody has it open; for several queues everyone must ask for MultiQueue"
		case errors.Is(err, unix.EINVAL):
			why = "there is another kind of interface of this name, or one with or without several queues"
		}
		return -1, fmt.Errorf("engine: attach to tap %q (%s): %w", cfg.Name, why, err)
	}
	return fd, nil
}

// tunIdentity says what a descriptor is attached to.
func tunIdentity(fd int) (name string, flags uint16, err error) {
	req, err := unix.NewIfreq("")
	if err != nil {
		return "", 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.TUNGETIFF, req); err != nil {
		return "", 0, fmt.Errorf("engine: descriptor %d is no attached tun device: %w", fd, err)
	}
	return req.Name(), req.Uint16(), nil
}

func interfaceMTU(name string) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq(name)
	if err != nil {
		return 0, err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFMTU, req); err != nil {
		return 0, err
	}
	return int(req.Uint32()), nil
}

// otherEnd makes our address out of the kernel's, which a tap descriptor tells.
func otherEnd(fd int) (net.HardwareAddr, error) {
	var req struct { // struct ifreq, whose union is a struct sockaddr here
		name   [unix.IFNAMSIZ]byte
		family uint16
		addr   [22]byte
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCGIFHWADDR, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return nil, errno
	}
	addr := net.HardwareAddr(req.addr[:6:6])
	addr[5] ^= 1
	return addr, nil
}

// Info describes the device.
func (t *Tap) Info() Info { return t.info }

// FD is what to wait for POLLIN on.
func (t *Tap) FD() int { return t.fd }

// Peek lends what has arrived, by a read(2) for each frame.
func (t *Tap) Peek(frames []Frame) (n int) {
	for room := t.peekRoom(len(frames)); n < room; {
		slot := t.rx.memory(t.rx.top(0))
		size, err := unix.Read(t.fd, slot)
		if err != nil {
			if err == unix.EINTR {
				continue
			}
			t.failed(err)
			break
		}
		if size == len(slot) {
			t.stats.rxOversize.Add(1)
			continue
		}
		frames[n] = t.take(slot[:size])
		n++
	}
	t.received(frames[:n])
	return n
}

// Submit sends, by a write(2) for each frame. While the interface is down frames wait.
func (t *Tap) Submit(frames []Frame, reserved int) {
	t.submit(frames)
	for _, o := range t.waiting() {
		if !t.transmit(o.data) {
			break
		}
		t.sent(1)
	}
	if t.err.Load() != nil {
		t.drop()
	}
	t.settle()
}

// transmit says whether the frame is done with, sent or not.
func (t *Tap) transmit(data []byte) bool {
	t.stats.kicks.Add(1)
	_, err := unix.Write(t.fd, data)
	for err == unix.EINTR {
		_, err = unix.Write(t.fd, data)
	}
	switch err {
	case nil:
		t.stats.txPackets.Add(1)
		t.stats.txBytes.Add(uint64(len(data)))
		return true
	case unix.EAGAIN:
		return false
	case unix.EIO: // the interface is down
		t.stats.kickErrors.Add(1)
		return false
	case unix.ENOMEM, unix.ENOBUFS:
		t.stats.txBusy.Add(1)
		return true
	}
	t.stats.kickErrors.Add(1)
	if t.failed(err) {
		return false
	}
	t.stats.txInvalid.Add(1) // EINVAL: too short, or no IP version in the first byte of a TUN packet
	return true
}

// failed looks into an error. A descriptor whose interface was deleted says EBADFD.
func (t *Tap) failed(err error) (dead bool) {
	if err != unix.EBADFD && err != unix.EFAULT && err != unix.ENODEV {
		return false
	}
	if t.err.Load() == nil {
		gone := fmt.Errorf("engine: %s: the interface was deleted: %w", t.info.Name, unix.ENXIO)
		t.err.Store(&gone)
	}
	return true
}

// Ready asks the kernel at every 64th look and says no at the others.
func (t *Tap) Ready() bool { return t.looks.Add(1)%readyEvery == 0 && readable(t.fd) }

// Wait sleeps until a frame arrives, until Wake, or until that time.
func (t *Tap) Wait(until mono.Time) {
	if t.sleeper.wait(until, t.clock, nil)&unix.POLLERR != 0 {
		// Without an interface it is said for good; with one, never.
		if _, _, err := tunIdentity(t.fd); errors.Is(err, unix.EBADFD) {
			t.failed(unix.EBADFD)
		}
	}
}

// Wake ends a Wait.
func (t *Tap) Wake() { t.sleeper.wake() }

// Err is the end of the device, if it has come.
func (t *Tap) Err() error {
	if err := t.err.Load(); err != nil {
		return *err
	}
	return nil
}

// Stats counts since OpenTap. Packets that the kernel dropped because its queue was
// full are the interface's tx_dropped.
func (t *Tap) Stats() DeviceStats { return t.stats.read(t.sleeper.slept.Load()) }

// Close gives everything back. An interface that OpenTap made goes with its last queue.
func (t *Tap) Close() error {
	err := t.sleeper.close()
	if t.fd >= 0 {
		err = errors.Join(err, unix.Close(t.fd))
		t.fd = -1
	}
	return err
}
