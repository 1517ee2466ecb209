package engine

import (
	"net"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A Frame is one whole packet, or the room for one, in memory that a [Device]
// owns and lends.
//
// On the way up, Data is the packet from its link header on (from its IP header
// on where [Info.RawIP] is set). On the way down, Data is room for one: Output
// writes a packet at its start and reslices Data to the packet's length.
//
// A Frame is a value; copying it copies no bytes and gives no second claim on them.
type Frame struct {
	Data []byte

	// Handle is the device's own name of the memory. Others carry it and do not
	// look at it.
	Handle uint64

	// Train makes of a packet on the way down the header of a [Train]; nil: Data is all of it. The handler sets it in the last
	// frame of an Output, for a device with Info.TrainMax.
	Train *Train

	kept bool
}

// Keep takes the frame over: the device will not have it back at Release. The
// handler owes it to the device from then on, by giving it to Submit (in
// another reserved frame's slot) or to Free. A handler keeps at most [Info.KeepMax]
// frames at once, or the device has none left to receive into.
func (f *Frame) Keep() { f.kept = true }

// Kept says whether Keep was called. Devices read it in Release and Submit.
func (f *Frame) Kept() bool { return f.kept }

// A Device is one queue of one interface: frames in, frames out. Nothing in it
// may be called by two goroutines at once, except Ready, Err, Stats and Wake, which
// anyone may call at any time, and Wait, which one goroutine may sleep in while
// another calls the rest.
//
// A turn uses it in this order:
//
//	n := Peek(rx)          what has arrived, whole packets only
//	...                    the handler reads rx[:n], keeps some
//	Release(rx[:n])        gives back those that were not kept
//	r := Reserve(tx)       shows free frames; takes none
//	...                    the handler fills tx[:m], m <= r
//	Submit(tx[:m], r)      sends m, forgets r-m
//
// A device outside this module is welcome: the contract is what this file says.
type Device interface {
	// Info describes the device. It does not change while the device is open.
	Info() Info

	// Peek lends up to len(frames) arrived packets, oldest first, until Release.
	// It must be followed by a Release of the same frames before the next Peek.
	Peek(frames []Frame) int

	// Release ends what Peek lent. Frames that were kept are not taken back.
	Release(frames []Frame)

	// Reserve reclaims what has been sent and shows up to len(frames) frames with
	// room for Info.FrameLen bytes each. It takes none: what is not handed to
	// Submit is free again.
	Reserve(frames []Frame) int

	// Submit sends frames in order. It ends what Reserve lent, reserved being what
	// Reserve returned. A slot may hold a kept frame of the same Info.Region instead of
	// the one that Reserve put there. While descriptors are unsent, Submit with no
	// frames tries again to send them. Of a frame with a [Train], which is the last, Submit
	// takes the bytes before it returns; the frame that Reserve put there stays free.
	Submit(frames []Frame, reserved int)

	// Unsent says whether the device still holds frames that Submit took and that
	// nobody has begun to send. A core with unsent frames does not sleep for long.
	Unsent() bool

	// Free gives back a kept frame that is not going to be sent.
	Free(f Frame)

	// Ready says, cheaply and without a system call, whether Peek would find something.
	Ready() bool

	// Wait sleeps until Ready would say true, Wake is called, or the clock reaches
	// until. It may return early. A Wake that comes before Wait is not lost.
	Wait(until mono.Time)

	// Wake ends a Wait that is under way, or the next one at once.
	Wake()

	// Err is nil while the device works, and afterwards the reason why it never
	// will again (unix.ENETDOWN or unix.ENXIO, wrapped: the interface is gone).
	// An interface that is merely down is not an error.
	Err() error

	// Stats returns the counters. It may be called by anyone at any time.
	Stats() DeviceStats

	// Close gives everything back and joins what the device started. Frames that are
	// still kept are lost to their holder. No method may be called after it.
	Close() error
}

// Info is what a device says of itself.
type Info struct {
	Name     string           // interface name, for people
	Driver   string           // kernel driver, "" if there is none
	Mode     string           // how frames pass: "zerocopy", "native copy", "skb", "packet", "tap", "tun", "wire"
	Queue    int              // queue of the interface
	Addr     net.HardwareAddr // nil on a raw IP device
	MTU      int              // bytes of an IP packet, without the link header, at Open
	MTUMax   int              // what MTU can grow to: memory is made for that; 0: it cannot
	RawIP    bool             // frames start at the IP header (TUN)
	Loop     bool             // only what Submit takes arrives, in Peek: nobody waits for it, and Wait and Wake are not called
	Virtual  bool             // the other end is this kernel or this process: checksums may be left unfinished
	KeepMax  int              // how many frames may be kept at once; 0: none
	Region   uint64           // devices with the same Region other than 0 can send each other's kept frames
	FrameLen int              // bytes of room in a reserved frame
	TrainMax int              // payload bytes that a [Train] may have; 0: the device takes none
}

// DeviceStats counts since Open.
type DeviceStats struct {
	RxPackets, RxBytes uint64 // lent by Peek
	TxPackets, TxBytes uint64 // taken by Submit and not counted below
	RxDropped          uint64 // the kernel had no frame of ours or no room in the ring
	RxOversize         uint64 // packets longer than what a frame or the scratch holds
	TxBusy             uint64 // frames that the driver dropped (EBUSY): never sent again
	TxInvalid          uint64 // descriptors that the kernel refused
	TxNoFrame          uint64 // times Reserve had nothing free
	Kicks              uint64 // system calls that asked the kernel to send
	KickErrors         uint64 // those that failed for another reason than EAGAIN
	Wakeups            uint64 // times Wait slept
}

// Pollable is a device that is ready when a descriptor is: a core that has
// several sleeps on all of them in one ppoll(2). The descriptor must not be read
// or written by anyone else.
type Pollable interface {
	Device
	// FD is what to wait for POLLIN on.
	FD() int
}

// AlsoPollable is a [Pollable] that is ready when a second descriptor, a socket's, is too.
type AlsoPollable interface {
	Pollable
	// AlsoFD is it.
	AlsoFD() int
}

// A Handler is what a core turns for: the protocol stack, or a raw mode such as
// rxdrop. All methods but Posted are called with the core's lock held.
type Handler interface {
	// Input takes packets that arrived at a port. The frames are lent until it
	// returns, but for those it keeps.
	Input(port int, frames []Frame, now mono.Time)

	// Advance does what is due at now and what programs have asked for, and says how
	// much that was: 0 is nothing.
	Advance(now mono.Time) (work int)

	// Output writes packets for a port into frames, in order, and says how many. Behind a frame with a
	// [Train] it writes none: it is asked again.
	Output(port int, frames []Frame, now mono.Time) int

	// Deadline is when Advance has something to do next, mono.Never if nothing waits
	// for a time.
	Deadline() mono.Time

	// Posted says whether a program has asked for something since the last Advance.
	// It is called without the lock.
	Posted() bool

	// Wake wakes the programs that this turn has brought something, and says how many
	// goroutines became runnable by it. It is called once at the end of a turn.
	Wake() (woken int)
}

// A Clock tells the time of a host. Now may be called by anyone at any time.
type Clock interface {
	Now() mono.Time
}

// SystemClock is the machine's monotonic clock, from the start of the process on.
var SystemClock Clock = systemClock{time.Now()}

type systemClock struct{ start time.Time }

func (c systemClock) Now() mono.Time { return mono.Time(time.Since(c.start)) }
