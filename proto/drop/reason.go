// Package drop names every reason for which the stack throws a packet away, and
// counts them. In comes a [Reason] from whoever judged the packet; out go
// counters for metrics and a sentence for people. It must never allocate, lock or
// look into a packet: counting happens once for each dropped packet, in the middle of
// a flood.
package drop

// A Reason says why a packet was dropped. The zero value, [None], says that it
// was not.
//
// The numbers are not stable from one release to the next; the names that String
// returns are.
type Reason uint8

// None means that the packet was accepted.
const None Reason = 0

// Link layer.
const (
	EthernetShort       Reason = iota + 1 // fewer than 14 bytes
	EthernetNotForUs                      // unicast to another station's address
	EthernetSource                        // the source address is a group address
	EthernetUnknownType                   // an EtherType that the stack does not speak
	VLANShort
	VLANNotForUs
	VLANTooDeep
	FrameOversize
	FrameTruncated

	// ARP (RFC 826, RFC 5227).
	ARPShort
	ARPUnsupported
	ARPBadOp
	ARPBadSender
	ARPNotForUs
	ARPUnsolicited
	ARPConflict

	// IPv4 (RFC 791, RFC 1122 §3.2.1).
	IP4Short
	IP4Version
	IP4HeaderLen
	IP4TotalLen
	IP4Checksum
	IP4BadSource
	IP4BadDestination
	IP4NotForUs
	IP4OptionsBad
	IP4SourceRoute
	IP4UnknownProtocol
	IP4MulticastUnwanted

	// IPv6 (RFC 8200).
	IP6Short
	IP6Version
	IP6PayloadLen
	IP6BadSource
	IP6BadDestination
	IP6NotForUs
	IP6UnknownNextHeader
	IP6NoNextHeader
	IP6ExtensionShort
	IP6ExtensionOrder
	IP6ExtensionTooMany
	IP6OptionBad
	IP6OptionTooMany
	IP6OptionUnknown
	IP6RoutingHeader
	IP6MulticastUnwanted

	// Fragments (RFC 815, RFC 5722, RFC 8200 §4.5).
	FragmentBad
	FragmentTooLong
	FragmentOverlap
	FragmentHeaders
	FragmentTimeout
	FragmentTableFull
	FragmentMemory
	FragmentTooMany
	FragmentHandOver
	FragmentDuplicate
	FragmentECN

	// ICMP for IPv4 (RFC 792, RFC 1122 §3.2.2).
	ICMP4Short
	ICMP4Checksum
	ICMP4UnknownType
	ICMP4Broadcast
	ICMP4QuoteShort
	ICMP4QuoteUnknown
	ICMP4QuoteImplausible
	ICMP4RedirectRefused
	ICMP4EchoUnmatched

	// ICMPv6 (RFC 4443).
	ICMP6Short
	ICMP6Checksum
	ICMP6UnknownType
	ICMP6Multicast
	ICMP6QuoteShort
	ICMP6QuoteUnknown
	ICMP6QuoteImplausible
	ICMP6RedirectRefused
	ICMP6EchoUnmatched

	// ICMP that we would have sent.
	ICMPRateLimited
	ICMPSuppressed

	// Neighbor Discovery (RFC 4861 §6.1, §7.1, §8.1; RFC 4862 §5.4).
	NDPHopLimit
	NDPCode
	NDPShort
	NDPOptionBad
	NDPBadTarget
	NDPBadSource
	NDPNotForUs
	NDPUnsolicited
	NDPConflict
	NDPFragment
	NDPRouterRefused

	// Group membership (RFC 3376, RFC 9776; RFC 2710, RFC 3810).
	IGMPShort
	IGMPChecksum
	IGMPTTL
	IGMPUnknownType
	IGMPBadGroup
	IGMPRouterAlert
	MLDShort
	MLDBadSource
	MLDHopLimit
	MLDBadGroup
	MLDRouterAlert
	MLDUnknownType

	// UDP (RFC 768, RFC 8200 §8.1).
	UDPShort
	UDPLength
	UDPChecksum
	UDPChecksumMissing
	UDPPortZero
	UDPNoSocket
	UDPSocketFull
	UDPSocketMemory
	UDPErrorsFull
	StampsFull
	UDPFiltered

	// TCP: the segment itself (RFC 9293 §3.1).
	TCPShort
	TCPOffset
	TCPChecksum
	TCPFlagsBad
	TCPPortZero
	TCPNotUnicast
	TCPMinTTL

	// TCP: finding its connection.
	TCPNoListener
	TCPNoConnection
	TCPBacklogFull
	TCPSYNQueueFull
	TCPDeferred
	TCPSYNCookieBad
	TCPSYNCookieStale
	TCPConnectionLimit
	TCPDirectoryFull

	// TCP: RFC 9293 §3.10.7 in its order.
	TCPOutOfWindow
	TCPOldDuplicate
	TCPPAWS
	TCPTimestampMissing
	TCPResetOutOfWindow
	TCPResetInexact
	TCPSYNInWindow
	TCPNoACK
	TCPACKUnacceptable
	TCPACKTooOld
	TCPACKUnsent
	TCPChallengeLimited
	TCPAfterFIN
	TCPAfterClose
	TCPTimeWait
	TCPFastOpenCookieBad

	// TCP: room.
	TCPReceiveMemory
	TCPHolesFull
	TCPWindowClosed

	// Neighbours and routes, mostly on the way out.
	NeighbourFailed
	NeighbourParkingFull
	NeighbourTableFull
	NoRoute
	NoSourceAddress
	RouteProhibited

	// On the way out.
	OutboxFull
	TooBig
	InterfaceGone

	// Between cores.
	HandOverFull

	// Policy.
	Martian
	Looped

	reasons // how many there are; not a reason
)

// Reasons is the number of reasons, None included: the valid ones are 0 up to it.
const Reasons = int(reasons)

// String returns the name of r in metrics: lower case, words joined by '-', the
// layer first. It never changes once released.
func (r Reason) String() string {
	if int(r) < len(texts) {
		return texts[r].name
	}
	return "unknown"
}

// Explain returns one sentence that tells a person what happened.
func (r Reason) Explain() string {
	if int(r) < len(texts) {
		return texts[r].explain
	}
	return "This number names no reason."
}
