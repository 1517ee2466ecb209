package tcp

import "strconv"

// A State is the state of a connection (RFC 9293 §3.3.2).
type State uint8

const (
	Closed State = iota
	Listen
	SynSent
	SynReceived
	Established
	FinWait1
	FinWait2
	CloseWait
	Closing
	LastAck
	TimeWait
)

var stateNames = [...]string{
	Closed:      "CLOSED",
	Listen:      "LISTEN",
	SynSent:     "SYN-SENT",
	SynReceived: "SYN-RECEIVED",
	Established: "ESTABLISHED",
	FinWait1:    "FIN-WAIT-1",
	FinWait2:    "FIN-WAIT-2",
	CloseWait:   "CLOSE-WAIT",
	Closing:     "CLOSING",
	LastAck:     "LAST-ACK",
	TimeWait:    "TIME-WAIT",
}

func (s State) String() string {
	if int(s) < len(stateNames) {
		return stateNames[s]
	}
	return "State(" + strconv.Itoa(int(s)) + ")"
}

// synchronized says whether both sides know each other's sequence numbers.
func (s State) synchronized() bool { return s >= Established }

// receives says whether the peer may still send data: it has sent no FIN.
func (s State) receives() bool {
	return s == Established || s == FinWait1 || s == FinWait2
}

// sends says whether data or a FIN of ours may be outstanding or go out.
func (s State) sends() bool {
	switch s {
	case Established, FinWait1, CloseWait, Closing, LastAck:
		return true
	}
	return false
}

// setState is the one place where a state changes.
func (c *Conn) setState(s State) {
	c.t.states[c.state]--
	c.t.states[s]++
	if c.state = s; s == Established && c.opt.Errors != nil {
		c.slim()
	}
}
