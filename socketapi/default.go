package socketapi

import "golang.org/x/sys/unix"

// The functions of this file are those of golang.org/x/sys/unix on the stack that Use, or the environment, has named. Package
// socketapi/unix has them together with the types, the constants and the rest of that package, for a program to change one import.

// Socket is [Table.Socket] on the stack of Use; so are the others.
func Socket(domain, typ, proto int) (fd int, err error) {
	t, err := opened()
	if err != nil {
		return -1, err
	}
	return t.Socket(domain, typ, proto)
}

// Socketpair opens sockets of the kernel's, like Socket of its families: those need no host, but a table, which
// is that of the stack of Use.
func Socketpair(domain, typ, proto int) (fd [2]int, err error) {
	t, err := opened()
	if err != nil {
		return fd, err
	}
	return t.Socketpair(domain, typ, proto)
}

// Adopt is [Table.Adopt].
func Adopt(kernelFD int) (fd int, err error) {
	t, err := opened()
	if err != nil {
		return -1, err
	}
	return t.Adopt(kernelFD)
}

func Close(fd int) (err error)                             { return table().Close(fd) }
func Dup(oldfd int) (fd int, err error)                    { return table().Dup(oldfd) }
func SetNonblock(fd int, nonblocking bool) (err error)     { return table().SetNonblock(fd, nonblocking) }
func Bind(fd int, sa unix.Sockaddr) (err error)            { return table().Bind(fd, sa) }
func Listen(s int, n int) (err error)                      { return table().Listen(s, n) }
func Accept(fd int) (nfd int, sa unix.Sockaddr, err error) { return table().Accept(fd) }
func Connect(fd int, sa unix.Sockaddr) (err error)         { return table().Connect(fd, sa) }
func Shutdown(fd int, how int) (err error)                 { return table().Shutdown(fd, how) }
func Getsockname(fd int) (sa unix.Sockaddr, err error)     { return table().Getsockname(fd) }
func Getpeername(fd int) (sa unix.Sockaddr, err error)     { return table().Getpeername(fd) }
func Read(fd int, p []byte) (n int, err error)             { return table().Read(fd, p) }
func Write(fd int, p []byte) (n int, err error)            { return table().Write(fd, p) }
func Send(s int, buf []byte, flags int) (err error)        { return table().Send(s, buf, flags) }
func GetsockoptInt(fd, level, opt int) (value int, err error) {
	return table().GetsockoptInt(fd, level, opt)
}
func SetsockoptInt(fd, level, opt int, value int) (err error) {
	return table().SetsockoptInt(fd, level, opt, value)
}
func GetsockoptLinger(fd, level, opt int) (*unix.Linger, error) {
	return table().GetsockoptLinger(fd, level, opt)
}
func GetsockoptTimeval(fd, level, opt int) (*unix.Timeval, error) {
	return table().GetsockoptTimeval(fd, level, opt)
}
func GetsockoptString(fd, level, opt int) (string, error) {
	return table().GetsockoptString(fd, level, opt)
}
func GetsockoptUint64(fd, level, opt int) (value uint64, err error) {
	return table().GetsockoptUint64(fd, level, opt)
}
func SetsockoptUint64(fd, level, opt int, value uint64) (err error) {
	return table().SetsockoptUint64(fd, level, opt, value)
}
func GetsockoptTCPCCVegasInfo(fd, level, opt int) (*unix.TCPVegasInfo, error) {
	return table().GetsockoptTCPCCVegasInfo(fd, level, opt)
}
func GetsockoptTCPCCDCTCPInfo(fd, level, opt int) (*unix.TCPDCTCPInfo, error) {
	return table().GetsockoptTCPCCDCTCPInfo(fd, level, opt)
}
func GetsockoptTCPCCBBRInfo(fd, level, opt int) (*unix.TCPBBRInfo, error) {
	return table().GetsockoptTCPCCBBRInfo(fd, level, opt)
}
func GetsockoptTCPInfo(fd, level, opt int) (*unix.TCPInfo, error) {
	return table().GetsockoptTCPInfo(fd, level, opt)
}

func Accept4(fd int, flags int) (nfd int, sa unix.Sockaddr, err error) {
	return table().Accept4(fd, flags)
}

func Sendto(fd int, p []byte, flags int, to unix.Sockaddr) (err error) {
	return table().Sendto(fd, p, flags, to)
}

func Sendmsg(fd int, p, oob []byte, to unix.Sockaddr, flags int) (err error) {
	return table().Sendmsg(fd, p, oob, to, flags)
}

func SendmsgN(fd int, p, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	return table().SendmsgN(fd, p, oob, to, flags)
}

func Recvfrom(fd int, p []byte, flags int) (n int, from unix.Sockaddr, err error) {
	return table().Recvfrom(fd, p, flags)
}

