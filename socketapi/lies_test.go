package socketapi

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// lateBy is longer than what resolvers wait for a server of TestLyingServer: a second.
const lateBy = 1200 * time.Millisecond

// allLies is what a liar knows.
func allLies() map[string]lie {
	lies := map[string]lie{
		"truth":    {message: (*query).truth},
		"capitals": {message: func(q *query) []byte { return q.changed(headLen+1, func(b byte) byte { return b &^ 0x20 }) }},

		// What is no answer to the question.
		"id":          {waits: true, message: func(q *query) []byte { return q.changed(1, func(b byte) byte { return b + 1 }) }},
		"no-reply":    {waits: true, message: func(q *query) []byte { return q.changed(2, func(b byte) byte { return b &^ 0x80 }) }},
		"other-name":  {waits: true, message: func(q *query) []byte { return q.changed(headLen+1, func(b byte) byte { return b ^ 3 }) }},
		"other-type":  {waits: true, message: func(q *query) []byte { return q.changed(q.end()-3, func(b byte) byte { return b ^ 4 }) }},
		"other-class": {waits: true, message: func(q *query) []byte { return q.changed(q.end()-1, func(b byte) byte { return 3 }) }},
		"no-question": {waits: true, message: func(q *query) []byte {
			b := q.truth()
			b[5] = 0
			return slices.Delete(b, headLen, q.end())
		}},
		"two-questions": {message: func(q *query) []byte {
			b := q.truth()
			b[5] = 2
			return slices.Insert(b, q.end(), q.text...)
		}},
		"questions-65535": {message: func(q *query) []byte {
			b := q.truth()
			b[4], b[5] = 0xff, 0xff
			return b
		}},

		// Counts that are not so.
		"one-more":     {message: func(q *query) []byte { return q.reply(answered, 2, 0, 0, q.address(qname)) }},
		"one-less":     {message: func(q *query) []byte { return q.reply(answered, 0, 0, 0, q.address(qname)) }},
		"answers-none": {message: func(q *query) []byte { return q.reply(answered, 65535, 0, 0) }},
		"answers-one":  {message: func(q *query) []byte { return q.reply(answered, 65535, 65535, 65535, q.address(qname)) }},
		"rest-none":    {message: func(q *query) []byte { return q.reply(answered, 1, 65535, 65535, q.address(qname)) }},
		"garbage-end": {message: func(q *query) []byte {
			return append(q.truth(), bytes.Repeat([]byte{0xff}, 100)...)
		}},

		// Compression.
		"loop": {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address(nameAt(q.end()))) }},
		"loop-both": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, nameAt(q.end()+2), q.address(nameAt(q.end())))
		}},
		"loop-label": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, q.address(append([]byte{1, 'a'}, nameAt(q.end())...)))
		}},
		"ahead": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, q.address(nameAt(q.end()+2+10+len(q.data()))), q.address(labels("a.test.")))
		}},
		"ahead-true": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, q.address(nameAt(q.end()+2+10+len(q.data()))), q.address(labels(q.name)))
		}},
		"beyond":      {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address(nameAt(0x3fff))) }},
		"into-head":   {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address(nameAt(4))) }},
		"label-0x40":  {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address([]byte{0x41, 'a', 0})) }},
		"label-0x80":  {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address([]byte{0x81, 'a', 0})) }},
		"label-cut":   {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, []byte{63, 'a'}) }},
		"pointer-cut": {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, []byte{0xc0}) }},
		"long-name": {message: func(q *query) []byte {
			owner := slices.Repeat(append([]byte{63}, bytes.Repeat([]byte("a"), 63)...), 4)
			return q.reply(answered, 1, 0, 0, q.address(append(owner, qname...)))
		}},
		"dots-in-label": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, q.address(append([]byte{3, 'a', '.', 'b'}, qname...)))
		}},
		"nul-in-label": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, append([]byte{3, 'a', 0, 'b'}, nameAt(headLen)...)), q.address(append([]byte{3, 'a', 0, 'b'}, qname...)))
		}},

		// Records that are none.
		"of-another":  {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address(labels("evil.test."))) }},
		"of-the-root": {message: func(q *query) []byte { return q.reply(answered, 1, 0, 0, q.address([]byte{0})) }},
		"class-ch": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, recordOf(qname, q.typ, dnsmessage.ClassCHAOS, q.data()))
		}},
		"class-any": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, recordOf(qname, q.typ, dnsmessage.ClassANY, q.data()))
		}},
		"type-mx": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, record(qname, dnsmessage.TypeMX, append([]byte{0, 1}, qname...)))
		}},
		"type-opt": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, recordOf([]byte{0}, dnsmessage.TypeOPT, 1232, nil))
		}},
		"other-family": {message: func(q *query) []byte {
			other := *q
			other.typ = dnsmessage.TypeA + dnsmessage.TypeAAAA - q.typ
			return q.reply(answered, 1, 0, 0, other.address(qname))
		}},
		"both-families": {message: func(q *query) []byte {
			other := *q
			other.typ = dnsmessage.TypeA + dnsmessage.TypeAAAA - q.typ
			return q.reply(answered, 2, 0, 0, other.address(qname), q.address(qname))
		}},
		"type-mx-then-truth": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeMX, append([]byte{0, 1}, qname...)), q.address(qname))
		}},

		// Servers that will not, or say nothing.
		"nodata": {message: func(q *query) []byte { return q.reply(answered, 0, 1, 0, soa()) }},
		"none":   {message: func(q *query) []byte { return q.reply(answered, 0, 0, 0) }},
		"lame": {message: func(q *query) []byte {
			return q.reply(answered&^0x80, 0, 1, 0, record(labels("test."), dnsmessage.TypeNS, labels("ns.test.")))
		}},
		"lame-truth": {message: func(q *query) []byte { return q.reply(answered&^0x80, 1, 0, 0, q.address(qname)) }},
		"badvers": {message: func(q *query) []byte {
			b := recordOf([]byte{0}, dnsmessage.TypeOPT, 1232, nil)
			b[5] = 1 // the upper bits of the code
			return q.reply(answered, 0, 0, 1, b)
		}},
		"tc-truth": {message: func(q *query) []byte { return q.reply(answered|1<<9, 1, 0, 0, q.address(qname)) }},

		// Aliases.
		"alias-alone": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, record(qname, dnsmessage.TypeCNAME, labels("a.test.")))
		}},
		"alias-of-itself": {message: func(q *query) []byte {
			return q.reply(answered, 1, 0, 0, record(qname, dnsmessage.TypeCNAME, qname))
		}},
		"alias-of-itself-truth": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, qname), q.address(qname))
		}},
		"alias-round": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, labels("a.test.")), record(labels("a.test."), dnsmessage.TypeCNAME, qname))
		}},
		"alias-round-truth": {message: func(q *query) []byte {
			return q.reply(answered, 3, 0, 0, record(qname, dnsmessage.TypeCNAME, labels("a.test.")), record(labels("a.test."), dnsmessage.TypeCNAME, qname), q.address(labels("a.test.")))
		}},
		"alias-backwards": {message: func(q *query) []byte {
			return q.reply(answered, 3, 0, 0, q.address(labels("b.test.")), record(labels("a.test."), dnsmessage.TypeCNAME, labels("b.test.")), record(qname, dnsmessage.TypeCNAME, labels("a.test.")))
		}},
		"alias-twice": {message: func(q *query) []byte {
			return q.reply(answered, 4, 0, 0, record(qname, dnsmessage.TypeCNAME, labels("a.test.")), record(qname, dnsmessage.TypeCNAME, labels("b.test.")), q.address(labels("a.test.")), q.address(labels("b.test.")))
		}},
		"alias-and-address": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, labels("a.test.")), q.address(qname))
		}},
		"alias-loop": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, nameAt(q.end()+12)), q.address(qname))
		}},
		"alias-cut": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, []byte{63, 'a'}), q.address(qname))
		}},
		"alias-long": {message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, dnsmessage.TypeCNAME, append(labels("a.test."), 1, 2, 3)), q.address(labels("a.test.")))
		}},
		"alias-dname": {message: func(q *query) []byte {
			return q.reply(answered, 3, 0, 0, record(labels("test."), 39, labels("other.")), record(qname, dnsmessage.TypeCNAME, labels("a.other.")), q.address(labels("a.other.")))
		}},

		// Too much.
		"sixty":      {message: func(q *query) []byte { return q.many(60) }},
		"four-kilo":  {message: func(q *query) []byte { return q.many(4000 / 16) }},
		"most":       {message: func(q *query) []byte { return q.many((60000 - q.end()) / (12 + len(q.data()))) }},
		"garbage":    {waits: true, message: func(q *query) []byte { return q.garbage(200) }},
		"garbage-id": {waits: true, message: func(q *query) []byte { return append(q.truth()[:2], q.garbage(200)...) }},
		"garbage-body": {message: func(q *query) []byte {
			return append(q.reply(answered, 3, 0, 0), q.garbage(200)...)
		}},

		// Of datagrams alone.
		"silence":      {waits: true, datagram: func(*liar, *query, net.Addr) {}, stream: func(l *liar, _ *query, _ net.Conn) { l.pause(lateBy) }},
		"other-server": {waits: true, datagram: func(l *liar, q *query, to net.Addr) { l.other.WriteTo(q.truth(), to) }},
		"other-port":   {waits: true, datagram: func(l *liar, q *query, to net.Addr) { l.port.WriteTo(q.truth(), to) }},
		"late": {waits: true, datagram: func(l *liar, q *query, to net.Addr) {
			l.pause(lateBy)
			l.sayer.WriteTo(q.truth(), to)
		}},
		"flood": {waits: true, datagram: func(l *liar, q *query, to net.Addr) {
			for i := range 200 {
				l.sayer.WriteTo(q.changed(1, func(b byte) byte { return b + 1 + byte(i%255) }), to)
			}
		}},
		"twice": {datagram: func(l *liar, q *query, to net.Addr) {
			for range 2 {
				l.sayer.WriteTo(q.truth(), to)
			}
		}},
		"lies-then-truth": {datagram: func(l *liar, q *query, to net.Addr) {
			l.other.WriteTo(q.lying(), to)
			l.port.WriteTo(q.lying(), to)
			for _, name := range []string{"id", "no-reply", "other-name", "other-type", "other-class", "no-question", "garbage", "garbage-id", "cut-0", "cut-11", "cut-20"} {
				l.sayer.WriteTo(l.lies[name].message(q), to)
			}
			l.sayer.WriteTo(q.truth(), to)
		}},

		// Of streams alone.
		"closes": {stream: func(*liar, *query, net.Conn) {}},
		"resets": {stream: func(_ *liar, _ *query, c net.Conn) { c.(interface{ SetLinger(int) error }).SetLinger(0) }},
		"half": {stream: func(_ *liar, q *query, c net.Conn) {
			b := framed(q.truth())
			c.Write(b[:len(b)/2])
		}},
		"half-silence": {waits: true, stream: func(l *liar, q *query, c net.Conn) {
			b := framed(q.truth())
			c.Write(b[:len(b)/2])
			l.pause(lateBy)
		}},
		"length-half":      {stream: func(_ *liar, _ *query, c net.Conn) { c.Write([]byte{0}) }},
		"length-alone":     {stream: func(_ *liar, q *query, c net.Conn) { c.Write(framed(q.truth())[:2]) }},
		"length-0":         {stream: func(_ *liar, q *query, c net.Conn) { c.Write(append([]byte{0, 0}, q.truth()...)) }},
		"length-65535":     {stream: func(_ *liar, q *query, c net.Conn) { c.Write(append([]byte{0xff, 0xff}, q.truth()...)) }},
		"length-too-short": {stream: func(_ *liar, q *query, c net.Conn) { c.Write(append([]byte{0, byte(q.end() + 4)}, q.truth()...)) }},
		"length-one-more": {stream: func(_ *liar, q *query, c net.Conn) {
			c.Write(append([]byte{0, byte(len(q.truth()) + 1)}, q.truth()...))
		}},
		"and-more": {stream: func(_ *liar, q *query, c net.Conn) {
			c.Write(append(framed(q.truth()), framed(q.lying())...))
		}},
		"lie-then-truth": {stream: func(_ *liar, q *query, c net.Conn) {
			c.Write(append(framed(q.changed(1, func(b byte) byte { return b + 1 })), framed(q.truth())...))
		}},
		"bytes": {stream: func(l *liar, q *query, c net.Conn) {
			for _, b := range framed(q.truth()) {
				c.Write([]byte{b})
				l.pause(time.Millisecond)
			}
		}},
		"trickle": {waits: true, stream: func(l *liar, q *query, c net.Conn) {
			for _, b := range framed(q.truth())[:12] {
				c.Write([]byte{b})
				l.pause(lateBy / 10)
			}
		}},
	}
	for code := 1; code < 16; code++ {
		lies[fmt.Sprint("rcode-", code)] = lie{message: func(q *query) []byte { return q.reply(answered|uint16(code), 0, 0, 0) }}
	}
	for _, code := range []uint16{2, 3, 5} {
		lies[fmt.Sprint("rcode-", code, "-truth")] = lie{message: func(q *query) []byte { return q.reply(answered|code, 1, 0, 0, q.address(qname)) }}
	}
	for _, n := range []int{8, 60, 1000} {
		lies[fmt.Sprint("aliases-", n)] = lie{message: func(q *query) []byte { return q.chain(n) }}
	}
	for _, n := range []int{8, 100} {
		lies[fmt.Sprint("pointers-", n)] = lie{message: func(q *query) []byte { return q.pointers(n) }}
	}
	for _, n := range []int{0, 1, 3, 5, 8, 15, 17, 100} {
		lies[fmt.Sprint("data-", n)] = lie{message: func(q *query) []byte {
			return q.reply(answered, 2, 0, 0, record(qname, q.typ, make([]byte, n)), q.address(qname))
		}}
	}
	// Cut off at every length: without a whole question it is nobody's answer.
	for n := range 56 {
		name := fmt.Sprint("cut-", n)
		question := headLen + len(labels(name+byDatagram)) + 4
		lies[name] = lie{waits: n < question, message: func(q *query) []byte { return q.truth()[:n] }}
	}
	return lies
}

