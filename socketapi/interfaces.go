package socketapi

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: netdevice(7), getifaddrs(3), if_nametoindex(3); dev_ifsioc in net/core/dev_ioctl.c, devinet_ioctl in
// net/ipv4/devinet.c.

// ifreqLen is the size of struct ifreq.
const ifreqLen = unix.IFNAMSIZ + 24

// txQueueLen is what is said to those who ask for the length of a queue that there is none of.
const txQueueLen = 1000 // DEFAULT_TX_QUEUE_LEN

// Interfaces returns the host's interfaces, and the loopback that it has for itself, with their indexes of
// bind, sin6_scope_id and ipi_ifindex.
func (s *Stack) Interfaces() []net.Interface { return interfacesOf(s.host) }

func interfacesOf(h *host.Host) (list []net.Interface) {
	for port := 0; ; port++ {
		i, ok := interfaceOf(h, port)
		if !ok {
			return list
		}
		list = append(list, i)
	}
}

// interfaceOf is the interface of a port of the stack's, no for one that there is not.
func interfaceOf(h *host.Host, port int) (i net.Interface, ok bool) {
	loop := len(h.Interfaces())
	if port > loop {
		return i, false
	}
	p := h.Cores()[0].Stack.Port(port)
	i = net.Interface{Index: h.Index(port), Name: h.Name(port), MTU: p.MTU, Flags: net.FlagUp | net.FlagRunning}
	switch {
	case port == loop:
		i.Flags |= net.FlagLoopback
	case p.RawIP:
		i.Flags |= net.FlagPointToPoint | net.FlagMulticast
	default:
		i.Flags |= net.FlagBroadcast | net.FlagMulticast
		i.HardwareAddr = net.HardwareAddr(slices.Clone(p.MAC[:]))
	}
	return i, true
}

// IfNametoindex returns the index of an interface: ENODEV if there is none of the name.
func (s *Stack) IfNametoindex(name string) (index int, err error) {
	if index, ok := s.host.IndexOf(name); ok {
		return index, nil
	}
	return 0, unix.ENODEV
}

// IfIndextoname returns the name of an interface: ENXIO if there is none of the index.
func (s *Stack) IfIndextoname(index int) (name string, err error) {
	port, ok := s.host.PortOf(index)
	if !ok {
		return "", unix.ENXIO
	}
	return s.host.Name(port), nil
}

// An Ifaddr is one address of an interface, as getifaddrs(3) has it.
type Ifaddr struct {
	Name      string
	Index     int
	Flags     net.Flags
	Addr      netip.Prefix // the address, with its zone if it is link-local, and its link's prefix
	Broadcast netip.Addr   // of an IPv4 network on a link that has it
}

// addrsOf is the addresses of a host, and those that its loopback has by itself.
func addrsOf(h *host.Host) []host.Addr {
	list := h.Addrs()
	lo := h.Name(len(h.Interfaces()))
	for _, p := range []string{"127.0.0.1/8", "::1/128"} {
		list = append(list, host.Addr{Addr: route.Addr{Prefix: netip.MustParsePrefix(p)}, Interface: lo})
	}
	return list
}

// Getifaddrs returns the addresses of the host, interface by interface.
func (s *Stack) Getifaddrs() (list []Ifaddr) {
	interfaces := s.Interfaces()
	for _, a := range addrsOf(s.host) {
		if !a.Usable() {
			continue
		}
		i := slices.IndexFunc(interfaces, func(i net.Interface) bool { return i.Name == a.Interface })
		in := &interfaces[i]
		x := Ifaddr{Name: in.Name, Index: in.Index, Flags: in.Flags, Addr: a.Prefix}
		if a.Prefix.Addr().Is4() && in.Flags&net.FlagBroadcast != 0 {
			x.Broadcast = broadcastOf(a.Prefix)
		}
		list = append(list, x)
	}
	return list
}