func Recvmsg(fd int, p, oob []byte, flags int) (n, oobn int, recvflags int, from unix.Sockaddr, err error) {
	return table().Recvmsg(fd, p, oob, flags)
}

func SetsockoptLinger(fd, level, opt int, l *unix.Linger) (err error) {
	return table().SetsockoptLinger(fd, level, opt, l)
}

func SetsockoptTimeval(fd, level, opt int, tv *unix.Timeval) (err error) {
	return table().SetsockoptTimeval(fd, level, opt, tv)
}

func SetsockoptString(fd, level, opt int, s string) (err error) {
	return table().SetsockoptString(fd, level, opt, s)
}

func SendmsgBuffers(fd int, buffers [][]byte, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	return table().SendmsgBuffers(fd, buffers, oob, to, flags)
}

func RecvmsgBuffers(fd int, buffers [][]byte, oob []byte, flags int) (n, oobn int, recvflags int, from unix.Sockaddr, err error) {
	return table().RecvmsgBuffers(fd, buffers, oob, flags)
}

func GetsockoptICMPv6Filter(fd, level, opt int) (*unix.ICMPv6Filter, error) {
	return table().GetsockoptICMPv6Filter(fd, level, opt)
}

func SetsockoptICMPv6Filter(fd, level, opt int, filter *unix.ICMPv6Filter) error {
	return table().SetsockoptICMPv6Filter(fd, level, opt, filter)
}

func GetsockoptTpacketStats(fd, level, opt int) (*unix.TpacketStats, error) {
	return table().GetsockoptTpacketStats(fd, level, opt)
}

func Dup2(oldfd, newfd int) error                            { return table().Dup2(oldfd, newfd) }
func Dup3(oldfd int, newfd int, flags int) (err error)       { return table().Dup3(oldfd, newfd, flags) }
func FcntlInt(fd uintptr, cmd, arg int) (int, error)         { return table().FcntlInt(fd, cmd, arg) }
func Fstat(fd int, stat *unix.Stat_t) error                  { return table().Fstat(fd, stat) }
func Poll(fds []unix.PollFd, timeout int) (n int, err error) { return table().Poll(fds, timeout) }

func EpollCreate(size int) (fd int, err error) {
	t, err := opened()
	if err != nil {
		return -1, err
	}
	return t.EpollCreate(size)
}

func EpollCreate1(flag int) (fd int, err error) {
	t, err := opened()
	if err != nil {
		return -1, err
	}
	return t.EpollCreate1(flag)
}

func Ppoll(fds []unix.PollFd, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	return table().Ppoll(fds, timeout, sigmask)
}

func Select(nfd int, r *unix.FdSet, w *unix.FdSet, e *unix.FdSet, timeout *unix.Timeval) (n int, err error) {
	return table().Select(nfd, r, w, e, timeout)
}

func Pselect(nfd int, r *unix.FdSet, w *unix.FdSet, e *unix.FdSet, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	return table().Pselect(nfd, r, w, e, timeout, sigmask)
}

func EpollCtl(epfd int, op int, fd int, event *unix.EpollEvent) (err error) {
	return table().EpollCtl(epfd, op, fd, event)
}

func EpollWait(epfd int, events []unix.EpollEvent, msec int) (n int, err error) {
	return table().EpollWait(epfd, events, msec)
}

// Getsockopt is [Table.Getsockopt], which package unix does not have; so are the others of this paragraph.
func Getsockopt(fd, level, opt int, p []byte) (n int, err error) {
	return table().Getsockopt(fd, level, opt, p)
}
func Setsockopt(fd, level, opt int, p []byte) error     { return table().Setsockopt(fd, level, opt, p) }
func Sockatmark(fd int) (bool, error)                   { return table().Sockatmark(fd) }
func IoctlBytes(fd int, req uint, arg []byte) error     { return table().IoctlBytes(fd, req, arg) }
func IoctlIfconf(fd int, buf []byte) (n int, err error) { return table().IoctlIfconf(fd, buf) }
func EpollPwait(epfd int, events []unix.EpollEvent, msec int, sigmask *unix.Sigset_t) (n int, err error) {
	return table().EpollPwait(epfd, events, msec, sigmask)
}
func EpollPwait2(epfd int, events []unix.EpollEvent, timeout *unix.Timespec, sigmask *unix.Sigset_t) (n int, err error) {
	return table().EpollPwait2(epfd, events, timeout, sigmask)
}

func Readv(fd int, iovs [][]byte) (n int, err error)  { return table().Readv(fd, iovs) }
func Writev(fd int, iovs [][]byte) (n int, err error) { return table().Writev(fd, iovs) }

func Sendmmsg(fd int, messages []Message, flags int) (n int, err error) {
	return table().Sendmmsg(fd, messages, flags)
}

