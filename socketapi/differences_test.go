package socketapi

import (
	"fmt"
	"slices"

	"golang.org/x/sys/unix"
)

// A difference is where the engine does not do as Linux does, why, and what it does.
type difference struct {
	why   string
	lines []string
}

// differences is every one that there is, by row, whoever the peer is.
var differences = map[string]difference{
	"family: the engine's, by type and every protocol": {
		"UDP-Lite and MPTCP are not spoken: EPROTONOSUPPORT, as a kernel that lacks them says, and which programs that ask for MPTCP take TCP for; " +
			"a raw socket of a protocol beyond 255 can send and receive nothing, since the field of a packet has eight bits; " +
			"SOCK_PACKET, which AF_PACKET has taken the place of in Linux 2.2, has addresses that package unix cannot say",
		slices.Concat([]string{"linux packet 10: ok ok ok | engine packet 10: ESOCKTNOSUPPORT ESOCKTNOSUPPORT ESOCKTNOSUPPORT"},
			notSpoken(unix.AF_INET), []string{"linux 2 SOCK_PACKET: ok ok ok | engine 2 SOCK_PACKET: ESOCKTNOSUPPORT ESOCKTNOSUPPORT ESOCKTNOSUPPORT"}, notSpoken(unix.AF_INET6)),
	},
	"family: every bit of the type": {
		"SOCK_DGRAM with that bit is SOCK_PACKET",
		[]string{"linux 2 2 bit 3: ok | engine 2 2 bit 3: ESOCKTNOSUPPORT", "linux 17 2 bit 3: ok | engine 17 2 bit 3: ESOCKTNOSUPPORT"},
	},
	"AF_INET6: from the loopback's address to another host": {
		"that address is never sent outside of a node (RFC 4291 §2.5.3), and connect says so",
		[]string{"linux then to the peer: ok | engine then to the peer: EINVAL"},
	},
	"connect: the same pair twice, one of an interface": {
		"what comes is for one connection, whichever interface it comes by: a pair of addresses and ports is one connection's",
		[]string{"linux connect: EINPROGRESS | engine connect: EADDRNOTAVAIL"},
	},
	"AF_INET6: connected over IPv6 after IPv4": {
		"a socket of Linux that was connected over IPv4 sends its SYN over IPv6 to nowhere (tcp_v6_connect puts back what it sends by only when it fails)",
		[]string{"linux made: false | engine made: true"},
	},
	"AF_INET6: a datagram socket connected over IPv4 after IPv6": {
		"it has an address of IPv4 then, and hears its peer; on Linux it keeps that of IPv6, and nothing can reach it (__ip6_datagram_connect)",
		[]string{
			"linux connected: own name: [fd99::2]:0 scope 0 | engine connected: own name: [::ffff:10.99.0.2]:0 scope 0",
			"linux another at its address of IPv4: ok | engine another at its address of IPv4: EADDRINUSE",
			"linux what the peer sends arrives: 0 | engine what the peer sends arrives: 1",
		},
	},
	"splice: datagrams": {
		"a datagram is read whole, and splice(2) takes what the other side has room for: streams alone are spliced",
		[]string{"linux into one: 3 ok | engine into one: -1 EINVAL", "linux of one: 3 ok | engine of one: -1 EINVAL"},
	},
	"datagram: longer than SO_SNDBUF": {
		"a datagram is written into the frames that it leaves by, and nothing is charged for its fragments (__ip_append_data)",
		[]string{"linux 65507 bytes: ENOBUFS | engine 65507 bytes: ok"},
	},
	"SO_SNDBUF is at first": {
		"a stream's send buffer begins with 128 KiB here: a write and the copy of it are all there is, no overhead of packets",
		[]string{"linux tcp: 16384 ok | engine tcp: 131072 ok", "linux tcp6: 16384 ok | engine tcp6: 131072 ok"},
	},
	"option: SO_TIMESTAMPING's flags": {
		"what a connection sends is not stamped, which is EINVAL instead of a time that never comes",
		[]string{"linux tcp set 2: ok 2 | engine tcp set 2: EINVAL 0", "linux tcp set 2: ok 2 | engine tcp set 2: EINVAL 0"},
	},
	"option: IP_FREEBIND, and a datagram from nobody's address, IPv6": {
		"a connection whose answers go elsewhere is none",
		[]string{"linux connect: EINPROGRESS | engine connect: ENETUNREACH"},
	},
	"option: IP_TRANSPARENT": {
		"what comes to the engine is what its own addresses are for: packets to others stay with the kernel",
		[]string{"linux udp: ok | engine udp: ENOPROTOOPT", "linux udp6: ok | engine udp6: ENOPROTOOPT"},
	},
	"sockopt: programs of the kernel's, and other options that there are not": {
		"docs/options.md says why",
		[]string{
			"linux SO_ATTACH_FILTER: ok | engine SO_ATTACH_FILTER: ENOPROTOOPT",
			"linux without a program: EBADF | engine without a program: ENOPROTOOPT",
			"linux SO_LOCK_FILTER: ok | engine SO_LOCK_FILTER: ENOPROTOOPT",
			"linux TCP_MD5SIG: ok | engine TCP_MD5SIG: ENOPROTOOPT",
			"linux TCP_REPAIR: ok | engine TCP_REPAIR: ENOPROTOOPT",
			"linux TCP_REPAIR_OPTIONS: EINVAL | engine TCP_REPAIR_OPTIONS: ENOPROTOOPT",
			"linux PACKET_ADD_MEMBERSHIP: ok | engine PACKET_ADD_MEMBERSHIP: ENOPROTOOPT",
			"linux PACKET_RX_RING: ok | engine PACKET_RX_RING: ENOPROTOOPT",
			"linux PACKET_TX_RING: ok | engine PACKET_TX_RING: ENOPROTOOPT",
		},
	},
	"port: one that is bound where a connection was whose port was chosen": {
		"connect chooses no port that a socket is bound to; Linux forgets that one is when it takes the place of a connection whose port was chosen (inet_bind2_bucket_destroy)",
		[]string{"linux chosen then: ok | engine chosen then: EADDRNOTAVAIL"},
	},
	"port: one that came to a listener where a connection is whose port was chosen": {
		"connect chooses no port that somebody has by a socket that was bound to it; Linux forgets that where somebody had chosen it before, from the same address (inet_bind2_bucket_destroy)",
		[]string{"linux chosen then: ok | engine chosen then: EADDRNOTAVAIL"},
	},
	"port: at an address of a link that is none": {
		"the host's interfaces are all that there will be, and a socket is bound to none that is not there",
		[]string{
			"linux bind: ENODEV of another interface | engine bind: ENODEV of no interface",
			"linux without a link: ENODEV of another interface | engine without a link: EINVAL of no interface",
		},
	},
	"option: SO_BINDTODEVICE": {
		"the host's interfaces are all that there will be",
		[]string{"linux an index that is none: ok | engine an index that is none: ENODEV"},
	},
}

