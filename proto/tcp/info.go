package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: tcp_get_info in net/ipv4/tcp.c.

// Info is what TCP_INFO tells, in units of this package. The sockets lay it out as
// Linux does.
type Info struct {
	State                    State
	Retransmits              int // timeouts in a row
	Probes                   int // probes without an answer
	Backoff                  int
	Timestamps, SACK, Scale  bool // negotiated
	SndScale, RcvScale       uint8
	RTO, RTT, RTTVar, MinRTT time.Duration
	RcvRTT                   time.Duration
	ATO                      time.Duration // how long an acknowledgement is delayed
	SndMSS, RcvMSS           int           // bytes
	AdvMSS                   int           // bytes: as the peer was told, less timestamps
	PMTU                     int           // bytes of an IP packet
	Unacked                  int           // bytes sent and not acknowledged
	Sacked, Lost             int           // bytes of these
	Retrans                  int           // bytes sent again and not acknowledged
	TotalRetrans             int           // segments
	Reordering               int           // segments
	SndCwnd, SndSsthresh     int           // bytes
	SndWnd, RcvWnd           int           // bytes
	RcvSsthresh              int           // bytes: what the window can be
	RcvSpace                 int           // bytes that the program has read in a round trip
	NotSent                  int           // bytes written and not sent
	BytesAcked, BytesRecv    uint64
	BytesSent, BytesRetrans  uint64
	SegsIn, SegsOut          int
	DataSegsIn, DataSegsOut  int
	Delivered                int           // segments that have arrived at the peer, our SYN included
	DeliveredCE              int           // of these, what the peer told to have met with congestion when it acknowledged it
	DSACKs                   int           // segments that the peer had already
	ReordSeen                int           // how often the path has been seen to reorder
	OutOfOrder               int           // segments that came beyond a hole
	LastDataSent             time.Duration // ago
	LastDataRecv             time.Duration
	LastAckRecv              time.Duration
	Recovering, InLoss       bool
	ECN, ECNSeen             bool // agreed on; the peer's data says so too
	SynData                  bool // the SYN's data was taken (Fast Open)
	FastChild                bool // made by a SYN with a cookie
	FastFail                 int  // why the SYN's data was not: 1 there was no cookie, 2 it was not acknowledged, 3 the SYN had to go again
	InCWR                    bool // the window shrinks since the peer told of congestion
	Disorder                 bool // something is missing and nothing is held for lost yet
	Congestion               Algorithm
	PacingRate               uint64        // bytes a second
	MaxPacingRate            uint64        // bytes a second, 0: no limit
	DeliveryRate             uint64        // bytes a second
	AppLimited               bool          // DeliveryRate is the program's, not the path's
	Busy                     time.Duration // in which there was something to send or on its way
	RwndLimited              time.Duration // of it, in which the peer's window kept it back
	SndbufLimited            time.Duration // of it, in which the program waited for room and all was sent
	Timeouts                 int           // expired retransmission timers
	Outages                  int           // times without progress that had one or more of them
	OutageTime               time.Duration // how long these were
}

