package engine

// Read first: Documentation/networking/filter.rst (classic BPF).

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"

	"golang.org/x/sys/unix"
)

// packetAddrsMax is how many addresses a filter holds: 9 instructions for an IPv6
// address, 6 for an IPv4 one, of the kernel's 4096 (BPF_MAXINSNS).
const packetAddrsMax = 256

// Where things are in a frame whose VLAN tag the kernel has taken off.
const (
	offEtherDst  = 0
	offEtherType = 12
	offIPv4Dst   = 14 + 16
	offIPv6Dst   = 14 + 24
	offARPTarget = 14 + 24
)

const (
	filterTake = 1<<32 - 1 // return value: the whole frame
	filterDrop = 0
)

// fits says whether the filter can be had on an interface: it reads Ethernet headers, where it reads anything.
func (f *PacketFilter) fits(name string, raw bool) error {
	if raw && !f.Everything && (f.Groups || len(f.Addrs) > 0) {
		return fmt.Errorf("engine: %s has no Ethernet header, by which its packets would be chosen: take a TAP, or give OpenTap the descriptor of the TUN: %w", name, unix.EOPNOTSUPP)
	}
	return nil
}

// assemble writes the filter in the order
//
//	which EtherType?   ARP, IPv4, IPv6, a tag left on; others: drop
//	ARP:   is the target one of ours, or the frame for one station alone?
//	IPv4:  is the frame for a group, or the destination one of ours?
//	IPv6:  the same
//
// Conditional jumps reach 255 instructions, so each list falls through from test to
// test and only the unconditional jumps go far.
func (f *PacketFilter) assemble() ([]unix.SockFilter, error) {
	if f.Everything {
		return []unix.SockFilter{ret(filterTake)}, nil
	}
	if len(f.Addrs) == 0 && !f.Groups {
		return []unix.SockFilter{ret(filterDrop)}, nil
	}
	if len(f.Addrs) > packetAddrsMax {
		return nil, fmt.Errorf("engine: packet filter: %d addresses, at most %d fit; take everything instead", len(f.Addrs), packetAddrsMax)
	}
	var arp, v4, v6 []unix.SockFilter
	// An ARP reply for us is a unicast; a request that others broadcast is not ours, unless it
	// says who they are.
	arp = append(arp, unlessGroup(ret(filterTake))...)
	arp = append(arp, arpNews(only4(f.Addrs))...)
	v4 = append(v4, ifGroup(ret(filterTake))...)
	v6 = append(v6, ifGroup(ret(filterTake))...)
	arp = append(arp, load32(offARPTarget))
	v4 = append(v4, load32(offIPv4Dst))
	for _, a := range f.Addrs {
		if !a.IsValid() {
			return nil, fmt.Errorf("engine: packet filter: an address is the zero Addr")
		}
		if a = a.Unmap(); a.Is4() {
			b := a.As4()
			test := []unix.SockFilter{jumpEqual(be32(b[:]), 0, 1), ret(filterTake)}
			arp = append(arp, test...)
			v4 = append(v4, test...)
			continue
		}
		b := a.As16()
		for i := range 4 {
			// To the next address: over what is left of this one.
			v6 = append(v6, load32(offIPv6Dst+4*i), jumpEqual(be32(b[4*i:]), 0, uint8(7-2*i)))
		}
		v6 = append(v6, ret(filterTake))
	}
	arp = append(arp, ret(filterDrop))
	v4 = append(v4, ret(filterDrop))
	v6 = append(v6, ret(filterDrop))

	// Each jump counts from the instruction after it.
	const headLen = 11
	head := []unix.SockFilter{
		load16(offEtherType),
		jumpEqual(unix.ETH_P_ARP, 0, 1),
		jump(headLen - 3),
		jumpEqual(unix.ETH_P_IP, 0, 1),
		jump(headLen - 5 + len(arp)),
		jumpEqual(unix.ETH_P_IPV6, 0, 1),
		jump(headLen - 7 + len(arp) + len(v4)),
		jumpEqual(unix.ETH_P_8021Q, 2, 0),
		jumpEqual(unix.ETH_P_8021AD, 1, 0),
		ret(filterDrop),
		ret(filterTake),
	}
	return append(append(append(head, arp...), v4...), v6...), nil
}

// only4 returns the IPv4 addresses of a list.
func only4(addrs []netip.Addr) (v4 []netip.Addr) {
	for _, a := range addrs {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		}
	}
	return v4
}

// ifGroup does then if the frame's destination is a group (or everyone).
func ifGroup(then unix.SockFilter) []unix.SockFilter {
	return []unix.SockFilter{load8(offEtherDst), jumpSet(1, 0, 1), then}
}

// unlessGroup does then if the destination is one station.
func unlessGroup(then unix.SockFilter) []unix.SockFilter {
	return []unix.SockFilter{load8(offEtherDst), jumpSet(1, 1, 0), then}
}

func load8(at int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: uint32(at)}
}

func load16(at int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_H | unix.BPF_ABS, K: uint32(at)}
}

func load32(at int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: uint32(at)}
}

// jumpEqual goes yes instructions further if the accumulator is k, else no.
func jumpEqual(k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

// jumpSet is jumpEqual for: the accumulator has a bit of k.
func jumpSet(k uint32, yes, no uint8) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K, Jt: yes, Jf: no, K: k}
}

func jump(n int) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JA, K: uint32(n)}
}

func ret(k uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k}
}

func be32(b []byte) uint32 {
	return uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
}

func attachFilter(fd int, program []unix.SockFilter) error {
	prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	runtime.KeepAlive(program)
	if errors.Is(err, unix.ENOMEM) { // it is charged to the socket's option memory, 20 KB before Linux 6.8
		err = fmt.Errorf("%w: sysctl -w net.core.optmem_max=131072, or fewer addresses", err)
	}
	if err != nil {
		return fmt.Errorf("engine: packet filter of %d instructions: %w", len(program), err)
	}
	return nil
}
