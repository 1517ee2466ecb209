package socketapi

import "golang.org/x/sys/unix"

// sockopts is getsockopt(2) and setsockopt(2) in all the typed forms of package unix, and by bytes.
type sockopts interface {
	Getsockopt(fd, level, opt int, p []byte) (n int, err error)
	GetsockoptByte(fd, level, opt int) (value byte, err error)
	GetsockoptICMPv6Filter(fd, level, opt int) (*unix.ICMPv6Filter, error)
	GetsockoptIPMreq(fd, level, opt int) (*unix.IPMreq, error)
	GetsockoptIPMreqn(fd, level, opt int) (*unix.IPMreqn, error)
	GetsockoptIPv6MTUInfo(fd, level, opt int) (*unix.IPv6MTUInfo, error)
	GetsockoptIPv6Mreq(fd, level, opt int) (*unix.IPv6Mreq, error)
	GetsockoptInet4Addr(fd, level, opt int) (value [4]byte, err error)
	GetsockoptInt(fd, level, opt int) (value int, err error)
	GetsockoptLinger(fd, level, opt int) (*unix.Linger, error)
	GetsockoptString(fd, level, opt int) (string, error)
	GetsockoptTCPCCBBRInfo(fd, level, opt int) (*unix.TCPBBRInfo, error)
	GetsockoptTCPCCDCTCPInfo(fd, level, opt int) (*unix.TCPDCTCPInfo, error)
	GetsockoptTCPCCVegasInfo(fd, level, opt int) (*unix.TCPVegasInfo, error)
	GetsockoptTCPInfo(fd, level, opt int) (*unix.TCPInfo, error)
	GetsockoptTimeval(fd, level, opt int) (*unix.Timeval, error)
	GetsockoptTpacketStats(fd, level, opt int) (*unix.TpacketStats, error)
	GetsockoptTpacketStatsV3(fd, level, opt int) (*unix.TpacketStatsV3, error)
	GetsockoptUcred(fd, level, opt int) (*unix.Ucred, error)
	GetsockoptUint64(fd, level, opt int) (value uint64, err error)
	SetsockoptByte(fd, level, opt int, value byte) (err error)
	SetsockoptCanRawFilter(fd, level, opt int, filter []unix.CanFilter) error
	SetsockoptICMPv6Filter(fd, level, opt int, filter *unix.ICMPv6Filter) error
	SetsockoptIPMreq(fd, level, opt int, mreq *unix.IPMreq) (err error)
	SetsockoptIPMreqn(fd, level, opt int, mreq *unix.IPMreqn) (err error)
	SetsockoptIPv6Mreq(fd, level, opt int, mreq *unix.IPv6Mreq) (err error)
	SetsockoptInet4Addr(fd, level, opt int, value [4]byte) (err error)
	SetsockoptInt(fd, level, opt int, value int) (err error)
	SetsockoptLinger(fd, level, opt int, l *unix.Linger) (err error)
	SetsockoptPacketMreq(fd, level, opt int, mreq *unix.PacketMreq) error
	SetsockoptSockFprog(fd, level, opt int, fprog *unix.SockFprog) error
	SetsockoptString(fd, level, opt int, s string) (err error)
	SetsockoptTCPMD5Sig(fd, level, opt int, s *unix.TCPMD5Sig) error
	SetsockoptTCPRepairOpt(fd, level, opt int, o []unix.TCPRepairOpt) (err error)
	SetsockoptTimeval(fd, level, opt int, tv *unix.Timeval) (err error)
	SetsockoptTpacketReq(fd, level, opt int, tp *unix.TpacketReq) error
	SetsockoptTpacketReq3(fd, level, opt int, tp *unix.TpacketReq3) error
	SetsockoptUint64(fd, level, opt int, value uint64) (err error)
}

func (linux) GetsockoptByte(fd, level, opt int) (value byte, err error) {
	return unix.GetsockoptByte(fd, level, opt)
}

func (linux) GetsockoptICMPv6Filter(fd, level, opt int) (*unix.ICMPv6Filter, error) {
	return unix.GetsockoptICMPv6Filter(fd, level, opt)
}

func (linux) GetsockoptIPMreq(fd, level, opt int) (*unix.IPMreq, error) {
	return unix.GetsockoptIPMreq(fd, level, opt)
}

func (linux) GetsockoptIPMreqn(fd, level, opt int) (*unix.IPMreqn, error) {
	return unix.GetsockoptIPMreqn(fd, level, opt)
}

func (linux) GetsockoptIPv6MTUInfo(fd, level, opt int) (*unix.IPv6MTUInfo, error) {
	return unix.GetsockoptIPv6MTUInfo(fd, level, opt)
}

func (linux) GetsockoptIPv6Mreq(fd, level, opt int) (*unix.IPv6Mreq, error) {
	return unix.GetsockoptIPv6Mreq(fd, level, opt)
}

func (linux) GetsockoptInet4Addr(fd, level, opt int) (value [4]byte, err error) {
	return unix.GetsockoptInet4Addr(fd, level, opt)
}

func (linux) GetsockoptInt(fd, level, opt int) (value int, err error) {
	return unix.GetsockoptInt(fd, level, opt)
}

