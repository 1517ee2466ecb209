package socketapi

import (
	commandline "flag"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: socket(7) on SO_REUSEADDR and SO_REUSEPORT, ip(7) on IP_BIND_ADDRESS_NO_PORT and IP_LOCAL_PORT_RANGE.

var (
	sharingSeeds = commandline.Int("sharing-seeds", 300, "how many sequences TestSharing plays")
	sharingFirst = commandline.Int("sharing-first", 1, "the seed of the first")
)

// sharingPorts is from where on the sequences of TestSharing have a port each. It is in the range that ports are chosen from, so
// that IP_LOCAL_PORT_RANGE has bind and connect choose it.
const (
	sharingPorts = 33000
	sharingMost  = 20000
)

// TestSharing has several sockets ask for one port, by bind, listen, connect and accept, in all states that a socket has, with options
// set before and after, and wants of each call what Linux says.
func TestSharing(t *testing.T) {
	where := places(t)
	for i := range *sharingSeeds {
		seed := *sharingFirst + i
		r := row{fmt.Sprintf("sharing: seed %d", seed), func(e *env) { (&sharer{e: e, seed: seed}).play() }}
		t.Run(r.name, func(t *testing.T) { everywhere(t, r, sharingPorts+seed%sharingMost, where) })
	}
}

// A sharer plays one sequence: what it does next follows from the seed, and from what came of the steps before.
type sharer struct {
	*rand.Rand
	e     *env
	seed  int
	typ   int
	peers [2]int // where the peer listens
	at    [2]int // its ports
	ours  [5]ours

	devices bool // one of them has been bound to an interface
	chose   bool // connect has chosen the port for one
	joined  bool // and one that had it has connected, or a listener's has come
}

// ours is a socket of this side.
type ours struct {
	fd     int
	six    bool
	state  string // "", open, listening, connected, ended
	theirs int    // the peer's end, -1: none
	to     int    // the place that it is connected to, -1: it was accepted
	at     string // and that place's address
	loops  bool   // it is bound to an address of the loopback, or was
	over6  bool   // it is a datagram socket, and its peer is of IPv6
	mapped bool   // it is a stream, and one of its peers was mapped
}

var sharedAddrs = map[bool][]string{
	false: {"0.0.0.0", "0.0.0.0", engineAddr, engineAddr, "127.0.0.1"},
	true:  {"::", "::", engineAddr6, engineAddr6, "::1", "::ffff:" + engineAddr, "::ffff:0.0.0.0"},
}

// sharedGroups are what datagram sockets can be bound to beside that.
var sharedGroups = map[bool][]string{
	false: {"224.0.0.251", "239.1.2.3", "255.255.255.255", "10.99.0.255"},
	true:  {"ff0e::1", "ff0e::2", "::ffff:224.0.0.251", "::ffff:255.255.255.255"},
}

func (s *sharer) one(n int) bool { return s.IntN(n) == 0 }

func (s *sharer) play() {
	s.Rand = rand.New(rand.NewPCG(uint64(s.seed), 7))
	s.typ = unix.SOCK_STREAM
	if s.one(4) {
		s.typ = unix.SOCK_DGRAM
	}
	for i := range s.peers {
		p := &s.e.peer
		s.peers[i] = p.open(unix.AF_INET6, s.typ, 0)
		s.e.must(p.api.Bind(s.peers[i], in6("::", 0)))
		if s.typ == unix.SOCK_STREAM {
			s.e.must(p.api.Listen(s.peers[i], 16))
		}
		sa, err := p.api.Getsockname(s.peers[i])
		s.e.must(err)
		s.at[i] = sa.(*unix.SockaddrInet6).Port
	}
	defer func() {
		for _, line := range s.e.notes {
			s.e.t.Log(line)
		}
	}()
	for range 8 + s.IntN(16) {
		i := s.IntN(len(s.ours))
		switch o := &s.ours[i]; o.state {
		case "":
			s.open(i, o)
		case "open", "ended":
			s.opened(i, o)
		case "listening":
			s.listening(i, o)
		default:
			s.connected(i, o)
		}
	}
}

// note writes down a step, and what the socket is called after it.
func (s *sharer) note(i int, o *ours, what string, err error) {
	sa, _ := s.e.me.api.Getsockname(o.fd)
	only := "-"
	if o.six {
		n, _ := s.e.me.api.GetsockoptInt(o.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		only = fmt.Sprint(n)
	}
	device, _ := s.e.me.api.GetsockoptString(o.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE)
	s.e.note(fmt.Sprintf("%d %s", i, what), err, sa, "v6only", only, device)
}

// open makes a socket with options of all kinds.
func (s *sharer) open(i int, o *ours) {
	family := unix.AF_INET
	if o.six = s.one(2); o.six {
		family = unix.AF_INET6
	}
	*o = ours{fd: s.e.me.openAs(s.user(), family, s.typ), six: o.six, state: "open", theirs: -1}
	s.e.must(s.e.me.api.SetsockoptInt(o.fd, unix.SOL_IP, unix.IP_LOCAL_PORT_RANGE, s.e.port<<16|s.e.port))
	s.e.note(fmt.Sprintf("%d is a socket", i), o.six)
	if o.six && s.one(3) {
		s.note(i, o, "IPV6_V6ONLY", s.e.me.api.SetsockoptInt(o.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1))
	}
	for range s.IntN(3) {
		s.option(i, o)
	}
}

// user is whose a socket is.
func (s *sharer) user() int {
	if s.one(4) {
		return 1234
	}
	return 0
}

// option changes an option.
func (s *sharer) option(i int, o *ours) {
	on := s.IntN(3)
	on -= on / 2
	switch n := s.IntN(11); {
	case n == 10 && o.six:
		s.note(i, o, fmt.Sprint("IPV6_V6ONLY ", on), s.e.me.api.SetsockoptInt(o.fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, on))
	case n < 5:
		s.note(i, o, fmt.Sprint("SO_REUSEADDR ", on), s.e.me.api.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, on))
	case n < 8:
		s.note(i, o, fmt.Sprint("SO_REUSEPORT ", on), s.e.me.api.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, on))
	case n < 9:
		s.note(i, o, fmt.Sprint("IP_BIND_ADDRESS_NO_PORT ", on), s.e.me.api.SetsockoptInt(o.fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, on))
	default:
		name := []string{"", "va"}[on]
		s.devices = s.devices || on != 0
		s.note(i, o, "SO_BINDTODEVICE "+name, s.e.me.api.SetsockoptString(o.fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, name))
	}
}

