package socketapi

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"slices"

	"golang.org/x/sys/unix"
)

// Read first: getsockopt(2); sk_setsockopt and sk_getsockopt in net/core/sock.c, do_ip_setsockopt in net/ipv4/ip_sockglue.c, do_tcp_setsockopt
// in net/ipv4/tcp.c, udp_lib_setsockopt in net/ipv4/udp.c.

// Getsockopt is getsockopt(2) for any option of a socket of the engine's, as the bytes of its C type: p is where they go, and for
// those that are asked for with something in it (IP_MSFILTER, MCAST_MSFILTER) what is asked. It returns
// how many there are; what does not fit is cut off, as on Linux.
func (t *Table) Getsockopt(fd, level, opt int, p []byte) (n int, err error) {
	f, o := t.find(fd, level, opt)
	switch {
	case f == nil:
		return 0, cmp.Or(t.other(fd).errno, unix.EBADF)
	case o == nil || o.get == nil:
		return 0, f.common().unknown(level)
	}
	v, errno := f.getOption(o, p)
	if errno != 0 {
		return 0, errno
	}
	b := v.bytes(o.kind)
	if o.kind == kindRate && len(p) < len(b) {
		b = binary.NativeEndian.AppendUint32(nil, uint32(min(v.rate, math.MaxUint32)))
	}
	if level == unix.SOL_SOCKET && (opt == unix.SO_TIMESTAMPING_OLD || opt == unix.SO_TIMESTAMPING_NEW) {
		b = append(b, 0, 0, 0, 0) // the clock of a device: none
	}
	if level == unix.IPPROTO_IP && o.kind <= kindFlag && len(p) > 0 && len(p) < len(b) && v.n >= 0 && v.n <= 255 {
		b = []byte{byte(v.n)} // as programs that were written for BSD want it
	}
	return copy(p, b), nil
}

// getOption reads an option that the socket has; asked is what the caller's buffer holds.
func (f *file) getOption(o *option, asked []byte) (v value, errno unix.Errno) {
	if o.kind == kindBytes {
		v.text = string(asked)
	}
	c := f.common()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return v, unix.EBADF
	}
	return v, o.get(f.socket, &v)
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
		if v.text != "" {
			b = append([]byte(v.text), 0)
		}
	case kindName:
		b = make([]byte, congestionLen)
		copy(b, v.text)
	case kindRate:
		b = appendWord(b, v.rate)
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

// Setsockopt is setsockopt(2) for any option, as the bytes of its C type. More of them than that has are left alone, as on
// Linux; fewer are EINVAL, but for a number of IPPROTO_IP, which may be a char.
func (t *Table) Setsockopt(fd, level, opt int, p []byte) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptString(fd, level, opt, string(p)) })
	}
	f, o := t.find(fd, level, opt)
	switch {
	case f == nil:
		return t.other(fd).errno
	case len(p) < intLen && f.common().countsFirst(level) && (o == nil || o.set == nil || !o.anyLength()):
		return unix.EINVAL
	case o == nil || o.set == nil:
		return unix.ENOPROTOOPT
	}
	if o.kind == kindFilter || level == unix.SOL_RAW { // of which fewer bytes change the first ones
		v, errno := f.getOption(o, nil)
		if errno != 0 {
			return errno
		}
		b := v.bytes(o.kind)
		copy(b, p)
		p = b
	}
	v, errno := o.parse(p)
	if errno != 0 {
		return errno
	}
	return failure(f.setOption(o, &v))
}

// countsFirst says whether of the options of a level a value is too short before it is asked which option it is for.
func (s *settings) countsFirst(level int) bool {
	if level == unix.SOL_RAW {
		return s.family == unix.AF_INET6 && s.kind == unix.SOCK_RAW // do_rawv6_setsockopt
	}
	return (level == unix.SOL_SOCKET || level == unix.IPPROTO_TCP || level == unix.IPPROTO_UDP) && s.speaks(level)
}

// anyLength says whether the option itself asks how long its value is.
func (o *option) anyLength() bool {
	return o.kind == kindText || o.kind == kindName || o.kind == kindBytes
}

// congestionLen is TCP_CA_NAME_MAX.
const congestionLen = 16

// parse is bytes' opposite.
func (o *option) parse(p []byte) (v value, errno unix.Errno) {
	ne, least := binary.NativeEndian, intLen
	switch o.kind {
	case kindText, kindBytes, kindFilter:
		least = 0
	case kindName:
		least = 1
	case kindLinger:
		least = unix.SizeofLinger
	case kindTime:
		least = 2 * wordLen
	}
	if o.level == unix.IPPROTO_IP && o.kind <= kindFlag && len(p) < least {
		return o.parseChar(p)
	}
	if len(p) < least {
		return v, unix.EINVAL
	}
	switch o.kind {
	case kindInt, kindFlag:
		v.n = int(int32(ne.Uint32(p)))
	case kindLinger:
		v.linger = unix.Linger{Onoff: int32(ne.Uint32(p)), Linger: int32(ne.Uint32(p[4:]))}
	case kindTime:
		_, err := binary.Decode(p, ne, &v.time)
		if err != nil {
			return v, unix.EINVAL
		}
	case kindFilter:
		for i := range v.filter.Data {
			v.filter.Data[i] = ne.Uint32(p[4*i:])
		}
	case kindRate:
		switch n := ne.Uint32(p); {
		case wordLen == 8 && len(p) >= 8:
			v.rate = ne.Uint64(p)
		case n == math.MaxUint32:
			v.rate = math.MaxUint64
		default:
			v.rate = uint64(n)
		}
	case kindText, kindName:
		text, _, _ := bytes.Cut(p, []byte{0})
		v.text = string(text)
	case kindBytes:
		v.text = string(p)
	}
	return v, 0
}

// parseChar reads a number of IPPROTO_IP that is shorter than an int, as programs that were written for BSD have it. Nothing is 0,
// where the option does not ask for more.
func (o *option) parseChar(p []byte) (v value, errno unix.Errno) {
	switch {
	case len(p) > 0:
		v.n = int(p[0])
	case slices.Contains(neverNothing, o.name):
		return v, unix.EINVAL
	}
	return v, 0
}

// neverNothing are the numbers of IPPROTO_IP that are at least a char.
var neverNothing = []int{unix.IP_TTL, unix.IP_MULTICAST_TTL, unix.IP_MULTICAST_LOOP, unix.IP_MULTICAST_ALL, unix.IP_MINTTL}

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
