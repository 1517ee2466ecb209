package engine

// Read first: Documentation/netlink/specs/netdev.yaml.

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// XDP is what an interface can do with XDP programs, and the one that is attached.
type XDP struct {
	// Known says whether the kernel has told the features: it does from Linux 6.3 on.
	Known    bool
	Features XDPFeatures
	ZCSegs   int // frames of one packet in zero-copy mode; 0: one, or no zero-copy mode, or not known

	Program uint32 // ID of the attached program, 0: none
	Mode    string // of the attached program: "native", "skb", "hardware", "several"; "" if there is none
}

// XDPFeatures is a set of enum netdev_xdp_act.
type XDPFeatures uint64

const (
	XDPBasic     XDPFeatures = 1 << iota // native mode: PASS, DROP, TX, ABORTED
	XDPRedirect                          // REDIRECT out of it
	XDPNdoXmit                           // REDIRECT into it
	XDPZeroCopy                          // AF_XDP in zero-copy mode
	XDPHWOffload                         // programs in the hardware
	XDPRxSG                              // packets of several buffers
	XDPNdoXmitSG                         // the same, redirected into it
)

var xdpFeatureNames = []string{"basic", "redirect", "ndo-xmit", "xsk-zerocopy", "hw-offload", "rx-sg", "ndo-xmit-sg"}

// String lists the features by their names in netdev.yaml.
func (f XDPFeatures) String() string {
	var names []string
	for i := range 64 {
		if f&(1<<i) == 0 {
			continue
		}
		if i < len(xdpFeatureNames) {
			names = append(names, xdpFeatureNames[i])
		} else {
			names = append(names, fmt.Sprintf("bit%d", i))
		}
	}
	if names == nil {
		return "none"
	}
	return strings.Join(names, " ")
}

// xdpModes are the values of IFLA_XDP_ATTACHED, from 1 on (linux/if_link.h).
var xdpModes = []string{"", "native", "skb", "hardware", "several"}

func xdpOf(a *netlink.LinkXdp) XDP {
	if a == nil || !a.Attached {
		return XDP{}
	}
	x := XDP{Program: a.ProgId}
	if int(a.AttachMode) < len(xdpModes) {
		x.Mode = xdpModes[a.AttachMode]
	}
	return x
}

// enum netdev_cmd and its attributes (linux/netdev.h).
const (
	netdevFamily = "netdev"

	netdevDevGet       = 1
	netdevDevIfindex   = 1
	netdevDevFeatures  = 3
	netdevDevZCMaxSegs = 4

	netdevQueueGet     = 10 // Linux 6.8
	netdevQueueIfindex = 2
	netdevQueueType    = 3
	netdevQueueTypeRX  = 0
	netdevQueueTypeTX  = 1
)

// askFeatures leaves Known false where the kernel is too old to know.
func (x *XDP) askFeatures(index int) {
	msgs, err := genl(netdevDevGet, 0, netdevDevIfindex, index)
	if err != nil || len(msgs) == 0 {
		return
	}
	attrs := genlAttrs(msgs[0])
	if v, ok := attrs[netdevDevFeatures]; ok && len(v) >= 8 {
		x.Known, x.Features = true, XDPFeatures(binary.NativeEndian.Uint64(v))
	}
	if v, ok := attrs[netdevDevZCMaxSegs]; ok && len(v) >= 4 {
		x.ZCSegs = int(binary.NativeEndian.Uint32(v))
	}
}

// genlQueues counts the queues that are set up. The kernel tells those of a link that is up.
func genlQueues(index int) (rx, tx int, ok bool) {
	msgs, err := genl(netdevQueueGet, unix.NLM_F_DUMP, netdevQueueIfindex, index)
	if err != nil {
		return 0, 0, false
	}
	for _, m := range msgs {
		v := genlAttrs(m)[netdevQueueType]
		if len(v) < 4 {
			continue
		}
		switch binary.NativeEndian.Uint32(v) {
		case netdevQueueTypeRX:
			rx++
		case netdevQueueTypeTX:
			tx++
		}
	}
	return rx, tx, rx > 0 && tx > 0
}

// genl asks the netdev family about an interface. A kernel without it says ENOENT.
func genl(cmd uint8, flags, attr, index int) ([][]byte, error) {
	family, err := genlFamily()
	if err != nil {
		return nil, err
	}
	req := nl.NewNetlinkRequest(family, flags)
	req.AddData(genlHeader{cmd, 1})
	req.AddData(nl.NewRtAttr(attr, nl.Uint32Attr(uint32(index))))
	return req.Execute(unix.NETLINK_GENERIC, 0)
}

// genlFamily asks for the number of the netdev family. (netlink.GenlFamilyGet sends an [nl.Genlmsg], see genlHeader.)
func genlFamily() (id int, err error) {
	req := nl.NewNetlinkRequest(nl.GENL_ID_CTRL, 0)
	req.AddData(genlHeader{nl.GENL_CTRL_CMD_GETFAMILY, nl.GENL_CTRL_VERSION})
	req.AddData(nl.NewRtAttr(nl.GENL_CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(netdevFamily)))
	msgs, err := req.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil {
		return 0, err
	}
	if len(msgs) == 1 {
		if v := genlAttrs(msgs[0])[nl.GENL_CTRL_ATTR_FAMILY_ID]; len(v) >= 2 {
			return int(binary.NativeEndian.Uint16(v)), nil
		}
	}
	return 0, fmt.Errorf("engine: the kernel does not tell the number of the %s family", netdevFamily)
}

// genlHeader is struct genlmsghdr: command, version, and two bytes that must be 0, or
// the kernel says EINVAL. (nl.Genlmsg has two bytes and is sent as four: what follows it in memory goes along, which the
// race detector sees, too.)
type genlHeader [nl.SizeofGenlmsg]byte

func (h genlHeader) Len() int          { return len(h) }
func (h genlHeader) Serialize() []byte { return h[:] }

func genlAttrs(msg []byte) map[uint16][]byte {
	attrs := map[uint16][]byte{}
	if len(msg) < nl.SizeofGenlmsg {
		return attrs
	}
	list, err := nl.ParseRouteAttr(msg[nl.SizeofGenlmsg:])
	if err != nil {
		return attrs
	}
	for _, a := range list {
		attrs[a.Attr.Type&nl.NLA_TYPE_MASK] = a.Value
	}
	return attrs
}
