package tcp

import (
	"net/netip"

	"github.com/xdpsock/xdpsock/proto/ring"
)

// A Row is what people are shown of a listener, a connection, or what is left of one in
// TIME-WAIT. The queues are those of ss(8).
type Row struct {
	Local, Remote netip.AddrPort // Remote is not valid for a listener
	State         State
	RecvQ         int // bytes that the program has not read; of a listener, connections that wait for Accept
	SendQ         int // bytes that the peer has not acknowledged; of a listener, its backlog

	// Gate tells that listeners of several cores are one socket's. It is nil for everything else.
	Gate *ring.Gate
}

// A Cursor is where a walk goes on. The zero value is the start.
type Cursor struct {
	stage walkStage
	at    int // the next port, or index
}

type walkStage uint8

const (
	walkListeners walkStage = iota
	walkConns
	walkTimeWait
	walkOver
)

// Over says whether the walk is at its end.
func (c Cursor) Over() bool { return c.stage == walkOver }

// rowCost is as how many unused places one that is used counts: so much longer it takes.
const rowCost = 16

// Walk calls f for what it finds in the next places, so many at most if they are unused and fewer
// if not, and returns where to go on. Between two steps the core may turn: what changes its
// state meanwhile can be shown twice, or not at all.
func (t *TCP) Walk(from Cursor, most int, f func(Row)) Cursor {
	c := from
	for ; most > 0 && !c.Over(); most-- {
		switch {
		case c.stage == walkListeners && c.at <= 65535:
			most -= rowCost * t.showListeners(uint16(c.at), f)
		case c.stage == walkConns && c.at < len(t.slabs)*slabConns:
			most -= rowCost * t.conn(uint32(c.at)).show(f)
		case c.stage == walkTimeWait && c.at < len(t.tw.slabs)*slabConns:
			most -= rowCost * t.showTimeWait(t.tw.at(uint32(c.at)+1), f)
		default:
			c = Cursor{stage: c.stage + 1}
			continue
		}
		c.at++
	}
	return c
}

// The show methods return how many rows there were.

func (t *TCP) showListeners(port uint16, f func(Row)) (rows int) {
	for l := t.listeners[port]; l != nil; l = l.next {
		f(Row{Local: l.local, State: Listen, RecvQ: l.full.n, SendQ: l.cfg.Backlog, Gate: l.cfg.Gate})
		rows++
	}
	return rows
}

// show leaves out what is CLOSED: a free slot, or what a program has still to read or to close.
func (c *Conn) show(f func(Row)) (rows int) {
	if c.state == Closed {
		return 0
	}
	f(Row{Local: c.Local(), Remote: c.Remote(), State: c.state, RecvQ: c.rx.Len(), SendQ: c.tx.Len()})
	return 1
}

// showTimeWait leaves out free entries, which have no key: port 0 is nobody's.
func (t *TCP) showTimeWait(e *twEntry, f func(Row)) (rows int) {
	if e.key.localPort() == 0 {
		return 0
	}
	local, remote := t.addrs(&e.key)
	f(Row{
		Local: netip.AddrPortFrom(local, e.key.localPort()), Remote: netip.AddrPortFrom(remote, e.key.remotePort()),
		State: TimeWait,
	})
	return 1
}
