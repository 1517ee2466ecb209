package tcp

import (
	"math"
	"math/bits"
	"time"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Params are what Linux calls the tcp_* sysctls; Knobs lists them by name. In a Config the zero value of a
// field means its default, which is Linux's unless a comment says otherwise.
type Params struct {
	SynRetries      int           // tcp_syn_retries
	SynLinear       int           // tcp_syn_linear_timeouts: SYNs sent again before the timeout doubles, beside SynRetries
	SynAckRetries   int           // tcp_synack_retries
	Retries1        int           // tcp_retries1: after what time, reckoned likewise, a black hole is suspected
	Retries2        int           // tcp_retries2: how long data is sent again, as the number of doublings from 200 ms
	OrphanRetries   int           // tcp_orphan_retries: the same once the program has closed
	FinTimeout      time.Duration // tcp_fin_timeout: in FIN-WAIT-2 without a program
	KeepIdle        time.Duration // tcp_keepalive_time
	KeepInterval    time.Duration // tcp_keepalive_intvl
	KeepCount       int           // tcp_keepalive_probes
	Rmem            Memory        // tcp_rmem: the receive buffer's least, first and largest size
	Wmem            Memory        // tcp_wmem: the send buffer's
	Mem             Memory        // tcp_mem, in pages of 4096 bytes: what the buffers of a core may hold; the pool's limit
	MaxSynBacklog   int           // tcp_max_syn_backlog: half-open connections of one listener, where there are no SYN cookies
	MaxConns        int           // connections of this core, half-open ones included
	MaxOrphans      int           // tcp_max_orphans: connections of this core that their programs have closed; a close beyond is a reset
	MaxTimeWait     int           // tcp_max_tw_buckets
	ChallengeACKs   int           // tcp_challenge_ack_limit: in a second
	InvalidLimit    time.Duration // tcp_invalid_ratelimit: how often one connection answers segments without data that do not fit
	TimeWaitReuse   int           // tcp_tw_reuse: 0 never, 1 by Connect, 2 by Connect over the loopback
	ReuseDelay      time.Duration // tcp_tw_reuse_delay
	TimeWaitReset   bool          // tcp_rfc1337 = 0: a reset ends TIME-WAIT
	NoTimestamps    bool          // tcp_timestamps = 0
	NoSACK          bool          // tcp_sack = 0
	NoDSACK         bool          // tcp_dsack = 0
	NoWindowScaling bool          // tcp_window_scaling = 0
	NoSynCookies    bool          // tcp_syncookies = 0
	NoSlowStartIdle bool          // tcp_slow_start_after_idle = 0
	FastOpen        int           // tcp_fastopen, the sum of its bits; in a Config 0 is -1, and 0 the default
	StdURG          bool          // tcp_stdurg: the urgent pointer of a peer is at the urgent byte, not behind it
	ECN             int           // tcp_ecn; in a Config ECNOff is -1, 0 the default
	FastOpenPause   time.Duration // tcp_fastopen_blackhole_timeout_sec, 0: Fast Open is never given up
	NoECNFallback   bool          // tcp_ecn_fallback = 0: a SYN that asks for ECN asks for it each time
	NoTuning        bool          // tcp_moderate_rcvbuf = 0
	AbortOverflow   bool          // tcp_abort_on_overflow
	MTUProbing      int           // tcp_mtu_probing: 0 never, 1 when a black hole is suspected, 2 always
	BaseMSS         int           // tcp_base_mss, bytes: where a search begins
	ProbeThreshold  int           // tcp_probe_threshold, bytes: where it ends
	ProbeInterval   time.Duration // tcp_probe_interval: when it begins anew
	NotSentLow      uint32        // tcp_notsent_lowat, bytes
	PacingSlowStart int           // tcp_pacing_ss_ratio, percent
	PacingAvoidance int           // tcp_pacing_ca_ratio, percent
	ThinTimeouts    bool          // tcp_thin_linear_timeouts
	RTOMin          time.Duration // tcp_rto_min_us
	MinRTTWindow    time.Duration // tcp_min_rtt_wlen
	RTOMax          time.Duration // tcp_rto_max_ms
	Congestion      Algorithm     // tcp_congestion_control

	// Piggyback is how long an acknowledgement that would leave at once waits for what the program answers, to go out with it: of a
	// segment that ends a burst, and of the peer's FIN. 0 is not at all; Linux has no such wait.
	Piggyback time.Duration
}

// Memory is the least, the usual and the largest size of something.
type Memory struct{ Min, Default, Max int }

// withDefaults fills in what is not given. The core's pool holds so many bytes.
func (p Params) withDefaults(pool int) Params {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	setTime := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&p.SynRetries, 6)
	if p.FastOpen < 0 {
		p.FastOpen = 0
	} else {
		set(&p.FastOpen, FastOpenClient)
	}
	if p.ECN < 0 {
		p.ECN = ECNOff
	} else {
		set(&p.ECN, ECNAccept)
	}
	set(&p.SynLinear, 4)
	set(&p.SynAckRetries, 5)
	set(&p.Retries1, 3)
	set(&p.Retries2, 15)
	set(&p.BaseMSS, 1024)
	set(&p.ProbeThreshold, 8)
	setTime(&p.ProbeInterval, 10*time.Minute)
	set(&p.OrphanRetries, 8)
	set(&p.KeepCount, 9)
	set(&p.PacingSlowStart, 200)
	set(&p.PacingAvoidance, 120)
	setTime(&p.RTOMin, 200*time.Millisecond) // TCP_RTO_MIN; RFC 6298 §2.4 would have 1 s
	setTime(&p.RTOMax, 120*time.Second)      // TCP_RTO_MAX
	setTime(&p.MinRTTWindow, 5*time.Minute)
	if p.NotSentLow == 0 {
		p.NotSentLow = math.MaxUint32
	}
	set(&p.Rmem.Min, 4<<10)
	set(&p.Rmem.Default, 128<<10)
	set(&p.Rmem.Max, 32<<20) // as Linux 6.18, where 6 MiB of earlier ones kept long fast paths from being full
	set(&p.Wmem.Min, 4<<10)
	set(&p.Wmem.Default, 128<<10)
	set(&p.Wmem.Max, 4<<20) // which holds a peer with the larger window back no more than Linux does
	// tcp_init of Linux: pressure begins at two thirds of what there is, and ends at half of it.
	set(&p.Mem.Max, max(pool/pageSize, 1))
	set(&p.Mem.Default, max(p.Mem.Max/3*2, 1))
	set(&p.Mem.Min, max(p.Mem.Max/2, 1))
	set(&p.MaxSynBacklog, 4096)
	set(&p.MaxConns, 1<<21)
	set(&p.MaxTimeWait, 1<<18)
	set(&p.MaxOrphans, 1<<18)
	set(&p.ChallengeACKs, 1000)
	set(&p.TimeWaitReuse, 2)
	setTime(&p.FinTimeout, 60*time.Second)
	setTime(&p.KeepIdle, 2*time.Hour) // RFC 9293 §3.8.4
	setTime(&p.KeepInterval, 75*time.Second)
	setTime(&p.InvalidLimit, 500*time.Millisecond)
	setTime(&p.ReuseDelay, time.Second)
	if p.Congestion == AlgorithmDefault || p.Congestion >= algorithms {
		p.Congestion = CUBIC
	}
	return p
}

