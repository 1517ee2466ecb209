package engine

// Read first: linux/ethtool.h.

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ifreqPtr is struct ifreq with a pointer in its union.
type ifreqPtr struct {
	name [unix.IFNAMSIZ]byte
	data unsafe.Pointer
	_    [24 - unsafe.Sizeof(uintptr(0))]byte
}

// An ethtoolSocket asks drivers; it answers for the namespace that it was made in.
type ethtoolSocket struct{ fd int }

func openEthtool() (ethtoolSocket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return ethtoolSocket{fd}, err
}

func (s ethtoolSocket) close() error { return unix.Close(s.fd) }

// ask is SIOCETHTOOL with a structure that begins with its command.
func (s ethtoolSocket) ask(name string, arg unsafe.Pointer) error {
	if len(name) >= unix.IFNAMSIZ {
		return unix.EINVAL
	}
	req := &ifreqPtr{data: arg}
	copy(req.name[:], name)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(s.fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(req)))
	runtime.KeepAlive(arg)
	if errno != 0 {
		return errno
	}
	return nil
}

// driver is ETHTOOL_GDRVINFO's name of the driver; "" where there is none, as with lo.
func (s ethtoolSocket) driver(name string) string {
	info, err := unix.IoctlGetEthtoolDrvinfo(s.fd, name)
	if err != nil {
		return ""
	}
	text, _, _ := bytes.Cut(info.Driver[:], []byte{0})
	return string(text)
}

// driverOf is for who wants to know nothing else.
func driverOf(name string) string {
	s, err := openEthtool()
	if err != nil {
		return ""
	}
	defer s.close()
	return s.driver(name)
}

// Channels is ETHTOOL_GCHANNELS: how many queues a driver has set up. A combined
// channel is a receive and a transmit queue.
type Channels struct {
	RX, TX, Combined          int
	RXMax, TXMax, CombinedMax int
}

func (s ethtoolSocket) channels(name string) (c Channels, err error) {
	arg := &struct {
		cmd                                uint32
		maxRX, maxTX, maxOther, maxCombine uint32
		rx, tx, other, combined            uint32
	}{cmd: unix.ETHTOOL_GCHANNELS}
	if err := s.ask(name, unsafe.Pointer(arg)); err != nil {
		return c, err
	}
	return Channels{
		RX: int(arg.rx), TX: int(arg.tx), Combined: int(arg.combined),
		RXMax: int(arg.maxRX), TXMax: int(arg.maxTX), CombinedMax: int(arg.maxCombine),
	}, nil
}

// ethFlagRXVLAN is ETH_FLAG_RXVLAN of linux/ethtool.h.
const ethFlagRXVLAN = 1 << 8

// StripsVLAN says whether an interface of the calling thread's network namespace takes 802.1Q tags out of the frames
// it receives (ETHTOOL_GFLAGS), so that an XDP program and AF_XDP sockets do not see them.
func StripsVLAN(name string) bool {
	s, err := openEthtool()
	if err != nil {
		return false
	}
	defer s.close()
	arg := &struct{ cmd, data uint32 }{cmd: unix.ETHTOOL_GFLAGS}
	return s.ask(name, unsafe.Pointer(arg)) == nil && arg.data&ethFlagRXVLAN != 0
}

// sysfsQueues counts the queues that are set up, rx-0 and so on. /sys shows the links
// of the namespace that it was mounted in, so what it shows must be recognized.
func sysfsQueues(name string, index int, mac net.HardwareAddr) (rx, tx int, ok bool) {
	dir := filepath.Join("/sys/class/net", name)
	if is, err := os.ReadFile(filepath.Join(dir, "ifindex")); err != nil || strings.TrimSpace(string(is)) != strconv.Itoa(index) {
		return 0, 0, false
	}
	if is, err := os.ReadFile(filepath.Join(dir, "address")); err != nil || strings.TrimSpace(string(is)) != mac.String() {
		return 0, 0, false
	}
	entries, err := os.ReadDir(filepath.Join(dir, "queues"))
	if err != nil {
		return 0, 0, false
	}
	for _, e := range entries {
		switch kind, _, _ := strings.Cut(e.Name(), "-"); kind {
		case "rx":
			rx++
		case "tx":
			tx++
		}
	}
	return rx, tx, rx > 0 && tx > 0
}
