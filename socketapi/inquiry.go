package socketapi

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Read first: RFC 1035 §4.1.1, §4.2; RFC 8499 on NODATA.

// inquirer is what a net.Resolver dials its servers with.
type inquirer struct {
	st      *Stack
	servers []netip.AddrPort // instead of those of /etc/resolv.conf
	turn    atomic.Uint32    // which of them is asked first: the one that served last
}

var errNoServer = errors.New("the stack knows no DNS server: that of /etc/resolv.conf is at the kernel's loopback, " +
	"which the stack does not reach, and no router has told of one; name one with Stack.Resolver, or ask by the kernel with net.DefaultResolver")

// dial connects to a server: address is one of /etc/resolv.conf.
func (a *inquirer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	q := &inquiry{inquirer: a, ctx: ctx, network: network, list: a.servers}
	if q.replies, _ = ctx.Value(repliesKey{}).(*replies); q.replies != nil {
		q.replies.asked.Store(true)
	}
	if len(q.list) == 0 && at.Addr().IsLoopback() {
		if q.list = a.st.learned(); len(q.list) == 0 {
			return nil, errNoServer
		}
	}
	if len(q.list) == 0 {
		q.list = []netip.AddrPort{at}
	}
	q.first = a.turn.Load()
	c, err := q.next()
	switch c := c.(type) {
	case *UDPConn:
		return &datagramInquiry{UDPConn: c, inquiry: q}, nil
	case *TCPConn:
		return &streamInquiry{TCPConn: c, inquiry: q}, nil
	}
	q.ended()
	return nil, err
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

// inquiry is a question, and the servers that it is put to until one of them serves. net.Resolver knows of those in /etc/resolv.conf
// alone, and goes on to the next of them and asks them again; here it is one question of several.
type inquiry struct {
	*inquirer
	ctx     context.Context // of the question
	network string
	list    []netip.AddrPort
	first   uint32    // which of the list was asked first
	tried   int       // how many of it, the one that is asked now among them
	until   time.Time // when the next one's time begins; zero: there is none, or it is not known when

	replies *replies // nil: nobody wants to know
	message []byte   // what was written
	id      uint16
	asked   dnsmessage.Question
	replied bool // the server that is asked now has said something to the question
	served  bool // ... and that settles it
}

// next asks the next server that there is a way to. The error is that of the last one.
func (q *inquiry) next() (c net.Conn, err error) {
	for q.tried < len(q.list) {
		at := q.list[(int(q.first)+q.tried)%len(q.list)]
		left := len(q.list) - q.tried
		q.tried, q.replied, q.until = q.tried+1, false, time.Time{}
		if end, ok := q.ctx.Deadline(); ok && left > 1 {
			q.until = time.Now().Add(time.Until(end) / time.Duration(left))
		}
		if c, err = q.ask(at); err == nil || q.ctx.Err() != nil {
			break
		}
	}
	return c, err
}

// ask connects to a server, and puts the question to it if it is known already.
func (q *inquiry) ask(at netip.AddrPort) (net.Conn, error) {
	ctx := q.ctx
	if !q.until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, q.until)
		defer cancel()
	}
	c, err := q.st.DialContext(ctx, q.network, at.String())
	if err != nil {
		return nil, err
	}
	if end, ok := ctx.Deadline(); ok {
		c.SetDeadline(end)
	}
	if q.message == nil {
		return c, nil
	}
	if _, err := c.Write(q.message); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// last says that there is nobody else who could be asked.
func (q *inquiry) last() bool { return q.tried == len(q.list) }