// notSpoken is what a family of the internet has on Linux and not here.
func notSpoken(family int) (lines []string) {
	for _, c := range [][2]int{{unix.SOCK_STREAM, unix.IPPROTO_MPTCP}, {unix.SOCK_DGRAM, unix.IPPROTO_UDPLITE}, {unix.SOCK_RAW, 256}, {unix.SOCK_RAW, 257},
		{unix.SOCK_RAW, 258}, {unix.SOCK_RAW, 259}, {unix.SOCK_RAW, 260}, {unix.SOCK_RAW, 261}, {unix.SOCK_RAW, 262}} {
		what := fmt.Sprint(family, " ", c[0], " ", c[1])
		lines = append(lines, "linux "+what+": ok | engine "+what+": EPROTONOSUPPORT")
	}
	return lines
}

// refused lists options that some kinds of sockets do not have here and have on Linux.
func refused(why string, kinds []string, labels ...string) {
	for _, label := range labels {
		d := difference{why: why}
		for _, k := range kinds {
			d.lines = append(d.lines, "linux "+k+": ok ok | engine "+k+": ENOPROTOOPT ENOPROTOOPT")
		}
		differences[label+" where it is not"] = d
	}
}

func init() {
	refused("it is bind that binds a packet socket to an interface", []string{"packet"}, "SO_BINDTOIFINDEX")
}
