package proto

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/group"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A switched link is one that several hosts are on: every frame reaches all others at once. It stands in the
// place of a switch that does not snoop, and of the querier on it, which is the test.
type switched struct {
	t     *testing.T
	f     *groupFamily
	hosts []*Stack
	now   mono.Time
	said  []map[netip.Addr][]wire.GroupRecordType // by host: what it has reported of a group
	old   []map[netip.Addr]int                    // by host: reports of the versions without records
}

func newSwitched(t *testing.T, f *groupFamily, hosts int) *switched {
	w := &switched{t: t, f: f, now: 1e9}
	for i := range hosts {
		a := f.a.AsSlice()
		a[len(a)-1] = byte(1 + i)
		addr, _ := netip.AddrFromSlice(a)
		s := newHost(wire.MAC{2, 0, 0, 0, 7, byte(1 + i)}, addr)
		w.hosts = append(w.hosts, s)
	}
	w.forget()
	return w
}

func (w *switched) forget() {
	w.said, w.old = nil, nil
	for range w.hosts {
		w.said = append(w.said, map[netip.Addr][]wire.GroupRecordType{})
		w.old = append(w.old, map[netip.Addr]int{})
	}
}

// pass lets time go by.
func (w *switched) pass(d time.Duration) {
	var buf [2048]byte
	for end := w.now.Add(d); w.now < end; w.now = w.now.Add(50 * time.Millisecond) {
		for i, s := range w.hosts {
			s.Advance(w.now)
			for n := s.Output(0, buf[:], w.now); n > 0; n = s.Output(0, buf[:], w.now) {
				frame := append([]byte(nil), buf[:n]...)
				w.note(i, frame)
				for j, other := range w.hosts {
					if j != i {
						other.Input(0, append([]byte(nil), frame...), w.now)
					}
				}
			}
		}
	}
}

// note writes down what a host tells routers.
func (w *switched) note(host int, frame []byte) {
	record := func(r wire.GroupRecordView) {
		w.said[host][r.Group] = append(w.said[host][r.Group], r.Type)
	}
	b := wire.Ethernet(frame).Payload()
	if ip, ok := wire.ParseIPv4(b); ok && ip.Protocol() == wire.ProtoIGMP {
		m, _ := wire.ParseIGMP(ip.Payload())
		if m.Type() == wire.IGMPv2Report {
			w.old[host][m.Group()]++
		}
		m.Records(record)
	}
	if ip, ok := wire.ParseIPv6(b); ok {
		if e := wire.WalkExtensions(ip); e.RouterAlert {
			m, _ := wire.ParseMLD(wire.ICMP6(ip[e.Offset:]))
			if m.Type() == wire.ICMP6MLDReport {
				w.old[host][m.Group()]++
			}
			m.Records(record)
		}
	}
}

// asks is a general query to all hosts, of the newest version or of the one before.
func (w *switched) asks(old bool) {
	frame := queryFrame(w.f)
	if old {
		b := make([]byte, 200)
		n := wire.PutEthernet(b, wire.MulticastMAC(w.f.silent), macB, etherTypeOf(w.f.any))
		m := make([]byte, 64)
		if w.f.any.Is4() {
			m = m[:wire.PutIGMP(m, wire.IGMPQuery, time.Second, w.f.any)]
			n += wire.PutIPv4(b[n:], &wire.IPv4Fields{TTL: 1, Protocol: wire.ProtoIGMP, Src: netip.IPv4Unspecified(), Dst: w.f.silent, Options: wire.RouterAlert4, PayloadLen: len(m)})
		} else {
			m = m[:wire.PutMLD(m, wire.ICMP6MLDQuery, time.Second, w.f.any)]
			src := netip.MustParseAddr("fe80::b")
			n += wire.PutIPv6(b[n:], &wire.IPv6Fields{HopLimit: 1, NextHeader: wire.ProtoHopByHop, Src: src, Dst: w.f.silent, PayloadLen: wire.RouterAlert6Len + len(m)})
			n += wire.PutRouterAlert6(b[n:], wire.ProtoICMPv6)
			wire.ICMP6(m).Seal(wire.PseudoSum(src, w.f.silent, wire.ProtoICMPv6, len(m)))
		}
		frame = b[:n+copy(b[n:], m)]
	}
	for _, s := range w.hosts {
		s.Input(0, append([]byte(nil), frame...), w.now)
	}
}

// Two receivers, a sender and a querier on one link (RFC 3376 §3-5, RFC 3810, and RFC 2236 §3, RFC 2710 §4 for a
// querier of old): who has joined hears, from whom it wants; all of them answer a query, and of the versions
// without records the first answer is enough for the link.
func TestThreeHostsAndAQuerier(t *testing.T) {
	eachGroupFamily(t, func(t *testing.T, f *groupFamily) {
		w := newSwitched(t, f, 3)
		sender, first, second := w.hosts[0], w.hosts[1], w.hosts[2]
		from := newSocket(sender, &sender.UDP, at(f.any, 1000))
		one, two := newSocket(first, &first.UDP, at(f.any, 7)), newSocket(second, &second.UDP, at(f.any, 7))
		sends := func(want string) {
			t.Helper()
			if e := send(sender, from, netip.AddrPortFrom(f.group, 7), []byte("x"), w.now); e != 0 {
				t.Fatal(e)
			}
			w.pass(100 * time.Millisecond)
			if got := hears(one, two); got != want {
				t.Errorf("heard by %q, want %q", got, want)
			}
		}
		w.pass(20 * time.Second)
		sends("")
		w.forget()
		join(t, first, one, joins(f.group))
		w.pass(3 * time.Second)
		sends("0")
		if len(w.said[1][f.group]) != 2 || w.said[1][f.group][0] != wire.ChangeToExclude || len(w.said[2][f.group]) != 0 {
			t.Errorf("on joining: %v", w.said)
		}
		join(t, second, two, func(s *group.Set) (*group.Set, unix.Errno) { return s.JoinSource(0, f.group, f.b) }) // not the sender
		w.pass(3 * time.Second)
		sends("0")
		join(t, second, two, func(s *group.Set) (*group.Set, unix.Errno) { return s.Leave(0, f.group) })
		join(t, second, two, joins(f.group))
		w.pass(3 * time.Second)
		sends("01")

		w.forget()
		w.asks(false)
		w.pass(2 * time.Second)
		for _, h := range []int{1, 2} {
			if got := w.said[h][f.group]; len(got) != 1 || got[0] != wire.ModeIsExclude {
				t.Errorf("host %d answers %v", h, got)
			}
		}
		if len(w.said[0][f.group]) != 0 {
			t.Errorf("who has not joined answers %v", w.said[0])
		}

		w.forget()
		w.asks(true)
		w.pass(2 * time.Second)
		if n := w.old[1][f.group] + w.old[2][f.group]; n != 1 || w.old[0][f.group] != 0 {
			t.Errorf("%d reports for a querier of old, want one for the link", n)
		}
		w.forget()
		leaves(t, second, two, f.group)
		w.pass(time.Second)
		sends("0")
		leaves(t, first, one, f.group)
		w.pass(time.Second)
		sends("")
	})
}

func leaves(t *testing.T, s *Stack, sock *udp.Socket, g netip.Addr) {
	t.Helper()
	join(t, s, sock, func(set *group.Set) (*group.Set, unix.Errno) { return set.Leave(0, g) })
}
