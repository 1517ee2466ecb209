package socketapi

import (
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Packet by packet: a program does the same over the kernel's sockets and over ours, against the kernel, and what either
// says on the wire is the same, but for what is listed.

// A tap is a packet socket at the peer's end of the wire.
type tap struct {
	fd int
	me [2]string // addresses, without the zone
}

func newTap(t *testing.T, me, peer side) *tap {
	t.Helper()
	w := &tap{me: [2]string{fmt.Sprint(me.ip), fmt.Sprint(me.ip6)}}
	err := peer.api.(linux).ns.Do(func() (err error) {
		const all = 0x0300 // ETH_P_ALL in network order
		if w.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		return unix.Bind(w.fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: peer.index})
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(w.fd) })
	return w
}

// A trace is what one end has said to another's port, and to whom.
type trace struct {
	e     *env
	tap   *tap
	port  uint16 // of either end
	ours  bool   // port is that of this side
	lines []string

	iss, irs uint32 // of this side and of its peer
	begun    [2]bool
	nxt      uint32 // after what this side has said, from iss on
	acked    uint32 // what this side has acknowledged, from irs on

	acks, again bool // acknowledgements alone count, and SYNs that are sent again
}

// trace begins to look at what this side says by a connection of a port, its own or its peer's.
func (e *env) trace(port int, ours bool) *trace {
	for frame := make([]byte, 2048); ; { // of rows before
		if _, _, err := unix.Recvfrom(e.me.tap.fd, frame, 0); err != nil {
			return &trace{e: e, tap: e.me.tap, port: uint16(port), ours: ours}
		}
	}
}

// until looks on until this side has said what holds want.
func (r *trace) until(want string) {
	r.e.t.Helper()
	frame := make([]byte, 2048)
	r.e.until(want, func() bool {
		for {
			n, _, err := unix.Recvfrom(r.tap.fd, frame, 0)
			if err != nil {
				break
			}
			r.see(frame[:n])
		}
		return len(r.lines) > 0 && strings.Contains(strings.Join(r.lines, "\n"), want)
	})
}

// tell notes what this side has said up to what holds want.
func (r *trace) tell(want string) {
	r.e.t.Helper()
	r.until(want)
	for _, line := range r.lines {
		r.e.note("packet", line)
		if strings.Contains(line, want) {
			break
		}
	}
	r.lines = nil
}

// see takes in a frame. Acknowledgements alone follow clocks and are left out, if the row does not want them, but for those of a
// number that is acknowledged already, which ask for something; so is what was said before, since a busy machine has segments sent
// again.
func (r *trace) see(frame []byte) {
	link, ok := wire.ParseLink(frame)
	if !ok {
		return
	}
	packet := frame[link.HeaderLen:]
	var src, ip string
	var segment wire.TCP
	if h, ok := wire.ParseIPv4(packet); ok && h.Protocol() == wire.ProtoTCP {
		src = fmt.Sprint(h.Src().As4())
		ip = fmt.Sprintf("TTL %d, TOS %d, DF %v", h.TTL(), h.TOS(), h.DF())
		segment = wire.TCP(h.Payload())
	} else if h, ok := wire.ParseIPv6(packet); ok && h.NextHeader() == wire.ProtoTCP {
		src = fmt.Sprint(h.Src().As16())
		ip = fmt.Sprintf("TTL %d, TOS %d", h.HopLimit(), h.TrafficClass())
		segment = wire.TCP(h.Payload())
	} else {
		return
	}
	if _, ok := wire.ParseTCP(segment); !ok {
		return
	}
	mine := src == r.tap.me[0] || src == r.tap.me[1]
	if (segment.SrcPort() == r.port && mine == r.ours) || (segment.DstPort() == r.port && mine != r.ours) {
		r.said(segment, ip, mine)
	}
}

