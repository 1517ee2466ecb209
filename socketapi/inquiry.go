package socketapi

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/dns/dnsmessage"
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
// one without addresses, nor servers that refuse from questions that no server takes, nor what a name is another name of.
// Lookups put it into their context.
type replies struct {
	asked     atomic.Bool // somebody was asked by an inquirer, which notes what follows
	elsewhere atomic.Bool // ... or by whatever else the resolver has: it is not by the files that the name is known
	known     atomic.Bool // a server has replied that there is such a name
	malformed atomic.Bool // ... that the question is none

	mu      sync.Mutex // guards what follows
	name    string     // whose addresses were given, "" if nobody noted it
	aliases []string   // the names that led to it, each a CNAME of the next one
}

// host is whose addresses were given, and the names that led there; "" if nobody noted it.
func (r *replies) host() (name string, aliases []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.name, r.aliases
}

// follow notes where the answers lead from the name that was asked for.
func (r *replies) follow(p *dnsmessage.Parser, name dnsmessage.Name) {
	var aliases []string
	for {
		h, err := p.AnswerHeader()
		if err != nil {
			return
		}
		switch mine := strings.EqualFold(h.Name.String(), name.String()); {
		case mine && h.Type == dnsmessage.TypeCNAME:
			c, err := p.CNAMEResource()
			if err != nil {
				return
			}
			aliases, name = append(aliases, strings.TrimSuffix(h.Name.String(), ".")), c.CNAME
		case mine && (h.Type == dnsmessage.TypeA || h.Type == dnsmessage.TypeAAAA):
			r.mu.Lock()
			r.name, r.aliases = strings.TrimSuffix(h.Name.String(), "."), aliases
			r.mu.Unlock()
			return
		default:
			if p.SkipAnswer() != nil {
				return
			}
		}
	}
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
	asked   dnsmessage.Question
	served  bool // the reply settles the question
}

// question notes what a reply will be known by.
func (q *inquiry) question(message []byte) {
	var p dnsmessage.Parser
	if h, err := p.Start(message); err == nil {
		q.id = h.ID
		q.asked, _ = p.Question()
	}
}

// lengthLen is how long the length of a message is that goes over TCP, in bytes.
const lengthLen = 2

// reply looks at what a server says. What has another question or number is not its, and net.Resolver does not take it either.
func (q *inquiry) reply(message []byte, whole bool) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || h.ID != q.id || !h.Response {
		return
	}
	of, err := p.Question()
	if err != nil || of.Type != q.asked.Type || of.Class != q.asked.Class || !strings.EqualFold(of.Name.String(), q.asked.Name.String()) {
		return
	}
	q.served = q.served || h.RCode == dnsmessage.RCodeSuccess || h.RCode == dnsmessage.RCodeNameError
	switch {
	case q.replies == nil:
	case h.RCode == dnsmessage.RCodeFormatError:
		q.replies.malformed.Store(true)
	case h.RCode == dnsmessage.RCodeSuccess && (whole || !h.Truncated): // what is cut off is asked again over TCP
		q.replies.known.Store(true)
		if p.SkipAllQuestions() == nil {
			q.replies.follow(&p, q.asked.Name)
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
	c.reply(p[:n], false)
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
	said []byte // what was read so far: a length and a message
}

func (c *streamInquiry) Write(p []byte) (int, error) {
	c.question(p[min(lengthLen, len(p)):])
	return c.TCPConn.Write(p)
}

func (c *streamInquiry) Read(p []byte) (int, error) {
	n, err := c.TCPConn.Read(p)
	if len(c.said) < c.wanted() {
		if c.said = append(c.said, p[:n]...); len(c.said) >= c.wanted() {
			c.reply(c.said[lengthLen:c.wanted()], true)
		}
	}
	return n, err
}

// wanted is how many bytes the reply has with its length before it, as far as that is known: 64 KiB at most.
func (c *streamInquiry) wanted() int {
	if len(c.said) < lengthLen {
		return lengthLen + 1
	}
	return lengthLen + int(binary.BigEndian.Uint16(c.said))
}

func (c *streamInquiry) Close() error {
	c.ended()
	return c.TCPConn.Close()
}
