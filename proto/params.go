package proto

// Limits. Everything that a remote can make grow has one here or in the package
// that holds it.
const (
	// outboxMax bounds what a port has to say on its own account (echo replies, ICMP
	// errors; ARP has as much again), in bytes charged. A turn takes at most 64 packets and
	// answers each at most once, so this is a turn of full-size echo requests.
	outboxMax = 64 * 2048

	// quoteMax is how much of a packet an ICMP error quotes, so that the error fits in
	// 576 bytes (RFC 1812 §4.3.2.3).
	quoteMax = 576 - 20 - 8

	// minMTU6 is what every link that carries IPv6 takes (RFC 8200 §5), and with it the
	// longest ICMPv6 error (RFC 4443 §2.4 (c)).
	minMTU6 = 1280

	// pathsMax is how many destinations a core remembers the way to: 1024 of some 100
	// bytes. A destination that is not among them costs two table lookups.
	pathsMax = 1024

	// ownMemory is what a core's stack may queue on its own account beside the ports' outboxes:
	// datagrams that wait for neighbours, in bytes. It is not part of the sockets' memory, or
	// one remote that fills that could stop ARP. Some 250 neighbours that are all being asked
	// for at once have their full share.
	ownMemory = 4 << 20

	// memoryMax is how much a core's sockets may queue, in bytes, unless Config says
	// otherwise (Linux: tcp_mem).
	memoryMax = 256 << 20
)

// defaultTTL is the initial time to live (RFC 1700, Linux ip_default_ttl), and
// multicastTTL that of datagrams to groups (RFC 1112 §6.1).
const (
	defaultTTL   = 64
	multicastTTL = 1
)
