package socketapi

import (
	"slices"

	"golang.org/x/sys/unix"
)

// value is what an option is set to, by its kind.
type value struct {
	n        int // kindInt, kindFlag (0 or 1)
	linger   unix.Linger
	time     unix.Timeval
	text     string
	info     unix.TCPInfo
	infoBits [2]byte // the bit fields of info, which stand at infoBitsAt
	rate     uint64  // kindRate
	filter   unix.ICMPv6Filter
	stats    unix.TpacketStats
}

// kind is the type of an option's value.
type kind uint8

const (
	kindInt    kind = iota // int
	kindFlag               // int, 0 or not
	kindLinger             // unix.Linger
	kindTime               // unix.Timeval
	kindText               // string, and a zero
	kindName               // string, and zeros up to congestionLen
	kindInfo               // unix.TCPInfo
	kindFilter             // unix.ICMPv6Filter
	kindStats              // unix.TpacketStats
	kindRate               // uint64, or int: bytes a second
	kindCCInfo             // what a congestion control tells: nothing so far
	kindBytes              // one of several structures, as its bytes in text
)

// An option is one row of the table that getsockopt and setsockopt go by.
type option struct {
	level, name int
	label       string // the C name
	kind        kind
	on          class // which sockets have it; 0: all that have its level

	// get and set are called with the mu of the socket's settings held; nil: it
	// cannot be got, or set (ENOPROTOOPT). What set has changed is applied after it.
	get func(s socket, v *value) unix.Errno
	set func(s socket, v *value) unix.Errno
}

// class is a set of kinds of sockets.
type class uint8

const (
	onTCP class = 1 << iota
	onUDP
	onPing
	onRaw
	onPacket

	onDatagram = onUDP | onPing | onRaw
)

// class is what kind of socket it is.
func (s *settings) class() class {
	switch {
	case s.family == unix.AF_PACKET:
		return onPacket
	case s.kind == unix.SOCK_RAW:
		return onRaw
	case s.kind == unix.SOCK_STREAM:
		return onTCP
	case s.proto == unix.IPPROTO_UDP:
		return onUDP
	}
	return onPing
}

// speaks says whether a socket has options of a level.
func (s *settings) speaks(level int) bool {
	switch level {
	case unix.SOL_SOCKET:
		return true
	case unix.SOL_PACKET:
		return s.family == unix.AF_PACKET
	case unix.IPPROTO_IP: // of IPv6 sockets those that also carry IPv4
		return s.family == unix.AF_INET || s.family == unix.AF_INET6 && s.kind != unix.SOCK_RAW
	case unix.IPPROTO_IPV6:
		return s.family == unix.AF_INET6
	case unix.SOL_RAW:
		return s.family == unix.AF_INET && s.kind == unix.SOCK_RAW
	}
	if level == unix.IPPROTO_UDPLITE {
		return s.class() == onUDP
	}
	return level == s.proto && s.family != unix.AF_PACKET
}

// optionKey is how options are found.
type optionKey struct{ level, name int }

var optionsByKey = func() map[optionKey]*option {
	m := make(map[optionKey]*option, len(options))
	for i := range options {
		o := &options[i]
		m[optionKey{o.level, o.name}] = o
	}
	for i := range groupOptions {
		o := &groupOptions[i]
		m[optionKey{o.level, o.name}] = o
	}
	return m
}()

// An Option describes a supported socket option.
type Option struct {
	Level, Name int
	Label       string // the C name, "SO_REUSEADDR"
	Type        string // of its value: "int", "bool", "Linger", "Timeval", "string", "TCPInfo", "ICMPv6Filter", "TpacketStats", "uint64", "TCPCCInfo", "bytes"
	Get, Set    bool
	Sockets     []string // which have it: "tcp", "udp", "ping", "raw", "packet"
}

// Options lists the options that there are. Any other is ENOPROTOOPT. docs/options.md is made of it.
func Options() []Option {
	types := [...]string{kindInt: "int", kindFlag: "bool", kindLinger: "Linger", kindTime: "Timeval", kindText: "string", kindName: "string", kindInfo: "TCPInfo", kindFilter: "ICMPv6Filter", kindStats: "TpacketStats", kindRate: "uint64", kindCCInfo: "TCPCCInfo", kindBytes: "bytes"}
	list := make([]Option, len(options)+len(groupOptions))
	for i, o := range slices.Concat(options, groupOptions) {
		list[i] = Option{Level: o.level, Name: o.name, Label: o.label, Type: types[o.kind], Get: o.get != nil, Set: o.set != nil, Sockets: o.sockets()}
	}
	return list
}

//go:generate go test -run ^TestOptionsAreDocumented$ . -write-options

// sockets names the kinds of sockets that have an option.
func (o *option) sockets() (names []string) {
	for _, k := range []struct {
		name      string
		on        class
		kind      int
		protocols []int
	}{
		{"tcp", onTCP, unix.SOCK_STREAM, []int{unix.IPPROTO_TCP}},
		{"udp", onUDP, unix.SOCK_DGRAM, []int{unix.IPPROTO_UDP}},
		{"ping", onPing, unix.SOCK_DGRAM, []int{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}},
		{"raw", onRaw, unix.SOCK_RAW, []int{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}},
		{"packet", onPacket, unix.SOCK_RAW, []int{0}},
	} {
		if o.on != 0 && o.on&k.on == 0 {
			continue
		}
		families := []int{unix.AF_INET, unix.AF_INET6}
		if k.on == onPacket {
			families = []int{unix.AF_PACKET}
		}
		if slices.ContainsFunc(families, func(family int) bool {
			return slices.ContainsFunc(k.protocols, func(proto int) bool {
				return (&settings{family: family, kind: k.kind, proto: proto}).speaks(o.level)
			})
		}) {
			names = append(names, k.name)
		}
	}
	return names
}

// find returns the option of a socket, nil if it has no such one.
func (t *Table) find(fd, level, name int) (*file, *option) {
	f := t.sock(fd)
	if f == nil {
		return nil, nil
	}
	s := f.common()
	asked := level
	level = s.alias(level, name)
	o := optionsByKey[optionKey{level, name}]
	if o != nil && level != asked && s.proto == unix.IPPROTO_ICMPV6 {
		o = &sumOfICMPv6
	}
	if o != nil && (o.on != 0 && o.on&s.class() == 0 || !s.speaks(level)) {
		o = nil
	}
	return f, o
}

// alias is the level that an option is listed at. UDP answers for UDP-Lite (udp_setsockopt), and a raw socket of IPv6 has its checksum at
// two levels (rawv6_setsockopt).
func (s *settings) alias(level, name int) int {
	switch {
	case level == unix.IPPROTO_UDPLITE && s.class() == onUDP:
		return unix.IPPROTO_UDP
	case level == unix.SOL_RAW && s.family == unix.AF_INET6 && name == unix.IPV6_CHECKSUM:
		return unix.IPPROTO_IPV6
	}
	return level
}

// unknown is the errno of getting an option that there is not: Linux makes a difference
// between the levels that an IPv4 socket has and others, which it does not in setting one.
func (s *settings) unknown(level int) unix.Errno {
	if s.speaks(level) || s.family != unix.AF_INET {
		return unix.ENOPROTOOPT
	}
	return unix.EOPNOTSUPP
}
