package socketapi

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// forms are the typed forms of getsockopt and setsockopt; what set sets is what the first bytes of one say.
var forms = []struct {
	name string
	get  func(api sockopts, fd, level, opt int) string
	set  func(api sockopts, fd, level, opt int) error
}{
	{"Byte", form(sockopts.GetsockoptByte), func(api sockopts, fd, level, opt int) error { return api.SetsockoptByte(fd, level, opt, 1) }},
	{"Int", form(sockopts.GetsockoptInt), func(api sockopts, fd, level, opt int) error { return api.SetsockoptInt(fd, level, opt, 1) }},
	{"Uint64", form(sockopts.GetsockoptUint64), func(api sockopts, fd, level, opt int) error { return api.SetsockoptUint64(fd, level, opt, 1<<40|1) }},
	{"Linger", pointed(sockopts.GetsockoptLinger), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptLinger(fd, level, opt, &unix.Linger{Onoff: 1, Linger: 5})
	}},
	{"Timeval", pointed(sockopts.GetsockoptTimeval), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptTimeval(fd, level, opt, &unix.Timeval{Sec: 1, Usec: 500000})
	}},
	{"String", form(sockopts.GetsockoptString), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptString(fd, level, opt, "reno")
	}},
	{"Inet4Addr", form(sockopts.GetsockoptInet4Addr), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptInet4Addr(fd, level, opt, [4]byte{1})
	}},
	{"IPMreq", pointed(sockopts.GetsockoptIPMreq), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptIPMreq(fd, level, opt, &unix.IPMreq{Multiaddr: [4]byte{1}})
	}},
	{"IPMreqn", pointed(sockopts.GetsockoptIPMreqn), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptIPMreqn(fd, level, opt, &unix.IPMreqn{Multiaddr: [4]byte{1}})
	}},
	{"IPv6Mreq", pointed(sockopts.GetsockoptIPv6Mreq), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptIPv6Mreq(fd, level, opt, &unix.IPv6Mreq{Multiaddr: [16]byte{1}})
	}},
	{"IPv6MTUInfo", pointed(sockopts.GetsockoptIPv6MTUInfo), nil},
	{"ICMPv6Filter", pointed(sockopts.GetsockoptICMPv6Filter), func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptICMPv6Filter(fd, level, opt, &unix.ICMPv6Filter{Data: [8]uint32{1, 0, 500000}})
	}},
	{"Ucred", pointed(sockopts.GetsockoptUcred), nil},
	{"TCPInfo", pointed(func(api sockopts, fd, level, opt int) (*unix.TCPInfo, error) {
		i, err := api.GetsockoptTCPInfo(fd, level, opt)
		if i != nil && level == unix.IPPROTO_TCP && opt == unix.TCP_INFO { // of which other rows tell
			*i = unix.TCPInfo{State: i.State}
		}
		return i, err
	}), nil},
	{"TCPCCVegasInfo", pointed(sockopts.GetsockoptTCPCCVegasInfo), nil},
	{"TCPCCDCTCPInfo", pointed(sockopts.GetsockoptTCPCCDCTCPInfo), nil},
	{"TCPCCBBRInfo", pointed(sockopts.GetsockoptTCPCCBBRInfo), nil},
	{"TpacketStats", pointed(sockopts.GetsockoptTpacketStats), nil},
	{"TpacketStatsV3", pointed(sockopts.GetsockoptTpacketStatsV3), nil},
	{"PacketMreq", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptPacketMreq(fd, level, opt, &unix.PacketMreq{Ifindex: 1})
	}},
	{"SockFprog", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptSockFprog(fd, level, opt, &unix.SockFprog{Len: 1})
	}},
	{"CanRawFilter", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptCanRawFilter(fd, level, opt, []unix.CanFilter{{Id: 1, Mask: 2}})
	}},
	{"TpacketReq", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptTpacketReq(fd, level, opt, &unix.TpacketReq{Block_size: 1})
	}},
	{"TpacketReq3", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptTpacketReq3(fd, level, opt, &unix.TpacketReq3{Block_size: 1})
	}},
	{"TCPRepairOpt", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptTCPRepairOpt(fd, level, opt, []unix.TCPRepairOpt{{Code: 1}})
	}},
	{"TCPMD5Sig", nil, func(api sockopts, fd, level, opt int) error {
		return api.SetsockoptTCPMD5Sig(fd, level, opt, &unix.TCPMD5Sig{Addr: unix.SockaddrStorage{Family: 1}})
	}},
}

