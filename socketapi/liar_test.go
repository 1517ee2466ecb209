package socketapi

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A liar is a DNS server that answers each name with the lie that its first label names. Of names under byStream it says by UDP that
// the answer is too long for that, and lies by TCP.
type liar struct {
	lies        map[string]lie
	sayer       net.PacketConn
	port, other net.PacketConn // from where nobody waits for an answer: another port, another address
	done        chan struct{}
	all         sync.WaitGroup
}

const (
	byDatagram = ".lie.test."
	byStream   = ".vc.test."
)

// A lie is what a liar sends. One of message alone is told by UDP and by TCP.
type lie struct {
	message  func(q *query) []byte
	datagram func(l *liar, q *query, to net.Addr)
	stream   func(l *liar, q *query, c net.Conn)
	waits    bool // the resolver does not heed it, and waits for something better until its time is over
}

// query is a question.
type query struct {
	id   uint16
	text []byte // the section
	typ  dnsmessage.Type
	name string
}

func newLiar(t *testing.T, lies map[string]lie, listenPacket func(network, address string) (net.PacketConn, error), listen func(network, address string) (net.Listener, error)) *liar {
	t.Helper()
	l := &liar{lies: lies, done: make(chan struct{})}
	at := net.JoinHostPort(addrB, "53")
	var err error
	for _, c := range []struct {
		conn *net.PacketConn
		at   string
	}{{&l.sayer, at}, {&l.port, net.JoinHostPort(addrB, "54")}, {&l.other, net.JoinHostPort(serverOther, "53")}} {
		*c.conn, err = listenPacket("udp", c.at)
		fatal(t, err)
	}
	listener, err := listen("tcp", at)
	fatal(t, err)
	t.Cleanup(func() {
		close(l.done)
		for _, c := range []io.Closer{l.sayer, l.port, l.other, listener} {
			c.Close()
		}
		l.all.Wait()
	})
	l.all.Go(func() { l.datagrams() })
	l.all.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			l.all.Go(func() { l.serveStream(c) })
		}
	})
	return l
}

func (l *liar) datagrams() {
	buf := make([]byte, 4096)
	for {
		n, from, err := l.sayer.ReadFrom(buf)
		if err != nil {
			return
		}
		q, what := l.question(buf[:n])
		switch {
		case q == nil:
		case strings.HasSuffix(q.name, byStream):
			l.sayer.WriteTo(q.reply(answered|1<<9, 0, 0, 0), from)
		case what.datagram != nil:
			l.all.Go(func() { what.datagram(l, q, from) })
		case what.message != nil:
			l.sayer.WriteTo(what.message(q), from)
		}
	}
}

func (l *liar) serveStream(c net.Conn) {
	defer c.Close()
	var n [2]byte
	if _, err := io.ReadFull(c, n[:]); err != nil {
		return
	}
	question := make([]byte, binary.BigEndian.Uint16(n[:]))
	if _, err := io.ReadFull(c, question); err != nil {
		return
	}
	q, what := l.question(question)
	switch {
	case q == nil:
	case what.stream != nil:
		what.stream(l, q, c)
	case what.message != nil: // and then the end, without which glibc waits for ever for something better
		c.Write(framed(what.message(q)))
	}
}

// framed is a message with its length before it (RFC 1035 §4.2.2).
func framed(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

func (l *liar) question(message []byte) (*query, lie) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil {
		return nil, lie{}
	}
	of, err := p.Question()
	if err != nil {
		return nil, lie{}
	}
	q := &query{id: h.ID, typ: of.Type, name: strings.ToLower(of.Name.String())}
	q.text = append(q.text, message[headLen:headLen+len(of.Name.String())+1+4]...)
	label, _, _ := strings.Cut(q.name, ".")
	return q, l.lies[label]
}

// pause waits for a while, or until the server ends.
func (l *liar) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.done:
	}
}

const (
	headLen  = 12
	answered = 0x8180 // a reply, recursion is desired and there is
)

// nameAt is a name by the place of it in the message (RFC 1035 §4.1.4).
func nameAt(offset int) []byte { return []byte{0xc0 | byte(offset>>8), byte(offset)} }

// qname is the name of the question, by where it is.
var qname = nameAt(headLen)

// reply is the question with what follows it, and how many records that is meant to be.
func (q *query) reply(flags uint16, answers, authorities, additionals int, rest ...[]byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, q.id)
	for _, n := range []int{int(flags), 1, answers, authorities, additionals} {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	b = append(b, q.text...)
	for _, r := range rest {
		b = append(b, r...)
	}
	return b
}

// end is the offset of the first record.
func (q *query) end() int { return headLen + len(q.text) }

// record is one of class IN.
func record(owner []byte, typ dnsmessage.Type, data []byte) []byte {
	return recordOf(owner, typ, dnsmessage.ClassINET, data)
}

func recordOf(owner []byte, typ dnsmessage.Type, class dnsmessage.Class, data []byte) []byte {
	b := append([]byte(nil), owner...)
	b = binary.BigEndian.AppendUint16(b, uint16(typ))
	b = binary.BigEndian.AppendUint16(b, uint16(class))
	b = binary.BigEndian.AppendUint32(b, 60)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// labels is a name without compression.
func labels(name string) (b []byte) {
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label != "" {
			b = append(append(b, byte(len(label))), label...)
		}
	}
	return append(b, 0)
}

// address is a record of the type that is query for, of a name.
func (q *query) address(owner []byte) []byte {
	switch q.typ {
	case dnsmessage.TypeAAAA:
		return record(owner, q.typ, []byte{0x20, 1, 0xd, 0xb8, 15: 1})
	case dnsmessage.TypeA:
		return record(owner, q.typ, []byte{192, 0, 2, 1})
	}
	return record(owner, q.typ, labels("name.test."))
}

// truth is what an honest server says.
func (q *query) truth() []byte { return q.reply(answered, 1, 0, 0, q.address(qname)) }

// changed is the truth with a byte of it another.
func (q *query) changed(offset int, to func(byte) byte) []byte {
	b := q.truth()
	b[offset] = to(b[offset])
	return b
}
