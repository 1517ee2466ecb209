package simnet

import (
	"errors"
	"fmt"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A Node is something with ports: a protocol stack, a router, a test's own end.
// Its methods have the meaning that they have for a core's handler, one frame at a time.
type Node interface {
	// Input takes a frame that arrived at a port. It is lent until Input returns.
	Input(port int, frame []byte, now mono.Time)
	// Output writes the next frame for a port into buf and returns its length, 0 if there is none.
	Output(port int, buf []byte, now mono.Time) int
	// Advance does what is due at now, and says how much that was.
	Advance(now mono.Time) int
	// Deadline is when Advance next has something to do, Never if nothing waits for a time.
	Deadline() mono.Time
}

const (
	// burstMax is how many frames one port takes in, or puts out, before the next port has its turn.
	burstMax = 64

	// stuckMax is how many rounds a Net makes at one moment before it says that
	// time no longer moves. A burst of a full window on a wire without delay takes some hundred.
	stuckMax = 100_000

	// frameRoom is the least that Output gets, in bytes.
	frameRoom = 2048
)

// ErrStuck is wrapped by the error of a run whose nodes keep each other busy without
// any time passing.
var ErrStuck = errors.New("simnet: time does not move")

// ErrNotYet is wrapped by the error of a run whose condition did not come true.
var ErrNotYet = errors.New("simnet: the condition did not come true")

// A Net is nodes joined by wires, and the loop that runs them. The zero Net is empty, at time 0.
type Net struct {
	Clock Clock

	nodes []*member
	buf   []byte
}

type member struct {
	node  Node
	ports []port
}

type port struct {
	number int
	end    *End
}

// Add adds a node, a pointer. Nodes are run in the order in which they were added.
func (n *Net) Add(node Node) {
	n.nodes = append(n.nodes, &member{node: node})
	n.Clock.Watch(node.Deadline)
}

// Connect joins a port of a to a port of b. Both have been added.
func (n *Net) Connect(a Node, portA int, b Node, portB int, c Config) (*Wire, error) {
	ma, mb := n.member(a), n.member(b)
	if ma == nil || mb == nil {
		return nil, errors.New("simnet: connect: the node was not added")
	}
	if ma.has(portA) || mb.has(portB) || ma == mb && portA == portB {
		return nil, fmt.Errorf("simnet: connect: port %d or %d has a wire already", portA, portB)
	}
	w, err := NewWire(&n.Clock, c)
	if err != nil {
		return nil, err
	}
	ma.ports = append(ma.ports, port{portA, w.A})
	mb.ports = append(mb.ports, port{portB, w.B})
	return w, nil
}

func (n *Net) member(node Node) *member {
	for _, m := range n.nodes {
		if m.node == node {
			return m
		}
	}
	return nil
}

func (m *member) has(number int) bool {
	for _, p := range m.ports {
		if p.number == number {
			return true
		}
	}
	return false
}

// RunIdle runs until nothing is on its way and no node waits for a time, but
// not past limit: to be still busy then is an error.
func (n *Net) RunIdle(limit mono.Time) error {
	idle, err := n.run(limit, nil)
	if err == nil && !idle {
		err = fmt.Errorf("%w: busy at %v, next event at %v", ErrNotYet, since(limit), since(n.Clock.Next()))
	}
	return err
}

// RunTo runs until the clock shows t, and all that happens at t has happened.
func (n *Net) RunTo(t mono.Time) error {
	if _, err := n.run(t, nil); err != nil {
		return err
	}
	n.Clock.MoveTo(t)
	return nil
}

// RunUntil runs until done, which is asked after every moment at which something happened. To
// become idle, or to reach limit, before that is an error.
func (n *Net) RunUntil(limit mono.Time, done func() bool) error {
	if done() {
		return nil
	}
	reached := false
	_, err := n.run(limit, func() bool { reached = done(); return reached })
	if err == nil && !reached {
		err = fmt.Errorf("%w: now %v, limit %v, next event at %v", ErrNotYet, since(n.Clock.Now()), since(limit), since(n.Clock.Next()))
	}
	return err
}

// run goes from event to event, up to those at limit. It says whether it
// ended because there are no more events at all.
func (n *Net) run(limit mono.Time, done func() bool) (idle bool, err error) {
	for stuck := 0; ; {
		if err := n.settle(); err != nil {
			return false, err
		}
		if done != nil && done() {
			return false, nil
		}
		next := n.Clock.Next()
		switch {
		case next == mono.Never:
			return true, nil
		case next > limit:
			return false, nil
		case next > n.Clock.Now():
			n.Clock.MoveTo(next)
			stuck = 0
		default: // a deadline has come and its node does nothing about it
			if stuck++; stuck > stuckMax {
				return false, fmt.Errorf("%w: at %v, %s", ErrStuck, since(n.Clock.Now()), n.overdue())
			}
		}
	}
}

// settle runs the nodes at this moment until they have nothing more to say.
func (n *Net) settle() error {
	for range stuckMax {
		work := 0
		for _, m := range n.nodes {
			work += n.turn(m)
		}
		if work == 0 {
			return nil
		}
	}
	return fmt.Errorf("%w: at %v, the nodes were busy %d times in a row", ErrStuck, since(n.Clock.Now()), stuckMax)
}

// turn is what a core does with its ports.
func (n *Net) turn(m *member) (work int) {
	now := n.Clock.Now()
	for _, p := range m.ports {
		for range burstMax {
			frame, ok := n.recv(p.end)
			if !ok {
				break
			}
			m.node.Input(p.number, frame, now)
			work++
		}
	}
	work += m.node.Advance(now)
	for _, p := range m.ports {
		room := n.room(max(frameRoom, p.end.MTU()+ethernetLen+2*vlanTagLen))
		for range burstMax {
			frameLen := m.node.Output(p.number, room, now)
			if frameLen == 0 {
				break
			}
			p.end.Send(room[:frameLen])
			work++
		}
	}
	return work
}

func (n *Net) recv(e *End) (frame []byte, ok bool) {
	if !e.Ready() {
		return nil, false
	}
	room := n.room(len(e.in.flight[0].data))
	frameLen, ok := e.Recv(room)
	return room[:frameLen], ok
}

// room is a buffer of that length. There is one: what it lent before is over.
func (n *Net) room(size int) []byte {
	if cap(n.buf) < size {
		n.buf = make([]byte, max(size, frameRoom))
	}
	return n.buf[:size]
}

// overdue names what does not let time pass, for the error.
func (n *Net) overdue() string {
	for i, m := range n.nodes {
		if d := m.node.Deadline(); d.Due(n.Clock.Now()) {
			return fmt.Sprintf("node %d (%T): its deadline %v is due and Advance finds nothing to do", i, m.node, since(d))
		}
		for _, p := range m.ports {
			if p.end.Ready() {
				return fmt.Sprintf("node %d (%T): port %d is not read", i, m.node, p.number)
			}
		}
	}
	return fmt.Sprintf("a source of the clock that is no node (%d nodes)", len(n.nodes))
}

// since writes a moment as a person reads it.
func since(t mono.Time) string {
	if t == mono.Never {
		return "never"
	}
	return time.Duration(t).String()
}
