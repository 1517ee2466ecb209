package socketapi

import (
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"
)

// The typed forms of getsockopt(2) and setsockopt(2) that package unix has. A form is how the bytes of an option are written, and says
// nothing about which option it is for: each takes every option, as on Linux, whose value is then as much of the type as there was.
// Pointers that are returned are never nil, with an error neither.

// got is a form of getsockopt: T is the structure, kernel the call for descriptors of the kernel's.
func got[T any](t *Table, fd, level, opt int, kernel func(fd, level, opt int) (*T, error)) (*T, error) {
	v := new(T)
	if k := t.kernel(fd); k != nil {
		return v, other{k: k}.do(func(fd int) error {
			is, err := kernel(fd, level, opt)
			*v = *is
			return err
		})
	}
	b := make([]byte, binary.Size(v))
	_, err := t.Getsockopt(fd, level, opt, b)
	if err == nil {
		binary.Decode(b, binary.NativeEndian, v) // of its size
	}
	return v, err
}

// gotNumber is got for what is no structure.
func gotNumber[T any](t *Table, fd, level, opt int, kernel func(fd, level, opt int) (T, error)) (T, error) {
	v, err := got(t, fd, level, opt, func(fd, level, opt int) (*T, error) {
		n, err := kernel(fd, level, opt)
		return &n, err
	})
	return *v, err
}

// put is a form of setsockopt.
func put[T any](t *Table, fd, level, opt int, v *T) error {
	if v == nil {
		return t.fault(fd)
	}
	b, _ := binary.Append(nil, binary.NativeEndian, v)
	return t.Setsockopt(fd, level, opt, b)
}

// fault is the errno of an address that is none.
func (t *Table) fault(fd int) error {
	if t.lookup(fd) == nil {
		return unix.EBADF
	}
	return unix.EFAULT
}

func (t *Table) GetsockoptByte(fd, level, opt int) (value byte, err error) {
	return gotNumber(t, fd, level, opt, unix.GetsockoptByte)
}

func (t *Table) SetsockoptByte(fd, level, opt int, value byte) error {
	return t.Setsockopt(fd, level, opt, []byte{value})
}

// GetsockoptInt is for an option that is a number, or 0 or 1.
func (t *Table) GetsockoptInt(fd, level, opt int) (value int, err error) {
	n, err := gotNumber(t, fd, level, opt, func(fd, level, opt int) (int32, error) {
		n, err := unix.GetsockoptInt(fd, level, opt)
		return int32(n), err
	})
	return int(n), err
}

// SetsockoptInt is for an option that is a number, or a yes (not 0) or no.
func (t *Table) SetsockoptInt(fd, level, opt int, value int) error {
	n := int32(value)
	return put(t, fd, level, opt, &n)
}

// GetsockoptUint64 is for SO_MAX_PACING_RATE, in bytes a second.
func (t *Table) GetsockoptUint64(fd, level, opt int) (value uint64, err error) {
	return gotNumber(t, fd, level, opt, unix.GetsockoptUint64)
}

func (t *Table) SetsockoptUint64(fd, level, opt int, value uint64) error {
	return put(t, fd, level, opt, &value)
}

// GetsockoptLinger is for SO_LINGER.
func (t *Table) GetsockoptLinger(fd, level, opt int) (*unix.Linger, error) {
	return got(t, fd, level, opt, unix.GetsockoptLinger)
}

// SetsockoptLinger is for SO_LINGER: off; on with 0 seconds: Close sends a reset; on with more:
// Close waits for so long until the peer has everything.
func (t *Table) SetsockoptLinger(fd, level, opt int, l *unix.Linger) error {
	return put(t, fd, level, opt, l)
}

// GetsockoptTimeval is for SO_RCVTIMEO and SO_SNDTIMEO.
func (t *Table) GetsockoptTimeval(fd, level, opt int) (*unix.Timeval, error) {
	return got(t, fd, level, opt, unix.GetsockoptTimeval)
}

func (t *Table) SetsockoptTimeval(fd, level, opt int, tv *unix.Timeval) error {
	return put(t, fd, level, opt, tv)
}

// stringMax is how much of an option a string takes.
const stringMax = 256

