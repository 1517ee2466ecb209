package netlab

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// An Offload is a set of things that a sending or receiving kernel leaves to
// the device, so that what arrives at the other end of a veth pair is not what
// would arrive from a wire: unfinished checksums and packets of up to 64 KiB.
type Offload uint

const (
	TxChecksum Offload = 1 << iota // ethtool -K tx: checksums left unfinished; off takes TSO and UDP segmentation with it
	RxChecksum                     // ethtool -K rx
	SG                             // ethtool -K sg
	TSO                            // ethtool -K tso
	GSO                            // ethtool -K gso
	GRO                            // ethtool -K gro
	TxVLAN                         // ethtool -K txvlan: the tag goes beside the packet, not in it

	// OnWire is what must be off for a kernel to send what a wire would carry:
	// finished checksums, no packet longer than the MTU.
	OnWire = TxChecksum | TSO | GSO | GRO
)

// offloads in an order that lets the kernel drop what depends on an earlier one.
var offloads = []struct {
	bit      Offload
	name     string
	get, set uint32
	bits     uint32 // of the value
}{
	{TxChecksum, "tx", unix.ETHTOOL_GTXCSUM, unix.ETHTOOL_STXCSUM, 1},
	{RxChecksum, "rx", unix.ETHTOOL_GRXCSUM, unix.ETHTOOL_SRXCSUM, 1},
	{SG, "sg", unix.ETHTOOL_GSG, unix.ETHTOOL_SSG, 1},
	{TSO, "tso", unix.ETHTOOL_GTSO, unix.ETHTOOL_STSO, 1},
	{GSO, "gso", unix.ETHTOOL_GGSO, unix.ETHTOOL_SGSO, 1},
	{GRO, "gro", unix.ETHTOOL_GGRO, unix.ETHTOOL_SGRO, 1},
	{TxVLAN, "txvlan", unix.ETHTOOL_GFLAGS, unix.ETHTOOL_SFLAGS, 1 << 7}, // ETH_FLAG_TXVLAN
}

// SetOffload switches offloads on or off. What is already as asked is left alone.
func (l *Link) SetOffload(set Offload, on bool) error {
	return l.NS.Do(func() error {
		for _, o := range offloads {
			if set&o.bit == 0 {
				continue
			}
			data, err := ethtoolValue(l.Name, o.get, 0)
			if err == nil && (data&o.bits != 0) == on {
				continue
			}
			if data &^= o.bits; on {
				data |= o.bits
			}
			if _, err := ethtoolValue(l.Name, o.set, data); err != nil {
				return fmt.Errorf("netlab: ethtool -K %s %s %v: %w", l.Name, o.name, on, err)
			}
		}
		return nil
	})
}

// Offloads says which are on.
func (l *Link) Offloads() (on Offload, err error) {
	err = l.NS.Do(func() error {
		for _, o := range offloads {
			v, err := ethtoolValue(l.Name, o.get, 0)
			if errors.Is(err, unix.EOPNOTSUPP) {
				continue
			}
			if err != nil {
				return fmt.Errorf("netlab: ethtool -k %s: %s: %w", l.Name, o.name, err)
			}
			if v&o.bits != 0 {
				on |= o.bit
			}
		}
		return nil
	})
	return on, err
}

// ethtoolValue is SIOCETHTOOL with a struct ethtool_value (linux/ethtool.h).
func ethtoolValue(name string, cmd, data uint32) (uint32, error) {
	type value struct{ cmd, data uint32 }
	// struct ifreq: 16 bytes of name, then a union of 24 that begins with the pointer.
	type ifreq struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [24 - unsafe.Sizeof(uintptr(0))]byte
	}
	if len(name) >= unix.IFNAMSIZ {
		return 0, unix.EINVAL
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	defer unix.Close(fd)
	v := &value{cmd, data}
	req := &ifreq{data: unsafe.Pointer(v)}
	copy(req.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	runtime.KeepAlive(v)
	if errno != 0 {
		return 0, errno
	}
	return v.data, nil
}