func sockaddrOf(a string, port int) unix.Sockaddr {
	addr := netip.MustParseAddr(a)
	if addr.Is4() {
		return &unix.SockaddrInet4{Addr: addr.As4(), Port: port}
	}
	return &unix.SockaddrInet6{Addr: addr.As16(), Port: port}
}

// opened is a step of a socket that has no connection.
func (s *sharer) opened(i int, o *ours) {
	switch n := s.IntN(20); {
	case n < 8:
		port := s.e.port
		if s.one(4) {
			port = 0
		}
		list := sharedAddrs[o.six]
		if s.typ == unix.SOCK_DGRAM && s.one(4) {
			list = sharedGroups[o.six]
		}
		s.bind(i, o, list[s.IntN(len(list))], port)
	case n < 12 && s.typ == unix.SOCK_STREAM:
		err := s.e.me.api.Listen(o.fd, 16)
		s.note(i, o, "listen", err)
		if err == nil {
			o.state = "listening"
		}
	case n < 15:
		s.connect(i, o)
	case n < 17:
		s.option(i, o)
	case n < 18:
		s.note(i, o, "disconnect", s.e.me.api.Connect(o.fd, nil))
	default:
		s.close(i, o)
	}
}

func (s *sharer) bind(i int, o *ours, a string, port int) {
	o.loops = o.loops || netip.MustParseAddr(a).IsLoopback()
	s.note(i, o, fmt.Sprint("bind ", a, " ", port), s.e.me.api.Bind(o.fd, sockaddrOf(a, port)))
}

