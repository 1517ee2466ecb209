package socketapi

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// A zone is what a nameServer knows: of each name its addresses, or "CNAME", "PTR" or "MX" and another name, or what the server does
// instead of an answer: "SERVFAIL", "REFUSED", "FORMERR", "silent". "*" is any other name; without it that does not exist.
type zone map[string][]string

// A nameServer answers for a zone, over UDP and TCP.
type nameServer struct {
	zone     zone
	udp, tcp atomic.Int32  // questions
	room     atomic.Uint32 // what the last question said by EDNS that an answer may have, 0: it had none
}

// serve begins to answer at an address.
func (s *nameServer) serve(t *testing.T, u net.PacketConn, l net.Listener) {
	t.Cleanup(func() { u.Close(); l.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, from, err := u.ReadFrom(buf)
			if err != nil {
				return
			}
			s.udp.Add(1)
			if reply := s.reply(buf[:n], false); reply != nil {
				u.WriteTo(reply, from)
			}
		}
	}()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serveStream(c)
		}
	}()
}

// serveStream answers what comes over a connection (RFC 1035 §4.2.2).
func (s *nameServer) serveStream(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		var n [2]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(n[:]))
		if _, err := io.ReadFull(r, question); err != nil {
			return
		}
		s.tcp.Add(1)
		reply := s.reply(question, true)
		if reply == nil {
			continue
		}
		binary.BigEndian.PutUint16(n[:], uint16(len(reply)))
		if _, err := c.Write(append(n[:], reply...)); err != nil {
			return
		}
	}
}

// resolver is one that asks the server without a network.
func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		c, d := net.Pipe()
		go s.serveStream(d)
		return c, nil
	}}
}

// reply answers a question, in a datagram no longer than the asker wants it (RFC 6891 §6.2.3); nil is silence.
func (s *nameServer) reply(question []byte, stream bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	most := 512
	s.room.Store(0)
	for _, r := range m.Additionals {
		if r.Header.Type == dnsmessage.TypeOPT {
			most = int(r.Header.Class)
			s.room.Store(uint32(most))
		}
	}
	q := m.Questions[0]
	m = dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true}, Questions: []dnsmessage.Question{q}}
	if !s.answer(&m, q.Name, q.Type) {
		return nil
	}
	reply, err := m.Pack()
	if err != nil {
		return nil
	}
	if !stream && len(reply) > most {
		m.Answers, m.Truncated = nil, true
		reply, _ = m.Pack()
	}
	return reply
}

// answer puts what is known of a name into m; false is silence.
func (s *nameServer) answer(m *dnsmessage.Message, name dnsmessage.Name, typ dnsmessage.Type) bool {
	records, ok := s.zone[strings.ToLower(name.String())]
	if !ok {
		if records, ok = s.zone["*"]; !ok {
			m.RCode = dnsmessage.RCodeNameError
			return true
		}
	}
	put := func(body dnsmessage.ResourceBody, of dnsmessage.Type) {
		if typ == of || of == dnsmessage.TypeCNAME {
			h := dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET, TTL: 60}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: body})
		}
	}
	for _, r := range records {
		kind, other, _ := strings.Cut(r, " ")
		switch a, err := netip.ParseAddr(r); {
		case err == nil && a.Is4():
			put(&dnsmessage.AResource{A: a.As4()}, dnsmessage.TypeA)
		case err == nil:
			put(&dnsmessage.AAAAResource{AAAA: a.As16()}, dnsmessage.TypeAAAA)
		case kind == "CNAME":
			to := dnsmessage.MustNewName(other)
			put(&dnsmessage.CNAMEResource{CNAME: to}, dnsmessage.TypeCNAME)
			if typ != dnsmessage.TypeCNAME && !s.answer(m, to, typ) {
				return false
			}
		case kind == "PTR":
			put(&dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(other)}, dnsmessage.TypePTR)
		case kind == "MX":
			put(&dnsmessage.MXResource{MX: dnsmessage.MustNewName(other)}, dnsmessage.TypeMX)
		case kind == typ.String()[len("Type"):] && other == "SERVFAIL": // of one type alone
			m.RCode = dnsmessage.RCodeServerFailure
		case kind == "NOTIMP":
			m.RCode = dnsmessage.RCodeNotImplemented
		case kind == "SERVFAIL":
			m.RCode = dnsmessage.RCodeServerFailure
		case kind == "REFUSED":
			m.RCode = dnsmessage.RCodeRefused
		case kind == "FORMERR":
			m.RCode = dnsmessage.RCodeFormatError
		case kind == "silent":
			return false
		}
	}
	return true
}
