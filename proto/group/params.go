package group

import "time"

// Limits of what programs can ask for. Past one it is ENOBUFS.
const (
	// membershipsMax4 is how many IPv4 groups one socket can join: net.ipv4.igmp_max_memberships.
	membershipsMax4 = 20

	// membershipsMax6 is the same for IPv6. Linux charges those to net.core.optmem_max, which as
	// it comes is room for about so many.
	membershipsMax6 = 1024

	// sourcesMax4 and sourcesMax6 are how many sources one filter can list: net.ipv4.igmp_max_msf
	// and net.ipv6.mld_max_msf.
	sourcesMax4 = 10
	sourcesMax6 = 64

	// groupsMax is how many groups one interface listens to, of each family: some 200 bytes each,
	// and a search of 12 steps for each packet to a group.
	groupsMax = 4096

	// mergedMax is how many sources the sockets of one group can list together. More would not
	// go into one report (RFC 3376 §4.2.16).
	mergedMax = 1024
)

// askedMax is how many sources a router may ask about before the answer is about the whole
// group: a remote must not make a host remember lists (RFC 3376 §9.1).
const askedMax = 64

// Times and counts of the protocols.
const (
	robustness     = 2                 // RFC 3376 §8.1, RFC 3810 §9.1: until a querier says otherwise
	robustnessMax  = 7                 // what fits QRV
	queryInterval  = 125 * time.Second // RFC 3376 §8.2, RFC 3810 §9.2: likewise
	unsolicited    = 1 * time.Second   // RFC 3376 §8.11, RFC 3810 §9.11
	unsolicitedOld = 10 * time.Second  // RFC 2236 §8.10, RFC 2710 §7.10
)