func (r *trace) said(h wire.TCP, ip string, mine bool) {
	seq, flags := h.Seq().Uint32(), h.Flags()
	if !mine {
		if flags.Has(wire.SYN) {
			r.irs, r.begun[1] = seq, true
		}
		return
	}
	ack := h.Ack().Uint32() - r.irs
	if flags.Has(wire.SYN) {
		about := ""
		switch n := len(h.Payload()); {
		case r.begun[0] && r.again:
			about = fmt.Sprintf(", again at %+d", int32(seq-r.iss))
		case r.begun[0]:
			return
		case n > 0:
			about = fmt.Sprintf(", %d bytes", n)
		}
		if flags.Has(wire.ACK) {
			about += fmt.Sprintf(", acknowledges %d", ack)
			r.acked = ack
		}
		r.iss, r.nxt, r.begun[0] = seq, 1+uint32(len(h.Payload())), true
		r.lines = append(r.lines, fmt.Sprintf("%v%s, window %d, %s, %s", flags, about, h.Window(), optionsOf(h), ip))
		return
	}
	at, n := seq-r.iss, uint32(len(h.Payload()))
	about := ""
	switch {
	case flags.Has(wire.RST):
		if !r.begun[0] {
			at = seq
		}
		about = fmt.Sprintf(", a window %v", h.Window() > 0) // by how much it is open depends on what was read
	case n > 0 || flags.Has(wire.FIN):
		end := at + n
		if flags.Has(wire.FIN) {
			end++
		}
		if int32(end-r.nxt) <= 0 {
			return
		}
		r.nxt = end
	case int32(at-r.nxt) < 0: // a probe
		about = ", a probe"
		if at == r.nxt-1 {
			at = 0
		}
	case r.acks && int32(ack-r.acked) > 0:
		about = fmt.Sprintf(", acknowledges %d", ack)
	default:
		return
	}
	r.acked = ack
	if flags.Has(wire.ACK) && (flags.Has(wire.RST) || flags.Has(wire.FIN)) {
		about += fmt.Sprintf(", acknowledges %d", ack)
	}
	if flags.Has(wire.URG) {
		about += fmt.Sprintf(", urgent %d", h.Urgent())
	}
	r.lines = append(r.lines, fmt.Sprintf("%v %d(%d)%s, %s, %s", flags, at, n, about, optionsOf(h), ip))
}

// optionsOf are those of a header in their order, less what timestamps and cookies say.
func optionsOf(h wire.TCP) string {
	var said []string
	for b := h.Options(); len(b) > 0; {
		switch {
		case b[0] == 0:
			said, b = append(said, "end"), nil
			continue
		case b[0] == 1:
			said, b = append(said, "nop"), b[1:]
			continue
		case len(b) < 2 || b[1] < 2 || int(b[1]) > len(b):
			return fmt.Sprintf("bad options %x", b)
		}
		switch o := b[2:b[1]]; b[0] {
		case 8:
			said = append(said, fmt.Sprint("TS ", len(o)))
		case 34:
			said = append(said, fmt.Sprint("cookie ", len(o)))
		default:
			said = append(said, fmt.Sprintf("%d %x", b[0], o))
		}
		b = b[b[1]:]
	}
	return "<" + strings.Join(said, ", ") + ">"
}

// pair is a connection that this side opens (or the peer, if passive), over a family, and the trace of it.
func (e *env) pair(f ipFamily, passive bool) (mine, theirs int, r *trace) {
	e.t.Helper()
	server, client := &e.peer, &e.me
	if passive {
		server, client = client, server
	}
	port := e.freePort()
	r = e.trace(port, passive)
	l := server.open(f.domain, unix.SOCK_STREAM, 0)
	e.must(server.api.Bind(l, f.in(server, port)))
	e.must(server.api.Listen(l, 5))
	c := client.open(f.domain, unix.SOCK_STREAM, 0)
	e.must(client.api.Connect(c, f.in(server, port)))
	s := server.accept(l)
	server.close(l)
	if passive {
		return s, c, r
	}
	return c, s, r
}

