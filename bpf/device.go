package bpf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"syscall"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// Attachment is an XDP program on an interface.
type Attachment struct {
	Mode Mode
	ID   uint32 // the program's
	Name string // at most 15 bytes; empty where it may not be asked for (CAP_SYS_ADMIN)
	Tag  string // a hash of its instructions, as bpftool shows it; empty likewise
	Link uint32 // ID of the bpf_link that holds it; 0 if it was attached by netlink, or is not known
}

// device is what the kernel says of an interface.
type device struct {
	index int
	name  string
	kind  uint16 // ARPHRD_*
	mtu   int    // bytes
	xdp   []Attachment
}

// ErrNoInterface is returned where the interface is not in the calling thread's
// network namespace.
var ErrNoInterface = errors.New("no such interface in this network namespace")

// Attributes inside IFLA_XDP (include/uapi/linux/if_link.h).
var xdpProgAttrs = map[uint16]Mode{
	unix.IFLA_XDP_DRV_PROG_ID: Native,
	unix.IFLA_XDP_SKB_PROG_ID: Generic,
	unix.IFLA_XDP_HW_PROG_ID:  offloaded,
}

// readDevice asks the kernel for an interface, over rtnetlink.
func readDevice(ifindex int) (*device, error) {
	table, err := syscall.NetlinkRIB(unix.RTM_GETLINK, unix.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	messages, err := syscall.ParseNetlinkMessage(table)
	if err != nil {
		return nil, fmt.Errorf("list interfaces: %w", err)
	}
	for i := range messages {
		m := &messages[i]
		if m.Header.Type != unix.RTM_NEWLINK || len(m.Data) < unix.SizeofIfInfomsg {
			continue
		}
		if int(int32(binary.NativeEndian.Uint32(m.Data[4:]))) != ifindex {
			continue
		}
		attrs, err := syscall.ParseNetlinkRouteAttr(m)
		if err != nil {
			return nil, fmt.Errorf("read interface %d: %w", ifindex, err)
		}
		d := &device{index: ifindex, kind: binary.NativeEndian.Uint16(m.Data[2:])}
		for _, a := range attrs {
			d.take(a)
		}
		return d, nil
	}
	return nil, fmt.Errorf("interface %d: %w", ifindex, ErrNoInterface)
}

func (d *device) take(a syscall.NetlinkRouteAttr) {
	switch a.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER) {
	case unix.IFLA_IFNAME:
		d.name = unix.ByteSliceToString(a.Value)
	case unix.IFLA_MTU:
		if len(a.Value) >= 4 {
			d.mtu = int(binary.NativeEndian.Uint32(a.Value))
		}
	case unix.IFLA_XDP:
		for b := a.Value; len(b) >= unix.SizeofNlAttr; {
			size := int(binary.NativeEndian.Uint16(b))
			if size < unix.SizeofNlAttr || size > len(b) {
				return
			}
			mode, isProg := xdpProgAttrs[binary.NativeEndian.Uint16(b[2:])]
			if isProg && size >= unix.SizeofNlAttr+4 {
				d.xdp = append(d.xdp, Attachment{Mode: mode, ID: binary.NativeEndian.Uint32(b[unix.SizeofNlAttr:])})
			}
			b = b[min(len(b), (size+unix.NLA_ALIGNTO-1)&^(unix.NLA_ALIGNTO-1)):]
		}
	}
}

// Attachments returns the XDP programs on an interface, with what the caller may
// know about them.
func Attachments(ifindex int) ([]Attachment, error) {
	d, err := readDevice(ifindex)
	if err != nil {
		return nil, fmt.Errorf("bpf: %w", err)
	}
	d.describe()
	return d.xdp, nil
}

// describe fills in names, tags and links. That is for messages: what is refused
// stays empty.
func (d *device) describe() {
	if len(d.xdp) == 0 {
		return
	}
	for i := range d.xdp {
		a := &d.xdp[i]
		prog, err := ebpf.NewProgramFromID(ebpf.ProgramID(a.ID))
		if err != nil {
			continue
		}
		if info, err := prog.Info(); err == nil {
			a.Name, a.Tag = info.Name, info.Tag
		}
		prog.Close()
	}
	var it link.Iterator
	defer it.Close()
	for it.Next() {
		info, err := it.Link.Info()
		if err != nil || info.Type != link.XDPType {
			continue
		}
		for i := range d.xdp {
			if uint32(info.Program) == d.xdp[i].ID {
				d.xdp[i].Link = uint32(info.ID)
			}
		}
	}
}