// Info returns what is known of c.
func (c *Conn) Info(now mono.Time) Info {
	t, r := &c.tally, c.rare
	if r == nil {
		r = &noRare
	}
	i := Info{
		State: c.state, Probes: int(c.probes), Backoff: int(c.backoff), Retransmits: int(c.expired),
		Timestamps: c.tsOK, SACK: c.sackOK, Scale: c.scaleOK,
		SndScale: c.snd.scale, RcvScale: c.rcv.scale,
		RTO: c.rto(), RTT: c.rtt.smooth, RTTVar: c.rtt.variance, MinRTT: c.rtt.min.least(), RcvRTT: c.receiveRTT(), ATO: c.ato(),
		SndMSS: c.sendMSS(), RcvMSS: int(c.rcv.mss), AdvMSS: int(c.advMSS()), PMTU: int(c.snd.pathMSS) + headersLen(&c.key),
		Unacked:      c.snd.nxt.Sub(c.snd.una),
		TotalRetrans: int(c.retrans), Reordering: dupThresh,
		SndCwnd: int(c.cc.cwnd), SndSsthresh: int(c.cc.ssthresh),
		SndWnd: int(c.snd.wnd), RcvWnd: max(0, c.rcv.adv.Sub(c.rcv.wup)), RcvSsthresh: c.rx.Limit(), RcvSpace: int(c.rxTune.copied),
		BytesAcked: c.bytesAcked(), BytesRecv: c.rx.Tail(), BytesSent: c.bytesAcked() + t.again, BytesRetrans: t.again,
		SegsIn: int(c.segsIn), SegsOut: int(c.segsOut), DataSegsIn: int(t.dataIn), DataSegsOut: int(t.dataOut),
		SynData: c.tfo&fastAcked != 0, FastChild: c.tfo&fastTaken != 0, FastFail: c.fastFail(), DeliveredCE: int(r.marked),
		DSACKs: int(r.copies), ReordSeen: int(r.reordered), OutOfOrder: int(r.outOfOrder),
		LastDataSent: since(now, c.lastSend), LastDataRecv: since(now, c.lastData), LastAckRecv: since(now, c.lastRecv),
		ECN: c.ecn&ecnOK != 0, ECNSeen: c.ecn&ecnSeen != 0,
		Congestion: c.cc.algorithm, PacingRate: c.pacingRate(), MaxPacingRate: c.opt.MaxPacingRate,
		DeliveryRate: uint64(t.rate), AppLimited: t.rateIdle,
		RwndLimited: c.spentOn(limitPeer, now), SndbufLimited: c.spentOn(limitBuffer, now),
		Timeouts: int(r.timeouts), Outages: int(r.outages), OutageTime: time.Duration(r.outageTime) * time.Millisecond,
	}
	i.Busy = c.spentOn(limitPath, now) + i.RwndLimited + i.SndbufLimited
	if c.tsOK {
		i.AdvMSS -= wire.TCPTimestampsLen
	}
	if f := c.flight; f != nil {
		i.Sacked, i.Lost, i.Retrans = f.sacked, f.lost, f.again
		i.InCWR = f.phase == phaseCWR
		i.Recovering, i.InLoss = f.phase == phaseRecovery, f.phase == phaseLoss
		i.Disorder = f.phase == phaseOpen && f.sacked > 0
	}
	if c.snd.una != c.snd.iss {
		i.BytesSent += uint64(i.Unacked)
		if c.finSent && i.Unacked > 0 {
			i.BytesSent--
		}
	}
	if c.state.synchronized() {
		// Each segment of data counts once, and so do our SYN and our FIN.
		flying := segments(i.Unacked-i.Sacked, i.SndMSS)
		i.Delivered = max(1+int(t.dataOut)-int(c.retrans)-flying, 1)
		if !c.finSent {
			i.NotSent = int(c.tx.Tail() - c.txOffset(c.snd.nxt))
		}
	}
	return i
}

// bytesAcked is how many bytes the peer has acknowledged. When a connection has ended there is nothing left in its buffer
// that was not, but the numbers tell.
func (c *Conn) bytesAcked() uint64 {
	head := c.tx.Head()
	switch {
	case c.snd.una == c.snd.iss:
		return 0
	case c.state != Closed:
		return head
	}
	n := uint32(c.snd.una.Sub(c.snd.iss)) - 1
	if c.finAcked() {
		n--
	}
	return head - uint64(uint32(head)-n)
}

// noRare is never written to.
var noRare rare

// segments is how many segments n bytes are, in full ones.
func segments(n, mss int) int { return (n + mss - 1) / mss }

func since(now, then mono.Time) time.Duration {
	if then == 0 {
		return 0
	}
	return now.Sub(then)
}
