package socketapi

import (
	"time"

	"golang.org/x/sys/unix"
)

// notByValue are TCP's options whose values are no row of a list: they follow a clock, or the kernel rounds them up to
// its own ticks.
var notByValue = []int{unix.TCP_TIMESTAMP, tcpRTOMaxMS, tcpRTOMinUS, tcpDelACKMaxUS}

// tries notes what becomes of an option of TCP for each value.
func (e *env) tries(fd, opt int, values ...int) {
	for _, n := range values {
		err := e.me.api.SetsockoptInt(fd, unix.IPPROTO_TCP, opt, n)
		is, _ := e.me.api.GetsockoptInt(fd, unix.IPPROTO_TCP, opt)
		e.note("set "+show(n), err, is)
	}
}

var tcpOptionRows = []row{
	{"tcp option: TCP_RTO_MAX_MS", func(e *env) {
		e.tries(e.me.tcp(), tcpRTOMaxMS, 0, -1, 999, 1000, 60000, 120000, 120001)
	}},
	{"tcp option: TCP_RTO_MIN_US and TCP_DELACK_MAX_US", func(e *env) {
		for _, opt := range []int{tcpRTOMinUS, tcpDelACKMaxUS} {
			e.tries(e.me.tcp(), opt, 0, -1, 1000, 20000, 200000, 200001, 1<<30)
		}
	}},
	{"tcp option: TCP_TIMESTAMP", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		was, err := e.me.api.GetsockoptInt(mine, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP)
		e.note("get", err)
		time.Sleep(20 * time.Millisecond)
		is, _ := e.me.api.GetsockoptInt(mine, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP)
		passed := int32(is) - int32(was)
		e.note("it counts milliseconds", passed >= 16 && passed < 10000)
		e.note("set", e.me.api.SetsockoptInt(mine, unix.IPPROTO_TCP, unix.TCP_TIMESTAMP, 5))
	}},
	{"tcp option: TCP_WINDOW_CLAMP of a connection", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		e.tries(mine, unix.TCP_WINDOW_CLAMP, 1, 5000, -1)
		e.note("no limit", e.me.api.SetsockoptInt(mine, unix.IPPROTO_TCP, unix.TCP_WINDOW_CLAMP, 0))
	}},
	{"tcp option: TCP_CONGESTION of a connection", func(e *env) {
		mine, _ := e.me.connected(&e.peer)
		for _, name := range []string{"reno", "cubic", "nonesuch", ""} {
			e.note("set "+name, e.me.api.SetsockoptString(mine, unix.IPPROTO_TCP, unix.TCP_CONGESTION, name))
			is, err := e.me.api.GetsockoptString(mine, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
			e.note("get", is, err)
		}
	}},
	{"tcp option: SO_MAX_PACING_RATE of 32 and of 64 bits", func(e *env) {
		fd := e.me.tcp()
		for _, n := range []uint64{0, 1, 1 << 20, 1<<32 - 1, 1 << 32, 1 << 40, 1<<64 - 1} {
			e.note("set "+show(n), e.me.api.SetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, n))
			long, err := e.me.api.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE)
			e.note("get 64", long, err)
			e.note2(e.me.api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE))
		}
		for _, n := range []int{-1, 0, 1 << 20} {
			e.note("set 32 "+show(n), e.me.api.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, n))
			long, err := e.me.api.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE)
			e.note("get 64", long, err)
		}
	}},
	{"tcp option: what is accepted has them of its listener", func(e *env) {
		l, at := e.me.listener()
		opts := []struct{ level, opt, n int }{
			{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 11}, {unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 12},
			{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 13}, {unix.IPPROTO_TCP, unix.TCP_SYNCNT, 3}, {unix.IPPROTO_TCP, unix.TCP_LINGER2, 21},
			{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 31000}, {unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, 4096},
			{unix.IPPROTO_TCP, unix.TCP_THIN_LINEAR_TIMEOUTS, 1}, {unix.IPPROTO_TCP, tcpRTOMaxMS, 20000},
			{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1}, {unix.SOL_SOCKET, unix.SO_RCVLOWAT, 77}, {unix.SOL_SOCKET, unix.SO_RCVBUF, 30000},
			{unix.SOL_SOCKET, unix.SO_SNDBUF, 40000}, {unix.SOL_SOCKET, unix.SO_MAX_PACING_RATE, 1 << 24},
		}
		for _, o := range opts {
			e.me.set(l, o.level, o.opt, o.n)
		}
		c := e.peer.tcp()
		e.must(e.peer.api.Connect(c, at))
		mine := e.me.accept(l)
		for _, o := range opts {
			e.note2(e.me.api.GetsockoptInt(mine, o.level, o.opt))
		}
	}},
	{"tcp option: SO_RCVLOWAT waits for so much", func(e *env) {
		mine, theirs := e.me.connected(&e.peer)
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 6)
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 50000}))
		e.reads("what is there when the time is up", &e.me, mine, 10, 0)
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{}))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		e.reads("less than that is asked for", &e.me, mine, 2, 0)
		e.beside(func() {
			time.Sleep(30 * time.Millisecond)
			e.peer.api.Write(theirs, []byte("defghij")) // Linux wakes a reader for so much that is new
		})
		e.reads("as much", &e.me, mine, 10, 0)
		e.sends("the peer sends", &e.peer, theirs, "xy", 0)
		e.arrived(&e.me, mine, 2)
		e.reads("non-blocking", &e.me, mine, 10, unix.MSG_DONTWAIT)
		e.sends("the peer sends", &e.peer, theirs, "xy", 0)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.reads("the last", &e.me, mine, 10, 0)
		e.reads("the end", &e.me, mine, 10, 0)
	}},
	{"tcp option: TCP_INFO of a transfer", func(e *env) {
		l, at := e.peer.listener()
		mine := e.me.tcp()
		e.must(e.me.api.SetsockoptString(mine, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"))
		e.must(e.me.api.Connect(mine, at))
		theirs := e.peer.accept(l)
		p := make([]byte, 1000)
		for range 5 { // one segment each, and each acknowledged
			e.must(e.me.api.Sendto(mine, p, 0, nil))
			e.reads("", &e.peer, theirs, 1000, unix.MSG_WAITALL)
			e.until("the acknowledgement", func() bool {
				i, err := e.me.api.GetsockoptTCPInfo(mine, unix.IPPROTO_TCP, unix.TCP_INFO)
				e.must(err)
				return i.Unacked == 0
			})
		}
		e.must(e.peer.api.Sendto(theirs, p[:700], 0, nil))
		e.reads("", &e.me, mine, 700, unix.MSG_WAITALL)
		e.notes = nil
		i, err := e.me.api.GetsockoptTCPInfo(mine, unix.IPPROTO_TCP, unix.TCP_INFO)
		e.must(err)
		e.note("bytes sent, retransmitted", i.Bytes_sent, i.Bytes_retrans)
		e.note("bytes received", i.Bytes_received)
		e.note("segments of data out, in", i.Data_segs_out, i.Data_segs_in)
		e.note("delivered", i.Delivered, i.Delivered_ce)
		e.note("mss: send, advertised; pmtu", i.Snd_mss, i.Advmss, i.Pmtu)
		e.note("reordering, seen, out of order, dsack", i.Reordering, i.Reord_seen, i.Rcv_ooopack, i.Dsack_dups)
		e.note("rto: total, recoveries, time", i.Total_rto, i.Total_rto_recoveries, i.Total_rto_time)
		e.note("in flight", i.Unacked, i.Sacked, i.Lost, i.Retrans, i.Fackets, i.Notsent_bytes)
		e.note("row of timeouts", i.Retransmits, i.Probes, i.Backoff)
		e.note("pacing limit, rates are known", i.Max_pacing_rate, i.Pacing_rate > 0, i.Delivery_rate > 0)
		e.note("limited by", i.Rwnd_limited, i.Sndbuf_limited)
		e.note("ato", i.Ato)
		e.note("min rtt", i.Min_rtt > 0 && i.Min_rtt <= i.Rtt+4*i.Rttvar, i.Snd_ssthresh, i.Snd_cwnd)
		e.note("windows", i.Rcv_wnd > 60000, i.Snd_wnd > 60000, i.Rcv_space > 0, i.Rcv_ssthresh > 0)
		e.note("ago", i.Last_data_sent < 60000, i.Last_data_recv < 60000, i.Last_ack_recv < 60000, i.Last_ack_sent)
	}},
}