// GetsockoptString is for TCP_CONGESTION and SO_BINDTODEVICE: what is before the first zero.
func (t *Table) GetsockoptString(fd, level, opt int) (string, error) {
	if k := t.kernel(fd); k != nil {
		return asks(other{k: k}, func(fd int) (string, error) { return unix.GetsockoptString(fd, level, opt) })
	}
	b := make([]byte, stringMax)
	n, err := t.Getsockopt(fd, level, opt, b)
	return unix.ByteSliceToString(b[:n]), err
}

// SetsockoptString sets an option by its bytes, whatever it is.
func (t *Table) SetsockoptString(fd, level, opt int, s string) error {
	return t.Setsockopt(fd, level, opt, []byte(s))
}

// GetsockoptInet4Addr is for IP_MULTICAST_IF.
func (t *Table) GetsockoptInet4Addr(fd, level, opt int) (value [4]byte, err error) {
	return gotNumber(t, fd, level, opt, unix.GetsockoptInet4Addr)
}

func (t *Table) SetsockoptInet4Addr(fd, level, opt int, value [4]byte) error {
	return t.Setsockopt(fd, level, opt, value[:])
}

func (t *Table) GetsockoptIPMreq(fd, level, opt int) (*unix.IPMreq, error) {
	return got(t, fd, level, opt, unix.GetsockoptIPMreq)
}

// SetsockoptIPMreq is for an IPv4 group on the interface that has an address, or as
// routed: IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP; IP_MULTICAST_IF.
func (t *Table) SetsockoptIPMreq(fd, level, opt int, mreq *unix.IPMreq) error {
	return put(t, fd, level, opt, mreq)
}

func (t *Table) GetsockoptIPMreqn(fd, level, opt int) (*unix.IPMreqn, error) {
	return got(t, fd, level, opt, unix.GetsockoptIPMreqn)
}

// SetsockoptIPMreqn is SetsockoptIPMreq with the interface by its number.
func (t *Table) SetsockoptIPMreqn(fd, level, opt int, mreq *unix.IPMreqn) error {
	return put(t, fd, level, opt, mreq)
}

func (t *Table) GetsockoptIPv6Mreq(fd, level, opt int) (*unix.IPv6Mreq, error) {
	return got(t, fd, level, opt, unix.GetsockoptIPv6Mreq)
}

// SetsockoptIPv6Mreq is for an IPv6 group: IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP.
func (t *Table) SetsockoptIPv6Mreq(fd, level, opt int, mreq *unix.IPv6Mreq) error {
	return put(t, fd, level, opt, mreq)
}

// GetsockoptIPv6MTUInfo is for IPV6_PATHMTU.
func (t *Table) GetsockoptIPv6MTUInfo(fd, level, opt int) (*unix.IPv6MTUInfo, error) {
	return got(t, fd, level, opt, unix.GetsockoptIPv6MTUInfo)
}

// GetsockoptICMPv6Filter is for ICMPV6_FILTER.
func (t *Table) GetsockoptICMPv6Filter(fd, level, opt int) (*unix.ICMPv6Filter, error) {
	return got(t, fd, level, opt, unix.GetsockoptICMPv6Filter)
}

// SetsockoptICMPv6Filter is for ICMPV6_FILTER: the types of ICMPv6 that a raw socket does not receive.
func (t *Table) SetsockoptICMPv6Filter(fd, level, opt int, filter *unix.ICMPv6Filter) error {
	return put(t, fd, level, opt, filter)
}

// GetsockoptUcred is for SO_PEERCRED: who is at the other end of a socket of AF_UNIX.
func (t *Table) GetsockoptUcred(fd, level, opt int) (*unix.Ucred, error) {
	return got(t, fd, level, opt, unix.GetsockoptUcred)
}

// GetsockoptTCPInfo is for TCP_INFO.
func (t *Table) GetsockoptTCPInfo(fd, level, opt int) (*unix.TCPInfo, error) {
	if t.kernel(fd) != nil {
		return got(t, fd, level, opt, unix.GetsockoptTCPInfo)
	}
	v, b := new(unix.TCPInfo), make([]byte, unix.SizeofTCPInfo)
	_, err := t.Getsockopt(fd, level, opt, b)
	if err == nil {
		b = slices.Delete(b, infoBitsAt, infoBitsAt+len(value{}.infoBits)) // which unix.TCPInfo has no names for
		binary.Decode(b, binary.NativeEndian, v)
	}
	return v, err
}