// broadcastOf is the directed broadcast address of a network, not valid if it has none (RFC 3021).
func broadcastOf(p netip.Prefix) netip.Addr {
	if p.Bits() > 30 {
		return netip.Addr{}
	}
	b := p.Addr().As4()
	n := binary.BigEndian.Uint32(b[:]) | (1<<(32-p.Bits()) - 1)
	return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

// IoctlIfconf is SIOCGIFCONF: a struct ifreq of 40 bytes for each IPv4 address, as many as buf has room for. It returns
// the bytes written, and with a nil buf how many there would be.
func (t *Table) IoctlIfconf(fd int, buf []byte) (n int, err error) {
	f := t.lookup(fd)
	switch {
	case f == nil:
		return -1, unix.EBADF
	case f.socket == nil:
		return -1, unix.ENOTTY
	}
	for _, a := range addrsOf(t.host) {
		if !a.Usable() || !a.Prefix.Addr().Is4() {
			continue
		}
		if buf == nil {
			n += ifreqLen
			continue
		}
		if len(buf)-n < ifreqLen {
			break
		}
		b := buf[n : n+ifreqLen]
		clear(b)
		copy(b[:unix.IFNAMSIZ-1], a.Interface)
		putSockaddr4(b[unix.IFNAMSIZ:], netip.AddrPortFrom(a.Prefix.Addr(), 0))
		n += ifreqLen
	}
	return n, nil
}

// ioctlInterface answers an ioctl of netdevice(7) in a struct ifreq.
func (t *Table) ioctlInterface(f *file, req uint, ifr []byte) unix.Errno {
	answer := ifr[unix.IFNAMSIZ:ifreqLen]
	switch req {
	case unix.SIOCGIFADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFBRDADDR, unix.SIOCGIFDSTADDR:
		if f.common().family == unix.AF_INET6 { // whose addresses have no room in the structure (inet6_ioctl)
			return unix.ENOTTY
		}
	case unix.SIOCGIFPFLAGS: // which nobody has ever had (devinet_ioctl)
		if f.common().family == unix.AF_INET {
			return unix.EINVAL
		}
		return unix.ENOTTY
	case unix.SIOCGIFNAME:
		port, ok := t.host.PortOf(int(int32(binary.NativeEndian.Uint32(answer))))
		if !ok {
			return unix.ENODEV
		}
		clear(ifr[:unix.IFNAMSIZ])
		copy(ifr[:unix.IFNAMSIZ-1], t.host.Name(port))
		return 0
	}
	port := slices.IndexFunc(interfacesOf(t.host), func(i net.Interface) bool { return i.Name == unix.ByteSliceToString(ifr[:unix.IFNAMSIZ]) })
	if port < 0 {
		return unix.ENODEV
	}
	i, _ := interfaceOf(t.host, port)
	switch req {
	case unix.SIOCGIFADDR, unix.SIOCGIFNETMASK, unix.SIOCGIFBRDADDR, unix.SIOCGIFDSTADDR:
		return t.ioctlAddr(req, i, answer)
	case unix.SIOCGIFFLAGS:
		binary.NativeEndian.PutUint16(answer, uint16(rawFlags(i.Flags)))
	case unix.SIOCGIFMTU:
		binary.NativeEndian.PutUint32(answer, uint32(i.MTU))
	case unix.SIOCGIFINDEX:
		binary.NativeEndian.PutUint32(answer, uint32(i.Index))
	case unix.SIOCGIFMETRIC:
		binary.NativeEndian.PutUint32(answer, 0)
	case unix.SIOCGIFTXQLEN:
		binary.NativeEndian.PutUint32(answer, txQueueLen)
	case unix.SIOCGIFSLAVE: // of a kind of bond that is long gone
		return unix.EINVAL
	case unix.SIOCGIFMAP: // of its hardware's memory and lines, which it has none of
		clear(answer)
	case unix.SIOCGIFHWADDR:
		clear(answer)
		family := uint16(unix.ARPHRD_ETHER)
		switch {
		case i.Flags&net.FlagLoopback != 0:
			family = unix.ARPHRD_LOOPBACK
		case i.HardwareAddr == nil:
			family = unix.ARPHRD_NONE
		}
		binary.NativeEndian.PutUint16(answer, family)
		copy(answer[2:8], i.HardwareAddr)
	default:
		return unix.EPERM // to change an interface is not for sockets here
	}
	return 0
}

// ioctlAddr answers with the first IPv4 address of an interface and what belongs to it.
func (t *Table) ioctlAddr(req uint, i net.Interface, answer []byte) unix.Errno {
	addrs := addrsOf(t.host)
	j := slices.IndexFunc(addrs, func(a host.Addr) bool { return a.Interface == i.Name && a.Usable() && a.Prefix.Addr().Is4() })
	if j < 0 {
		return unix.EADDRNOTAVAIL
	}
	p := addrs[j].Prefix
	a := p.Addr()
	switch req {
	case unix.SIOCGIFNETMASK:
		m := ^uint32(0) << (32 - p.Bits())
		a = netip.AddrFrom4([4]byte{byte(m >> 24), byte(m >> 16), byte(m >> 8), byte(m)})
	case unix.SIOCGIFBRDADDR:
		if a = broadcastOf(p); !a.IsValid() || i.Flags&net.FlagBroadcast == 0 {
			a = netip.IPv4Unspecified()
		}
	}
	clear(answer)
	putSockaddr4(answer, netip.AddrPortFrom(a, 0))
	return 0
}

// rawFlags is flags as IFF_ has them.
func rawFlags(f net.Flags) (raw int) {
	for _, x := range []struct {
		flag net.Flags
		raw  int
	}{
		{net.FlagUp, unix.IFF_UP}, {net.FlagBroadcast, unix.IFF_BROADCAST}, {net.FlagLoopback, unix.IFF_LOOPBACK},
		{net.FlagPointToPoint, unix.IFF_POINTOPOINT | unix.IFF_NOARP}, {net.FlagMulticast, unix.IFF_MULTICAST}, {net.FlagRunning, unix.IFF_RUNNING},
	} {
		if f&x.flag != 0 {
			raw |= x.raw
		}
	}
	return raw
}
