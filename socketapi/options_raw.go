package socketapi

import (
	"golang.org/x/sys/unix"
)

// Read first: raw(7), icmp(7), packet(7), RFC 3542 §3; raw_setsockopt in net/ipv4/raw.c,
// do_rawv6_setsockopt and rawv6_seticmpfilter in net/ipv6/raw.c.

// icmpFilterName is ICMP_FILTER, of the level SOL_RAW (linux/icmp.h).
const icmpFilterName = 1

// rawOptions are those of raw sockets and packet sockets.
var rawOptions = []option{
	{level: unix.IPPROTO_IP, name: unix.IP_HDRINCL, label: "IP_HDRINCL", kind: kindFlag, get: getHeader, set: setHeader},
	{level: unix.SOL_RAW, name: icmpFilterName, label: "ICMP_FILTER", on: onRaw, get: getFilter, set: setFilter},
	{level: unix.IPPROTO_IPV6, name: unix.IPV6_CHECKSUM, label: "IPV6_CHECKSUM", on: onRaw, get: getSum, set: setSum},
	{level: unix.IPPROTO_ICMPV6, name: unix.ICMPV6_FILTER, label: "ICMPV6_FILTER", kind: kindFilter, on: onRaw, get: getFilter6, set: setFilter6},
	{level: unix.SOL_PACKET, name: unix.PACKET_IGNORE_OUTGOING, label: "PACKET_IGNORE_OUTGOING", kind: kindFlag, on: onPacket, get: getIgnore, set: setIgnore},
	wanted("PACKET_AUXDATA", unix.SOL_PACKET, unix.PACKET_AUXDATA, wantAuxData).of(onPacket),
	{level: unix.SOL_PACKET, name: unix.PACKET_STATISTICS, label: "PACKET_STATISTICS", kind: kindStats, on: onPacket, get: getStatistics},
}

func getHeader(s socket, v *value) unix.Errno {
	if r, ok := s.(*rawSocket); ok {
		v.n = number(r.raw.Header)
	}
	return 0
}

func setHeader(s socket, v *value) unix.Errno {
	r, ok := s.(*rawSocket)
	if !ok {
		return unix.ENOPROTOOPT
	}
	r.raw.Header = v.n != 0
	return 0
}

func getFilter(s socket, v *value) unix.Errno {
	if s.common().proto != unix.IPPROTO_ICMP {
		return unix.EOPNOTSUPP
	}
	v.n = int(int32(s.(*rawSocket).raw.Filter[0]))
	return 0
}

// setFilter sets the types of ICMP, of the first 32, that are not received.
func setFilter(s socket, v *value) unix.Errno {
	if s.common().proto != unix.IPPROTO_ICMP {
		return unix.EOPNOTSUPP
	}
	r := &s.(*rawSocket).raw
	r.Filter[0], r.Filtered = uint32(v.n), v.n != 0
	return 0
}

func getFilter6(s socket, v *value) unix.Errno {
	v.filter.Data = s.(*rawSocket).raw.Filter
	return 0
}

func setFilter6(s socket, v *value) unix.Errno {
	r := &s.(*rawSocket).raw
	r.Filter, r.Filtered = v.filter.Data, true
	return 0
}

func getSum(s socket, v *value) unix.Errno {
	v.n = -1
	if r := &s.(*rawSocket).raw; r.Sum {
		v.n = r.SumAt
	}
	return 0
}

// sumOfICMPv6 is IPV6_CHECKSUM at SOL_RAW of a socket of ICMPv6, which moves what setSum at its own level leaves where it is.
var sumOfICMPv6 = option{level: unix.IPPROTO_IPV6, name: unix.IPV6_CHECKSUM, on: onRaw, get: getSum, set: setAnySum}

// setSum says where in each packet the checksum is; -1: there is none. That of ICMPv6 is where it is.
func setSum(s socket, v *value) unix.Errno {
	if s.common().proto == unix.IPPROTO_ICMPV6 {
		return unix.EINVAL
	}
	return setAnySum(s, v)
}

func setAnySum(s socket, v *value) unix.Errno {
	if v.n > 0 && v.n&1 != 0 {
		return unix.EINVAL
	}
	r := &s.(*rawSocket).raw
	r.Sum, r.SumAt = v.n >= 0, max(v.n, 0)
	return 0
}

func getIgnore(s socket, v *value) unix.Errno {
	v.n = number(s.(*packetSocket).link.IgnoreOutgoing)
	return 0
}

func setIgnore(s socket, v *value) unix.Errno {
	if v.n < 0 || v.n > 1 {
		return unix.EINVAL
	}
	p := s.(*packetSocket)
	p.link.IgnoreOutgoing = v.n != 0
	p.watch()
	return 0
}

// getStatistics returns how many frames there were for the socket since it was last asked, and how
// many of these it had no room for.
func getStatistics(s socket, v *value) unix.Errno {
	p := s.(*packetSocket)
	for i, c := range p.host.Cores() {
		c.Lock()
		end := p.d.ends[i]
		v.stats.Packets += uint32(end.Delivered + end.Dropped - p.counted[i].seen)
		v.stats.Drops += uint32(end.Dropped - p.counted[i].dropped)
		p.counted[i] = counted{end.Delivered + end.Dropped, end.Dropped}
		c.Unlock()
	}
	return 0
}
