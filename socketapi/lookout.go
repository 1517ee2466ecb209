package socketapi

import (
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// Read first: tcp_poll in net/ipv4/tcp.c, datagram_poll in net/core/datagram.c.

// A lookout is who watches a socket by poll, select or epoll. News come from the gate of what the
// socket is at the time: a stream socket has one once it is being connected or listens, and another
// when it is connected again.
//
// Its lock is taken after those of a socket's settings and of a core, and before that of watchers.
type lookout struct {
	mu   sync.Mutex
	at   *waiting // nil: nothing brings news
	list []watch
}

// add lets somebody hear of what happens from now on.
func (l *lookout) add(w watch) {
	l.mu.Lock()
	l.list = append(l.list, w)
	if l.at != nil {
		l.at.attach(w)
	}
	l.mu.Unlock()
}

// remove takes add back. When it returns nobody tells w any more.
func (l *lookout) remove(w watch) {
	l.mu.Lock()
	if i := slices.IndexFunc(l.list, func(x watch) bool { return x.w == w.w && x.by == w.by }); i >= 0 {
		l.list = slices.Delete(l.list, i, i+1)
	}
	if l.at != nil {
		l.at.detach(w)
	}
	l.mu.Unlock()
}

// move says that news come from another gate, or with nil from none. Everyone looks again.
func (l *lookout) move(to *waiting) {
	l.mu.Lock()
	for _, w := range l.list {
		if l.at != nil {
			l.at.detach(w)
		}
		if to != nil {
			to.attach(w)
		}
	}
	l.at = to
	l.rouse()
	l.mu.Unlock()
}

// alarm makes everyone look again.
func (l *lookout) alarm() {
	l.mu.Lock()
	l.rouse()
	l.mu.Unlock()
}

// tell tells everyone of what no gate has told.
func (l *lookout) tell(ev ring.Events) {
	l.mu.Lock()
	for i := range l.list {
		l.list[i].tell(ev)
	}
	l.mu.Unlock()
}

func (l *lookout) rouse() {
	for i := range l.list {
		l.list[i].tell(lookAgain)
	}
}

// source is where news come from, nil: nowhere.
func (l *lookout) source() *waiting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at
}

// attach lets w hear of the gate, if nobody has closed it for good.
func (s *waiting) attach(w watch) {
	s.who.mu.Lock()
	if !s.who.over {
		s.who.list = append(s.who.list, w)
		s.gate.Watch()
	}
	s.who.mu.Unlock()
}

// detach takes attach back, if part has not.
func (s *waiting) detach(w watch) {
	s.who.mu.Lock()
	if s.who.take(w) {
		s.gate.Unwatch()
	}
	s.who.mu.Unlock()
}

// part sends away whoever watches the gate: it stands in memory that is about to become something
// else. No call is under way.
func (s *waiting) part() {
	s.who.mu.Lock()
	s.who.over = true
	for range s.who.list {
		s.gate.Unwatch()
	}
	clear(s.who.list)
	s.who.list = nil
	s.who.mu.Unlock()
}

// gone is what a socket says of itself whose host has ended: no call waits.
const gone = ring.In | ring.Out | ring.Err | ring.Hup | ring.RdHup

// polled is what poll(2) says of a connection.
func (s *stream) polled() ring.Events {
	if !s.enter() {
		return 0
	}
	defer s.leave()
	if s.ended.Load() != 0 || s.host.Closed() {
		return gone
	}
	ev := s.enough(s.conn.Polled(), 0)
	if s.left.Peek() != 0 {
		ev |= ring.Err
	}
	return ev
}

// polled is what poll(2) says of a stream socket.
func (s *tcpSocket) polled() ring.Events {
	ev := s.polledAs() | s.copiedEvents()
	if s.told() {
		ev |= ring.Err
	}
	return ev
}

// polledAs is what it says by what the socket is: one that has never been connected has hung up, and could be
// written to.
func (s *tcpSocket) polledAs() ring.Events {
	if l := s.listener.Load(); l != nil {
		if l.host.Closed() {
			return gone
		}
		return l.ready(need{})
	}
	if conn := s.conn.Load(); conn != nil {
		return conn.polled()
	}
	ev := ring.Out | ring.Hup
	if s.shut.Load()&(unix.SHUT_RD+1) != 0 {
		ev |= ring.In | ring.RdHup
	}
	if s.pending.Peek() != 0 {
		ev |= ring.Err
	}
	return ev
}

// polled is what poll(2) says of a socket of datagrams.
func (s *datagram) polled() (ev ring.Events) {
	if s.ended.Load() != 0 || s.host.Closed() {
		return gone
	}
	read, sent := s.readShut.Load(), s.sendShut.Load()
	if read {
		ev |= ring.In | ring.RdHup
	}
	if read && sent {
		ev |= ring.Hup
	}
	if s.soErr.Peek() != 0 || s.reported() {
		ev |= ring.Err
	}
	for _, end := range s.ends {
		if end.Recv.Len() > 0 {
			ev |= ring.In
		}
		if end.Send.Room(1) {
			ev |= ring.Out
		}
		if end.Errors.Len() > 0 {
			ev |= ring.Err
		}
	}
	if ev&ring.Err != 0 && s.errorsUrgent.Load() {
		ev |= ring.Pri
	}
	return ev
}

func (s *udpSocket) polled() ring.Events {
	ev := s.d.polled()
	if ev |= s.copiedEvents(); ev&ring.Err != 0 && s.d.errorsUrgent.Load() {
		ev |= ring.Pri
	}
	return ev
}

func (s *packetSocket) polled() ring.Events { return s.d.polled() }

// The bits of poll(2), which those of epoll(7) are too.
const (
	pollIn     = unix.POLLIN | unix.EPOLLRDNORM
	pollOut    = unix.POLLOUT | unix.EPOLLWRNORM
	pollAlways = unix.POLLERR | unix.POLLHUP | unix.POLLNVAL // told also who has not asked
)

// pollBits is events in the words of poll(2). Datagrams say POLLWRBAND, streams do not.
func pollBits(ev ring.Events, stream bool) (bits uint32) {
	if ev&ring.In != 0 {
		bits |= pollIn
	}
	if ev&ring.Out != 0 {
		bits |= pollOut
		if !stream {
			bits |= unix.EPOLLWRBAND
		}
	}
	if ev&ring.Err != 0 {
		bits |= unix.POLLERR
	}
	if ev&ring.Hup != 0 {
		bits |= unix.POLLHUP
	}
	if ev&ring.RdHup != 0 {
		bits |= unix.POLLRDHUP
	}
	if ev&ring.Pri != 0 {
		bits |= unix.POLLPRI
	}
	return bits
}

// pollWants is which events at a gate can bring what bits ask for.
func pollWants(bits uint32) ring.Events {
	ev := ring.Err | ring.Hup | ring.Change
	if bits&(pollIn|unix.POLLRDHUP) != 0 {
		ev |= ring.In | ring.RdHup
	}
	if bits&(pollOut|unix.EPOLLWRBAND) != 0 {
		ev |= ring.Out
	}
	if bits&unix.POLLPRI != 0 {
		ev |= ring.Pri
	}
	return ev
}