func Recvmmsg(fd int, messages []Message, flags int, timeout *unix.Timespec) (n int, err error) {
	return table().Recvmmsg(fd, messages, flags, timeout)
}

func Sendfile(outfd int, infd int, offset *int64, count int) (written int, err error) {
	return table().Sendfile(outfd, infd, offset, count)
}

func Splice(rfd int, roff *int64, wfd int, woff *int64, len int, flags int) (n int64, err error) {
	return table().Splice(rfd, roff, wfd, woff, len, flags)
}

func IoctlGetInt(fd int, req uint) (int, error)            { return table().IoctlGetInt(fd, req) }
func IoctlGetUint32(fd int, req uint) (uint32, error)      { return table().IoctlGetUint32(fd, req) }
func IoctlSetInt(fd int, req uint, value int) error        { return table().IoctlSetInt(fd, req, value) }
func IoctlIfreq(fd int, req uint, value *unix.Ifreq) error { return table().IoctlIfreq(fd, req, value) }
func IoctlSetPointerInt(fd int, req uint, value int) error {
	return table().IoctlSetPointerInt(fd, req, value)
}

func GetsockoptByte(fd, level, opt int) (value byte, err error) {
	return table().GetsockoptByte(fd, level, opt)
}

func GetsockoptIPMreq(fd, level, opt int) (*unix.IPMreq, error) {
	return table().GetsockoptIPMreq(fd, level, opt)
}

func GetsockoptIPMreqn(fd, level, opt int) (*unix.IPMreqn, error) {
	return table().GetsockoptIPMreqn(fd, level, opt)
}

func GetsockoptIPv6MTUInfo(fd, level, opt int) (*unix.IPv6MTUInfo, error) {
	return table().GetsockoptIPv6MTUInfo(fd, level, opt)
}

func GetsockoptIPv6Mreq(fd, level, opt int) (*unix.IPv6Mreq, error) {
	return table().GetsockoptIPv6Mreq(fd, level, opt)
}

func GetsockoptInet4Addr(fd, level, opt int) (value [4]byte, err error) {
	return table().GetsockoptInet4Addr(fd, level, opt)
}

func GetsockoptTpacketStatsV3(fd, level, opt int) (*unix.TpacketStatsV3, error) {
	return table().GetsockoptTpacketStatsV3(fd, level, opt)
}

func GetsockoptUcred(fd, level, opt int) (*unix.Ucred, error) {
	return table().GetsockoptUcred(fd, level, opt)
}

func SetsockoptByte(fd, level, opt int, value byte) (err error) {
	return table().SetsockoptByte(fd, level, opt, value)
}

func SetsockoptCanRawFilter(fd, level, opt int, filter []unix.CanFilter) error {
	return table().SetsockoptCanRawFilter(fd, level, opt, filter)
}

func SetsockoptIPMreq(fd, level, opt int, mreq *unix.IPMreq) (err error) {
	return table().SetsockoptIPMreq(fd, level, opt, mreq)
}

func SetsockoptIPMreqn(fd, level, opt int, mreq *unix.IPMreqn) (err error) {
	return table().SetsockoptIPMreqn(fd, level, opt, mreq)
}

func SetsockoptIPv6Mreq(fd, level, opt int, mreq *unix.IPv6Mreq) (err error) {
	return table().SetsockoptIPv6Mreq(fd, level, opt, mreq)
}

func SetsockoptInet4Addr(fd, level, opt int, value [4]byte) (err error) {
	return table().SetsockoptInet4Addr(fd, level, opt, value)
}

func SetsockoptPacketMreq(fd, level, opt int, mreq *unix.PacketMreq) error {
	return table().SetsockoptPacketMreq(fd, level, opt, mreq)
}

func SetsockoptSockFprog(fd, level, opt int, fprog *unix.SockFprog) error {
	return table().SetsockoptSockFprog(fd, level, opt, fprog)
}

func SetsockoptTCPMD5Sig(fd, level, opt int, s *unix.TCPMD5Sig) error {
	return table().SetsockoptTCPMD5Sig(fd, level, opt, s)
}

func SetsockoptTCPRepairOpt(fd, level, opt int, o []unix.TCPRepairOpt) (err error) {
	return table().SetsockoptTCPRepairOpt(fd, level, opt, o)
}

func SetsockoptTpacketReq(fd, level, opt int, tp *unix.TpacketReq) error {
	return table().SetsockoptTpacketReq(fd, level, opt, tp)
}

func SetsockoptTpacketReq3(fd, level, opt int, tp *unix.TpacketReq3) error {
	return table().SetsockoptTpacketReq3(fd, level, opt, tp)
}

// BindToDevice is SO_BINDTODEVICE.
func BindToDevice(fd int, device string) (err error) {
	return table().SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
}
