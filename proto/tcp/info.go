package tcp

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

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
	SndMSS, RcvMSS           int // bytes
	Unacked                  int // bytes sent and not acknowledged
	Sacked, Lost             int // bytes of these
	Retrans                  int // bytes sent again and not acknowledged
	TotalRetrans             int // segments
	SndCwnd, SndSsthresh     int // bytes
	SndWnd, RcvWnd           int // bytes
	RcvSpace                 int // bytes of the receive buffer
	NotSent                  int // bytes written and not sent
	BytesAcked, BytesRecv    uint64
	SegsIn, SegsOut          int
	LastDataSent             time.Duration // ago
	LastDataRecv             time.Duration
	LastAckRecv              time.Duration
	Recovering, InLoss       bool
	ECN, ECNSeen             bool // agreed on; the peer's data says so too
	InCWR                    bool // the window shrinks since the peer told of congestion
	Congestion               Algorithm
	PacingRate               uint64 // bytes a second, 0: no limit
}

// Info returns what is known of c.
func (c *Conn) Info(now mono.Time) Info {
	i := Info{
		State: c.state, Probes: int(c.probes), Backoff: int(c.backoff), Retransmits: int(c.backoff),
		Timestamps: c.tsOK, SACK: c.sackOK, Scale: c.scaleOK,
		SndScale: c.snd.scale, RcvScale: c.rcv.scale,
		RTO: c.rto(), RTT: c.rtt.smooth, RTTVar: c.rtt.variance, MinRTT: c.rtt.min, RcvRTT: c.rxTune.rtt,
		SndMSS: c.sendMSS(), RcvMSS: int(c.rcv.mss),
		Unacked:      c.snd.nxt.Sub(c.snd.una),
		TotalRetrans: int(c.retrans),
		SndCwnd:      int(c.cc.cwnd), SndSsthresh: int(c.cc.ssthresh),
		SndWnd: int(c.snd.wnd), RcvWnd: max(0, c.rcv.adv.Sub(c.rcv.nxt)), RcvSpace: c.rx.Limit(),
		BytesAcked: c.tx.Head(), BytesRecv: c.rx.Tail(),
		SegsIn: int(c.segsIn), SegsOut: int(c.segsOut),
		LastDataSent: since(now, c.lastSend), LastDataRecv: since(now, c.lastData), LastAckRecv: since(now, c.lastRecv),
		ECN: c.ecn&ecnOK != 0, ECNSeen: c.ecn&ecnSeen != 0,
		Congestion: c.cc.algorithm, PacingRate: c.rate(),
	}
	if f := c.flight; f != nil {
		i.Sacked, i.Lost, i.Retrans = f.sacked, f.lost, f.again
		i.InCWR = f.phase == phaseCWR
		i.Recovering, i.InLoss = f.phase == phaseRecovery, f.phase == phaseLoss
	}
	if c.state.synchronized() && !c.finSent {
		i.NotSent = int(c.tx.Tail() - c.txOffset(c.snd.nxt))
	}
	return i
}

func since(now, then mono.Time) time.Duration {
	if then == 0 {
		return 0
	}
	return now.Sub(then)
}