// packetRows are for both families.
func packetRows(f ipFamily) []row {
	named := func(name string) string { return name + ", " + f.name }
	return []row{
		{named("open, 4000 bytes, close"), func(e *env) {
			mine, theirs, r := e.pair(f, false)
			e.must(e.me.api.Sendto(mine, make([]byte, 4000), 0, nil))
			e.reads("", &e.peer, theirs, 4000, unix.MSG_WAITALL)
			e.notes = nil
			e.me.close(mine)
			r.tell("FIN")
		}},
		{named("accept, an answer, the peer closes first"), func(e *env) {
			mine, theirs, r := e.pair(f, true)
			e.must(e.peer.api.Sendto(theirs, []byte("question"), 0, nil))
			e.reads("", &e.me, mine, 8, unix.MSG_WAITALL)
			e.must(e.me.api.Sendto(mine, []byte("answer"), 0, nil))
			e.reads("", &e.peer, theirs, 6, unix.MSG_WAITALL)
			e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
			e.reads("", &e.me, mine, 1, 0)
			e.notes = nil
			e.me.close(mine)
			r.tell("FIN")
		}},
		{named("a reset by SO_LINGER"), func(e *env) {
			mine, _, r := e.pair(f, false)
			e.must(e.me.api.SetsockoptLinger(mine, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
			e.me.close(mine)
			r.tell("RST")
		}},
		{named("a reset since data is left unread"), func(e *env) {
			mine, theirs, r := e.pair(f, true)
			e.must(e.peer.api.Sendto(theirs, []byte("unread"), 0, nil))
			e.arrived(&e.me, mine, 6)
			e.me.close(mine)
			r.tell("RST")
		}},
		{named("a reset since nobody is left to read"), func(e *env) {
			mine, theirs, r := e.pair(f, false)
			e.me.close(mine)
			r.until("FIN")
			e.reads("", &e.peer, theirs, 1, 0)
			e.notes = nil
			e.must(e.peer.api.Sendto(theirs, []byte("unread"), 0, nil))
			r.tell("RST")
		}},
		{named("a reset since nobody listens"), func(e *env) {
			port := e.freePort()
			r := e.trace(port, true)
			c := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
			e.note("connect", e.peer.api.Connect(c, f.in(&e.me, port)))
			r.tell("RST")
		}},
		{named("a probe of a closed window"), func(e *env) {
			l, r := e.peer.open(f.domain, unix.SOCK_STREAM, 0), (*trace)(nil)
			port := e.freePort()
			e.peer.set(l, unix.SOL_SOCKET, unix.SO_RCVBUF, 4096)
			e.must(e.peer.api.Bind(l, f.in(&e.peer, port)))
			e.must(e.peer.api.Listen(l, 5))
			r = e.trace(port, false)
			mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
			e.must(e.me.api.Connect(mine, f.in(&e.peer, port)))
			e.must(e.me.api.SetNonblock(mine, true))
			e.me.api.SendmsgN(mine, make([]byte, 60_000), nil, nil, 0)
			r.until("a probe")
			for _, line := range r.lines { // how the window was filled depends on when it was told
				if strings.Contains(line, "a probe") {
					e.note("packet", line)
					break
				}
			}
		}},
		{named("a keepalive"), func(e *env) {
			mine, theirs, r := e.pair(f, false)
			e.must(e.me.api.Sendto(mine, []byte("abc"), 0, nil))
			e.reads("", &e.peer, theirs, 3, unix.MSG_WAITALL)
			e.notes = nil
			e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 1)
			e.me.set(mine, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
			r.tell("a probe")
		}},
		{named("urgent data"), func(e *env) {
			mine, _, r := e.pair(f, false)
			e.must(e.me.api.Sendto(mine, []byte("abc!"), unix.MSG_OOB, nil))
			r.tell("URG")
		}},
		{named("a cork, and a close with it in"), func(e *env) {
			mine, theirs, r := e.pair(f, false)
			e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 1)
			for range 3 {
				e.must(e.me.api.Sendto(mine, []byte("0123456789"), 0, nil))
			}
			e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_CORK, 0)
			e.reads("", &e.peer, theirs, 30, unix.MSG_WAITALL)
			e.must(e.me.api.Sendto(mine, []byte("0123456789"), unix.MSG_MORE, nil))
			e.notes = nil
			e.me.close(mine)
			r.tell("FIN")
		}},
		{named("small writes without Nagle"), func(e *env) {
			mine, theirs, r := e.pair(f, false)
			e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			for range 3 {
				e.must(e.me.api.Sendto(mine, []byte("0123456789"), 0, nil))
				e.reads("", &e.peer, theirs, 10, unix.MSG_WAITALL)
			}
			e.notes = nil
			e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
			r.tell("FIN")
		}},
		{named("a SYN of TCP_MAXSEG and a type of service"), func(e *env) {
			port := e.freePort()
			r := e.trace(port, false)
			mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
			e.me.set(mine, unix.IPPROTO_TCP, unix.TCP_MAXSEG, 700)
			e.me.set(mine, f.pick(unix.IPPROTO_IP, unix.IPPROTO_IPV6), f.pick(unix.IP_TOS, unix.IPV6_TCLASS), 0xb8)
			e.note("connect", e.me.api.Connect(mine, f.in(&e.peer, port)))
			r.tell("SYN")
		}},
		{named("acknowledgements"), func(e *env) {
			mine, theirs, r := e.pair(f, false)
			r.acks = true
			for i := range 4 { // of a segment each: of several that come together only the last is acknowledged here
				e.must(e.peer.api.Sendto(theirs, make([]byte, 1+i*400), 0, nil))
				e.until("the acknowledgement", func() bool {
					i, err := e.peer.api.GetsockoptTCPInfo(theirs, unix.IPPROTO_TCP, unix.TCP_INFO)
					return err == nil && i.Unacked == 0
				})
			}
			e.reads("", &e.me, mine, 4+6*400, unix.MSG_WAITALL)
			e.notes = nil
			e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
			r.tell("acknowledges 2406,")
		}},
		{named("a SYN that is not answered"), func(e *env) {
			l, port := e.peer.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
			e.must(e.peer.api.Bind(l, f.in(&e.peer, port)))
			e.must(e.peer.api.Listen(l, 5))
			e.must(deafen(l))
			r := e.trace(port, false)
			r.again = true
			mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
			e.must(e.me.api.SetNonblock(mine, true))
			e.note("connect", e.me.api.Connect(mine, f.in(&e.peer, port)))
			r.tell("again")
		}},
		{named("a SYN-ACK that is not answered"), func(e *env) {
			l, port := e.me.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
			e.must(e.me.api.Bind(l, f.in(&e.me, port)))
			e.must(e.me.api.Listen(l, 5))
			r := e.trace(port, true)
			r.again = true
			theirs := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
			e.must(deafen(theirs))
			e.must(e.peer.api.SetNonblock(theirs, true))
			e.peer.api.Connect(theirs, f.in(&e.me, port))
			r.tell("again")
		}},
		{named("Fast Open"), func(e *env) {
			l, port := e.peer.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
			e.peer.set(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5)
			e.must(e.peer.api.Bind(l, f.in(&e.peer, port)))
			e.must(e.peer.api.Listen(l, 5))
			for range 2 { // the first asks for a cookie
				r := e.trace(port, false)
				mine := e.me.open(f.domain, unix.SOCK_STREAM, 0)
				n, err := e.me.api.SendmsgN(mine, []byte("with the SYN"), nil, f.in(&e.peer, port), unix.MSG_FASTOPEN)
				e.note("sent", n, err)
				theirs := e.peer.accept(l)
				e.peer.api.Recvfrom(theirs, make([]byte, n), unix.MSG_WAITALL)
				e.me.close(mine)
				r.tell("FIN")
			}
		}},
		{named("Fast Open of a peer"), func(e *env) {
			l, port := e.me.open(f.domain, unix.SOCK_STREAM, 0), e.freePort()
			e.me.set(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 5)
			e.must(e.me.api.Bind(l, f.in(&e.me, port)))
			e.must(e.me.api.Listen(l, 5))
			for range 2 {
				r := e.trace(port, true)
				theirs := e.peer.open(f.domain, unix.SOCK_STREAM, 0)
				n, err := e.peer.api.SendmsgN(theirs, []byte("with the SYN"), nil, f.in(&e.me, port), unix.MSG_FASTOPEN)
				e.note("sent", n, err)
				mine := e.me.accept(l)
				e.me.api.Recvfrom(mine, make([]byte, n), unix.MSG_WAITALL)
				e.me.close(mine)
				r.tell("FIN")
			}
		}},
	}
}