// GetsockoptTCPCCVegasInfo is for TCP_CC_INFO, of which a socket of the engine's has nothing to tell; so are the two after it.
func (t *Table) GetsockoptTCPCCVegasInfo(fd, level, opt int) (*unix.TCPVegasInfo, error) {
	return got(t, fd, level, opt, unix.GetsockoptTCPCCVegasInfo)
}

func (t *Table) GetsockoptTCPCCDCTCPInfo(fd, level, opt int) (*unix.TCPDCTCPInfo, error) {
	return got(t, fd, level, opt, unix.GetsockoptTCPCCDCTCPInfo)
}

func (t *Table) GetsockoptTCPCCBBRInfo(fd, level, opt int) (*unix.TCPBBRInfo, error) {
	return got(t, fd, level, opt, unix.GetsockoptTCPCCBBRInfo)
}

// GetsockoptTpacketStats is for PACKET_STATISTICS, which begins to count anew.
func (t *Table) GetsockoptTpacketStats(fd, level, opt int) (*unix.TpacketStats, error) {
	return got(t, fd, level, opt, unix.GetsockoptTpacketStats)
}

func (t *Table) GetsockoptTpacketStatsV3(fd, level, opt int) (*unix.TpacketStatsV3, error) {
	return got(t, fd, level, opt, unix.GetsockoptTpacketStatsV3)
}

// The rest is for options that a socket of the engine's does not have, and the kernel's may.

// SetsockoptPacketMreq is for PACKET_ADD_MEMBERSHIP and PACKET_DROP_MEMBERSHIP.
func (t *Table) SetsockoptPacketMreq(fd, level, opt int, mreq *unix.PacketMreq) error {
	return put(t, fd, level, opt, mreq)
}

// SetsockoptSockFprog is for SO_ATTACH_FILTER and its kin.
func (t *Table) SetsockoptSockFprog(fd, level, opt int, fprog *unix.SockFprog) error {
	if k := t.kernel(fd); k != nil {
		return other{k: k}.do(func(fd int) error { return unix.SetsockoptSockFprog(fd, level, opt, fprog) })
	}
	if fprog == nil {
		return t.fault(fd)
	}
	b := make([]byte, unix.SizeofSockFprog) // without the address, which nobody here follows
	binary.NativeEndian.PutUint16(b, fprog.Len)
	return t.Setsockopt(fd, level, opt, b)
}

// SetsockoptCanRawFilter is for CAN_RAW_FILTER.
func (t *Table) SetsockoptCanRawFilter(fd, level, opt int, filter []unix.CanFilter) error {
	b, _ := binary.Append(nil, binary.NativeEndian, filter)
	return t.Setsockopt(fd, level, opt, b)
}

// SetsockoptTpacketReq is for PACKET_RX_RING and PACKET_TX_RING.
func (t *Table) SetsockoptTpacketReq(fd, level, opt int, tp *unix.TpacketReq) error {
	return put(t, fd, level, opt, tp)
}

func (t *Table) SetsockoptTpacketReq3(fd, level, opt int, tp *unix.TpacketReq3) error {
	return put(t, fd, level, opt, tp)
}

// SetsockoptTCPRepairOpt is for TCP_REPAIR_OPTIONS.
func (t *Table) SetsockoptTCPRepairOpt(fd, level, opt int, o []unix.TCPRepairOpt) error {
	if len(o) == 0 {
		return unix.EINVAL
	}
	b, _ := binary.Append(nil, binary.NativeEndian, o)
	return t.Setsockopt(fd, level, opt, b)
}

// SetsockoptTCPMD5Sig is for TCP_MD5SIG.
func (t *Table) SetsockoptTCPMD5Sig(fd, level, opt int, s *unix.TCPMD5Sig) error {
	return put(t, fd, level, opt, s)
}
