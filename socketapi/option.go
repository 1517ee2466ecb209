package socketapi

import (
	"encoding/binary"
	"math"
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
	kindText               // string
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
	types := [...]string{kindInt: "int", kindFlag: "bool", kindLinger: "Linger", kindTime: "Timeval", kindText: "string", kindInfo: "TCPInfo", kindFilter: "ICMPv6Filter", kindStats: "TpacketStats", kindRate: "uint64", kindCCInfo: "TCPCCInfo", kindBytes: "bytes"}
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
	o := optionsByKey[optionKey{level, name}]
	if s := f.common(); o != nil && (o.on != 0 && o.on&s.class() == 0 || !s.speaks(level)) {
		o = nil
	}
	return f, o
}

// unknown is the errno of getting an option that there is not: Linux makes a difference
// between the levels that an IPv4 socket has and others, which it does not in setting one.
func (s *settings) unknown(level int) unix.Errno {
	if s.speaks(level) || s.family != unix.AF_INET {
		return unix.ENOPROTOOPT
	}
	return unix.EOPNOTSUPP
}

// get reads an option whose value is of one of two kinds.
func (t *Table) get(fd, level, name int, k, or kind) (v value, err error) {
	f, o := t.find(fd, level, name)
	switch {
	case f == nil:
		return v, t.other(fd).errno
	case o == nil || o.get == nil:
		return v, f.common().unknown(level)
	case o.kind != k && o.kind != or:
		return v, unix.EINVAL
	}
	c := f.common()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return v, unix.EBADF
	}
	return v, failure(o.get(f.socket, &v))
}

// set writes an option.
func (t *Table) set(fd, level, name int, v value, k, or kind) error {
	f, o := t.find(fd, level, name)
	switch {
	case f == nil:
		return t.other(fd).errno
	case o == nil || o.set == nil:
		return unix.ENOPROTOOPT
	case o.kind != k && o.kind != or:
		return unix.EINVAL
	}
	return failure(f.setOption(o, &v))
}

// setOption sets an option that the socket has.
func (f *file) setOption(o *option, v *value) unix.Errno {
	c := f.common()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || f.closed.Load() {
		return unix.EBADF
	}
	if errno := o.set(f.socket, v); errno != 0 {
		return errno
	}
	return f.apply()
}

// Getsockopt is getsockopt(2) for any option, as the bytes of its C type: p is where they go, and for
// those that are asked for with something in it (IP_MSFILTER, MCAST_MSFILTER) what is asked. It returns
// how many there are; what does not fit is cut off, as on Linux.
func (t *Table) Getsockopt(fd, level, opt int, p []byte) (n int, err error) {
	f, o := t.find(fd, level, opt)
	switch {
	case f == nil:
		return 0, unix.EBADF
	case o == nil || o.get == nil:
		return 0, f.common().unknown(level)
	}
	v := value{text: string(p)}
	c := f.common()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, unix.EBADF
	}
	if o.kind != kindBytes {
		v.text = ""
	}
	if errno := o.get(f.socket, &v); errno != 0 {
		return 0, errno
	}
	b := v.bytes(o.kind)
	if level == unix.IPPROTO_IP && o.kind <= kindFlag && len(p) > 0 && len(p) < len(b) && v.n >= 0 && v.n <= 255 {
		b = []byte{byte(v.n)} // as programs that were written for BSD want it
	}
	return copy(p, b), nil
}

// bytes is a value as its C type has it.
func (v *value) bytes(k kind) []byte {
	var b []byte
	ne := binary.NativeEndian
	switch k {
	case kindInt, kindFlag:
		b = ne.AppendUint32(b, uint32(v.n))
	case kindLinger:
		b = ne.AppendUint32(ne.AppendUint32(b, uint32(v.linger.Onoff)), uint32(v.linger.Linger))
	case kindTime:
		b = appendWord(appendWord(b, uint64(v.time.Sec)), uint64(v.time.Usec))
	case kindFilter:
		for _, w := range v.filter.Data {
			b = ne.AppendUint32(b, w)
		}
	case kindStats:
		b = ne.AppendUint32(ne.AppendUint32(b, v.stats.Packets), v.stats.Drops)
	case kindInfo: // with the bytes that unix.TCPInfo has no names for
		b, _ = binary.Append(b, ne, &v.info)
		b = slices.Insert(b, infoBitsAt, v.infoBits[:]...)
	case kindText:
		b = append([]byte(v.text), 0)
	case kindBytes:
		b = []byte(v.text)
	}
	return b
}

// appendWord appends a number of the machine's word length.
func appendWord(b []byte, n uint64) []byte {
	if wordLen == 8 {
		return binary.NativeEndian.AppendUint64(b, n)
	}
	return binary.NativeEndian.AppendUint32(b, uint32(n))
}

// GetsockoptInt returns an option that is a number, or 0 or 1.
func (t *Table) GetsockoptInt(fd, level, opt int) (int, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (int, error) { return unix.GetsockoptInt(fd, level, opt) })
	}
	if _, o := t.find(fd, level, opt); o != nil && o.kind == kindRate {
		rate, err := t.GetsockoptUint64(fd, level, opt)
		return int(int32(min(rate, math.MaxUint32))), err
	}
	v, err := t.get(fd, level, opt, kindInt, kindFlag)
	return v.n, err
}

