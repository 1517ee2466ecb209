package proto

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/autoconf"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var (
	gateway4 = netip.MustParseAddr("10.9.0.254") // in use
	spare4   = netip.MustParseAddr("10.9.0.253") // a default gateway, too
	other4   = netip.MustParseAddr("10.9.0.99")  // on the link
	foreign4 = netip.MustParseAddr("198.51.100.9")
	far4     = far[family4]
)

// newRedirected is a host over IPv4 with two default gateways, and a socket and a connection that talk to far4.
func newRedirected(t *testing.T) (h *confHost, quoteUDP, quoteTCP []byte) {
	h = newConfHost(t, macB, 1, false)
	h.static = []route.Route{
		{Prefix: netip.MustParsePrefix("10.9.0.0/24")},
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: gateway4, Metric: 1},
		{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: spare4, Metric: 2},
	}
	h.conf.V4.Add(netip.MustParsePrefix("10.9.0.2/24"), autoconf.Manual, autoconf.DefendAlways, false, h.now)
	sock := newSocket(h.Stack, &h.UDP, "10.9.0.2:5000")
	to := netip.AddrPortFrom(far4, 9)
	quoteUDP = forgeUDP(sock.Local, to, "x")[wire.EthernetLen:][:28]
	c, errno := h.TCP.Connect(netip.MustParseAddrPort("10.9.0.2:6000"), to, tcp.Options{}, h.now)
	if errno != 0 {
		t.Fatal(errno)
	}
	c.Gate.Init(silent{})
	input(t, h.Stack, forgeARP(macB, &wire.ARPFields{Op: wire.ARPRequest, SenderMAC: macA, SenderIP: gateway4, TargetIP: ipB}), h.now)
	h.pass(100 * time.Millisecond)
	for _, f := range h.sent {
		if ip, ok := wire.ParseIPv4(f[wire.EthernetLen:]); ok && ip.Protocol() == wire.ProtoTCP {
			quoteTCP = ip[:28]
		}
	}
	if quoteTCP == nil {
		t.Fatal("no segment was sent")
	}
	return h, quoteUDP, quoteTCP
}

// redirect4 is one of a router's.
func redirect4(from, gateway netip.Addr, code uint8, quoted []byte) []byte {
	a := gateway.As4()
	return forgeICMP(from, ipB, wire.ICMP4Redirect, code, binary.BigEndian.Uint32(a[:]), quoted)
}

// RFC 1122 §3.2.2.2, §3.3.1.2: which redirects over IPv4 are followed, and what becomes of the others.
func TestRedirects4(t *testing.T) {
	const unknown, refused = drop.ICMP4QuoteUnknown, drop.ICMP4RedirectRefused
	off := func(p *Params) { p.AcceptRedirects4 = false }
	strict := func(p *Params) { p.SharedMedia, p.SecureRedirects = false, false }
	secure := func(p *Params) { p.SharedMedia = false }
	about := func(src, dst netip.AddrPort) []byte { return forgeUDP(src, dst, "x")[wire.EthernetLen:][:28] }
	ours, theirs := netip.MustParseAddrPort("10.9.0.2:5000"), netip.AddrPortFrom(far4, 9)
	for name, row := range map[string]struct {
		params        func(*Params)
		from, gateway netip.Addr
		code          uint8
		quote         func(udp, tcp []byte) []byte // nil: the datagram's
		want          drop.Reason
	}{
		"for a host":                         {code: 1, want: drop.None},
		"for a network":                      {code: 0, want: drop.None},
		"for a type of service":              {code: 3, want: drop.None},
		"of a segment":                       {quote: func(_, tcp []byte) []byte { return tcp }, want: drop.None},
		"to a station that is no gateway":    {gateway: other4, want: drop.None},
		"to the destination itself":          {gateway: far4, want: drop.None},
		"off":                                {params: off, want: refused},
		"of another station":                 {from: other4, want: refused},
		"of a gateway that is not in use":    {from: spare4, gateway: other4, want: refused},
		"of the destination":                 {from: far4, want: refused},
		"to who says so":                     {gateway: gateway4, want: refused},
		"to us":                              {gateway: ipB, want: refused},
		"to a group":                         {gateway: netip.MustParseAddr("224.0.0.2"), want: refused},
		"to everyone":                        {gateway: netip.MustParseAddr("10.9.0.255"), want: refused},
		"to nobody":                          {gateway: netip.MustParseAddr("0.0.0.0"), want: refused},
		"to the loopback":                    {gateway: loopback4, want: refused},
		"of an unknown code":                 {code: 4, want: refused},
		"of a socket that is not there":      {quote: func(_, _ []byte) []byte { return about(portB(77), theirs) }, want: unknown},
		"of what another host sent":          {quote: func(_, _ []byte) []byte { return about(theirs, ours) }, want: unknown},
		"of what goes to the link":           {quote: func(_, _ []byte) []byte { return about(ours, portA) }, want: refused},
		"of what goes to a group":            {quote: func(_, _ []byte) []byte { return about(ours, netip.MustParseAddrPort("239.1.1.1:9")) }, want: refused},
		"of a later fragment":                {quote: func(udp, _ []byte) []byte { udp[7] = 1; return udp }, want: unknown},
		"of a guessed segment":               {quote: func(_, tcp []byte) []byte { tcp[24] ^= 0x40; return tcp }, want: drop.ICMP4QuoteImplausible},
		"of too little":                      {quote: func(udp, _ []byte) []byte { return udp[:24] }, want: drop.ICMP4QuoteShort},
		"of nothing":                         {quote: func(udp, _ []byte) []byte { return udp[:10] }, want: drop.ICMP4QuoteShort},
		"off the link, without shared media": {params: strict, gateway: foreign4, want: refused},
		"off the link":                       {gateway: foreign4, want: drop.None},
		"any station, without shared media":  {params: strict, gateway: other4, want: drop.None},
		"any station, but secure":            {params: secure, gateway: other4, want: refused},
		"a listed one, secure":               {params: secure, want: drop.None},
	} {
		h, quoteUDP, quoteTCP := newRedirected(t)
		if row.params != nil {
			p := h.Params()
			row.params(&p)
			h.SetParams(p)
		}
		from, gateway, quoted := gateway4, spare4, quoteUDP
		if row.from.IsValid() {
			from = row.from
		}
		if row.gateway.IsValid() {
			gateway = row.gateway
		}
		if row.quote != nil {
			quoted = row.quote(quoteUDP, quoteTCP)
		}
		if r := input(t, h.Stack, redirect4(from, gateway, row.code, quoted), h.now); r != row.want {
			t.Errorf("%s: %v, want %v", name, r, row.want)
		}
		w, errno := h.path(far4, h.now)
		if errno != 0 {
			t.Fatal(errno)
		}
		hop := gateway4
		if row.want == drop.None {
			hop = gateway
		}
		if w.entry.Addr != hop {
			t.Errorf("%s: packets go to %v, want %v", name, w.entry.Addr, hop)
		}
	}
}

