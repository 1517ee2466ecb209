package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.1, §3.7.1, RFC 7323 §3, RFC 6691.

// A segment is one that arrived, as far as all states look at it.
type segment struct {
	seq, ack wire.Seq
	flags    wire.Flags
	wnd      uint32 // as it stands in the header
	urgent   uint16 // the pointer
	payload  []byte
	opt      wire.TCPOptions
	optBad   bool
	ecn      wire.ECN // of the IP header
	reserved uint8    // bits of the header
	syn      bool     // it came with a SYN, which may have been taken off since: its window is not scaled
}

func (s *segment) parse(h wire.TCP) {
	s.seq, s.ack = h.Seq(), h.Ack()
	s.flags = h.Flags()
	s.syn = s.flags&wire.SYN != 0
	s.wnd = uint32(h.Window())
	s.urgent = h.Urgent()
	s.reserved = h.Reserved()
	s.payload = h.Payload()
	var ok bool
	s.opt, ok = wire.ParseTCPOptions(h.Options())
	s.optBad = !ok
}

// len is SEG.LEN.
func (s *segment) len() int {
	n := len(s.payload)
	if s.flags&wire.SYN != 0 {
		n++
	}
	if s.flags&wire.FIN != 0 {
		n++
	}
	return n
}

// end is the first number after the segment.
func (s *segment) end() wire.Seq { return s.seq.Add(s.len()) }

// tsNow is our timestamp clock: milliseconds (RFC 7323 §5.4), from a beginning of the host pair's own.
func (c *Conn) tsNow(now mono.Time) uint32 { return c.ts.offset + tsClock(now) }

func tsClock(now mono.Time) uint32 { return uint32(uint64(now) / 1e6) }

// sendMSS returns how much payload a segment without SACK blocks has (Eff.snd.MSS of
// RFC 9293 §3.7.1: only the options that are there are subtracted).
func (c *Conn) sendMSS() int {
	if c.tsOK {
		return int(c.snd.mss) - wire.TCPTimestampsLen
	}
	return int(c.snd.mss)
}

// resetMSS takes the least of what the path, the peer and the program allow.
func (c *Conn) resetMSS() {
	c.snd.mss = c.mssMost()
	if c.searching() {
		c.snd.mss = max(min(c.snd.mss, c.rare.search.low), mssMin)
	}
}

// mssMost is the MSS but for what a search for the path's MTU says.
func (c *Conn) mssMost() uint16 {
	mss := c.snd.pathMSS
	if c.snd.peerMSS != 0 {
		mss = min(mss, c.snd.peerMSS)
	}
	if c.opt.MaxSeg != 0 {
		mss = min(mss, c.opt.MaxSeg)
	}
	return max(mss, mssMin)
}

// put writes a segment of c whose payload, n bytes, stands behind where the header will end. It takes
// in what every segment tells the peer: acknowledgement, window, timestamp, holes.
func (c *Conn) put(buf []byte, seq wire.Seq, flags wire.Flags, header, n int, now mono.Time) int {
	f := wire.TCPFields{
		SrcPort: c.key.localPort(), DstPort: c.key.remotePort(),
		Seq: seq, Flags: flags, OptionsLen: header - wire.TCPLen,
	}
	if flags&wire.ACK != 0 {
		f.Ack = c.rcv.nxt
		f.Window = c.advertise()
		f.Flags |= c.ecn.flags()
		c.acknowledged()
	}
	if c.urgentMode() && c.snd.up.After(seq) {
		c.putUrgent(&f)
	}
	wire.PutTCP(buf, &f)
	c.putOptions(buf[wire.TCPLen:header], now)
	pseudo := wire.Sum(c.pseudo) + wire.Sum(header+n)
	if tr := c.t.train; tr != nil && tr.Segment != 0 {
		wire.TCP(buf[:header]).SetChecksum(pseudo.Fold())
		return header
	}
	wire.TCP(buf[:header+n]).Seal(pseudo)
	return header + n
}

// headerLen is the length of a header with the options that a segment has now.
func (c *Conn) headerLen() int {
	return wire.TCPLen + wire.TCPOptionsLen(c.tsOK, c.sackCount())
}

func (c *Conn) putOptions(b []byte, now mono.Time) {
	switch {
	case len(b) == 0:
	case c.sackCount() == 0:
		wire.PutTimestamps(b, c.tsNow(now), c.ts.recent)
	default:
		o := wire.NoTCPOptions
		if c.tsOK {
			o.TS, o.TSVal, o.TSEcr = true, c.tsNow(now), c.ts.recent
		}
		c.putSACK(&o)
		wire.PutTCPOptions(b, &o)
	}
}

// advMSS is the MSS that the peer is told.
func (c *Conn) advMSS() uint16 {
	mss := c.snd.pathMSS
	if c.opt.MaxSeg != 0 {
		mss = min(mss, c.opt.MaxSeg)
	}
	return max(mss, mssMin)
}

// putSYN writes our SYN, or SYN-ACK.
func (c *Conn) putSYN(buf []byte, now mono.Time) int {
	p := &c.t.params
	o := wire.TCPOptions{WScale: -1}
	o.MSS = c.advMSS()
	f := wire.TCPFields{SrcPort: c.key.localPort(), DstPort: c.key.remotePort(), Seq: c.snd.iss, Flags: wire.SYN}
	if c.state == SynReceived {
		f.Flags |= wire.ACK
		f.Ack = c.rcv.nxt
		if c.ecn&ecnOK != 0 {
			f.Flags |= wire.ECE
		}
		o.SACKPermitted, o.TS = c.sackOK, c.tsOK
		if c.scaleOK {
			o.WScale = int8(c.rcv.scale)
		}
		if c.tfo&fastGive != 0 && c.retrans == 0 {
			cookie := fastCookieOf(&c.listener.fastKeysOf()[0], &c.key)
			o.FastOpen = cookie[:]
		}
	} else {
		o.SACKPermitted, o.TS = !p.NoSACK, !p.NoTimestamps
		if !p.NoWindowScaling {
			o.WScale = int8(c.rcv.scale)
		}
		f.Flags |= c.askECN()
	}
	if o.TS {
		o.TSVal, o.TSEcr = c.tsNow(now), c.ts.recent
	}
	f.Window = c.advertiseSYN()
	c.lastSend = now // of the last one: only one that was sent once is timed
	data := 0
	if c.state == SynSent {
		data = c.synData(buf, &o, now)
	}
	f.OptionsLen = wire.PutSYNOptions(buf[wire.TCPLen:], &o)
	n := wire.PutTCP(buf, &f)
	n += c.tx.CopyAt(c.tx.Head(), buf[n:n+data])
	wire.TCP(buf[:n]).Seal(wire.Sum(c.pseudo) + wire.Sum(n))
	c.want &^= wantSYN | wantACK
	return n
}