// connect goes to one of the two places of the peer.
func (s *sharer) connect(i int, o *ours) {
	list := []string{kernelAddr}
	if o.six {
		list = []string{kernelAddr6, kernelAddr6, "::ffff:" + kernelAddr}
	}
	s.connectTo(i, o, s.IntN(2), list[s.IntN(len(list))])
}

func (s *sharer) connectTo(i int, o *ours, to int, at string) {
	mapped := netip.MustParseAddr(at).Is4In6()
	switch {
	case o.loops:
		return // that other hosts do not answer takes minutes
	case s.devices && s.typ == unix.SOCK_STREAM:
		return // differences has it: "connect: the same pair twice"
	case s.joined:
		return // differences has it: "port: one that is bound where a connection was whose port was chosen", and "port: one that came to a listener"
	case mapped && o.over6:
		return // differences has it: "AF_INET6: a datagram socket connected over IPv4 after IPv6"
	case o.mapped && !mapped:
		return // differences has it: "AF_INET6: connected over IPv6 after IPv4"
	}
	had := s.e.me.portOf(o.fd) != 0
	err := s.e.me.api.Connect(o.fd, sockaddrOf(at, s.at[to]))
	s.note(i, o, fmt.Sprint("connect ", at, " ", to), err)
	if err != nil {
		return
	}
	o.state, o.over6, o.to, o.at = "connected", s.typ == unix.SOCK_DGRAM && !mapped, to, at
	if s.typ == unix.SOCK_STREAM {
		s.joined, s.chose = s.joined || had && s.chose, s.chose || !had
		o.theirs, o.mapped = s.e.peer.accept(s.peers[to]), o.mapped || mapped
	}
}

// listening is a step of a listener.
func (s *sharer) listening(i int, o *ours) {
	switch n := s.IntN(10); {
	case n < 5:
		s.incoming(i, o)
	case n < 7:
		s.option(i, o)
	case n < 8:
		s.note(i, o, "shutdown", s.e.me.api.Shutdown(o.fd, unix.SHUT_RD))
		o.state = "open"
	case n < 9:
		s.note(i, o, "disconnect", s.e.me.api.Connect(o.fd, nil))
		o.state = "open"
	default:
		s.close(i, o)
	}
}

// incoming has the peer connect, if there is one listener alone: which of several it comes to is each stack's to choose.
func (s *sharer) incoming(i int, o *ours) {
	var child *ours
	at := 0
	for j := range s.ours {
		switch c := &s.ours[j]; {
		case j != i && c.state == "listening":
			return
		case c.state == "" && child == nil:
			child, at = c, j
		}
	}
	if child == nil {
		return
	}
	a := []string{engineAddr, engineAddr6}[s.IntN(2)]
	if o.mapped && a == engineAddr6 {
		return // differences has it, of who connects: "AF_INET6: connected over IPv6 after IPv4"
	}
	p := &s.e.peer
	fd := p.open(unix.AF_INET6, unix.SOCK_STREAM, 0)
	to := sockaddrOf(a, s.e.port)
	if a == engineAddr {
		to = sockaddrOf("::ffff:"+a, s.e.port)
	}
	err := p.api.Connect(fd, to)
	s.e.note("the peer connects to "+a, err)
	if err != nil {
		p.close(fd)
		return
	}
	s.joined = s.joined || s.chose
	accepted := -1
	s.e.as(s.user(), func() { accepted = s.e.me.accept(o.fd) })
	*child = ours{fd: accepted, six: o.six, state: "connected", theirs: fd, to: -1, mapped: o.six && a == engineAddr}
	s.note(at, child, "is accepted", nil)
}

