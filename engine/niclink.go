package engine

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// nicLink is what OpenNIC has to know of an interface.
type nicLink struct {
	Name    string
	Index   int
	Driver  string
	Addr    net.HardwareAddr
	MTU     int
	Virtual bool
	up      bool
	queues  int // that receive
}

// virtualDrivers are those whose links end in this machine, so that senders leave
// checksums unfinished.
var virtualDrivers = []string{"veth", "tun", "bridge", "dummy", "lo", "virtual"}

func nicLinkByName(name string) (*nicLink, error) {
	ifi, err := net.InterfaceByName(name)
	if err != nil {
		var names []string
		if all, err := net.Interfaces(); err == nil {
			for _, i := range all {
				names = append(names, i.Name)
			}
		}
		return nil, fmt.Errorf("engine: no interface %q here; there are: %s", name, strings.Join(names, ", "))
	}
	l := &nicLink{Name: name, Index: ifi.Index, Addr: ifi.HardwareAddr, MTU: ifi.MTU, up: ifi.Flags&net.FlagUp != 0, queues: 1}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("engine: ask about %s: %w", name, err)
	}
	defer unix.Close(fd)
	if d, err := unix.IoctlGetEthtoolDrvinfo(fd, name); err == nil {
		l.Driver = unix.ByteSliceToString(d.Driver[:])
	}
	l.Virtual = ifi.Flags&net.FlagLoopback != 0 || slices.Contains(virtualDrivers, l.Driver)
	var ch ethtoolChannels
	ch.cmd = unix.ETHTOOL_GCHANNELS
	if ethtool(fd, name, unsafe.Pointer(&ch)) == nil {
		l.queues = max(1, int(ch.combined), int(ch.rx))
	}
	return l, nil
}

// ethtoolChannels is struct ethtool_channels.
type ethtoolChannels struct {
	cmd                                 uint32
	maxRx, maxTx, maxOther, maxCombined uint32
	rx, tx, other, combined             uint32
}

func ethtool(fd int, name string, value unsafe.Pointer) error {
	ifr, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	type request struct {
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	r := request{data: value}
	copy(r.name[:], ifr.Name())
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&r))); e != 0 {
		return e
	}
	return nil
}

// usable says what keeps the interface from carrying frames.
func (l *nicLink) usable() error {
	if !l.up {
		return fmt.Errorf("engine: %s is down: ip link set %s up", l.Name, l.Name)
	}
	return nil
}

// choose returns the queues to open: those asked for, or all.
func (l *nicLink) choose(want []int) ([]int, error) {
	if want == nil {
		for q := range l.queues {
			want = append(want, q)
		}
		return want, nil
	}
	for i, q := range want {
		if q < 0 || q >= l.queues {
			return nil, fmt.Errorf("engine: %s has no queue %d: it has %d, from 0 on (ethtool -l %s)", l.Name, q, l.queues, l.Name)
		}
		if slices.Contains(want[:i], q) {
			return nil, fmt.Errorf("engine: queue %d of %s is named twice", q, l.Name)
		}
	}
	if len(want) == 0 {
		return nil, fmt.Errorf("engine: no queue of %s to open", l.Name)
	}
	return want, nil
}