func (linux) GetsockoptLinger(fd, level, opt int) (*unix.Linger, error) {
	return unix.GetsockoptLinger(fd, level, opt)
}

func (linux) GetsockoptString(fd, level, opt int) (string, error) {
	return unix.GetsockoptString(fd, level, opt)
}

func (linux) GetsockoptTCPCCBBRInfo(fd, level, opt int) (*unix.TCPBBRInfo, error) {
	return unix.GetsockoptTCPCCBBRInfo(fd, level, opt)
}

func (linux) GetsockoptTCPCCDCTCPInfo(fd, level, opt int) (*unix.TCPDCTCPInfo, error) {
	return unix.GetsockoptTCPCCDCTCPInfo(fd, level, opt)
}

func (linux) GetsockoptTCPCCVegasInfo(fd, level, opt int) (*unix.TCPVegasInfo, error) {
	return unix.GetsockoptTCPCCVegasInfo(fd, level, opt)
}

func (linux) GetsockoptTCPInfo(fd, level, opt int) (*unix.TCPInfo, error) {
	return unix.GetsockoptTCPInfo(fd, level, opt)
}

func (linux) GetsockoptTimeval(fd, level, opt int) (*unix.Timeval, error) {
	return unix.GetsockoptTimeval(fd, level, opt)
}

func (linux) GetsockoptTpacketStats(fd, level, opt int) (*unix.TpacketStats, error) {
	return unix.GetsockoptTpacketStats(fd, level, opt)
}

func (linux) GetsockoptTpacketStatsV3(fd, level, opt int) (*unix.TpacketStatsV3, error) {
	return unix.GetsockoptTpacketStatsV3(fd, level, opt)
}

func (linux) GetsockoptUcred(fd, level, opt int) (*unix.Ucred, error) {
	return unix.GetsockoptUcred(fd, level, opt)
}

func (linux) GetsockoptUint64(fd, level, opt int) (value uint64, err error) {
	return unix.GetsockoptUint64(fd, level, opt)
}

func (linux) SetsockoptByte(fd, level, opt int, value byte) (err error) {
	return unix.SetsockoptByte(fd, level, opt, value)
}

func (linux) SetsockoptCanRawFilter(fd, level, opt int, filter []unix.CanFilter) error {
	return unix.SetsockoptCanRawFilter(fd, level, opt, filter)
}

func (linux) SetsockoptICMPv6Filter(fd, level, opt int, filter *unix.ICMPv6Filter) error {
	return unix.SetsockoptICMPv6Filter(fd, level, opt, filter)
}

func (linux) SetsockoptIPMreq(fd, level, opt int, mreq *unix.IPMreq) (err error) {
	return unix.SetsockoptIPMreq(fd, level, opt, mreq)
}

func (linux) SetsockoptIPMreqn(fd, level, opt int, mreq *unix.IPMreqn) (err error) {
	return unix.SetsockoptIPMreqn(fd, level, opt, mreq)
}

func (linux) SetsockoptIPv6Mreq(fd, level, opt int, mreq *unix.IPv6Mreq) (err error) {
	return unix.SetsockoptIPv6Mreq(fd, level, opt, mreq)
}

func (linux) SetsockoptInet4Addr(fd, level, opt int, value [4]byte) (err error) {
	return unix.SetsockoptInet4Addr(fd, level, opt, value)
}

func (linux) SetsockoptInt(fd, level, opt int, value int) (err error) {
	return unix.SetsockoptInt(fd, level, opt, value)
}

func (linux) SetsockoptLinger(fd, level, opt int, l *unix.Linger) (err error) {
	return unix.SetsockoptLinger(fd, level, opt, l)
}

func (linux) SetsockoptPacketMreq(fd, level, opt int, mreq *unix.PacketMreq) error {
	return unix.SetsockoptPacketMreq(fd, level, opt, mreq)
}

func (linux) SetsockoptSockFprog(fd, level, opt int, fprog *unix.SockFprog) error {
	return unix.SetsockoptSockFprog(fd, level, opt, fprog)
}

func (linux) SetsockoptString(fd, level, opt int, s string) (err error) {
	return unix.SetsockoptString(fd, level, opt, s)
}

func (linux) SetsockoptTCPMD5Sig(fd, level, opt int, s *unix.TCPMD5Sig) error {
	return unix.SetsockoptTCPMD5Sig(fd, level, opt, s)
}

func (linux) SetsockoptTCPRepairOpt(fd, level, opt int, o []unix.TCPRepairOpt) (err error) {
	return unix.SetsockoptTCPRepairOpt(fd, level, opt, o)
}

func (linux) SetsockoptTimeval(fd, level, opt int, tv *unix.Timeval) (err error) {
	return unix.SetsockoptTimeval(fd, level, opt, tv)
}

func (linux) SetsockoptTpacketReq(fd, level, opt int, tp *unix.TpacketReq) error {
	return unix.SetsockoptTpacketReq(fd, level, opt, tp)
}

func (linux) SetsockoptTpacketReq3(fd, level, opt int, tp *unix.TpacketReq3) error {
	return unix.SetsockoptTpacketReq3(fd, level, opt, tp)
}

func (linux) SetsockoptUint64(fd, level, opt int, value uint64) (err error) {
	return unix.SetsockoptUint64(fd, level, opt, value)
}