// connected is a step of a socket with a peer.
func (s *sharer) connected(i int, o *ours) {
	me, p := s.e.me.api, &s.e.peer
	n := s.IntN(12)
	if s.typ == unix.SOCK_DGRAM {
		switch {
		case n < 3:
			s.option(i, o)
		case n < 6:
			s.connect(i, o)
		case n < 9:
			s.note(i, o, "disconnect", me.Connect(o.fd, nil))
			o.state, o.over6 = "open", false
		default:
			s.close(i, o)
		}
		return
	}
	switch {
	case n < 3:
		s.option(i, o)
		return
	case n < 4:
		s.note(i, o, "disconnect", me.Connect(o.fd, nil))
		o.state = "open"
		p.close(o.theirs)
		o.theirs = -1
		return
	case n < 5: // the peer resets
		s.e.must(p.api.SetsockoptLinger(o.theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		p.close(o.theirs)
		o.theirs, o.state = -1, "ended"
		s.ends(&s.e.me, o.fd)
		s.note(i, o, "is reset", nil)
		return
	case o.theirs < 0:
	case n < 6: // both, the peer first
		s.e.must(p.api.Shutdown(o.theirs, unix.SHUT_WR))
		s.awaits(&s.e.me, o.fd)
		s.e.must(me.Shutdown(o.fd, unix.SHUT_WR))
		s.ends(&s.e.me, o.fd)
		o.theirs, o.state = -1, "ended"
		s.note(i, o, "has ended", nil)
		return
	case n < 8: // both, we first: TIME-WAIT
		s.e.must(me.Shutdown(o.fd, unix.SHUT_WR))
		s.awaits(p, o.theirs)
		s.e.must(p.api.Shutdown(o.theirs, unix.SHUT_WR))
		s.ends(p, o.theirs)
		o.theirs, o.state = -1, "ended"
		s.note(i, o, "is in TIME-WAIT", nil)
		if s.one(3) {
			return
		}
	}
	s.close(i, o)
}

// ends waits until a connection is no more.
func (s *sharer) ends(side *side, fd int) {
	s.e.until("the end", func() bool { return side.state(fd) == linuxClose })
}

// close closes a socket, in FIN-WAIT-2 if it is connected. The peer's end lives on.
func (s *sharer) close(i int, o *ours) {
	s.e.me.close(o.fd)
	s.e.note(fmt.Sprintf("%d is closed", i), nil)
	if o.theirs >= 0 {
		s.awaits(&s.e.peer, o.theirs)
		s.e.peer.set(o.theirs, unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1)
		s.e.until("FIN-WAIT-2", func() bool { return !s.e.me.finWait1(s.e.port) })
	}
	before := *o
	if o.state = ""; before.state == "connected" && before.to >= 0 && s.one(2) {
		s.again(i, o, &before)
	}
}

// again has a socket follow one that was connected, from the same port to the same place.
func (s *sharer) again(i int, o, before *ours) {
	s.open(i, o)
	if o.six != before.six {
		return
	}
	s.bind(i, o, map[bool]string{false: "0.0.0.0", true: "::"}[o.six], s.e.port)
	s.connectTo(i, o, before.to, before.at)
}

// awaits waits for the end of what comes.
func (s *sharer) awaits(side *side, fd int) {
	s.e.until("the end of what comes", func() bool { return side.polled(fd)&unix.POLLIN != 0 })
}

// stack is the side's sockets, whatever stands before them.
func (s *side) stack() berkeley {
	if t, ok := s.api.(translated); ok {
		return t.berkeley
	}
	return s.api
}

// finWait1 says whether a connection of a port waits for the peer to acknowledge its end.
func (s *side) finWait1(port int) (waits bool) {
	s.e.t.Helper()
	switch api := s.stack().(type) {
	case *Table:
		list, _ := api.host.Sockets(1 << 10)
		return slices.ContainsFunc(list, func(c host.Socket) bool {
			return c.State == tcp.FinWait1 && int(c.Local.Port()) == port
		})
	case linux: // proc(5): the second field is the name, the fourth the state
		s.e.must(api.ns.Do(func() error {
			for _, name := range []string{"tcp", "tcp6"} {
				text, err := os.ReadFile("/proc/thread-self/net/" + name)
				if err != nil {
					return err
				}
				for line := range strings.Lines(string(text)) {
					f := strings.Fields(line)
					waits = waits || strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) && f[3] == "04"
				}
			}
			return nil
		}))
	}
	return waits
}
