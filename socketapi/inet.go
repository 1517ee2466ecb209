package socketapi

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Read first: inet(3), inet_pton(3), inet_ntop(3), byteorder(3).

// Htons is a number in the order of the network; Htonl, Ntohs and Ntohl likewise.
func Htons(n uint16) uint16 { return networkOrder(n) }
func Ntohs(n uint16) uint16 { return networkOrder(n) }
func Htonl(n uint32) uint32 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return n
	}
	return bits.ReverseBytes32(n)
}
func Ntohl(n uint32) uint32 { return Htonl(n) }

// InetAton reads an IPv4 address in any of the ways of inet_aton(3): a.b.c.d, a.b.c, a.b or a, each part
// decimal, octal (0...) or hexadecimal (0x...), the last filling what is left. What follows a space is not looked at.
func InetAton(s string) (addr [4]byte, ok bool) {
	if i := strings.IndexAny(s, " \t\n\v\f\r"); i >= 0 {
		s = s[:i]
	}
	return exactly(s)
}

// exactly is InetAton of what is an address and nothing else.
func exactly(s string) (addr [4]byte, ok bool) {
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return addr, false
	}
	var all uint64
	for i, part := range parts {
		width := 8
		if i == len(parts)-1 {
			width = 8 * (4 - i)
		}
		n, err := strconv.ParseUint(octal(part), 0, 32)
		if err != nil || n >= 1<<width || strings.ContainsAny(part, "_+") {
			return addr, false
		}
		all = all<<width | n
	}
	binary.BigEndian.PutUint32(addr[:], uint32(all))
	return addr, true
}

// octal is a number that begins with 0 as ParseUint is to read it; 0b and 0o, which C does not know, are none.
func octal(part string) string {
	if len(part) > 1 && part[0] == '0' {
		switch part[1] {
		case 'b', 'B', 'o', 'O':
			return ""
		}
	}
	return part
}

// InetNtoa writes an IPv4 address.
func InetNtoa(addr [4]byte) string { return netip.AddrFrom4(addr).String() }

// InetPton reads an address of AF_INET (four bytes; a.b.c.d alone) or AF_INET6 (sixteen; no zone). ok is false if it is
// none; another family is EAFNOSUPPORT.
func InetPton(family int, s string) (addr []byte, ok bool, err error) {
	a, parse := netip.ParseAddr(s)
	switch family {
	case unix.AF_INET:
		if parse != nil || !a.Is4() {
			return nil, false, nil
		}
	case unix.AF_INET6:
		if parse != nil || a.Is4() || a.Zone() != "" {
			return nil, false, nil
		}
	default:
		return nil, false, unix.EAFNOSUPPORT
	}
	return a.AsSlice(), true, nil
}

// InetNtop writes an address of AF_INET or AF_INET6: another family is EAFNOSUPPORT, another length EINVAL.
func InetNtop(family int, addr []byte) (string, error) {
	a, ok := netip.AddrFromSlice(addr)
	switch {
	case family != unix.AF_INET && family != unix.AF_INET6:
		return "", unix.EAFNOSUPPORT
	case !ok || a.Is4() != (family == unix.AF_INET):
		return "", unix.EINVAL
	}
	return a.String(), nil
}
