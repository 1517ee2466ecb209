package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/sysctl"
)

// Read first: Documentation/networking/ip-sysctl.rst, net/ipv4/sysctl_net_ipv4.c (which has the ranges).

type knob = sysctl.Knob[Params]

// Knobs are Params by the names, units and ranges of Linux. A value counts from the moment in which it is
// set, for connections that there are as well, where it is not said otherwise.
var Knobs = []knob{
	number("tcp_syn_retries", "", 1, 127, "How often a SYN is sent again before a connect fails, beside tcp_syn_linear_timeouts. TCP_SYNCNT is instead of it.",
		func(p *Params) *int { return &p.SynRetries }),
	number("tcp_syn_linear_timeouts", "", 0, 127, "How many of the repeated SYNs are a second apart, before the time between them doubles.",
		func(p *Params) *int { return &p.SynLinear }),
	number("tcp_synack_retries", "", 0, 255, "How often a SYN-ACK is sent again before the half-open connection is forgotten.",
		func(p *Params) *int { return &p.SynAckRetries }),
	number("tcp_retries1", "", 0, 255, "After how long without an answer a black hole is suspected: the time that so many doublings from 200 ms take. See tcp_mtu_probing.",
		func(p *Params) *int { return &p.Retries1 }),
	number("tcp_mtu_probing", "", 0, 2, "Whether connections find out how long their segments may be where routers drop what is too long and do not say so (RFC 4821): 0 no, 1 when a black hole is suspected, 2 always.",
		func(p *Params) *int { return &p.MTUProbing }),
	number("tcp_base_mss", "bytes", mssMin, 65535, "The segments that such a search begins with.",
		func(p *Params) *int { return &p.BaseMSS }),
	number("tcp_probe_threshold", "bytes", 1, 65535, "How near the search comes to the largest that passes.",
		func(p *Params) *int { return &p.ProbeThreshold }),
	seconds("tcp_probe_interval", 1, 1<<31-1, "After how long larger segments are tried again.",
		func(p *Params) *time.Duration { return &p.ProbeInterval }),
	number("tcp_retries2", "", 0, 255, "For how long data is sent again without an answer before the connection ends with ETIMEDOUT: the time that so many doublings from 200 ms take, each at most 120 s. TCP_USER_TIMEOUT is instead of it.",
		func(p *Params) *int { return &p.Retries2 }),
	number("tcp_orphan_retries", "", 1, 255, "The same for a connection that its program has closed.",
		func(p *Params) *int { return &p.OrphanRetries }),
	seconds("tcp_fin_timeout", 0, 1<<31-1, "How long a connection that its program has closed waits for the peer's FIN, at least 3.5 retransmission timeouts. TCP_LINGER2 is instead of it.",
		func(p *Params) *time.Duration { return &p.FinTimeout }),
	seconds("tcp_keepalive_time", 1, 1<<31-1, "After how much silence a connection with SO_KEEPALIVE asks whether the peer is there. TCP_KEEPIDLE is instead of it.",
		func(p *Params) *time.Duration { return &p.KeepIdle }),
	seconds("tcp_keepalive_intvl", 1, 1<<31-1, "The time between two such questions. TCP_KEEPINTVL is instead of it.",
		func(p *Params) *time.Duration { return &p.KeepInterval }),
	number("tcp_keepalive_probes", "", 1, 255, "How many of them go without an answer before the connection ends. TCP_KEEPCNT is instead of it.",
		func(p *Params) *int { return &p.KeepCount }),

	memory("tcp_rmem", "bytes", 1, windowLimit, "The receive buffer's least, first and largest size. It grows from the first to the largest as the program reads, unless SO_RCVBUF has fixed it. For new connections, which offer a window scale for the largest.",
		func(p *Params) *Memory { return &p.Rmem }),
	memory("tcp_wmem", "bytes", 1, windowLimit, "The send buffer's least, first and largest size. It grows with the congestion window, unless SO_SNDBUF has fixed it. The first is that of new connections.",
		func(p *Params) *Memory { return &p.Wmem }),
	memory("tcp_mem", "pages of 4096 bytes", 1, 1<<31-1, "What all buffers of a core may hold, those of datagram sockets included: below the first number all is well, from the second on buffers do not grow, and at the third there is no more memory.",
		func(p *Params) *Memory { return &p.Mem }),
	sysctl.NotFlag("net.ipv4.tcp_moderate_rcvbuf", "Whether the receive buffer grows by itself.",
		func(p *Params) *bool { return &p.NoTuning }),

	number("tcp_max_syn_backlog", "", 0, 1<<31-1, "How many half-open connections a listener has at most without SYN cookies. Its backlog may say less, and with them is all that counts.",
		func(p *Params) *int { return &p.MaxSynBacklog }),
	sysctl.NotFlag("net.ipv4.tcp_syncookies", "Whether a SYN that finds no room is answered by a cookie. 0: it is dropped.",
		func(p *Params) *bool { return &p.NoSynCookies }),
	sysctl.Flag("net.ipv4.tcp_abort_on_overflow", "Whether a handshake that ends while the accept queue is full is reset, and not left to be tried again.",
		func(p *Params) *bool { return &p.AbortOverflow }),
	number("tcp_max_tw_buckets", "", 0, 1<<31-1, "How many connections of a core are in TIME-WAIT at most, those included that their programs have closed and that wait for the peer's FIN alone. Others end without it.",
		func(p *Params) *int { return &p.MaxTimeWait }),
	number("tcp_max_orphans", "", 0, 1<<31-1, "How many connections that their programs have closed a core keeps until they end, FIN-WAIT-2 and TIME-WAIT not included. Another close is a reset.",
		func(p *Params) *int { return &p.MaxOrphans }),
	number("tcp_tw_reuse", "", 0, 2, "Whether connect may choose a port whose connection with the same peer is in TIME-WAIT, where timestamps make it safe: 0 never, 1 yes, 2 from or to a loopback address or by lo alone. A socket that is bound to the port may connect from it in any case.",
		func(p *Params) *int { return &p.TimeWaitReuse }),
	millis("tcp_tw_reuse_delay", 1, 60000, "How long a connection has been in TIME-WAIT before that.",
		func(p *Params) *time.Duration { return &p.ReuseDelay }),
	sysctl.NotFlag("net.ipv4.tcp_rfc1337", "Whether a reset leaves a connection in TIME-WAIT as it is (Linux's default is 0; here it is 1, which is safer).",
		func(p *Params) *bool { return &p.TimeWaitReset }),
	number("tcp_challenge_ack_limit", "", 1, 1<<31-1, "How many segments that could be an attack are answered in a second (RFC 5961), on a core.",
		func(p *Params) *int { return &p.ChallengeACKs }),
	millis("tcp_invalid_ratelimit", 0, 1<<31-1, "The least time between two answers of a connection to segments without data that do not fit.",
		func(p *Params) *time.Duration { return &p.InvalidLimit }),

	sysctl.Number32("net.ipv4.tcp_notsent_lowat", "bytes", "How much may wait to be sent for the first time before a program is told that there is no room. TCP_NOTSENT_LOWAT is instead of it. For new connections.",
		func(p *Params) *uint32 { return &p.NotSentLow }),
	number("tcp_pacing_ss_ratio", "percent", 1, 1000, "How much faster than a congestion window in a round trip a connection with SO_MAX_PACING_RATE is paced in slow start.",
		func(p *Params) *int { return &p.PacingSlowStart }),
	number("tcp_pacing_ca_ratio", "percent", 1, 1000, "The same in congestion avoidance.",
		func(p *Params) *int { return &p.PacingAvoidance }),
	sysctl.Time("net.ipv4.tcp_rto_min_us", time.Microsecond, 2000, 120_000_000, "The least that the variance of the round trip adds to the retransmission timeout. TCP_RTO_MIN_US is instead of it.",
		func(p *Params) *time.Duration { return &p.RTOMin }),
	millis("tcp_rto_max_ms", 1000, 120_000, "The longest retransmission timeout. TCP_RTO_MAX_MS is instead of it.",
		func(p *Params) *time.Duration { return &p.RTOMax }),
	seconds("tcp_min_rtt_wlen", 0, 86400, "For how long the shortest round trip counts, which is what RACK takes the path's delay for. 0: the newest is the shortest.",
		func(p *Params) *time.Duration { return &p.MinRTTWindow }),
	sysctl.Flag("net.ipv4.tcp_thin_linear_timeouts", "Whether the first six timeouts of a connection with less than four segments on its way do not double. TCP_THIN_LINEAR_TIMEOUTS says it for one.",
		func(p *Params) *bool { return &p.ThinTimeouts }),

	sysctl.NotFlag("net.ipv4.tcp_timestamps", "Whether timestamps are offered and taken (RFC 7323). For new connections.",
		func(p *Params) *bool { return &p.NoTimestamps }),
	sysctl.NotFlag("net.ipv4.tcp_window_scaling", "Whether windows beyond 64 KiB are offered and taken (RFC 7323). For new connections.",
		func(p *Params) *bool { return &p.NoWindowScaling }),
	sysctl.NotFlag("net.ipv4.tcp_sack", "Whether selective acknowledgements are offered and taken (RFC 2018). For new connections.",
		func(p *Params) *bool { return &p.NoSACK }),
	sysctl.NotFlag("net.ipv4.tcp_dsack", "Whether the peer is told what has come twice (RFC 2883).",
		func(p *Params) *bool { return &p.NoDSACK }),
	number("tcp_ecn", "", 0, 2, "Whether new connections do ECN (RFC 3168): 0 never, 1 if the peer does, 2 if the peer asks for it.",
		func(p *Params) *int { return &p.ECN }),
	sysctl.NotFlag("net.ipv4.tcp_ecn_fallback", "Whether a SYN that is sent again asks no more for ECN.",
		func(p *Params) *bool { return &p.NoECNFallback }),
	number("tcp_fastopen", "", 0, 0x607, "Fast Open (RFC 7413), the sum of: 1 clients, 2 servers, 4 clients without a cookie, 512 servers without one, 1024 all listeners and not only those with TCP_FASTOPEN.",
		func(p *Params) *int { return &p.FastOpen }),
	seconds("tcp_fastopen_blackhole_timeout_sec", 0, 1<<31-1, "For how long clients leave Fast Open alone when a path seems to swallow what it says; twice as long each further time. 0: they do not.",
		func(p *Params) *time.Duration { return &p.FastOpenPause }),
	sysctl.Flag("net.ipv4.tcp_stdurg", "Whether a peer's urgent pointer is at the urgent byte, and not behind it.",
		func(p *Params) *bool { return &p.StdURG }),
	sysctl.NotFlag("net.ipv4.tcp_slow_start_after_idle", "Whether the congestion window shrinks while nothing is sent (RFC 5681 §4.1).",
		func(p *Params) *bool { return &p.NoSlowStartIdle }),
	sysctl.Word("net.ipv4.tcp_congestion_control", "The congestion control of new connections. TCP_CONGESTION is instead of it.", algorithmNames[CUBIC:],
		func(p *Params) string { return p.Congestion.String() },
		func(p *Params, name string) { p.Congestion, _ = ParseAlgorithm(name) }),
}

func number(name, unit string, min, max int64, doc string, at func(*Params) *int) knob {
	return sysctl.Number("net.ipv4."+name, unit, min, max, doc, at)
}

func seconds(name string, min, max int64, doc string, at func(*Params) *time.Duration) knob {
	return sysctl.Time("net.ipv4."+name, time.Second, min, max, doc, at)
}

func millis(name string, min, max int64, doc string, at func(*Params) *time.Duration) knob {
	return sysctl.Time("net.ipv4."+name, time.Millisecond, min, max, doc, at)
}

func memory(name, unit string, min, max int64, doc string, at func(*Params) *Memory) knob {
	k := sysctl.Number("net.ipv4."+name, unit, min, max, doc,
		func(p *Params) *int { return &at(p).Min },
		func(p *Params) *int { return &at(p).Default },
		func(p *Params) *int { return &at(p).Max })
	k.Rising = true
	return k
}
