package socketapi

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
)

// Read first: RFC 1035 §4.1.1, §4.2; RFC 8499 on NODATA.

// inquirer is what a net.Resolver dials its servers with.
type inquirer struct {
	st      *Stack
	servers []netip.AddrPort // instead of those of /etc/resolv.conf
	turn    atomic.Uint32    // of which of them: moves on when one does not answer
}

var errNoServer = errors.New("the stack knows no DNS server: that of /etc/resolv.conf is at the kernel's loopback, " +
	"which the stack does not reach, and no router has told of one; name one with Stack.Resolver, or ask by the kernel with net.DefaultResolver")

// dial connects to a server: address is one of /etc/resolv.conf.
func (a *inquirer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	q := &inquiry{inquirer: a, turn: a.turn.Load()}
	if q.replies, _ = ctx.Value(repliesKey{}).(*replies); q.replies != nil {
		q.replies.asked.Store(true)
	}
	choice := a.servers
	if len(choice) == 0 && at.Addr().IsLoopback() {
		if choice = a.st.learned(); len(choice) == 0 {
			return nil, errNoServer
		}
	}
	if len(choice) > 0 {
		address = choice[int(q.turn)%len(choice)].String()
	}
	c, err := a.st.DialContext(ctx, network, address)
	if err != nil {
		q.ended()
		return nil, err
	}
	if u, ok := c.(*UDPConn); ok {
		return &datagramInquiry{UDPConn: u, inquiry: q}, nil
	}
	return &streamInquiry{TCPConn: c.(*TCPConn), inquiry: q}, nil
}

// replies is what servers have said to the questions of one lookup: net.Resolver does not tell a name that is unknown from
// one without addresses, nor servers that refuse from questions that no server takes. Lookups put it into their context.
type replies struct {
	asked     atomic.Bool // somebody was asked by an inquirer, which notes what follows
	known     atomic.Bool // a server has replied that there is such a name
	malformed atomic.Bool // ... that the question is none
}

type repliesKey struct{}

// error is an error of the lookup in the words of netdb.h.
func (r *replies) error(err error) AddrinfoError {
	switch e := addrinfoError(err); {
	case e == EAI_NONAME && r.known.Load():
		return EAI_NODATA
	case e == EAI_FAIL && r.asked.Load() && !r.malformed.Load():
		return EAI_AGAIN
	default:
		return e
	}
}

// inquiry is a connection to a server, and one question.
type inquiry struct {
	*inquirer
	turn    uint32
	replies *replies // nil: nobody wants to know
	id      uint16
	served  bool // the reply settles the question
}

// question notes what a reply will be known by.
func (q *inquiry) question(p []byte) {
	if len(p) >= 2 {
		q.id = binary.BigEndian.Uint16(p)
	}
}

const (
	lengthLen = 2  // of a message's length over TCP, in bytes
	headerLen = 12 // of a message's header

	// Response codes.
	noError     = 0
	formatError = 1
	nameError   = 3 // there is no such name
)

// reply looks at the header of a reply.
func (q *inquiry) reply(p []byte) {
	if len(p) < headerLen || binary.BigEndian.Uint16(p) != q.id {
		return
	}
	code := p[3] & 0xf
	q.served = q.served || code == noError || code == nameError
	if q.replies != nil {
		switch code {
		case noError:
			q.replies.known.Store(true)
		case formatError:
			q.replies.malformed.Store(true)
		}
	}
}

// ended passes over a server that has not served.
func (q *inquiry) ended() {
	if !q.served {
		q.inquirer.turn.CompareAndSwap(q.turn, q.turn+1)
	}
}

// datagramInquiry is asked over UDP, and still a net.PacketConn, by which net.Resolver knows it.
type datagramInquiry struct {
	*UDPConn
	*inquiry
}

func (c *datagramInquiry) Write(p []byte) (int, error) {
	c.question(p)
	return c.UDPConn.Write(p)
}

func (c *datagramInquiry) Read(p []byte) (int, error) {
	n, err := c.UDPConn.Read(p)
	c.reply(p[:n])
	return n, err
}

func (c *datagramInquiry) Close() error {
	c.ended()
	return c.UDPConn.Close()
}

// streamInquiry is asked over TCP, where messages have their length before them.
type streamInquiry struct {
	*TCPConn
	*inquiry
	head []byte // of what was read so far
}

func (c *streamInquiry) Write(p []byte) (int, error) {
	c.question(p[min(lengthLen, len(p)):])
	return c.TCPConn.Write(p)
}

func (c *streamInquiry) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if missing := lengthLen + headerLen - len(c.head); missing > 0 {
		if c.head = append(c.head, p[:min(missing, n)]...); len(c.head) == lengthLen+headerLen {
			c.reply(c.head[lengthLen:])
		}
	}
	return n, err
}

func (c *streamInquiry) Close() error {
	c.ended()
	return c.TCPConn.Close()
}
