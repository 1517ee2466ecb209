package socketapi

import (
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: struct tcp_info in include/uapi/linux/tcp.h, tcp_get_info in net/ipv4/tcp.c.

// linuxStates are the kernel's numbers of the states (include/net/tcp_states.h).
var linuxStates = [...]uint8{
	tcp.Established: 1, tcp.SynSent: 2, tcp.SynReceived: 3, tcp.FinWait1: 4, tcp.FinWait2: 5, tcp.TimeWait: 6,
	tcp.Closed: 7, tcp.CloseWait: 8, tcp.LastAck: 9, tcp.Listen: 10, tcp.Closing: 11,
}

// Bits of tcpi_options, and values of tcpi_ca_state.
const (
	infoTimestamps = 1
	infoSACK       = 2
	infoScale      = 4
	infoECN        = 8
	infoECNSeen    = 16

	infoCWR      = 2
	infoRecovery = 3
	infoLoss     = 4
)

func getTCPInfo(s socket, v *value) unix.Errno {
	t := s.(*tcpSocket)
	v.info.State = linuxStates[tcp.Closed]
	if l := t.listener.Load(); l != nil {
		v.info.State = linuxStates[tcp.Listen]
		v.info.Unacked, v.info.Sacked = uint32(l.queued.Load()), uint32(t.backlog) // what ss(8) shows as Recv-Q and Send-Q
		return 0
	}
	if conn := t.conn.Load(); conn != nil {
		return conn.do(func(c *tcp.Conn, now mono.Time) unix.Errno {
			layInfo(&v.info, c.Info(now))
			return 0
		})
	}
	return 0
}

// layInfo lays out what TCP knows of a connection as Linux does: times in microseconds, and
// in milliseconds where they are of an event; what is in flight in segments.
func layInfo(to *unix.TCPInfo, i tcp.Info) {
	usec := func(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
	msec := func(d time.Duration) uint32 { return uint32(d / time.Millisecond) }
	mss := max(i.SndMSS, 1)
	segments := func(bytes int) uint32 { return uint32((bytes + mss - 1) / mss) }

	to.State = linuxStates[i.State]
	switch {
	case i.InLoss:
		to.Ca_state = infoLoss
	case i.Recovering:
		to.Ca_state = infoRecovery
	case i.InCWR:
		to.Ca_state = infoCWR
	}
	to.Retransmits, to.Probes, to.Backoff = uint8(i.Retransmits), uint8(i.Probes), uint8(i.Backoff)
	to.Options = uint8(number(i.Timestamps)*infoTimestamps | number(i.SACK)*infoSACK | number(i.Scale)*infoScale |
		number(i.ECN)*infoECN | number(i.ECNSeen)*infoECNSeen)
	to.Rto, to.Rtt, to.Rttvar, to.Min_rtt, to.Rcv_rtt = usec(i.RTO), usec(i.RTT), usec(i.RTTVar), usec(i.MinRTT), usec(i.RcvRTT)
	to.Snd_mss, to.Rcv_mss = uint32(i.SndMSS), uint32(i.RcvMSS)
	to.Unacked, to.Sacked, to.Lost, to.Retrans = segments(i.Unacked), segments(i.Sacked), segments(i.Lost), segments(i.Retrans)
	to.Total_retrans = uint32(i.TotalRetrans)
	to.Snd_cwnd, to.Snd_ssthresh = segments(i.SndCwnd), segments(min(i.SndSsthresh, 1<<30))
	to.Snd_wnd, to.Rcv_wnd, to.Rcv_space = uint32(i.SndWnd), uint32(i.RcvWnd), uint32(i.RcvSpace)
	to.Notsent_bytes = uint32(i.NotSent)
	to.Bytes_acked, to.Bytes_received = i.BytesAcked, i.BytesRecv
	to.Segs_in, to.Segs_out = uint32(i.SegsIn), uint32(i.SegsOut)
	to.Last_data_sent, to.Last_data_recv, to.Last_ack_recv = msec(i.LastDataSent), msec(i.LastDataRecv), msec(i.LastAckRecv)
}