// deafen has a socket of the kernel's take no segment any more.
func deafen(fd int) error {
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K}}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &drop[0]})
}

// packetDifferences is where our packets are not Linux's, and why.
var packetDifferences = map[string]difference{
	"a cork, and a close with it in, IPv4": pushDifference("TTL 64, TOS 0, DF true"),
	"a cork, and a close with it in, IPv6": pushDifference("TTL 64, TOS 0"),
}

func pushDifference(ip string) difference {
	line := "ACK 31(10), acknowledges 1, <nop, nop, TS 8>, " + ip
	return difference{
		"a FIN pushes (RFC 9293 §3.9.1.2); Linux leaves PSH away where the last write said MSG_MORE, which is not kept with the data here",
		[]string{"linux packet: FIN|" + line + " | engine packet: FIN|PSH|" + line},
	}
}

// TestPacketsAsLinux compares what both say on the wire.
func TestPacketsAsLinux(t *testing.T) {
	netlab.RequireRoot(t)
	ours, kernelPeer := netlab.TestNS(t), netlab.TestNS(t)
	wireOnly := func(ns *netlab.NS, name string) netlab.End { return netlab.End{NS: ns, Name: name, Off: netlab.OnWire} }
	a, b := wireOnly(ours, "va"), wireOnly(kernelPeer, "vb")
	a.Addrs, b.Addrs = enginePrefixes, kernelPrefixes
	netlab.TestVeth(t, a, b)
	engineNS, enginePeerNS := netlab.TestNS(t), netlab.TestNS(t)
	c, d := wireOnly(engineNS, "va"), wireOnly(enginePeerNS, "vb")
	d.Addrs = kernelPrefixes
	netlab.TestVeth(t, c, d)
	var st *Stack
	if err := engineNS.Do(func() (err error) {
		st, err = Open(host.Config{
			Interfaces: []host.Interface{{Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone}},
			Sysctls:    map[string]string{"tcp_fastopen": "3"},
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if _, err := st.ListenUDP(netip.MustParseAddrPort("0.0.0.0:9")); err != nil { // no row's socket is the last, whose close waits
		t.Fatal(err)
	}
	me, peer := kernelSide(t, ours, "va", engineAddr, engineAddr6), kernelSide(t, kernelPeer, "vb", kernelAddr, kernelAddr6)
	engineMe, enginePeer := me, kernelSide(t, enginePeerNS, "vb", kernelAddr, kernelAddr6)
	engineMe.api, engineMe.index = st.Table(), st.Host().Index(0)
	for _, ns := range []*netlab.NS{ours, kernelPeer, enginePeerNS} {
		fatal(t, ns.Do(func() error { return os.WriteFile("/proc/sys/net/ipv4/tcp_fastopen", []byte("3"), 0) }))
	}
	me.tap, engineMe.tap = newTap(t, me, peer), newTap(t, me, enginePeer)
	seen := map[string]bool{}
	for i, r := range append(packetRows(ipFamilies[0]), packetRows(ipFamilies[1])...) {
		seen[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			var want, got []string
			port := 7000 + i*portsOfRow
			t.Run("on", func(t *testing.T) {
				t.Run("linux", func(t *testing.T) { t.Parallel(); want = play(t, r, port, me, peer) })
				t.Run("engine", func(t *testing.T) { t.Parallel(); got = play(t, r, port, engineMe, enginePeer) })
			})
			if !t.Failed() {
				compare(t, packetDifferences[r.name], want, got)
			}
			if len(want) == 0 {
				t.Error("nothing was seen")
			}
		})
	}
	for name := range packetDifferences {
		if !seen[name] {
			t.Errorf("a difference is listed for %q, and there is no such row", name)
		}
	}
}