// data is what the address of the question is.
func (q *query) data() []byte { return q.address(nil)[10:] }

// lying is an answer with an address that nobody must believe.
func (q *query) lying() []byte {
	b := q.truth()
	b[len(b)-1] = 66
	return b
}

// many is an answer of many addresses, each another.
func (q *query) many(n int) []byte {
	records := make([]byte, 0, n*28)
	for i := range n {
		r := q.address(qname)
		r[len(r)-1], r[len(r)-2] = byte(i), byte(i>>8)
		records = append(records, r...)
	}
	return q.reply(answered, n, 0, 0, records)
}

// chain is an answer by way of so many aliases.
func (q *query) chain(n int) []byte {
	owner, at := qname, q.end()
	var records []byte
	for i := range n {
		label := fmt.Sprint("a", i)
		target := append(append([]byte{byte(len(label))}, label...), 0)
		r := record(owner, dnsmessage.TypeCNAME, target)
		records = append(records, r...)
		owner, at = target, at+len(r)
	}
	return q.reply(answered, n+1, 0, 0, records, q.address(owner))
}

// pointers is an answer whose owner is so many pointers away, which lie in the text of a record before.
func (q *query) pointers(n int) []byte {
	at, before := q.end()+2+10, headLen
	var list []byte
	for range n {
		list = append(list, nameAt(before)...)
		before, at = at, at+2
	}
	return q.reply(answered, 2, 0, 0, record(qname, 65000, list), q.address(nameAt(before)))
}

// garbage is bytes of no meaning, for a question always the same.
func (q *query) garbage(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func soa() []byte {
	data := append(labels("ns.test."), labels("root.test.")...)
	return record(labels("test."), dnsmessage.TypeSOA, append(data, make([]byte, 20)...))
}

// questions is the names by which the lies are told.
func liesToAsk(lies map[string]lie, waits bool) (names []string) {
	for label, l := range lies {
		if l.message != nil || l.datagram != nil {
			// What nobody waits for in a stream ends it.
			if l.waits == waits {
				names = append(names, label+byDatagram)
			}
		}
		if l.message != nil && !waits || l.stream != nil && l.waits == waits {
			names = append(names, label+byStream)
		}
	}
	slices.SortFunc(names, strings.Compare)
	return names
}
