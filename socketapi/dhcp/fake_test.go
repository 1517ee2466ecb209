package dhcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

var (
	station  = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	serverA  = netip.MustParseAddr("192.0.2.1")
	serverB  = netip.MustParseAddr("192.0.2.9")
	leased   = netip.MustParsePrefix("192.0.2.50/24")
	standard = []dhcpv4.Modifier{
		dhcpv4.WithLeaseTime(3600), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithRouter(net.IP{192, 0, 2, 1}),
		dhcpv4.WithDNS(net.IP{192, 0, 2, 53}), dhcpv4.WithOption(dhcpv4.OptDomainName("example.org")),
	}
)

// A fakeLink is an interface and the servers on its link, in memory.
type fakeLink struct {
	t  testing.TB
	mu sync.Mutex

	conns    map[*fakeConn]bool
	server   func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 // nil: no answer
	conflict func(netip.Addr) bool
	lost     chan struct{}
	ups      int
	changed  chan struct{}

	begun  time.Time
	log    []string // messages and what became of addresses
	events []string
	held   netip.Prefix

	settled bool // since the last message
}

func newFakeLink(t testing.TB) *fakeLink {
	l := &fakeLink{t: t, conns: map[*fakeConn]bool{}, begun: time.Now(), changed: make(chan struct{}), conflict: func(netip.Addr) bool { return false }}
	l.server = l.honest(serverA, leased)
	return l
}

// reply makes a server's message.
func reply(m *dhcpv4.DHCPv4, kind dhcpv4.MessageType, server netip.Addr, addr netip.Prefix, more ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	mods := append([]dhcpv4.Modifier{
		dhcpv4.WithMessageType(kind),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server.AsSlice())),
	}, more...)
	if addr.IsValid() {
		mods = append(mods, dhcpv4.WithYourIP(addr.Addr().AsSlice()))
	}
	r, _ := dhcpv4.NewReplyFromRequest(m, mods...)
	for code := range r.Options { // a server tells what it was asked for, and what it must
		switch dhcpv4.GenericOptionCode(code) {
		case 51, 53, 54, 56: // lease time, type, server and message
		default:
			if !m.IsOptionRequested(dhcpv4.GenericOptionCode(code)) {
				delete(r.Options, code)
			}
		}
	}
	return r
}

// honest is a server that gives one address to everyone.
func (l *fakeLink) honest(server netip.Addr, addr netip.Prefix, more ...dhcpv4.Modifier) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 {
	more = append(append([]dhcpv4.Modifier{}, standard...), more...)
	return func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 {
		switch m.MessageType() {
		case dhcpv4.MessageTypeDiscover:
			return reply(m, dhcpv4.MessageTypeOffer, server, addr, more...)
		case dhcpv4.MessageTypeRequest:
			if id := m.ServerIdentifier(); id != nil && !id.Equal(server.AsSlice()) {
				return nil
			}
			return reply(m, dhcpv4.MessageTypeAck, server, addr, more...)
		}
		return nil
	}
}

// note writes down what happens, with the seconds since the beginning.
func (l *fakeLink) note(format string, args ...any) {
	l.log = append(l.log, fmt.Sprintf("%.0f ", time.Since(l.begun).Seconds())+fmt.Sprintf(format, args...))
}

func (l *fakeLink) Name() string                   { return "fake0" }
func (l *fakeLink) HardwareAddr() net.HardwareAddr { return station }
func (l *fakeLink) Lost() <-chan struct{}          { l.mu.Lock(); defer l.mu.Unlock(); return l.lost }
func (l *fakeLink) Ups() (int, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ups, l.changed
}

// comesUp is the cable that is back.
func (l *fakeLink) comesUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ups++
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *fakeLink) open(local netip.Addr) (net.PacketConn, error) {
	c := &fakeConn{link: l, local: local, in: make(chan []byte, 16), closed: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
	return c, nil
}

func (l *fakeLink) Broadcast() (net.PacketConn, error) { return l.open(netip.Addr{}) }
func (l *fakeLink) Leased(a netip.Addr) (net.PacketConn, error) {
	if a != l.held.Addr() {
		return nil, fmt.Errorf("%v is not held", a)
	}
	return l.open(a)
}

func (l *fakeLink) Settle(context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.settled = true
}

func (l *fakeLink) Take(ctx context.Context, lease *Lease) error {
	sleep(ctx, 6*time.Second) // probing
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conflict(lease.Addr.Addr()) {
		l.note("conflict %v", lease.Addr)
		return ErrConflict
	}
	l.held, l.lost = lease.Addr, make(chan struct{})
	l.note("take %v", lease.Addr)
	return nil
}

func (l *fakeLink) Update(lease *Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("update %v", lease.Addr)
	return nil
}

func (l *fakeLink) Drop(lease *Lease) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note("drop %v", lease.Addr)
	if last := l.log[max(0, len(l.log)-2)]; strings.Contains(last, "RELEASE") && !l.settled {
		l.t.Error("the release has not left, and its address is dropped")
	}
	l.held = netip.Prefix{}
	return nil
}

// A fakeConn is a socket at port 68.
type fakeConn struct {
	link   *fakeLink
	local  netip.Addr // not valid: the broadcast socket
	in     chan []byte
	closed chan struct{}
	once   sync.Once
}

func (c *fakeConn) ReadFrom(p []byte) (int, net.Addr, error) {
	select {
	case b := <-c.in:
		return copy(p, b), &net.UDPAddr{IP: serverA.AsSlice(), Port: 67}, nil
	case <-c.closed:
		return 0, nil, net.ErrClosed
	}
}

func (c *fakeConn) WriteTo(p []byte, addr net.Addr) (int, error) {
	l := c.link
	to := addr.(*net.UDPAddr)
	m, err := dhcpv4.FromBytes(p)
	if err != nil || to.Port != 67 {
		l.t.Errorf("to %v: %v", to, err)
		return 0, err
	}
	unicast := !to.IP.Equal(net.IPv4bcast)
	if unicast && !c.local.IsValid() {
		l.t.Errorf("%v by unicast from no address", m.MessageType())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	how := "to all"
	if unicast {
		how = "to " + to.IP.String()
	}
	l.note("%v %s", m.MessageType(), how)
	l.settled = false
	r := l.server(m, unicast)
	if r == nil {
		return len(p), nil
	}
	// Only what everyone gets reaches a station without an address.
	if m.IsBroadcast() || l.held.IsValid() {
		for other := range l.conns {
			select {
			case other.in <- r.ToBytes():
			default:
			}
		}
	}
	return len(p), nil
}

func (c *fakeConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.link.mu.Lock()
		delete(c.link.conns, c)
		c.link.mu.Unlock()
	})
	return nil
}
func (c *fakeConn) LocalAddr() net.Addr              { return &net.UDPAddr{Port: 68} }
func (c *fakeConn) SetDeadline(time.Time) error      { return nil }
func (c *fakeConn) SetReadDeadline(time.Time) error  { return nil }
func (c *fakeConn) SetWriteDeadline(time.Time) error { return nil }
