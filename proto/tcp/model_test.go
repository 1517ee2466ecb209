package tcp

import (
	"fmt"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.7, RFC 5961 §3-5, RFC 7323 §3-5, RFC 3168 §6.1, RFC 7413 §4, RFC 6093.

// A model is what §3.10.7 makes of one connection, written from the RFC and by nothing that the TCP keeps: it knows
// the segments that went in and came out and what the program called. Where the RFC leaves a choice, or a later
// one changed it, the line says so.
type model struct {
	modelled
	state   State
	passive bool

	iss, una, nxt      wire.Seq // nxt: the end of what has been sent
	irs, rcvNxt        wire.Seq
	adv                wire.Seq // the furthest edge that was offered
	wup                wire.Seq // what was last acknowledged (Last.ACK.sent)
	wl1, wl2           wire.Seq
	edge               wire.Seq // the furthest edge that the peer has offered
	maxWnd             int      // the widest window
	synWnd             int      // what our SYN offered
	sndScale, rcvScale int8     // as the SYNs said; -1: no scaling
	peerMSS            int
	tsOK               bool
	recent             uint32 // TS.Recent
	lastVal            uint32 // TSval of what was sent last

	written  int  // bytes that the program wrote
	shut     bool // and it ended its side
	finSent  bool
	orphan   bool // the program has left
	kept     []span
	finSeen  bool
	fin      wire.Seq // of the peer, if finSeen
	finTaken bool     // rcvNxt is beyond it

	syns    int  // SYNs of this side
	asked   bool // one of them asked for ECN
	ecnOK   bool
	echo    bool     // CE has come: ECE goes out until CWR comes
	cwrDue  bool     // the next new text brings CWR
	cwrEnd  wire.Seq // after the last text that brought it, if cwrSent
	cwrSent bool
	up      wire.Seq // after the urgent byte, if urgent
	urgent  bool     // and the peer has not acknowledged it
	fast    bool     // made by a SYN with a cookie: the program has it in SYN-RECEIVED
	gives   bool     // our SYN-ACK may bring a cookie

	waits   bool // the time of TIME-WAIT begins (again); whoever has a clock clears it
	mustACK bool // the next segment is owed: it acknowledges rcvNxt
	mustSYN bool
	resets  []reset // that are owed, in this order
}

// A reset is what §3.5.2 says it looks like.
type reset struct {
	seq, ack wire.Seq
	flags    wire.Flags
}

// What is so for all connections.
type modelled struct {
	listening bool                     // somebody listens at the port
	ecn       int                      // tcp_ecn
	fastOpen  bool                     // Fast Open is on
	cookie    func(cookie []byte) bool // whether it is the peer's
	prog      *reader
}

// A reader is what a program sees of the peer's stream: the urgent byte is not in it, unless it is inline. It is written from
// tcp_check_urg, tcp_urg and tcp_recvmsg_locked of Linux.
type reader struct {
	pos    int // bytes of the stream that are behind the program
	inline bool
	mark   markOf
	at     int // where the mark is, if there is one
}

type markOf uint8

const (
	noMark markOf = iota
	awaitedMark
	validMark
	takenMark
)

// announced takes in that the byte at a place is urgent, when so many have come.
func (r *reader) announced(at, come int) {
	if r.mark != noMark && at <= r.at {
		return
	}
	if r.mark != noMark && r.at == r.pos && r.pos < come && !r.inline {
		r.pos++ // the old one is not to be read as an ordinary one
	}
	r.mark, r.at = awaitedMark, at
}

// read is a read of at most n bytes when so many have come: n bytes from a place.
func (r *reader) read(n, come int) (from, count int) {
	if r.pos < come && r.mark != noMark && r.at == r.pos && !r.inline {
		r.pos, r.mark = r.pos+1, noMark
	}
	n = min(n, come-r.pos)
	if r.mark != noMark && r.at > r.pos {
		n = min(n, r.at-r.pos)
	}
	from = r.pos
	r.pos += n
	if r.mark != noMark && r.pos > r.at {
		r.mark = noMark
	}
	return from, n
}

// dead is the end of a connection.
func (m *model) dead() {
	*m = model{modelled: m.modelled, state: Closed, resets: m.resets}
	if m.listening {
		m.state = Listen
	}
}

// unknown is the reset that answers a segment which fits nothing.
func (m *model) unknown(s *segment) {
	switch {
	case s.flags&wire.RST != 0:
	case s.flags&wire.ACK != 0:
		m.resets = append(m.resets, reset{seq: s.ack, flags: wire.RST})
	default:
		m.resets = append(m.resets, reset{ack: s.end(), flags: wire.RST | wire.ACK})
	}
}

// aborted is the ABORT call (§3.10.5). Where only our FIN is to be acknowledged yet there is nothing to reset.
func (m *model) aborted(unread bool) {
	if (m.state == Closing || m.state == LastAck) && m.finSent && !unread {
		m.dead()
		return
	}
	m.abort()
}

// abort is the reset of a connection that the peer knows.
func (m *model) abort() {
	if m.state >= SynReceived && m.state != TimeWait {
		m.resets = append(m.resets, reset{seq: m.nxt, ack: m.rcvNxt, flags: wire.RST | wire.ACK})
	}
	m.dead()
}

// arrives is SEGMENT ARRIVES.
func (m *model) arrives(s *segment, echoOK bool) {
	switch m.state {
	case Closed: // §3.10.7.1
		m.unknown(s)
	case Listen:
		m.inListen(s)
	case SynSent:
		m.inSynSent(s, echoOK)
	case TimeWait:
		m.inTimeWait(s)
	default:
		m.otherwise(s)
	}
}

// inListen is §3.10.7.2. A SYN with a FIN is dropped, as by everyone.
func (m *model) inListen(s *segment) {
	switch {
	case s.flags&wire.RST != 0:
	case s.flags&wire.ACK != 0:
		m.unknown(s)
	case s.flags&(wire.SYN|wire.FIN) == wire.SYN:
		m.passive = true
		m.state = SynReceived
		m.mustSYN = true
		m.takeSYN(s)
		// RFC 3168 §6.1.1: who is ECT in a SYN means something else, if it means AccECN then with a reserved bit.
		m.ecnOK = m.ecn != ECNOff && s.flags.Has(wire.ECE|wire.CWR) && (s.ecn == wire.NotECT || s.reserved != 0)
		m.fastSYN(s)
	}
}

// fastSYN is RFC 7413 §4.2.
func (m *model) fastSYN(s *segment) {
	switch {
	case !m.fastOpen || s.opt.FastOpen == nil:
	case m.cookie(s.opt.FastOpen):
		m.fast = true
		m.rcvNxt = m.rcvNxt.Add(len(s.payload))
	default:
		m.gives = true
	}
}

func (m *model) takeSYN(s *segment) {
	m.irs, m.rcvNxt, m.wup = s.seq, s.seq.Add(1), s.seq.Add(1)
	m.adv = m.rcvNxt.Add(m.synWnd)
	m.wl1, m.wl2 = s.seq, s.ack
	m.tsOK = s.opt.TS
	m.recent = s.opt.TSVal
	m.peerMSS = int(s.opt.MSS)
	if m.peerMSS == 0 {
		m.peerMSS = mssDefault4
	}
	m.peerMSS = max(m.peerMSS, mssMin)
	m.sndScale = s.opt.WScale
	m.offered(s, 0)
}

// offered takes in the peer's window, which counts from what the segment acknowledges.
func (m *model) offered(s *segment, scale int8) {
	wnd := int(s.wnd) << max(scale, 0)
	m.maxWnd = max(m.maxWnd, wnd)
	if s.flags&wire.ACK != 0 {
		m.edge = m.edge.Max(s.ack.Add(wnd))
	}
}

// scale is the shift of one direction's windows: both have to offer it.
func (m *model) scale(of int8) int8 {
	if min(m.sndScale, m.rcvScale) < 0 {
		return 0
	}
	return of
}

// inSynSent is §3.10.7.3, with the check of the echoed timestamp of RFC 7323 §5 that Linux makes.
func (m *model) inSynSent(s *segment, echoOK bool) {
	acked := s.flags&wire.ACK != 0
	switch {
	case acked && (s.ack.AtOrBefore(m.iss) || s.ack.After(m.nxt)),
		acked && s.flags&wire.SYN != 0 && s.opt.TS && !echoOK:
		m.unknown(s)
	case s.flags&wire.RST != 0:
		if acked {
			m.dead()
		}
	case s.flags&wire.SYN == 0:
	case !acked: // simultaneous open; the text comes again
		m.takeSYN(s)
		m.ecnOK = m.asked && s.flags.Has(wire.ECE|wire.CWR)
		m.state = SynReceived
		m.mustSYN = true
	default:
		m.una, m.nxt, m.edge = s.ack, s.ack, s.ack // what came with our SYN and was not taken goes out again
		m.takeSYN(s)
		m.ecnOK = m.asked && s.flags&(wire.ECE|wire.CWR) == wire.ECE
		m.established()
		m.mustACK = true
		if len(s.payload) > 0 || s.flags&wire.FIN != 0 {
			s.seq = s.seq.Add(1)
			m.text(s)
		}
	}
}

// begin is a new connection, by a call or a SYN, whose first number is not the model's business.
func (m *model) begin(iss wire.Seq) {
	m.iss, m.una, m.nxt = iss, iss, iss.Add(1)
	if m.fast {
		m.una = m.nxt
		m.edge = m.nxt.Add(m.maxWnd)
	}
}

func (m *model) established() {
	m.state, m.mustSYN = Established, false
	if m.shut {
		m.state = FinWait1
	}
}

// otherwise is §3.10.7.4.
func (m *model) otherwise(s *segment) {
	rst, scale := s.flags&wire.RST != 0, m.scale(m.sndScale)
	if m.state == SynReceived && s.flags&wire.SYN != 0 && !rst && s.seq == m.irs {
		if s.flags&wire.ACK == 0 { // the SYN again, so ours was lost
			m.mustSYN = true
			return
		}
		s.seq, s.flags = s.seq.Add(1), s.flags&^wire.SYN // §3.5, figure 8
		scale = 0                                        // RFC 7323 §2.2
	}
	// PAWS, RFC 7323 §5.3 R1, with a tick of grace as Linux has it; a segment without timestamps is dropped, but not in the handshake.
	if m.tsOK && !rst {
		switch {
		case !s.opt.TS && m.state != SynReceived:
			return
		case s.opt.TS && int32(s.opt.TSVal-m.recent) < -1:
			m.unacceptable(s)
			return
		}
	}
	// First. An empty segment is taken from the last acknowledgement up to the edge itself, as by Linux.
	if s.seq.After(m.adv) || s.end().AtOrBefore(m.rcvNxt) && !(s.len() == 0 && s.seq.AtOrAfter(m.wup)) {
		m.unacceptable(s)
		return
	}
	// Second, RFC 5961 §3.2: only at the very edge; else a challenge, which is limited.
	if rst {
		if s.seq == m.rcvNxt {
			m.dead()
		}
		return
	}
	// Fourth, RFC 5961 §4: a challenge in every state.
	if s.flags&wire.SYN != 0 {
		return
	}
	// Fifth.
	if s.flags&wire.ACK == 0 {
		return
	}
	if m.state == SynReceived {
		if s.ack.AtOrBefore(m.iss) || s.ack.After(m.nxt) {
			m.unknown(s)
			return
		}
		m.established()
		if !m.fast {
			m.nxt, m.edge = s.ack, s.ack
		}
		m.una = s.ack
		m.wl1, m.wl2 = s.seq, s.ack
		m.offered(s, scale)
	}
	if m.tsOK && s.opt.TS && s.seq.AtOrBefore(m.wup) && int32(s.opt.TSVal-m.recent) >= 0 {
		m.recent = s.opt.TSVal // RFC 7323 §4.3
	}
	if !m.acknowledged(s, scale) {
		return
	}
	// Sixth.
	if m.state == Established || m.state == FinWait1 || m.state == FinWait2 {
		m.urg(s)
	}
	// Seventh, eighth.
	if s.len() > 0 && m.state != Closed && m.state != Listen && m.state != TimeWait {
		m.text(s)
	}
}

// unacceptable is a segment that fails the first step: it is answered, but those without text, which two
// confused ends could send each other for ever, not each time.
func (m *model) unacceptable(s *segment) {
	if s.flags&wire.RST == 0 && s.flags&wire.SYN == 0 && s.len() > 0 {
		m.mustACK = true
	}
}

// acknowledged is the fifth step in the synchronized states. False: the rest of the segment is not looked at.
func (m *model) acknowledged(s *segment, scale int8) bool {
	switch {
	case s.ack.After(m.nxt), s.ack.Before(m.una.Add(-m.maxWnd)): // RFC 5961 §5
		return false
	case s.ack.Before(m.una):
		return true
	}
	newer := s.ack.After(m.una) // whatever its number: as Linux, or the window would move on with SND.UNA
	m.una = s.ack
	if newer || m.wl1.Before(s.seq) || m.wl1 == s.seq && m.wl2.AtOrBefore(s.ack) {
		m.wl1, m.wl2 = s.seq, s.ack
		m.offered(s, scale)
	}
	if m.urgent && m.una.AtOrAfter(m.up) {
		m.urgent = false
	}
	if m.ecnOK && s.flags&wire.ECE != 0 && m.una != m.nxt {
		// RFC 3168 §6.1.2: once for all that is on its way, and it is told with the next new text.
		m.cwrDue = m.cwrDue || !m.cwrSent || m.cwrEnd.AtOrBefore(m.una)
	}
	if m.finSent && m.una == m.ourFIN().Add(1) {
		switch m.state {
		case FinWait1:
			m.state = FinWait2
		case Closing:
			m.timeWait()
		case LastAck:
			m.dead()
		}
	}
	return true
}

func (m *model) ourFIN() wire.Seq { return m.iss.Add(1 + m.written) }

func (m *model) timeWait() {
	m.state, m.waits = TimeWait, true
	m.kept, m.ecnOK = nil, false
}

// urg is the sixth step: the pointer is behind the urgent byte, as everyone has it (RFC 6093 §2).
func (m *model) urg(s *segment) {
	offset := func(s wire.Seq) int { return s.Sub(m.irs) - 1 }
	if s.flags&wire.URG != 0 {
		at := s.seq.Add(max(int(s.urgent)-1, 0))
		if at.AtOrAfter(m.rcvNxt) && !m.finSeen {
			m.prog.announced(offset(at), m.received())
		}
	}
	if i := m.prog.at - offset(s.seq); m.prog.mark == awaitedMark && i >= 0 && i < len(s.payload) {
		m.prog.mark = validMark
	}
}

// text is the seventh and the eighth step. What the peer says beyond its own FIN is dropped.
func (m *model) text(s *segment) {
	if m.state != Established && m.state != FinWait1 && m.state != FinWait2 {
		return // after the peer's FIN
	}
	p, fin := span{s.seq, s.seq.Add(len(s.payload))}, s.flags&wire.FIN != 0
	if m.orphan && p.end != p.start && s.end().After(m.rcvNxt) {
		m.unknown(s) // nobody reads it (RFC 1122 §4.2.2.13)
		m.dead()
		return
	}
	p.start = p.start.Max(m.rcvNxt)
	p.end = p.end.Max(p.start)
	if m.finSeen && p.end.After(m.fin) {
		m.mustACK = true
		return
	}
	if p.end.After(m.adv) && p.end != p.start {
		p.end, fin = m.adv, false
		if !p.end.After(p.start) {
			m.mustACK = true
			return
		}
	}
	if m.ecnOK { // RFC 3168 §6.1.3
		if s.flags&wire.CWR != 0 {
			m.echo, m.mustACK = false, true
		}
		m.echo = m.echo || s.ecn == wire.CE
	}
	last := m.rcvNxt
	for _, k := range m.kept {
		last = last.Max(k.end)
	}
	if p.start.After(m.rcvNxt) {
		m.mustACK = true // RFC 5681 §4.2
		if p.end != p.start {
			m.kept = append(m.kept, p)
			last = last.Max(p.end)
		}
	} else {
		m.rcvNxt = p.end
		m.join()
		last = last.Max(m.rcvNxt)
	}
	if fin && !m.finSeen && !p.end.Before(last) {
		m.finSeen, m.fin = true, p.end
	}
	if !m.finSeen || m.rcvNxt != m.fin {
		return
	}
	m.rcvNxt = m.rcvNxt.Add(1)
	m.finTaken, m.mustACK = true, true
	switch m.state {
	case Established:
		m.state = CloseWait
	case FinWait1:
		m.state = Closing
	case FinWait2:
		m.timeWait()
	}
}

// join moves rcvNxt over what has come already.
func (m *model) join() {
	for again := true; again; {
		again = false
		for _, k := range m.kept {
			if k.start.AtOrBefore(m.rcvNxt) && k.end.After(m.rcvNxt) {
				m.rcvNxt, again = k.end, true
			}
		}
	}
	left := m.kept[:0]
	for _, k := range m.kept {
		if k.end.After(m.rcvNxt) {
			left = append(left, k)
		}
	}
	m.kept = left
}

// inTimeWait is what a segment does there: a reset nothing (RFC 1337), a SYN beyond all that was may begin
// anew (RFC 6191), anything else is acknowledged again.
func (m *model) inTimeWait(s *segment) {
	old := m.tsOK && s.opt.TS && int32(s.opt.TSVal-m.recent) < 0
	newer := s.seq.After(m.rcvNxt) || m.tsOK && s.opt.TS && int32(s.opt.TSVal-m.recent) > 0
	switch {
	case s.flags&wire.RST != 0:
	case s.flags&(wire.SYN|wire.ACK) == wire.SYN && !old && newer:
		if !m.listening {
			m.unknown(s)
			return
		}
		m.dead()
		m.inListen(s)
	case s.flags&wire.FIN != 0 && !old && s.end() == m.rcvNxt:
		if m.tsOK && s.opt.TS {
			m.recent = s.opt.TSVal
		}
		m.mustACK, m.waits = true, true
	case s.len() > 0:
		m.mustACK = true
	}
}

// received is how many bytes of the peer the program may have.
func (m *model) received() int {
	n := m.rcvNxt.Sub(m.irs) - 1
	if m.finTaken {
		n--
	}
	return n
}

// sends takes in a segment that came out, and says what is wrong with it.
func (m *model) sends(s *segment, text func(from wire.Seq, p []byte) bool) error {
	if s.flags&wire.RST != 0 {
		if len(m.resets) == 0 {
			return fmt.Errorf("a reset that nobody is owed")
		}
		want := m.resets[0]
		m.resets = m.resets[1:]
		if got := (reset{s.seq, s.ack, s.flags}); got != want {
			return fmt.Errorf("the reset is %+v, want %+v", got, want)
		}
		return nil
	}
	switch {
	case m.state == Closed || m.state == Listen:
		return fmt.Errorf("%v without a connection", s.flags)
	case s.flags&wire.SYN != 0:
		return m.sendsSYN(s, text)
	case m.state == SynSent:
		return fmt.Errorf("%v in SYN-SENT", s.flags)
	}
	return m.sendsText(s, text)
}

func (m *model) sendsSYN(s *segment, text func(from wire.Seq, p []byte) bool) error {
	want := wire.SYN
	switch {
	case m.state == SynReceived && m.ecnOK:
		want |= wire.ACK | wire.ECE
	case m.state == SynReceived:
		want |= wire.ACK
	case m.ecn == ECNAsk && m.syns == 0: // the others do not, lest that is what loses them (RFC 3168 §6.1.1.1)
		want |= wire.ECE | wire.CWR
		m.asked = true
	}
	if m.state == SynSent {
		m.syns++
	}
	if n := len(s.payload); n > 0 && m.state == SynSent && m.syns == 1 && m.fastOpen && len(s.opt.FastOpen) > 0 && n <= m.written {
		m.nxt = m.iss.Add(1 + n)
		if !text(m.iss.Add(1), s.payload) {
			return fmt.Errorf("%d bytes with a SYN are not what was written", n)
		}
	} else if n > 0 {
		return fmt.Errorf("%d bytes with a SYN", n)
	}
	if s.opt.FastOpen != nil && (m.state == SynReceived && !m.gives || !m.fastOpen || m.state == SynReceived && !m.cookie(s.opt.FastOpen)) {
		return fmt.Errorf("a cookie %x", s.opt.FastOpen)
	}
	if s.ecn != wire.NotECT {
		return fmt.Errorf("a SYN is %v", s.ecn)
	}
	if m.state != SynSent && m.state != SynReceived || s.flags != want || s.seq != m.iss {
		return fmt.Errorf("%v with number %v, ISS is %v", s.flags, s.seq, m.iss)
	}
	if m.state == SynReceived && s.ack != m.rcvNxt {
		return fmt.Errorf("it acknowledges %v, want %v", s.ack, m.rcvNxt)
	}
	if m.state == SynReceived && (s.opt.TS != m.tsOK || m.tsOK && s.opt.TSEcr != m.recent) {
		return fmt.Errorf("timestamps %v, echo %d, want %v, %d", s.opt.TS, s.opt.TSEcr, m.tsOK, m.recent)
	}
	m.mustSYN, m.mustACK = false, false
	m.rcvScale = s.opt.WScale
	m.synWnd = int(s.wnd) // never scaled
	if m.state == SynReceived {
		m.adv = m.rcvNxt.Add(m.synWnd).Max(m.adv)
		m.wup = m.rcvNxt
	}
	return nil
}

// sendsText is any segment of a synchronized state, or an acknowledgement in SYN-RECEIVED.
func (m *model) sendsText(s *segment, text func(from wire.Seq, p []byte) bool) error {
	end := s.end()
	if err := m.marked(s); err != nil {
		return err
	}
	probe := s.seq == m.una.Add(-1) && s.len() == 0
	switch {
	case s.flags&^(wire.PSH|wire.FIN|wire.ECE|wire.CWR|wire.URG) != wire.ACK:
		return fmt.Errorf("flags %v", s.flags)
	case s.ack != m.rcvNxt:
		return fmt.Errorf("it acknowledges %v, want %v", s.ack, m.rcvNxt)
	case s.seq.Before(m.una) && !probe, s.seq.After(m.nxt):
		return fmt.Errorf("number %v, want one from %v to %v", s.seq, m.una, m.nxt)
	case s.len() > 0 && (m.state == SynReceived && !m.fast || m.state == FinWait2 || m.state == TimeWait):
		return fmt.Errorf("text in %v", m.state)
	case s.len() > 0 && end.After(m.edge):
		return fmt.Errorf("%v-%v is beyond the window, %v", s.seq, end, m.edge)
	case len(s.payload) > m.peerMSS:
		return fmt.Errorf("%d bytes, the peer takes %d", len(s.payload), m.peerMSS)
	case !text(s.seq, s.payload):
		return fmt.Errorf("%d bytes from %v are not what was written", len(s.payload), s.seq)
	case s.flags&wire.FIN != 0 && (!m.shut || end != m.ourFIN().Add(1)):
		return fmt.Errorf("a FIN at %v, closed is %v, the last byte %v", end, m.shut, m.ourFIN())
	case s.flags&wire.FIN == 0 && end.After(m.ourFIN()) && s.len() > 0:
		return fmt.Errorf("up to %v, %v was written", end, m.ourFIN())
	case s.opt.TS != m.tsOK:
		return fmt.Errorf("timestamps %v, want %v", s.opt.TS, m.tsOK)
	case m.tsOK && s.opt.TSEcr != m.recent:
		return fmt.Errorf("the echo is %d, want %d", s.opt.TSEcr, m.recent)
	case m.tsOK && m.lastVal != 0 && int32(s.opt.TSVal-m.lastVal) < 0:
		return fmt.Errorf("timestamp %d after %d", s.opt.TSVal, m.lastVal)
	}
	m.lastVal = s.opt.TSVal
	m.nxt = m.nxt.Max(end)
	m.finSent = m.finSent || s.flags&wire.FIN != 0
	m.mustACK = false
	if m.state == TimeWait {
		return nil
	}
	edge := m.rcvNxt.Add(int(s.wnd) << m.scale(m.rcvScale))
	if edge.Before(m.adv) && !m.finTaken {
		return fmt.Errorf("the window moves back from %v to %v", m.adv, edge)
	}
	m.adv = m.adv.Max(edge)
	m.wup = m.rcvNxt
	return nil
}

// marked looks at what a segment says of congestion and of urgent data.
func (m *model) marked(s *segment) error {
	fresh := len(s.payload) > 0 && s.seq == m.nxt // RFC 3168 §6.1.4-6: what is sent again, and what has no text, is not ECT
	cwr := s.flags&wire.CWR != 0
	switch {
	case (s.flags&wire.ECE != 0) != (m.ecnOK && m.echo):
		return fmt.Errorf("ECE %v, CE is to be told %v", s.flags&wire.ECE != 0, m.echo)
	case (s.ecn == wire.ECT0) != (m.ecnOK && fresh) || s.ecn != wire.ECT0 && s.ecn != wire.NotECT:
		return fmt.Errorf("it is %v, ECN is agreed on %v, the text new %v", s.ecn, m.ecnOK, fresh)
	case cwr && !(m.ecnOK && fresh), !cwr && fresh && m.cwrDue:
		return fmt.Errorf("CWR %v, it is due %v, the text new %v", cwr, m.cwrDue, fresh)
	}
	if cwr {
		m.cwrDue, m.cwrSent, m.cwrEnd = false, true, s.seq.Add(len(s.payload))
	}
	urg, pointer := false, 0
	if m.urgent && m.up.After(s.seq) {
		urg, pointer = true, m.up.Sub(s.seq)
		if pointer > 1<<16-1 { // as Linux: far away is said only by the last segment there is
			urg, pointer = m.nxt.Max(s.end()).Sub(s.seq) < 1<<16, 1<<16-1
		}
	}
	if (s.flags&wire.URG != 0) != urg || urg && int(s.urgent) != pointer {
		return fmt.Errorf("URG %v with %d, want %v with %d", s.flags&wire.URG != 0, s.urgent, urg, pointer)
	}
	return nil
}
