package socketapi

import (
	"encoding/binary"
	"math"
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
	infoSynData    = 32
	infoFastChild  = 128

	infoDisorder = 1
	infoCWR      = 2
	infoRecovery = 3
	infoLoss     = 4
)

// infoBitsAt is where tcpi_snd_wscale, tcpi_rcv_wscale, tcpi_delivery_rate_app_limited and tcpi_fastopen_client_fail are.
const infoBitsAt = 6

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
			i := c.Info(now)
			layInfo(&v.info, i)
			v.infoBits = infoBits(&i)
			return 0
		})
	}
	return 0
}

// layInfo lays out what TCP knows of a connection as Linux does: times in microseconds, and
// in milliseconds where they are of an event; what is in flight in segments.
func layInfo(to *unix.TCPInfo, i tcp.Info) {
	usec := func(d time.Duration) uint32 { return uint32(d / time.Microsecond) }
	long := func(d time.Duration) uint64 { return uint64(d / time.Microsecond) }
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
	case i.Disorder:
		to.Ca_state = infoDisorder
	}
	to.Retransmits, to.Probes, to.Backoff = uint8(i.Retransmits), uint8(i.Probes), uint8(i.Backoff)
	to.Options = uint8(number(i.Timestamps)*infoTimestamps | number(i.SACK)*infoSACK | number(i.Scale)*infoScale |
		number(i.ECN)*infoECN | number(i.ECNSeen)*infoECNSeen | number(i.SynData)*infoSynData | number(i.FastChild)*infoFastChild)
	to.Rto, to.Rtt, to.Rttvar, to.Min_rtt, to.Rcv_rtt = usec(i.RTO), usec(i.RTT), usec(i.RTTVar), usec(i.MinRTT), usec(i.RcvRTT)
	to.Ato = usec(i.ATO)
	to.Snd_mss, to.Rcv_mss, to.Advmss, to.Pmtu = uint32(i.SndMSS), uint32(i.RcvMSS), uint32(i.AdvMSS), uint32(i.PMTU)
	to.Unacked, to.Sacked, to.Lost, to.Retrans = segments(i.Unacked), segments(i.Sacked), segments(i.Lost), segments(i.Retrans)
	to.Total_retrans, to.Reordering = uint32(i.TotalRetrans), uint32(i.Reordering)
	to.Snd_cwnd, to.Snd_ssthresh = segments(i.SndCwnd), segments(i.SndSsthresh)
	if i.SndSsthresh == math.MaxInt32 {
		to.Snd_ssthresh = math.MaxInt32 // TCP_INFINITE_SSTHRESH
	}
	to.Snd_wnd, to.Rcv_wnd, to.Rcv_space = uint32(i.SndWnd), uint32(i.RcvWnd), uint32(i.RcvSpace)
	to.Rcv_ssthresh = uint32(i.RcvSsthresh)
	to.Notsent_bytes = uint32(i.NotSent)
	to.Bytes_acked, to.Bytes_received, to.Bytes_sent, to.Bytes_retrans = i.BytesAcked, i.BytesRecv, i.BytesSent, i.BytesRetrans
	to.Segs_in, to.Segs_out, to.Data_segs_in, to.Data_segs_out = uint32(i.SegsIn), uint32(i.SegsOut), uint32(i.DataSegsIn), uint32(i.DataSegsOut)
	to.Delivered, to.Delivered_ce, to.Dsack_dups, to.Reord_seen, to.Rcv_ooopack = uint32(i.Delivered), uint32(i.DeliveredCE), uint32(i.DSACKs), uint32(i.ReordSeen), uint32(i.OutOfOrder)
	to.Pacing_rate, to.Max_pacing_rate, to.Delivery_rate = i.PacingRate, i.MaxPacingRate, i.DeliveryRate
	if to.Max_pacing_rate == 0 {
		to.Max_pacing_rate = math.MaxUint64
	}
	to.Busy_time, to.Rwnd_limited, to.Sndbuf_limited = long(i.Busy), long(i.RwndLimited), long(i.SndbufLimited)
	to.Total_rto, to.Total_rto_recoveries, to.Total_rto_time = uint16(i.Timeouts), uint16(i.Outages), msec(i.OutageTime)
	to.Last_data_sent, to.Last_data_recv, to.Last_ack_recv = msec(i.LastDataSent), msec(i.LastDataRecv), msec(i.LastAckRecv)
}

// infoBits are the bit fields as compilers lay them out: from the lowest bit on where the machine is little endian, else
// from the highest.
func infoBits(i *tcp.Info) (b [2]byte) {
	send, receive, limited, fail := i.SndScale&15, i.RcvScale&15, byte(number(i.AppLimited)), byte(i.FastFail&3)
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return [2]byte{send | receive<<4, limited | fail<<1}
	}
	return [2]byte{send<<4 | receive, limited<<7 | fail<<5}
}