// form and pointed show what a form of getsockopt brings.
func form[T any](call func(sockopts, int, int, int) (T, error)) func(sockopts, int, int, int) string {
	return func(api sockopts, fd, level, opt int) string {
		v, err := call(api, fd, level, opt)
		return show(v) + " " + show(err)
	}
}

func pointed[T any](call func(sockopts, int, int, int) (*T, error)) func(sockopts, int, int, int) string {
	return func(api sockopts, fd, level, opt int) string {
		v, err := call(api, fd, level, opt)
		if v == nil {
			return "nil " + show(err)
		}
		return fmt.Sprintf("%v %s", *v, show(err))
	}
}

// Options of every kind of value, and some that a socket of another kind has, or nobody.
var ofEveryKind = [][2]int{
	{unix.SOL_SOCKET, unix.SO_REUSEADDR}, {unix.SOL_SOCKET, unix.SO_LINGER}, {unix.SOL_SOCKET, unix.SO_RCVTIMEO}, {unix.SOL_SOCKET, unix.SO_TYPE},
	{unix.SOL_SOCKET, unix.SO_PEERCRED}, {unix.SOL_SOCKET, 9999},
	{unix.IPPROTO_IP, unix.IP_TTL}, {unix.IPPROTO_IP, unix.IP_MINTTL}, {unix.IPPROTO_IP, unix.IP_MULTICAST_IF}, {unix.IPPROTO_IP, unix.IP_ADD_MEMBERSHIP}, {unix.IPPROTO_IP, 9999},
	{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS}, {unix.IPPROTO_IPV6, unix.IPV6_MINHOPCOUNT}, {unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP}, {unix.IPPROTO_IPV6, unix.IPV6_PATHMTU},
	{unix.IPPROTO_TCP, unix.TCP_NODELAY}, {unix.IPPROTO_TCP, unix.TCP_CONGESTION}, {unix.IPPROTO_TCP, unix.TCP_CC_INFO}, tcpInfo, {unix.IPPROTO_TCP, 9999},
	{unix.IPPROTO_UDP, 9999}, {unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER}, {unix.SOL_RAW, icmpFilterName},
	{unix.SOL_PACKET, unix.PACKET_STATISTICS}, {unix.SOL_PACKET, unix.PACKET_AUXDATA}, {unix.SOL_CAN_RAW, unix.CAN_RAW_FILTER}, {12345, 1},
}

var tcpInfo = [2]int{unix.IPPROTO_TCP, unix.TCP_INFO}