// SetsockoptInt sets an option that is a number, or a yes (not 0) or no.
func (t *Table) SetsockoptInt(fd, level, opt int, n int) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptInt(fd, level, opt, n) })
	}
	switch _, o := t.find(fd, level, opt); {
	case o != nil && o.kind == kindRate:
		rate := uint64(uint32(n))
		if rate == math.MaxUint32 {
			rate = math.MaxUint64
		}
		return t.SetsockoptUint64(fd, level, opt, rate)
	case o != nil && o.kind == kindBytes:
		return t.set(fd, level, opt, value{text: string(binary.NativeEndian.AppendUint32(nil, uint32(n)))}, kindBytes, kindBytes)
	}
	return t.set(fd, level, opt, value{n: int(int32(n))}, kindInt, kindFlag)
}

// GetsockoptUint64 returns SO_MAX_PACING_RATE in its form of 64 bits, in bytes a second.
func (t *Table) GetsockoptUint64(fd, level, opt int) (uint64, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (uint64, error) { return unix.GetsockoptUint64(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindRate, kindRate)
	return v.rate, err
}

// SetsockoptUint64 sets SO_MAX_PACING_RATE in its form of 64 bits.
func (t *Table) SetsockoptUint64(fd, level, opt int, n uint64) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptUint64(fd, level, opt, n) })
	}
	return t.set(fd, level, opt, value{rate: n}, kindRate, kindRate)
}

// GetsockoptLinger returns SO_LINGER.
func (t *Table) GetsockoptLinger(fd, level, opt int) (*unix.Linger, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (*unix.Linger, error) { return unix.GetsockoptLinger(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindLinger, kindLinger)
	if err != nil {
		return nil, err
	}
	return &v.linger, nil
}

// SetsockoptLinger sets SO_LINGER: off; on with 0 seconds: Close sends a reset; on with more:
// Close waits for so long until the peer has everything.
func (t *Table) SetsockoptLinger(fd, level, opt int, l *unix.Linger) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptLinger(fd, level, opt, l) })
	}
	if l == nil {
		return unix.EFAULT
	}
	return t.set(fd, level, opt, value{linger: *l}, kindLinger, kindLinger)
}

// GetsockoptTimeval returns SO_RCVTIMEO or SO_SNDTIMEO.
func (t *Table) GetsockoptTimeval(fd, level, opt int) (*unix.Timeval, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (*unix.Timeval, error) { return unix.GetsockoptTimeval(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindTime, kindTime)
	if err != nil {
		return nil, err
	}
	return &v.time, nil
}

// SetsockoptTimeval sets SO_RCVTIMEO or SO_SNDTIMEO.
func (t *Table) SetsockoptTimeval(fd, level, opt int, tv *unix.Timeval) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptTimeval(fd, level, opt, tv) })
	}
	if tv == nil {
		return unix.EFAULT
	}
	return t.set(fd, level, opt, value{time: *tv}, kindTime, kindTime)
}

// GetsockoptString returns TCP_CONGESTION.
func (t *Table) GetsockoptString(fd, level, opt int) (string, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (string, error) { return unix.GetsockoptString(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindText, kindBytes)
	return v.text, err
}

// SetsockoptString sets TCP_CONGESTION, or one of the options whose value is a structure that no other call
// is for, as the structure's bytes.
func (t *Table) SetsockoptString(fd, level, opt int, s string) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptString(fd, level, opt, s) })
	}
	return t.set(fd, level, opt, value{text: s}, kindText, kindBytes)
}

// GetsockoptICMPv6Filter returns ICMPV6_FILTER.
func (t *Table) GetsockoptICMPv6Filter(fd, level, opt int) (*unix.ICMPv6Filter, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (*unix.ICMPv6Filter, error) { return unix.GetsockoptICMPv6Filter(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindFilter, kindFilter)
	if err != nil {
		return nil, err
	}
	return &v.filter, nil
}

// SetsockoptICMPv6Filter sets ICMPV6_FILTER: the types of ICMPv6 that a raw socket does not receive.
func (t *Table) SetsockoptICMPv6Filter(fd, level, opt int, filter *unix.ICMPv6Filter) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptICMPv6Filter(fd, level, opt, filter) })
	}
	if filter == nil {
		return unix.EFAULT
	}
	return t.set(fd, level, opt, value{filter: *filter}, kindFilter, kindFilter)
}

// GetsockoptTpacketStats returns PACKET_STATISTICS and begins to count anew.
func (t *Table) GetsockoptTpacketStats(fd, level, opt int) (*unix.TpacketStats, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (*unix.TpacketStats, error) { return unix.GetsockoptTpacketStats(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindStats, kindStats)
	if err != nil {
		return nil, err
	}
	return &v.stats, nil
}

// GetsockoptTCPInfo returns TCP_INFO.
func (t *Table) GetsockoptTCPInfo(fd, level, opt int) (*unix.TCPInfo, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (*unix.TCPInfo, error) { return unix.GetsockoptTCPInfo(fd, level, opt) })
	}
	v, err := t.get(fd, level, opt, kindInfo, kindInfo)
	if err != nil {
		return nil, err
	}
	return &v.info, nil
}
