package socketapi

import (
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A lacking option is one that Linux has and the engine does not: it is ENOPROTOOPT.
type lacking struct {
	level, name int
	label, why  string
	kinds       string // of sockets that Linux has it on, by kindsOfSockets
}

// lacks returns what is listed of an option of a kind of socket, nil: nothing.
func lacks(kind string, level, name int) *lacking {
	if level == unix.IPPROTO_UDPLITE { // which UDP answers for
		level = unix.IPPROTO_UDP
	}
	for i := range lackingOptions {
		l := &lackingOptions[i]
		if l.level == level && l.name == name && slices.Contains(strings.Fields(l.kinds), kind) {
			return l
		}
	}
	return nil
}

// The kinds of sockets that have options of a level.
const (
	ofAll    = "tcp udp ping raw tcp6 udp6 ping6 raw6 packet"
	ofIP     = "tcp udp ping raw tcp6 udp6 ping6"
	ofIPv6   = "tcp6 udp6 ping6 raw6"
	ofTCP    = "tcp tcp6"
	ofUDP    = "udp udp6"
	ofRaw6   = "raw6"
	ofPacket = "packet"
)

// without lists options, by number and name, that are not here for one reason.
func without(why string, level int, kinds string, options ...named) (list []lacking) {
	for _, o := range options {
		list = append(list, lacking{level, o.number, o.label, why, kinds})
	}
	return list
}

type named struct {
	number int
	label  string
}

// lackingOptions is all of them. Numbers without a constant are ones that package unix does not have either.
var lackingOptions = slices.Concat(
	without("it tells the kernel's scheduling of packets, its marks and its labels of security about them, which those of the engine do not meet", unix.SOL_SOCKET, ofAll,
		named{unix.SO_MARK, "SO_MARK"}, named{unix.SO_RCVMARK, "SO_RCVMARK"}, named{unix.SO_RCVPRIORITY, "SO_RCVPRIORITY"},
		named{unix.SO_TXTIME, "SO_TXTIME"}, named{unix.SO_NETNS_COOKIE, "SO_NETNS_COOKIE"}, named{unix.SO_PASSSEC, "SO_PASSSEC"}),
	without("a socket's filter is a program of the kernel's for the kernel's packets", unix.SOL_SOCKET, ofAll,
		named{unix.SO_ATTACH_FILTER, "SO_ATTACH_FILTER"}, named{unix.SO_DETACH_FILTER, "SO_DETACH_FILTER"}, named{unix.SO_LOCK_FILTER, "SO_LOCK_FILTER"},
		named{unix.SO_BPF_EXTENSIONS, "SO_BPF_EXTENSIONS"}, named{unix.SO_ATTACH_BPF, "SO_ATTACH_BPF"}, named{unix.SO_ATTACH_REUSEPORT_CBPF, "SO_ATTACH_REUSEPORT_CBPF"},
		named{unix.SO_ATTACH_REUSEPORT_EBPF, "SO_ATTACH_REUSEPORT_EBPF"}, named{unix.SO_DETACH_REUSEPORT_BPF, "SO_DETACH_REUSEPORT_BPF"}),
	without("it is about the kernel's queues, threads and pages behind a socket: host.Config and the idling policy say what the engine's do", unix.SOL_SOCKET, ofAll,
		named{unix.SO_BUSY_POLL, "SO_BUSY_POLL"}, named{unix.SO_PREFER_BUSY_POLL, "SO_PREFER_BUSY_POLL"}, named{unix.SO_BUSY_POLL_BUDGET, "SO_BUSY_POLL_BUDGET"},
		named{unix.SO_INCOMING_CPU, "SO_INCOMING_CPU"}, named{unix.SO_INCOMING_NAPI_ID, "SO_INCOMING_NAPI_ID"}, named{unix.SO_TXREHASH, "SO_TXREHASH"},
		named{unix.SO_RESERVE_MEM, "SO_RESERVE_MEM"}, named{unix.SO_MEMINFO, "SO_MEMINFO"}, named{unix.SO_BUF_LOCK, "SO_BUF_LOCK"},
		named{unix.SO_DEVMEM_DONTNEED, "SO_DEVMEM_DONTNEED"}, named{unix.SO_CNX_ADVICE, "SO_CNX_ADVICE"},
		named{unix.SO_WIFI_STATUS, "SO_WIFI_STATUS"}, named{unix.SO_NOFCS, "SO_NOFCS"}),
	without("it is of AF_UNIX, where the kernel's sockets have it: on others it says nothing or is an error", unix.SOL_SOCKET, ofAll,
		named{unix.SO_PASSCRED, "SO_PASSCRED"}, named{unix.SO_PASSPIDFD, "SO_PASSPIDFD"}, named{unix.SO_PEERPIDFD, "SO_PEERPIDFD"},
		named{unix.SO_PASSRIGHTS, "SO_PASSRIGHTS"}, named{unix.SO_PEERGROUPS, "SO_PEERGROUPS"}),
	without("getpeername(2) says it", unix.SOL_SOCKET, ofAll, named{unix.SO_PEERNAME, "SO_PEERNAME"}),
	without("datagrams are sent as they come, and the kernel's scheduler that would pace them is not there", unix.SOL_SOCKET, "udp ping raw udp6 ping6 raw6 packet",
		named{unix.SO_MAX_PACING_RATE, "SO_MAX_PACING_RATE"}),
	without("it is bind that binds a packet socket to an interface", unix.SOL_SOCKET, ofPacket,
		named{unix.SO_BINDTODEVICE, "SO_BINDTODEVICE"}, named{unix.SO_BINDTOIFINDEX, "SO_BINDTOIFINDEX"}),

	without("packets leave without options, which routers drop (RFC 7126), and those that come with some are not told", unix.IPPROTO_IP, ofIP,
		named{unix.IP_OPTIONS, "IP_OPTIONS"}, named{unix.IP_RECVOPTS, "IP_RECVOPTS"}, named{unix.IP_RETOPTS, "IP_RETOPTS"}, named{unix.IP_ROUTER_ALERT, "IP_ROUTER_ALERT"}),
	without("it tells of packets without MSG_ERRQUEUE or a message to ask by: IP_PKTINFO, IP_RECVTTL and IP_RECVTOS do", unix.IPPROTO_IP, ofTCP, named{unix.IP_PKTOPTIONS, "IP_PKTOPTIONS"}),
	without("there is no IPsec", unix.IPPROTO_IP, ofIP,
		named{unix.IP_IPSEC_POLICY, "IP_IPSEC_POLICY"}, named{unix.IP_XFRM_POLICY, "IP_XFRM_POLICY"}, named{unix.IP_PASSSEC, "IP_PASSSEC"}),
	without("what comes to the engine is what its own addresses are for: packets to others stay with the kernel", unix.IPPROTO_IP, ofIP, named{unix.IP_TRANSPARENT, "IP_TRANSPARENT"}),
	without("what is whole is delivered, and how it came is not kept", unix.IPPROTO_IP, ofIP,
		named{unix.IP_NODEFRAG, "IP_NODEFRAG"}, named{unix.IP_RECVFRAGSIZE, "IP_RECVFRAGSIZE"}, named{unix.IP_CHECKSUM, "IP_CHECKSUM"}),
	without("errors quote what RFC 4884 lets them quote, and say nothing of extensions", unix.IPPROTO_IP, ofIP, named{unix.IP_RECVERR_RFC4884, "IP_RECVERR_RFC4884"}),
	without("SO_BINDTODEVICE, IP_PKTINFO and the routes say where a packet leaves", unix.IPPROTO_IP, ofIP, named{unix.IP_UNICAST_IF, "IP_UNICAST_IF"}),
	without("SO_PROTOCOL says it", unix.IPPROTO_IP, ofIP, named{unix.IP_PROTOCOL, "IP_PROTOCOL"}),
	without("it is the kernel's packet filter's, which is asked on a socket of the kernel's", unix.IPPROTO_IP, ofIP,
		named{64, "IPT_SO_SET_REPLACE"}, named{65, "IPT_SO_SET_ADD_COUNTERS"}, named{66, "IPT_SO_GET_REVISION_MATCH"}, named{67, "IPT_SO_GET_REVISION_TARGET"}, named{83, "IPT_SO_GET (83)"},
		named{96, "ARPT_SO_SET_REPLACE"}, named{97, "ARPT_SO_SET_ADD_COUNTERS"}, named{98, "ARPT_SO_GET (98)"}, named{99, "ARPT_SO_GET_REVISION_TARGET"}),
	without("nothing is translated on its way to the engine", unix.IPPROTO_IP, ofTCP, named{80, "SO_ORIGINAL_DST"}),

	without("extension headers are not sent, nor those told that packets come with", unix.IPPROTO_IPV6, ofIPv6,
		named{unix.IPV6_2292HOPOPTS, "IPV6_2292HOPOPTS"}, named{unix.IPV6_2292DSTOPTS, "IPV6_2292DSTOPTS"}, named{unix.IPV6_2292RTHDR, "IPV6_2292RTHDR"},
		named{unix.IPV6_RECVHOPOPTS, "IPV6_RECVHOPOPTS"}, named{unix.IPV6_HOPOPTS, "IPV6_HOPOPTS"}, named{unix.IPV6_RTHDRDSTOPTS, "IPV6_RTHDRDSTOPTS"},
		named{unix.IPV6_RECVRTHDR, "IPV6_RECVRTHDR"}, named{unix.IPV6_RTHDR, "IPV6_RTHDR"}, named{unix.IPV6_RECVDSTOPTS, "IPV6_RECVDSTOPTS"}, named{unix.IPV6_DSTOPTS, "IPV6_DSTOPTS"},
		named{unix.IPV6_ROUTER_ALERT, "IPV6_ROUTER_ALERT"}, named{unix.IPV6_ROUTER_ALERT_ISOLATE, "IPV6_ROUTER_ALERT_ISOLATE"}),
	without("it is RFC 2292's, which RFC 3542 has taken the place of: IPV6_RECVPKTINFO, IPV6_RECVHOPLIMIT", unix.IPPROTO_IPV6, ofIPv6,
		named{unix.IPV6_2292PKTINFO, "IPV6_2292PKTINFO"}, named{unix.IPV6_2292PKTOPTIONS, "IPV6_2292PKTOPTIONS"}, named{unix.IPV6_2292HOPLIMIT, "IPV6_2292HOPLIMIT"}),
	without("a socket's family is for life", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_ADDRFORM, "IPV6_ADDRFORM"}),
	without("flow labels are the host's to choose (RFC 6437)", unix.IPPROTO_IPV6, ofIPv6,
		named{11, "IPV6_FLOWINFO"}, named{32, "IPV6_FLOWLABEL_MGR"}, named{33, "IPV6_FLOWINFO_SEND"}, named{unix.IPV6_AUTOFLOWLABEL, "IPV6_AUTOFLOWLABEL"}),
	without("there are no anycast addresses", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_JOIN_ANYCAST, "IPV6_JOIN_ANYCAST"}, named{unix.IPV6_LEAVE_ANYCAST, "IPV6_LEAVE_ANYCAST"}),
	without("errors quote what RFC 4884 lets them quote, and say nothing of extensions", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_RECVERR_RFC4884, "IPV6_RECVERR_RFC4884"}),
	without("there is no IPsec", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_IPSEC_POLICY, "IPV6_IPSEC_POLICY"}, named{unix.IPV6_XFRM_POLICY, "IPV6_XFRM_POLICY"}),
	without("the host writes the headers of IPv6", unix.IPPROTO_IPV6, ofRaw6, named{unix.IPV6_HDRINCL, "IPV6_HDRINCL"}),
	without("the host writes the headers of IPv6", unix.SOL_RAW, ofRaw6, named{unix.IPV6_HDRINCL, "IPV6_HDRINCL of SOL_RAW"}),
	without("a message says it (the control message IPV6_PKTINFO)", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_PKTINFO, "IPV6_PKTINFO"}),
	without("EMSGSIZE and IPV6_MTU say it", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_RECVPATHMTU, "IPV6_RECVPATHMTU"}),
	without("RFC 6724's rules choose, and bind", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_ADDR_PREFERENCES, "IPV6_ADDR_PREFERENCES"}),
	without("what comes to the engine is what its own addresses are for: packets to others stay with the kernel", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_TRANSPARENT, "IPV6_TRANSPARENT"}),
	without("SO_BINDTODEVICE, IPV6_PKTINFO and the routes say where a packet leaves", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_UNICAST_IF, "IPV6_UNICAST_IF"}),
	without("what is whole is delivered, and how it came is not kept", unix.IPPROTO_IPV6, ofIPv6, named{unix.IPV6_RECVFRAGSIZE, "IPV6_RECVFRAGSIZE"}),
	without("it is the kernel's packet filter's, which is asked on a socket of the kernel's", unix.IPPROTO_IPV6, ofIPv6,
		named{64, "IP6T_SO_SET_REPLACE"}, named{65, "IP6T_SO_SET_ADD_COUNTERS"}, named{68, "IP6T_SO_GET_REVISION_MATCH"}, named{69, "IP6T_SO_GET_REVISION_TARGET"}),
	without("nothing is translated on its way to the engine", unix.IPPROTO_IPV6, "tcp6", named{80, "IP6T_SO_ORIGINAL_DST"}),

	without("there are no signed segments", unix.IPPROTO_TCP, ofTCP, named{unix.TCP_MD5SIG, "TCP_MD5SIG"}, named{unix.TCP_MD5SIG_EXT, "TCP_MD5SIG_EXT"}),
	without("a connection is not moved to another host", unix.IPPROTO_TCP, ofTCP, named{unix.TCP_REPAIR, "TCP_REPAIR"}, named{unix.TCP_REPAIR_QUEUE, "TCP_REPAIR_QUEUE"},
		named{unix.TCP_QUEUE_SEQ, "TCP_QUEUE_SEQ"}, named{unix.TCP_REPAIR_OPTIONS, "TCP_REPAIR_OPTIONS"}, named{unix.TCP_REPAIR_WINDOW, "TCP_REPAIR_WINDOW"}),
	without("there are no layers above TCP here: crypto/tls is one", unix.IPPROTO_TCP, ofTCP, named{unix.TCP_ULP, "TCP_ULP"}),
	without("it maps the kernel's pages", unix.IPPROTO_TCP, ofTCP, named{unix.TCP_ZEROCOPY_RECEIVE, "TCP_ZEROCOPY_RECEIVE"}),
	without("it is the kernel's scheduler that delays", unix.IPPROTO_TCP, ofTCP, named{unix.TCP_TX_DELAY, "TCP_TX_DELAY"}),

	without("Linux answers it of UDP, and it is UDP-Lite's", unix.IPPROTO_UDP, ofUDP, named{10, "UDPLITE_SEND_CSCOV"}, named{11, "UDPLITE_RECV_CSCOV"}),
	without("there is no IPsec, nor tunnels of the kernel's", unix.IPPROTO_UDP, ofUDP, named{unix.UDP_ENCAP, "UDP_ENCAP"}),

	without("the engine has the frames that are for it, and the NIC's filters are its own", unix.SOL_PACKET, ofPacket,
		named{unix.PACKET_ADD_MEMBERSHIP, "PACKET_ADD_MEMBERSHIP"}, named{unix.PACKET_DROP_MEMBERSHIP, "PACKET_DROP_MEMBERSHIP"}, named{unix.PACKET_ORIGDEV, "PACKET_ORIGDEV"}),
	without("rings, fan-out and offloads are what the engine's own frames are for (Link)", unix.SOL_PACKET, ofPacket,
		named{unix.PACKET_RX_RING, "PACKET_RX_RING"}, named{unix.PACKET_TX_RING, "PACKET_TX_RING"}, named{unix.PACKET_VERSION, "PACKET_VERSION"}, named{unix.PACKET_HDRLEN, "PACKET_HDRLEN"},
		named{unix.PACKET_RESERVE, "PACKET_RESERVE"}, named{unix.PACKET_LOSS, "PACKET_LOSS"}, named{unix.PACKET_TX_HAS_OFF, "PACKET_TX_HAS_OFF"}, named{unix.PACKET_COPY_THRESH, "PACKET_COPY_THRESH"},
		named{unix.PACKET_VNET_HDR, "PACKET_VNET_HDR"}, named{unix.PACKET_VNET_HDR_SZ, "PACKET_VNET_HDR_SZ"}, named{unix.PACKET_TIMESTAMP, "PACKET_TIMESTAMP"},
		named{unix.PACKET_FANOUT, "PACKET_FANOUT"}, named{unix.PACKET_FANOUT_DATA, "PACKET_FANOUT_DATA"}, named{unix.PACKET_ROLLOVER_STATS, "PACKET_ROLLOVER_STATS"},
		named{unix.PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS"}),
)
