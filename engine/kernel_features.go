package engine

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/xsk"
)

// A KernelFeature is something that the engine uses where there is a kernel that has it.
type KernelFeature struct {
	Name    string // the kernel's word for it
	Since   string // the first Linux that has it
	Without string // what the engine does where it is missing
	Err     error  // why it is missing, or could not be asked for; nil: it is there
}

// KernelFeatures asks the running kernel for all that Linux 5.10, the oldest that the engine runs on, may
// lack. It opens no interface and changes nothing. What only a privilege would tell has
// EPERM for its error.
func KernelFeatures() []KernelFeature {
	s, err := xsk.Ask()
	if err != nil { // no AF_XDP, or none for us
		s = xsk.Support{MultiBuffer: err, BusyPoll: err}
	}
	_, family := genlFamily()
	_, queues := genl(netdevQueueGet, unix.NLM_F_DUMP, netdevQueueIfindex, loopbackIndex)
	return []KernelFeature{
		{"SO_PREFER_BUSY_POLL", "5.11", "BusyPoll (--busy-poll) is refused", s.BusyPoll},
		{"xdp.frags", "5.18", "MTUs that take several frames are served by AF_PACKET", bpf.Ask()},
		{"netdev-genl", "6.3", "what a driver can do is found out by trying", family},
		{"XDP_USE_SG", "6.6", "MTUs that take several frames are served by AF_PACKET", s.MultiBuffer},
		{"netdev-genl queue-get", "6.8", "queues are counted by ethtool, or in sysfs", queues},
	}
}

// loopbackIndex is the interface that every namespace has.
const loopbackIndex = 1