// A redirect counts for five minutes, and as long as who said so is a gateway; the next one of the new first hop
// replaces it.
func TestRedirectsEnd4(t *testing.T) {
	h, quoted, _ := newRedirected(t)
	hop := func() netip.Addr {
		w, errno := h.path(far4, h.now)
		if errno != 0 {
			t.Fatal(errno)
		}
		return w.entry.Addr
	}
	tell := func(from, gateway netip.Addr) {
		if r := input(t, h.Stack, redirect4(from, gateway, 1, quoted), h.now); r != drop.None {
			t.Error(r)
		}
	}
	tell(gateway4, other4)
	tell(other4, far4) // of the one that it goes to now
	if hop() != far4 {
		t.Errorf("by %v", hop())
	}
	h.pass(4 * time.Minute) // which leaves it silent, too: nobody is there
	if hop() == far4 {
		t.Error("by what does not answer")
	}
	h.pass(2 * time.Minute)
	if n := len(h.conf.V4.Routes()); n != 0 || hop() == far4 {
		t.Errorf("%d after their time", n)
	}
	h, quoted, _ = newRedirected(t)
	tell(gateway4, other4)
	h.static = h.static[:1]
	h.take()
	h.KeepRedirects(h.now)
	if n := len(h.conf.V4.Routes()); n != 0 {
		t.Errorf("%d of a gateway that is none", n)
	}
	if _, errno := h.path(far4, h.now); errno != unix.ENETUNREACH {
		t.Error(errno)
	}
}

// A redirect that comes by another core than the one that keeps them is judged there, where the socket is, and kept by that one.
func TestRedirectAtAnotherCore(t *testing.T) {
	c := &crowd{t: t}
	for i := range 2 {
		s := New(Config{Ports: []PortConfig{{MAC: macB, MTU: 1500}}, Seed: [2]uint64{7, uint64(i)}, Secret: [16]byte{5}, Peers: &member{c, i}, Core: i, Cores: 2})
		setAddr(s, ipB)
		s.SetRoutes(route.New(append([]route.Route{{Prefix: netip.MustParsePrefix("0.0.0.0/0"), Gateway: gateway4}}, s.Routes.Routes()...)))
		c.cores = append(c.cores, s)
	}
	conf := c.cores[AutoconfCore].SetAutoconf(0, &AutoconfConfig{Changed: func(mono.Time) {}})
	sock := newSocket(c.cores[1], &c.cores[1].UDP, "10.9.0.2:5000")
	quoted := forgeUDP(sock.Local, netip.AddrPortFrom(far4, 9), "x")[wire.EthernetLen:][:28]
	if r := input(t, c.cores[1], redirect4(other4, spare4, 1, quoted), 1); r != drop.ICMP4RedirectRefused || len(conf.V4.Routes()) != 0 {
		t.Errorf("a stranger's: %v", r)
	}
	if r := input(t, c.cores[1], redirect4(gateway4, spare4, 1, quoted), 1); r != drop.None {
		t.Error(r)
	}
	if list := conf.V4.Routes(); len(list) != 1 || list[0].Gateway != spare4 || list[0].Prefix.Addr() != far4 {
		t.Errorf("kept: %v", list)
	}
}