// option opens a socket to try options on, whose congestion control is not the system's.
func (s *side) option(k kindOfSocket) int {
	fd := s.open(k.domain, k.typ, k.proto)
	if k.on == onTCP {
		s.e.must(s.api.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"))
	}
	return fd
}

// formRows are a row of each form, with every option on every kind of socket, two of the kernel's among them, and what is none.
func formRows() (rows []row) {
	for _, f := range forms {
		rows = append(rows, row{"sockopt: " + f.name, func(e *env) {
			on := map[string]int{"nothing": -1, "a file": e.me.adopted(f.name)}
			names := []string{"nothing", "a file", "unix", "netlink"}
			for _, k := range kindsOfSockets {
				names = append(names, k.name)
				on[k.name] = e.me.option(k)
			}
			on["unix"] = e.me.open(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			on["netlink"] = e.me.open(unix.AF_NETLINK, unix.SOCK_RAW, unix.NETLINK_ROUTE)
			for _, name := range names {
				for _, o := range ofEveryKind {
					if f.name != "TCPInfo" && o == tcpInfo {
						continue // other rows say what it is
					}
					if f.set != nil {
						e.note(fmt.Sprint(name, o, " set"), f.set(e.me.api, on[name], o[0], o[1]))
					}
					if f.get != nil {
						e.note(fmt.Sprint(name, o, " is"), f.get(e.me.api, on[name], o[0], o[1]))
					}
				}
			}
		}})
	}
	return rows
}

var sockoptRows = concatRows(formRows(), []row{
	{"sockopt: values of every length", func(e *env) {
		for _, k := range kindsOfSockets {
			fd := e.me.option(k)
			for _, o := range ofEveryKind {
				for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 11, 12, 15, 16, 20, 31, 32, 33} {
					e.note(fmt.Sprint(k.name, o, " set ", n), e.me.api.SetsockoptString(fd, o[0], o[1], string(append([]byte{2}, make([]byte, 64)...)[:n])))
					if o != tcpInfo {
						e.bytesOf(fmt.Sprint(k.name, o, " is ", n), &e.me, fd, o[0], o[1], n, "")
					}
				}
			}
		}
	}},
	{"sockopt: who is at the other end", func(e *env) {
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		mine, _ := e.me.connected(&e.peer)
		for _, fd := range []int{pair[0], mine} {
			cred, err := e.me.api.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
			e.note("SO_PEERCRED", *cred, err)
		}
	}},
	{"sockopt: IPV6_PATHMTU", func(e *env) {
		fd := e.me.inet6(unix.SOCK_DGRAM)
		info, err := e.me.api.GetsockoptIPv6MTUInfo(fd, unix.IPPROTO_IPV6, unix.IPV6_PATHMTU)
		e.note("of nobody", *info, err)
		_, at := ipFamilies[1].bound(&e.peer)
		e.must(e.me.api.Connect(fd, at))
		info, err = e.me.api.GetsockoptIPv6MTUInfo(fd, unix.IPPROTO_IPV6, unix.IPV6_PATHMTU)
		e.note("connected", info.Mtu, info.Addr.Family, info.Addr.Addr, info.Addr.Port, err)
	}},
	{"sockopt: programs of the kernel's, and other options that there are not", func(e *env) {
		fd := e.me.udp()
		accept := &unix.SockFprog{Len: 1, Filter: &unix.SockFilter{Code: unix.BPF_RET, K: 1 << 16}}
		e.note("SO_ATTACH_FILTER", e.me.api.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, accept))
		e.note("without a program", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ATTACH_BPF, -1))
		e.note("SO_LOCK_FILTER", e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_LOCK_FILTER, 1))
		key := &unix.TCPMD5Sig{Addr: unix.SockaddrStorage{Family: unix.AF_INET}, Keylen: 3, Key: [80]uint8{1, 2, 3}}
		e.note("TCP_MD5SIG", e.me.api.SetsockoptTCPMD5Sig(e.me.tcp(), unix.IPPROTO_TCP, unix.TCP_MD5SIG, key))
		e.note("TCP_REPAIR", e.me.api.SetsockoptInt(e.me.tcp(), unix.IPPROTO_TCP, unix.TCP_REPAIR, 1))
		e.note("TCP_REPAIR_OPTIONS", e.me.api.SetsockoptTCPRepairOpt(e.me.tcp(), unix.IPPROTO_TCP, unix.TCP_REPAIR_OPTIONS, []unix.TCPRepairOpt{{Code: 2, Val: 1000}}))
		packet := e.me.open(unix.AF_PACKET, unix.SOCK_RAW, 0)
		e.note("PACKET_ADD_MEMBERSHIP", e.me.api.SetsockoptPacketMreq(packet, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(e.me.index), Type: unix.PACKET_MR_PROMISC}))
		ring := unix.TpacketReq{Block_size: 4096, Block_nr: 1, Frame_size: 2048, Frame_nr: 2}
		e.note("PACKET_RX_RING", e.me.api.SetsockoptTpacketReq(packet, unix.SOL_PACKET, unix.PACKET_RX_RING, &ring))
		e.note("PACKET_TX_RING", e.me.api.SetsockoptTpacketReq3(packet, unix.SOL_PACKET, unix.PACKET_TX_RING, &unix.TpacketReq3{Block_size: 1}))
	}},
})

// adopted is a file of the kernel's.
func (s *side) adopted(name string) int {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	s.e.must(err)
	n, err := s.api.Adopt(fd)
	return s.keep(n, err)
}
