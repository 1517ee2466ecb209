package proto

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// prober is a program that sends numbered datagrams of all lengths to an echo and
// keeps account of what comes back.
type prober struct {
	t     *testing.T
	s     *Stack
	sock  *udp.Socket
	to    netip.AddrPort
	every time.Duration
	next  mono.Time
	left  int
	sent  int
	back  []int // times that each came back
	late  int   // that came back after one that was sent later
	last  int
}

// probe is the datagram with that number: its number, and so many bytes of its own.
func probe(number int) []byte {
	n := 4 + number*37%1400
	b := binary.BigEndian.AppendUint32(make([]byte, 0, n), uint32(number))
	of := stream{key: uint64(number)}
	return append(b, of.next(n-4)...)
}

func (p *prober) run(now mono.Time) (work int) {
	var m ring.Datagram
	for {
		n, ok := p.sock.Recv.Get(&m, talkBuf[:], false)
		if !ok {
			break
		}
		work++
		if n < 4 {
			p.t.Fatalf("a datagram of %d bytes", n)
		}
		number := int(binary.BigEndian.Uint32(talkBuf[:]))
		if number >= p.sent || !bytes.Equal(talkBuf[:n], probe(number)) || m.From != p.to {
			p.t.Fatalf("datagram %d of %d bytes from %v is not what was sent", number, n, m.From)
		}
		p.back[number]++
		if number < p.last {
			p.late++
		}
		p.last = max(p.last, number)
	}
	for p.left > 0 && p.next.Due(now) {
		p.next = now.Add(p.every)
		p.left--
		p.back = append(p.back, 0)
		send(p.s, p.sock, p.to, probe(p.sent), now)
		p.sent++
		work++
	}
	return work
}

// echoer sends back what it gets.
type echoer struct {
	s    *Stack
	sock *udp.Socket
}

func (p *echoer) run(now mono.Time) (work int) {
	var m ring.Datagram
	for {
		n, ok := p.sock.Recv.Get(&m, talkBuf[:], false)
		if !ok {
			return work
		}
		send(p.s, p.sock, m.From, talkBuf[:n], now)
		work++
	}
}

// closeSocket is what a program's close does.
func closeSocket(s *Stack, sock *udp.Socket) {
	s.UDP.Remove(sock)
	s.Withdraw(sock)
	sock.Recv.Free()
}

func TestDatagramsArriveWholeOrNotAtAll(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		for seed, p := range []trouble{
			{},
			{Delay: 10 * time.Millisecond},
			{Delay: time.Millisecond, Loss: 0.1, Duplicate: 0.05},
			{Delay: time.Millisecond, Reorder: 0.1, ReorderDelay: 5 * time.Millisecond},
			{Delay: time.Millisecond, Corrupt: 0.2},
			rough,
		} {
			s := f.sim(t, uint64(seed), p, tcp.Params{}, nil)
			probing := &prober{t: t, s: s.a.Stack, sock: newSocket(s.a.Stack, &s.a.UDP, at(f.a, 1000)),
				to: netip.AddrPortFrom(f.b, 7), every: time.Millisecond, left: 2000}
			echoing := &echoer{s: s.b.Stack, sock: newSocket(s.b.Stack, &s.b.UDP, at(f.any, 7))}
			s.a.programs = append(s.a.programs, probing)
			s.b.programs = append(s.b.programs, echoing)
			for range 2000 {
				s.pass(time.Millisecond)
			}
			s.pass(5 * time.Second)
			lost, twice := 0, 0
			for _, n := range probing.back {
				switch {
				case n == 0:
					lost++
				case n > 1:
					twice++
				}
			}
			// What is missing was lost, damaged or dropped on the wire, or while an answer about the
			// neighbour was lost, and counted there.
			w, x := s.wire.A.Stats(), s.wire.B.Stats()
			gone := s.a.Count[drop.NeighbourParkingFull] + s.b.Count[drop.NeighbourParkingFull] + w.Lost + w.Corrupted + w.QueueFull + x.Lost + x.Corrupted + x.QueueFull
			switch {
			case probing.sent != 2000:
				t.Errorf("path %d: %d were sent", seed, probing.sent)
			case uint64(lost) > gone:
				t.Errorf("path %d: %d are missing, %d by the wire", seed, lost, gone)
			case p.Duplicate == 0 && twice > 0, p.Duplicate > 0 && twice == 0:
				t.Errorf("path %d: %d came back twice", seed, twice)
			case p.Reorder == 0 && probing.late > 0, p.Reorder > 0 && probing.late == 0:
				t.Errorf("path %d: %d came back late", seed, probing.late)
			}
			closeSocket(s.a.Stack, probing.sock)
			closeSocket(s.b.Stack, echoing.sock)
			s.empty(10 * time.Minute)
		}
	})
}

// TestDatagramsShareThePathWithAConnection: neither starves the other.
func TestDatagramsShareThePathWithAConnection(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.sim(t, 20, trouble{Rate: 40 * mbit, QueuePackets: 100, Delay: time.Millisecond}, tcp.Params{}, nil)
		c := s.listen(s.b, s.a, 80).dial(-1, 0)
		probing := &prober{t: t, s: s.a.Stack, sock: newSocket(s.a.Stack, &s.a.UDP, at(f.a, 1000)),
			to: netip.AddrPortFrom(f.b, 7), every: 10 * time.Millisecond, left: 200}
		s.a.programs = append(s.a.programs, probing)
		s.b.programs = append(s.b.programs, &echoer{s: s.b.Stack, sock: newSocket(s.b.Stack, &s.b.UDP, at(f.any, 7))})
		for range 2500 {
			s.pass(time.Millisecond)
		}
		back := 0
		for _, n := range probing.back {
			back += n
		}
		if got := c.server.in.off; back < 150 || got < 4<<20 {
			t.Errorf("%d of 200 datagrams came back beside %d bytes", back, got)
		}
	})
}

// TestPingThroughARoughPath: an echo reply is the request's bytes, or is not there.
func TestPingThroughARoughPath(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		s := f.sim(t, 21, rough, tcp.Params{}, nil)
		sock := newSocket(s.a.Stack, &s.a.Ping, at(f.any, 77))
		back := 0
		for i := range 200 {
			message := f.echoRequest(77, uint16(i), streamBytes[i:i+i*7])
			s.a.Offer(f.icmp, sock, netip.AddrPortFrom(f.b, 0), message, s.now())
			s.a.Settle()
			s.pass(50 * time.Millisecond)
			var m ring.Datagram
			for {
				n, ok := sock.Recv.Get(&m, talkBuf[:], false)
				if !ok {
					break
				}
				seq := int(wire.ICMP4(talkBuf[:n]).Seq())
				if seq > i || n != wire.ICMP4Len+seq*7 || !bytes.Equal(talkBuf[wire.ICMP4Len:n], streamBytes[seq:seq+seq*7]) {
					t.Fatalf("reply %d of %d bytes is not the request's", seq, n)
				}
				back++
			}
		}
		if back < 150 {
			t.Errorf("%d of 200 came back", back)
		}
	})
}
