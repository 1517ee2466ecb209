package socketapi

import (
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 3493 §3.3, §3.7; ipv6(7).

// addrOf reads a socket address for a socket of a family. nil is AF_UNSPEC: an
// address that is not valid. Another family is EAFNOSUPPORT, but EINVAL where the address is
// shorter than those of the socket's, as on Linux.
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
		case family == unix.AF_INET6:
			return netip.AddrPort{}, unix.EINVAL
		}
	case *unix.SockaddrInet6:
		switch {
		case a == nil:
			return netip.AddrPort{}, unix.EFAULT
		case a.Port < 0 || a.Port > 0xffff:
			return netip.AddrPort{}, unix.EINVAL
		case family == unix.AF_INET6:
			// An IPv4-mapped address means IPv4 (RFC 3493 §3.7).
			addr := netip.AddrFrom16(a.Addr).Unmap()
			if linkScope(addr) { // of others a scope says nothing
				addr = wire.WithScope(addr, a.ZoneId)
			}
			return netip.AddrPortFrom(addr, uint16(a.Port)), 0
		}
	}
	if tooShort(sa, family) {
		return netip.AddrPort{}, unix.EINVAL
	}
	return netip.AddrPort{}, unix.EAFNOSUPPORT
}

// tooShort says whether an address of another family is too short to be looked at by a socket of this one, as package unix writes it.
func tooShort(sa unix.Sockaddr, family int) bool {
	least := unix.SizeofSockaddrInet4
	if family == unix.AF_INET6 {
		least = sockaddrInet6Least
	}
	switch a := sa.(type) {
	case *unix.SockaddrUnix: // its family, its name, and a zero if that is a path
		return a != nil && 2+len(a.Name)+number(!strings.HasPrefix(a.Name, "@")) < least
	case *unix.SockaddrLinklayer:
		return unix.SizeofSockaddrLinklayer < least
	case *unix.SockaddrNetlink:
		return unix.SizeofSockaddrNetlink < least
	case *unix.SockaddrVM:
		return unix.SizeofSockaddrVM < least
	}
	return false
}

// sockaddrInet6Least is an address of RFC 2133, without a scope (SIN6_LEN_RFC2133).
const sockaddrInet6Least = 24

// linkScope says whether an IPv6 address means something on one link alone, so that a scope has to say
// which.
func linkScope(a netip.Addr) bool {
	return a.Is6() && (a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() || a.IsInterfaceLocalMulticast())
}

// sockaddr writes an address for a socket of a family; nil is no address.
func sockaddr(a netip.AddrPort, family int) unix.Sockaddr {
	switch {
	case !a.IsValid():
		return nil
	case family == unix.AF_INET6:
		return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port()), ZoneId: wire.Scope(a.Addr())}
	}
	return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
}
