package engine

// Read first: Documentation/networking/filter.rst (classic BPF).

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// groupFilterMax is how many groups of a family the kernel looks for one by one, 2
// instructions each: at more of them letting all pass costs less.
const groupFilterMax = 256

const (
	offARPSender   = 14 + 14
	offIPv6DstLast = offIPv6Dst + 12 // the last four bytes, which are the MAC's too
)

// assemble writes the filter in the order
//
//	ARP:   does the sender use an address of ours, or tell about itself?
//	IPv4:  to everyone, or to a group that is wanted?
//	IPv6:  to a group that is wanted?
//	a tag left on: let the stack look
//
// Frames to one station are nobody's business here, ARP apart: the answer to a probe
// names no target (RFC 5227 §1.1), so that the steering program cannot know it for ours.
func (f *GroupFilter) assemble() ([]unix.SockFilter, error) {
	arp := arpNews(f.Addrs)
	arp = append(arp, ret(filterDrop))
	v4 := []unix.SockFilter{
		load8(offEtherDst),
		jumpEqual(0xff, 0, 1), // MAC addresses of groups never begin so
		ret(filterTake),
		load32(offIPv4Dst),
	}
	v4 = append(v4, wanted(f.Groups, allSystems4)...)
	v6 := append([]unix.SockFilter{load32(offIPv6DstLast)}, wanted(f.Groups, allNodes6)...)

	// Each jump counts from the instruction after it.
	const headLen = 15
	head := []unix.SockFilter{
		load16(offEtherType),
		jumpEqual(unix.ETH_P_ARP, 0, 1),
		jump(headLen - 3),
		load8(offEtherDst),
		jumpSet(1, 1, 0),
		ret(filterDrop), // to one station
		load16(offEtherType),
		jumpEqual(unix.ETH_P_IP, 0, 1),
		jump(headLen - 9 + len(arp)),
		jumpEqual(unix.ETH_P_IPV6, 0, 1),
		jump(headLen - 11 + len(arp) + len(v4)),
		jumpEqual(unix.ETH_P_8021Q, 1, 0),
		jumpEqual(unix.ETH_P_8021AD, 0, 1),
		ret(filterTake),
		ret(filterDrop),
	}
	return append(append(append(head, arp...), v4...), v6...), nil
}

// arpNews takes ARP whose sender uses one of addrs, or tells everyone about itself
// (RFC 5227 §3), and goes on with the others.
func arpNews(addrs []netip.Addr) []unix.SockFilter {
	news := []unix.SockFilter{
		load32(offARPSender),
		{Code: unix.BPF_MISC | unix.BPF_TAX},
		load32(offARPTarget),
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_X, Jt: 0, Jf: 1},
		ret(filterTake),
		load32(offARPSender),
	}
	for _, a := range addrs[:min(len(addrs), packetAddrsMax)] {
		b := a.As4()
		news = append(news, jumpEqual(be32(b[:]), 0, 1), ret(filterTake))
	}
	return news
}

// wanted takes packets whose group, of which the accumulator has the last four bytes, is one of
// all's family in groups, or all itself, and drops the others.
func wanted(groups []netip.Addr, all netip.Addr) []unix.SockFilter {
	last := func(a netip.Addr) uint32 {
		b := a.AsSlice()
		return be32(b[len(b)-4:])
	}
	test := []unix.SockFilter{jumpEqual(last(all), 0, 1), ret(filterTake)}
	count := 0
	for _, g := range groups {
		if g.Is4() != all.Is4() {
			continue
		}
		if count++; count > groupFilterMax {
			return []unix.SockFilter{ret(filterTake)}
		}
		test = append(test, jumpEqual(last(g), 0, 1), ret(filterTake))
	}
	return append(test, ret(filterDrop))
}
