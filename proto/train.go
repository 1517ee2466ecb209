package proto

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// A Train is what Output has written the headers of where they belong to more than one segment of TCP: see [tcp.Train].
// The IP header says how long all of it is.
type Train struct {
	tcp.Train
	At int // where the TCP header begins, behind those of the link and of IP
}

// Train returns what the last Output has begun, once; nil if that wrote a whole packet. Its payload stands where it is until
// anything else of the stack is called.
func (s *Stack) Train() *Train {
	if !s.begun {
		return nil
	}
	s.begun = false
	return &s.train
}

// trainMost is the longest payload of a train that may leave by p, 0 where none may. Whoever listens in sees what goes over
// the wire; and what routers may have to cut has an identification for each packet.
func (s *Stack) trainMost(p *port, routers bool) int {
	if len(s.taps) > 0 || routers {
		return 0
	}
	return p.Trains
}

// outputSegment writes one segment of c or, if most allows, the header of a train: n is what was written, more the length of
// what belongs behind it.
func (s *Stack) outputSegment(c *tcp.Conn, buf []byte, most int, now mono.Time) (n, more int) {
	if most == 0 {
		return s.TCP.Output(c, buf, now), 0
	}
	tr := &s.train.Train
	tr.Most = most
	if n = s.TCP.OutputTrain(c, buf, tr, now); n > 0 && tr.Segment != 0 {
		s.begun, more = true, tr.Len
	}
	return n, more
}