// What the protocol fixes.
const (
	// mssDefault is what a peer takes that does not say (RFC 9293 §3.7.1, MUST-15), for IPv4 and IPv6.
	mssDefault4 = 536
	mssDefault6 = 1220

	// mssMin is the smallest send MSS that is honoured, TCP_MIN_MSS of Linux: a peer that asks for
	// segments of a few bytes would have us spend forty on each.
	mssMin = 88

	// windowMax is the largest window without scaling (RFC 7323 §2.1).
	windowMax = 65535

	// initialWindow is IW10 (RFC 6928 §2), in segments.
	initialWindow = 10

	// dupThresh is how many duplicate acknowledgements mean a loss (RFC 5681 §3.2).
	dupThresh = 3

	// reorderPersist is for how many recoveries RACK keeps a window that duplicates have widened (RFC 8985 §6.2 step 4).
	reorderPersist = 16

	// rtoInitial is RFC 6298 §2.1.
	rtoInitial = 1 * time.Second

	// synAgain is TCP_TIMEOUT_MIN, two ticks of a kernel's clock of 250 Hz.
	synAgain = 8 * time.Millisecond

	// rtoFallback is the timeout of data when the handshake has told no round trip, since its SYN went twice or was
	// answered by a cookie (§5.7).
	rtoFallback = 3 * time.Second

	// pawsIdle is how long a timestamp stays comparable: 24 days of a millisecond
	// clock (RFC 7323 §5.5).
	pawsIdle = 24 * 24 * time.Hour
)