// question notes what is asked, by which a reply will be known. Over TCP the length is before it.
func (q *inquiry) question(written, message []byte) {
	q.message = slices.Clone(written)
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
	none := p.SkipAllQuestions()
	if none == nil {
		_, none = p.AnswerHeader()
	}
	lame := none != nil && !h.Authoritative && !h.RecursionAvailable // a referral to somebody else
	q.replied, q.served = true, h.RCode == dnsmessage.RCodeSuccess && !lame || h.RCode == dnsmessage.RCodeNameError
	switch {
	case q.replies == nil:
	case h.RCode == dnsmessage.RCodeFormatError:
		q.replies.malformed.Store(true)
	case h.RCode == dnsmessage.RCodeSuccess && (whole || !h.Truncated): // what is cut off is asked again over TCP
		q.replies.known.Store(true)
		q.replies.follow(&p, q.asked.Name)
	}
}

// ended lets the server that has served be asked first, the second one if none has.
func (q *inquiry) ended() {
	first := q.first + 1
	if q.served {
		first = q.first + uint32(q.tried) - 1
	}
	q.turn.CompareAndSwap(q.first, first)
}

// datagramInquiry is asked over UDP, and still a net.PacketConn, by which net.Resolver knows it.
type datagramInquiry struct {
	*UDPConn // to the server that is asked now
	*inquiry
}

// SetDeadline is what the question's context says, which every server has its share of.
func (c *datagramInquiry) SetDeadline(t time.Time) error {
	if !c.until.IsZero() {
		return nil
	}
	return c.UDPConn.SetDeadline(t)
}

func (c *datagramInquiry) Write(p []byte) (int, error) {
	c.question(p, p)
	return c.UDPConn.Write(p)
}

func (c *datagramInquiry) Read(p []byte) (int, error) {
	for {
		n, err := c.UDPConn.Read(p)
		c.reply(p[:n], false)
		if err == nil && (c.served || !c.replied) || c.last() { // what is not to the question net.Resolver passes over
			return n, err
		}
		next, failed := c.next()
		if failed != nil {
			return n, err
		}
		c.UDPConn.Close()
		c.UDPConn = next.(*UDPConn)
	}
}

func (c *datagramInquiry) Close() error {
	c.ended()
	return c.UDPConn.Close()
}

// streamInquiry is asked over TCP, where messages have their length before them.
type streamInquiry struct {
	*TCPConn // to the server that is asked now
	*inquiry
	said []byte // what of the reply was not read yet
	got  bool   // a reply was received as far as it comes
	err  error  // what is behind it
}

// SetDeadline is what the question's context says, which every server has its share of.
func (c *streamInquiry) SetDeadline(t time.Time) error {
	if !c.until.IsZero() {
		return nil
	}
	return c.TCPConn.SetDeadline(t)
}

func (c *streamInquiry) Write(p []byte) (int, error) {
	c.question(p, p[min(lengthLen, len(p)):])
	return c.TCPConn.Write(p)
}

func (c *streamInquiry) Read(p []byte) (int, error) {
	for !c.got {
		c.receive()
		if c.got = c.served || c.last(); c.got {
			break
		}
		next, failed := c.next()
		if c.got = failed != nil; !c.got {
			c.TCPConn.Close()
			c.TCPConn = next.(*TCPConn)
		}
	}
	if len(c.said) == 0 && c.err != nil {
		return 0, c.err
	}
	if len(c.said) == 0 {
		return c.TCPConn.Read(p)
	}
	n := copy(p, c.said)
	c.said = c.said[n:]
	return n, nil
}

// receive reads a reply: 64 KiB at most, and what comes with the end of it.
func (c *streamInquiry) receive() {
	var piece [1280]byte
	wanted := lengthLen
	for c.said, c.err = nil, nil; len(c.said) < wanted && c.err == nil; {
		var n int
		n, c.err = c.TCPConn.Read(piece[:])
		if c.said = append(c.said, piece[:n]...); len(c.said) >= lengthLen {
			wanted = lengthLen + int(binary.BigEndian.Uint16(c.said))
		}
	}
	if len(c.said) >= wanted {
		c.reply(c.said[lengthLen:wanted], true)
		c.err = nil
	}
}

func (c *streamInquiry) Close() error {
	c.ended()
	return c.TCPConn.Close()
}
