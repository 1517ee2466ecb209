package socketapi

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// addrOf reads a socket address for a socket of a family. nil is AF_UNSPEC: an
// address that is not valid. Another family is EAFNOSUPPORT.
func addrOf(sa unix.Sockaddr, family int) (netip.AddrPort, unix.Errno) {
	switch a := sa.(type) {
	case nil:
		return netip.AddrPort{}, 0
	case *unix.SockaddrInet4:
		switch {
		case a == nil:
			return netip.AddrPort{}, unix.EFAULT
		case a.Port < 0 || a.Port > 0xffff:
			return netip.AddrPort{}, unix.EINVAL
		case family == unix.AF_INET:
			return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), 0
		}
	case *unix.SockaddrInet6:
		switch {
		case a == nil:
			return netip.AddrPort{}, unix.EFAULT
		case a.Port < 0 || a.Port > 0xffff:
			return netip.AddrPort{}, unix.EINVAL
		case family == unix.AF_INET6:
			// An IPv4-mapped address means IPv4 (RFC 3493 §3.7).
			return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), 0
		}
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}

// sockaddr writes an address for a socket of a family; nil is no address.
func sockaddr(a netip.AddrPort, family int) unix.Sockaddr {
	switch {
	case !a.IsValid():
		return nil
	case family == unix.AF_INET6:
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