// What is a choice, made as Linux makes it.
const (
	// rtoMin is TCP_RTO_MIN, which retries are reckoned by whatever tcp_rto_min_us says.
	rtoMin = 200 * time.Millisecond

	// delayedACK is TCP_DELACK_MIN and TCP_ATO_MIN, delayedMax TCP_DELACK_MAX. RFC 9293 §3.8.6.3 allows delayedMost.
	delayedACK  = 40 * time.Millisecond
	delayedMax  = 200 * time.Millisecond
	delayedMost = 500 * time.Millisecond

	// quickACKs is how many segments are acknowledged at once on a new connection and after one that was sent again, so that
	// the peer's slow start is not halved: TCP_MAX_QUICKACKS.
	quickACKs = 16

	// timeWait is TCP_TIMEWAIT_LEN, for 2 MSL (RFC 9293 §3.4.2 has 4 minutes).
	timeWait = 60 * time.Second

	corkMax = 200 * time.Millisecond // tcp(7), TCP_CORK

	// pawsSlack is TCP_PAWS_WINDOW, in ticks of the peer's clock: what the path has brought late is not taken for what a former
	// connection, or the number space before, has left there.
	pawsSlack = 1

	// timeWaitGap is how far beyond the old connection's numbers a new one begins
	// that takes its place in TIME-WAIT: beyond any window without scaling.
	timeWaitGap = 65535 + 2

	// echoMax is the longest round trip that an echoed timestamp is believed to tell: TCP_RTO_MAX.
	echoMax = 120 * time.Second

	// thinFlight is what less of is a thin stream, in segments, and thinTimeouts how many of its timeouts do not
	// double: tcp_stream_is_thin and TCP_THIN_LINEAR_RETRIES.
	thinFlight   = 4
	thinTimeouts = 6
)

// What is ours.
const (
	// repliesMax is how many answers without a connection (resets, acknowledgements of
	// TIME-WAIT) wait for room at once: more than one turn's packets make.
	repliesMax = 256

	// holesMax is how many separate ranges of out-of-order data a connection keeps. A window of
	// 32 MB with every hundredth segment lost has 230.
	holesMax = 256

	// runsMax is how many separate pieces the record of data in flight has at most. A piece is what
	// was sent at one moment and shares one fate; SACK makes more of them. Beyond it
	// pieces are not told apart any more, which costs accuracy and no data.
	runsMax = 16384

	// runsKeep and holesKeep are the capacity of a record of flight and of a map of holes that is
	// kept for the next connection, sparesMax how many of these and of repairs are kept. More of them at
	// once are made and left to the garbage collector.
	runsKeep  = 64
	holesKeep = 32
	sparesMax = 4096

	// copiesMax is how many pieces of what was sent again are remembered, to know a duplicate of it from one of
	// the network's. A recovery of more of them is not taken back because of duplicates.
	copiesMax = 64

	// burstMax is how many segments one connection sends before the next one's turn.
	burstMax = 8

	// idleReclaim is how long a connection has been silent when its drained
	// buffers go back. One whose program does not read is looked at ever more seldom, at last
	// every 64 s.
	idleReclaim  = 1 * time.Second
	idleShiftMax = 6

	// memoryRetry is when a writer that found the pool exhausted may try again.
	memoryRetry = 10 * time.Millisecond

	// slabConns is how many connections are made at once: a slab of them fills pages of 8 KB
	// to one part in a hundred.
	slabConns = 128

	// pageSize is what tcp_mem counts in, bytes.
	pageSize = 4096

	// windowLimit is the largest receive buffer: what a scaled window can say, and less than
	// half the sequence space.
	windowLimit = windowMax << wire.TCPWScaleMax

	// bufferMin is the smallest buffer an option can ask for, SOCK_MIN_RCVBUF.
	bufferMin = 2304

	infiniteWindow = math.MaxInt32
)

// retryLimit is how long data is sent again without an answer before the connection is given
// up, for a number of retries as Linux counts them: the time that many doublings
// from rtoMin take, not more than most each (RFC 9293 §3.8.3 R2, at least 100 s; tcp_model_timeout of Linux).
func retryLimit(retries int, most time.Duration) time.Duration {
	linear := bits.Len64(uint64(most/rtoMin)) - 1 // doublings from rtoMin to most
	if retries <= linear {
		return rtoMin * (2<<retries - 1)
	}
	return rtoMin*(2<<linear-1) + time.Duration(retries-linear)*most
}
