package autoconf

import "time"

// Limits. A flood of advertisements may fill these and then changes nothing: what is
// known stays, and the newcomer is refused.
const (
	// addrsMax is how many addresses an interface may have by advertisements (Linux:
	// max_addresses).
	addrsMax = 16

	// prefixesMax is how many prefixes an interface may know to be on its link: each
	// address that could be made of one, and as many without the A flag would be odd.
	prefixesMax = 16

	// routersMax is how many default routers an interface remembers. RFC 4861 §5.2 wants
	// two at least; a link with more than a few is a flood.
	routersMax = 8

	// redirectsMax is how many destinations may have been redirected at once. The one that was
	// redirected longest ago makes room: it goes to the router again, which says so
	// once more.
	redirectsMax = 64

	// redirectLife is how long a redirect counts, so that no mistaken or forged one lasts (Linux: ip_rt_gc_timeout).
	// The router says it once more then.
	redirectLife = 5 * time.Minute

	// serversMax and domainsMax are how many DNS servers and search domains are kept. RFC 8106
	// §5.3.1 calls three sufficient, from two routers there may be different ones.
	serversMax = 8
	domainsMax = 8
)

// Constants of RFC 4861 §10, RFC 4862 §5.1, RFC 7559 §2 and RFC 7217 §5.
const (
	solicitDelayMax  = time.Second     // MAX_RTR_SOLICITATION_DELAY
	solicitInterval  = 4 * time.Second // RTR_SOLICITATION_INTERVAL, IRT
	solicitBackoff   = time.Hour       // MRT of RFC 7559
	retransTimer     = time.Second     // RETRANS_TIMER
	multicastSolicit = 3               // MAX_MULTICAST_SOLICIT
	dadTransmits     = 1               // DupAddrDetectTransmits
	idgenRetries     = 3               // IDGEN_RETRIES
	idgenDelay       = time.Second     // IDGEN_DELAY
	twoHours         = 2 * time.Hour   // of RFC 4862 §5.5.3 (e)
)

// What an advertisement may set, so that a forged or mistaken one does not make the host
// deaf, or loud.
const (
	// mtuMin is the least that IPv6 allows (RFC 8200 §5).
	mtuMin = 1280

	// hopLimitMin keeps a host on the Internet, few places of which are further away. RFC
	// 4861 §6.2.1 has the same worry; Linux: accept_ra_min_hop_limit.
	hopLimitMin = 32

	// reachableTimeMax is MAX_REACHABLE_TIME's bound of RFC 4861 §6.2.1.
	reachableTimeMax = time.Hour

	// retransMin and retransMax bound the retransmission timer: 10 ms is Linux's least, and
	// with more than ten seconds duplicate address detection and resolution would
	// hardly ever end.
	retransMin = 10 * time.Millisecond
	retransMax = 10 * time.Second
)

// Constants of RFC 5227 §1.1, which are those of RFC 3927 §9.
const (
	probeWait         = time.Second // PROBE_WAIT: the first probe comes within
	probeCount        = 3           // PROBE_NUM
	probeMin          = time.Second // PROBE_MIN: between probes
	probeMax          = 2 * time.Second
	announceWait      = 2 * time.Second // ANNOUNCE_WAIT: after the last probe
	announceCount     = 2               // ANNOUNCE_NUM
	announceInterval  = 2 * time.Second
	conflictsMax      = 10          // MAX_CONFLICTS: from then on,
	rateLimitInterval = time.Minute // one attempt each RATE_LIMIT_INTERVAL
	defendInterval    = 10 * time.Second
)
