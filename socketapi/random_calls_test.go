package socketapi

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// A step is one call of a random sequence. Its numbers are drawn once, and say the same in every world: a slot is a
// descriptor by the number of the step that opened it, a port one of a few that the sequence has for itself.
type step struct {
	id    int // what it opens is found by
	right bool
	call  *randomCall
	slot  int // of the step that opened it, on the same side
	a     int
	b     int
	c     int
	to    randomAddr
}

// A randomAddr is an address that a step is about.
type randomAddr struct {
	host hostName
	port int  // 0: none, 1 to randomPorts, or one that nobody has
	six  bool // in a sockaddr_in6
	four bool // and mapped there
}

type hostName int

const (
	toOther hostName = iota // of the other side
	toSelf
	toLoopback4
	toAny
	toNobody // is no address of ours
	toBroadcast
	noAddress // nil
	hostNames
)

// randomPorts is how many ports a sequence has.
const randomPorts = 4

func (a randomAddr) String() string {
	family := "4"
	switch {
	case a.four:
		family = "mapped"
	case a.six:
		family = "6"
	}
	return fmt.Sprintf("%s:%d/%s", [...]string{"other", "self", "loopback", "any", "nobody", "broadcast", "nil"}[a.host], a.port, family)
}

func (s step) String() string {
	side := "L"
	if s.right {
		side = "R"
	}
	text := fmt.Sprintf("%3d %s %s", s.id, side, s.call.name)
	if s.call.show != nil {
		return text + "(" + s.call.show(&s) + ")"
	}
	return text + fmt.Sprintf("(slot %d)", s.slot)
}

// A randomCall is one kind of step.
type randomCall struct {
	name   string
	weight int
	opens  bool // a slot
	draw   func(g *generator, s *step)
	show   func(s *step) string
	do     func(w *world, s *step, fd int) string // fd is of the slot, unless it opens without one
}

// generator draws steps.
type generator struct {
	*rand.Rand
	next  int
	slots [2][]int // by side
	kinds map[int]int
	queue []step // what is to follow
}

const slotsMax = 9 // a side

func (g *generator) one(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, list ...T) T { return list[g.IntN(len(list))] }

func (g *generator) addr(six bool) randomAddr {
	a := randomAddr{host: toOther, port: 1 + g.IntN(randomPorts), six: six}
	switch g.IntN(8) {
	case 0, 1:
		a.host = toSelf
	case 2:
		a.host = toLoopback4
	case 3:
		a.host = hostName(g.IntN(int(hostNames)))
	}
	if g.one(8) {
		a.port = g.IntN(randomPorts + 2)
	}
	if g.one(12) {
		a.six = !a.six
	}
	return a
}

// steps draws a sequence.
func (g *generator) steps(n int) (list []step) {
	g.kinds = map[int]int{}
	for len(list) < n {
		if len(g.queue) == 0 {
			g.draw()
		}
		list = append(list, g.queue...)
		g.queue = g.queue[:0]
	}
	return list
}

var randomWeights = func() (sum int) {
	for i := range randomCalls {
		sum += randomCalls[i].weight
	}
	return sum
}

// draw queues one step, or several that belong together.
func (g *generator) draw() {
	switch {
	case g.one(12):
		g.stream()
		return
	case g.one(16):
		g.datagrams()
		return
	}
	at := g.IntN(randomWeights())
	for i := range randomCalls {
		if at -= randomCalls[i].weight; at < 0 {
			g.push(&randomCalls[i], g.one(2), -1)
			return
		}
	}
}

// push queues a call, on a slot or, below 0, on any. It says its id.
func (g *generator) push(c *randomCall, right bool, slot int) int {
	slots := &g.slots[number(right)]
	s := step{id: g.next, right: right, call: c, slot: slot}
	g.next++
	if slot < 0 && len(*slots) > 0 {
		s.slot = pick(g, *slots...)
	}
	if c.draw != nil {
		c.draw(g, &s)
	}
	if c.opens {
		if len(*slots) == slotsMax {
			close := step{id: g.next, right: right, call: callNamed("close"), slot: (*slots)[0]}
			g.next++
			*slots = (*slots)[1:]
			g.queue = append(g.queue, close)
		}
		*slots = append(*slots, s.id)
	}
	g.queue = append(g.queue, s)
	g.set(-1, func(*step) {})
	return s.id
}

func callNamed(name string) *randomCall {
	i := slices.IndexFunc(randomCalls, func(c randomCall) bool { return c.name == name })
	return &randomCalls[i]
}

// stream queues what makes a connection.
func (g *generator) stream() {
	six, right, port := g.one(2), g.one(2), 1+g.IntN(randomPorts)
	kind := number(six)
	g.kinds[-1] = kind
	l := g.push(callNamed("socket"), right, 0)
	g.set(-1, func(s *step) { s.a = kind; s.b = 0 })
	g.kinds[l] = kind
	g.push(callNamed("bind"), right, l)
	g.set(-1, func(s *step) { s.to = randomAddr{host: toAny, port: port, six: six} })
	g.push(callNamed("listen"), right, l)
	g.set(-1, func(s *step) { s.a = 8 })
	mine := right != !g.one(4) // most often from the other side
	c := g.push(callNamed("socket"), mine, 0)
	g.set(-1, func(s *step) { s.a = kind; s.b = 0 })
	g.kinds[c] = kind
	g.push(callNamed("connect"), mine, c)
	g.set(-1, func(s *step) {
		s.to = randomAddr{host: toOther, port: port, six: six}
		if mine == right {
			s.to.host = toSelf
		}
	})
	if !g.one(4) {
		g.push(callNamed("accept"), right, l)
	}
	if !g.one(3) {
		g.push(callNamed("send"), mine, c)
	}
}

// set changes a step that has just been queued. Of its addresses of IPv6 some are mapped.
func (g *generator) set(at int, f func(s *step)) {
	s := &g.queue[len(g.queue)+at]
	f(s)
	s.to.four = s.to.six && s.id%5 == 0 && s.to.host <= toLoopback4
}

// datagrams queues what makes two sockets that speak with each other.
func (g *generator) datagrams() {
	six, port := g.one(2), 1+g.IntN(randomPorts)
	kind := 2 + number(six)
	for _, right := range []bool{false, true} {
		fd := g.push(callNamed("socket"), right, 0)
		g.set(-1, func(s *step) { s.a = kind; s.b = 0 })
		g.kinds[fd] = kind
		g.push(callNamed("bind"), right, fd)
		g.set(-1, func(s *step) { s.to = randomAddr{host: toAny, port: port, six: six} })
		if g.one(2) {
			g.push(callNamed("connect"), right, fd)
			g.set(-1, func(s *step) { s.to = randomAddr{host: toOther, port: port, six: six} })
		}
		g.push(callNamed("send"), right, fd)
		g.set(-1, func(s *step) { s.to = randomAddr{host: toOther, port: port, six: six} })
	}
}

// randomKinds are the sockets that a sequence opens.
var randomKinds = []kindOfSocket{
	{"tcp", unix.AF_INET, unix.SOCK_STREAM, 0, onTCP},
	{"tcp6", unix.AF_INET6, unix.SOCK_STREAM, 0, onTCP},
	{"udp", unix.AF_INET, unix.SOCK_DGRAM, 0, onUDP},
	{"udp6", unix.AF_INET6, unix.SOCK_DGRAM, 0, onUDP},
	{"ping", unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP, onPing},
	{"ping6", unix.AF_INET6, unix.SOCK_DGRAM, unix.IPPROTO_ICMPV6, onPing},
	{"raw", unix.AF_INET, unix.SOCK_RAW, 253, onRaw},
	{"raw6", unix.AF_INET6, unix.SOCK_RAW, 253, onRaw},
}

// six says whether a slot is likely to be of IPv6.
func (g *generator) six(slot int) bool { return g.kinds[slot]%2 == 1 }

var (
	randomSendFlags = []int{0, 0, 0, 0, 0, unix.MSG_DONTWAIT, unix.MSG_OOB, unix.MSG_CONFIRM, unix.MSG_EOR, unix.MSG_TRUNC, unix.MSG_PEEK, unix.MSG_CTRUNC}
	randomRecvFlags = []int{0, 0, 0, 0, unix.MSG_DONTWAIT, unix.MSG_PEEK, unix.MSG_TRUNC, unix.MSG_PEEK | unix.MSG_TRUNC, unix.MSG_WAITALL, unix.MSG_OOB, unix.MSG_ERRQUEUE, unix.MSG_CMSG_CLOEXEC, unix.MSG_PEEK | unix.MSG_WAITALL, unix.MSG_OOB | unix.MSG_PEEK}
	randomLengths   = []int{0, 1, 2, 3, 8, 9, 100, 1000, 1400, 3000}
	randomValues    = []int{0, 1, 2, 3, -1, -2, 5, 64, 128, 255, 256, 1500}
	randomEvents    = []uint32{unix.EPOLLIN, unix.EPOLLOUT, unix.EPOLLIN | unix.EPOLLOUT, unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLPRI, 0, unix.EPOLLPRI}
	randomEpoll     = []uint32{0, 0, unix.EPOLLONESHOT, unix.EPOLLET, unix.EPOLLEXCLUSIVE}
)

func showTo(s *step) string { return fmt.Sprintf("slot %d, %v", s.slot, s.to) }
func showA(s *step) string  { return fmt.Sprintf("slot %d, %d", s.slot, s.a) }
func showRecv(s *step) string {
	return fmt.Sprintf("slot %d, %d bytes, flags %#x", s.slot, randomLengths[s.a], randomRecvFlags[s.b])
}
func showSend(s *step) string {
	return fmt.Sprintf("slot %d, %d bytes, flags %#x, %v", s.slot, randomLengths[s.a], randomSendFlags[s.b], s.to)
}
func showOption(s *step) string {
	o := &randomOptions[s.a]
	return fmt.Sprintf("slot %d, %s, %d", s.slot, o.Label, randomValues[s.b])
}

func drawTo(g *generator, s *step) { s.to = g.addr(g.six(s.slot)) }

func drawSend(g *generator, s *step) {
	drawTo(g, s)
	if g.one(2) {
		s.to = randomAddr{host: noAddress}
	}
	s.a, s.b, s.c = g.IntN(len(randomLengths)), g.IntN(len(randomSendFlags)), g.IntN(5)
}

func drawRecv(g *generator, s *step) {
	s.a, s.b = g.IntN(len(randomLengths)), g.IntN(len(randomRecvFlags))
}

func drawOption(g *generator, s *step) {
	s.a, s.b = g.IntN(len(randomOptions)), g.IntN(len(randomValues))
}

func drawEpoll(g *generator, s *step) {
	slots := g.slots[number(s.right)]
	s.a = s.slot
	for _, i := range slots {
		if g.kinds[i] < 0 && g.one(2) {
			s.a = i // the epoll
		}
	}
	s.b, s.c = g.IntN(len(randomEvents)), g.IntN(len(randomEpoll))
}

// unsettled are options that make what happens a matter of time, or stop it, and are left to the rows.
var unsettled = []string{
	"TCP_CORK", "TCP_DEFER_ACCEPT", "TCP_FASTOPEN", "TCP_FASTOPEN_CONNECT", "TCP_FASTOPEN_KEY", "TCP_FASTOPEN_NO_COOKIE", "TCP_USER_TIMEOUT", "SO_MAX_PACING_RATE",
	"TCP_QUICKACK", "TCP_WINDOW_CLAMP", "TCP_MAXSEG", "TCP_NOTSENT_LOWAT", "TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_THIN_LINEAR_TIMEOUTS",
	"SO_RCVBUF", "SO_SNDBUF", "SO_RCVBUFFORCE", "SO_SNDBUFFORCE", "UDP_CORK", "UDP_GRO", "IP_MINTTL", "IPV6_MINHOPCOUNT", "TCP_TX_DELAY", "TCP_LINGER2", "TCP_SYNCNT",
	"SO_BINDTOIFINDEX", "IP_MULTICAST_IF", "IPV6_MULTICAST_IF", // interfaces have other numbers in other worlds
}

// randomOptions are those of which numbers are made.
var randomOptions = func() (list []Option) {
	for _, o := range Options() {
		if (o.Type == "int" || o.Type == "bool") && o.Label != "TCP_TIMESTAMP" { // which is a time
			list = append(list, o)
		}
	}
	return list
}()

// randomCalls is every call that a sequence is made of.
var randomCalls []randomCall

func init() {
	randomCalls = []randomCall{
		{name: "socket", weight: 10, opens: true,
			draw: func(g *generator, s *step) {
				s.a = g.IntN(len(randomKinds))
				g.kinds[s.id] = s.a
			},
			show: func(s *step) string { return randomKinds[s.a].name },
			do: func(w *world, s *step, _ int) string {
				k := &randomKinds[s.a]
				fd, err := w.api(s).Socket(k.domain, k.typ|unix.SOCK_NONBLOCK, k.proto)
				return w.opened(s, fd, err, true)
			}},
		{name: "socket of any kind", weight: 2, opens: true,
			draw: func(g *generator, s *step) {
				s.a, s.b, s.c = pick(g, unix.AF_INET, unix.AF_INET6, unix.AF_UNIX, 99), pick(g, unix.SOCK_STREAM, unix.SOCK_DGRAM, unix.SOCK_RAW, unix.SOCK_RDM, unix.SOCK_SEQPACKET, 0, 77), pick(g, 0, 1, 6, 17, 132, 33, 58, 255, 300, -1)
				g.kinds[s.id] = number(s.a == unix.AF_INET6)
			},
			show: func(s *step) string { return fmt.Sprint(s.a, s.b, s.c) },
			do: func(w *world, s *step, _ int) string {
				fd, err := w.api(s).Socket(s.a, s.b|unix.SOCK_NONBLOCK, s.c)
				return w.opened(s, fd, err, s.b != unix.SOCK_RAW) // which hears what all the others do
			}},
		{name: "close", weight: 5, do: func(w *world, s *step, fd int) string {
			delete(w.fds, s.slot)
			return show(w.api(s).Close(fd))
		}, draw: func(g *generator, s *step) {
			slots := &g.slots[number(s.right)]
			if i := slices.Index(*slots, s.slot); i >= 0 {
				*slots = slices.Delete(*slots, i, i+1)
			}
		}},
		{name: "bind", weight: 8, draw: func(g *generator, s *step) {
			for drawTo(g, s); s.to.host == noAddress; {
				drawTo(g, s)
			}
		}, show: showTo, do: func(w *world, s *step, fd int) string {
			return show(w.api(s).Bind(fd, w.sockaddr(s)))
		}},
		{name: "listen", weight: 4, show: showA, draw: func(g *generator, s *step) { s.a = pick(g, 4, 8, 16, -1, 0) },
			do: func(w *world, s *step, fd int) string { return show(w.api(s).Listen(fd, s.a)) }},
		{name: "accept", weight: 8, opens: true, show: showA, draw: func(g *generator, s *step) {
			s.a = pick(g, 0, 0, 0, unix.SOCK_CLOEXEC, 1)
			g.kinds[s.id] = g.kinds[s.slot]
		}, do: func(w *world, s *step, fd int) string {
			nfd, from, err := w.api(s).Accept4(fd, s.a|unix.SOCK_NONBLOCK)
			return w.opened(s, nfd, err, true) + " " + w.addr(from)
		}},
		{name: "connect", weight: 10, draw: drawTo, show: showTo, do: func(w *world, s *step, fd int) string {
			return show(w.api(s).Connect(fd, w.sockaddr(s)))
		}},
		{name: "shutdown", weight: 5, show: showA, draw: func(g *generator, s *step) { s.a = pick(g, 0, 1, 1, 2, 3) },
			do: func(w *world, s *step, fd int) string { return show(w.api(s).Shutdown(fd, s.a)) }},
		{name: "getsockname", weight: 3, do: func(w *world, s *step, fd int) string {
			sa, err := w.api(s).Getsockname(fd)
			return w.addr(sa) + " " + show(err)
		}},
		{name: "getpeername", weight: 3, do: func(w *world, s *step, fd int) string {
			sa, err := w.api(s).Getpeername(fd)
			return w.addr(sa) + " " + show(err)
		}},
		{name: "read", weight: 5, draw: drawRecv, show: showRecv, do: func(w *world, s *step, fd int) string {
			p := make([]byte, randomLengths[s.a])
			n, err := w.api(s).Read(fd, p)
			return fmt.Sprint(n, " ", show(err), " ", w.digest(s, p[:max(n, 0)]))
		}},
		{name: "write", weight: 5, draw: drawSend, show: showSend, do: func(w *world, s *step, fd int) string {
			n, err := w.api(s).Write(fd, w.payload(s))
			return fmt.Sprint(n, " ", show(err))
		}},
		{name: "send", weight: 14, draw: drawSend, show: showSend, do: func(w *world, s *step, fd int) string {
			return show(w.api(s).Sendto(fd, w.payload(s), randomSendFlags[s.b], w.sockaddr(s)))
		}},
		{name: "sendmsg", weight: 6, draw: drawSend, show: showSend, do: func(w *world, s *step, fd int) string {
			n, err := w.api(s).SendmsgN(fd, w.payload(s), controlDrawn(s), w.sockaddr(s), randomSendFlags[s.b])
			return fmt.Sprint(n, " ", show(err))
		}},
		{name: "recvfrom", weight: 14, draw: drawRecv, show: showRecv, do: func(w *world, s *step, fd int) string {
			p := make([]byte, randomLengths[s.a])
			n, from, err := w.api(s).Recvfrom(fd, p, randomRecvFlags[s.b])
			return fmt.Sprint(n, " ", show(err), " ", w.digest(s, p[:max(min(n, len(p)), 0)]), " ", w.addr(from))
		}},
		{name: "recvmsg", weight: 8, draw: drawRecv, show: showRecv, do: func(w *world, s *step, fd int) string {
			p, oob := make([]byte, randomLengths[s.a]), make([]byte, 300)
			n, oobn, flags, from, err := w.api(s).Recvmsg(fd, p, oob, randomRecvFlags[s.b])
			return fmt.Sprintf("%d %s %s %s flags %#x %s", n, show(err), w.digest(s, p[:max(min(n, len(p)), 0)]), w.addr(from), flags, controlShown(oob[:oobn]))
		}},
		{name: "dup", weight: 2, opens: true, draw: func(g *generator, s *step) { g.kinds[s.id] = g.kinds[s.slot] }, do: func(w *world, s *step, fd int) string {
			nfd, err := w.api(s).Dup(fd)
			return w.opened(s, nfd, err, true)
		}},
		{name: "F_GETFL", weight: 1, do: func(w *world, s *step, fd int) string {
			n, err := w.api(s).FcntlInt(uintptr(fd), unix.F_GETFL, 0)
			return fmt.Sprintf("%#x %s", n, show(err))
		}},
		{name: "F_SETFD", weight: 1, show: showA, draw: func(g *generator, s *step) { s.a = g.IntN(2) }, do: func(w *world, s *step, fd int) string {
			_, err := w.api(s).FcntlInt(uintptr(fd), unix.F_SETFD, s.a)
			n, _ := w.api(s).FcntlInt(uintptr(fd), unix.F_GETFD, 0)
			return fmt.Sprint(n, " ", show(err))
		}},
		{name: "getsockopt", weight: 12, draw: drawOption, show: showOption, do: func(w *world, s *step, fd int) string {
			o := &randomOptions[s.a]
			n, err := w.api(s).GetsockoptInt(fd, o.Level, o.Name)
			return fmt.Sprint(n, " ", show(err))
		}},
		{name: "setsockopt", weight: 14, draw: func(g *generator, s *step) {
			for drawOption(g, s); slices.Contains(unsettled, randomOptions[s.a].Label); {
				drawOption(g, s)
			}
		}, show: showOption, do: func(w *world, s *step, fd int) string {
			o := &randomOptions[s.a]
			return show(w.api(s).SetsockoptInt(fd, o.Level, o.Name, randomValues[s.b]))
		}},
		{name: "SO_LINGER", weight: 1, show: showA, draw: func(g *generator, s *step) { s.a = g.IntN(2) }, do: func(w *world, s *step, fd int) string {
			err := w.api(s).SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: int32(s.a)})
			if err != nil {
				return show(err)
			}
			l, err := w.api(s).GetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER)
			return fmt.Sprint(*l, " ", show(err))
		}},
		{name: "FIONREAD", weight: 2, do: func(w *world, s *step, fd int) string {
			n, err := w.api(s).IoctlGetInt(fd, FIONREAD)
			return fmt.Sprint(n, " ", show(err))
		}},
		{name: "SIOCATMARK", weight: 1, do: func(w *world, s *step, fd int) string {
			n, err := w.api(s).IoctlGetInt(fd, unix.SIOCATMARK)
			return fmt.Sprint(n, " ", show(err))
		}},
		{name: "poll", weight: 4, show: showA, draw: func(g *generator, s *step) {
			s.a = pick(g, 0, unix.POLLIN, unix.POLLOUT, unix.POLLPRI, unix.POLLRDHUP, everyPoll)
		}, do: func(w *world, s *step, fd int) string {
			fds := []unix.PollFd{{Fd: int32(fd), Events: int16(s.a)}, {Fd: -1}, {Fd: int32(fd), Events: unix.POLLIN}}
			n, err := w.api(s).Poll(fds, 0)
			return fmt.Sprint(n, " ", show(err), pollNamed(uint32(uint16(fds[0].Revents))), pollNamed(uint32(uint16(fds[2].Revents))))
		}},
		{name: "select", weight: 3, do: func(w *world, s *step, fd int) string {
			var in, out, except unix.FdSet
			in.Set(fd)
			out.Set(fd)
			except.Set(fd)
			n, err := w.api(s).Select(fd+1, &in, &out, &except, &unix.Timeval{})
			return fmt.Sprint(n, " ", show(err), " ", in.IsSet(fd), out.IsSet(fd), except.IsSet(fd))
		}},
		{name: "epoll_create", weight: 2, opens: true, draw: func(g *generator, s *step) { g.kinds[s.id] = -1 }, do: func(w *world, s *step, _ int) string {
			fd, err := w.api(s).EpollCreate1(unix.EPOLL_CLOEXEC)
			return w.opened(s, fd, err, false)
		}},
		{name: "EPOLL_CTL_ADD", weight: 6, draw: drawEpoll, show: showEpoll, do: epollDrawn(unix.EPOLL_CTL_ADD)},
		{name: "EPOLL_CTL_MOD", weight: 2, draw: drawEpoll, show: showEpoll, do: epollDrawn(unix.EPOLL_CTL_MOD)},
		{name: "EPOLL_CTL_DEL", weight: 1, draw: drawEpoll, show: showEpoll, do: epollDrawn(unix.EPOLL_CTL_DEL)},
		{name: "epoll_wait", weight: 8, draw: drawEpoll, show: func(s *step) string { return fmt.Sprintf("slot %d", s.a) },
			do: func(w *world, s *step, _ int) string {
				fd, ok := w.fds[s.a]
				if !ok {
					return "no slot"
				}
				events := make([]unix.EpollEvent, 32)
				n, err := w.api(s).EpollWait(fd, events, 0)
				var list []string
				for _, ev := range events[:max(n, 0)] {
					list = append(list, fmt.Sprint(ev.Fd, pollNamed(ev.Events)))
				}
				slices.Sort(list)
				return fmt.Sprint(n, " ", show(err), list)
			}},
	}
}

func showEpoll(s *step) string {
	return fmt.Sprintf("epoll %d, slot %d, %s %#x", s.a, s.slot, pollNamed(randomEvents[s.b]), randomEpoll[s.c])
}

func epollDrawn(op int) func(w *world, s *step, fd int) string {
	return func(w *world, s *step, fd int) string {
		ep, ok := w.fds[s.a]
		if !ok {
			return "no slot"
		}
		return show(w.api(s).EpollCtl(ep, op, fd, &unix.EpollEvent{Events: randomEvents[s.b] | randomEpoll[s.c], Fd: int32(s.slot)}))
	}
}

// digest is data in few letters, without what worlds choose by chance: the identifier that an echo request has by its socket, that of
// a packet of IPv4, and the sums over them. Of what a raw socket hears of other sockets' protocols it is nothing.
func (w *world) digest(s *step, p []byte) string {
	p = slices.Clone(p)
	switch k := w.kinds[s.slot]; {
	case k.typ == unix.SOCK_RAW && k.proto != testProtocol:
		return "overheard"
	case k.typ == unix.SOCK_RAW && k.domain == unix.AF_INET:
		blank(p, 4, 6)   // identification
		blank(p, 10, 12) // checksum
	case k.proto == unix.IPPROTO_ICMP || k.proto == unix.IPPROTO_ICMPV6:
		blank(p, 2, 6)
	}
	if len(p) > 24 {
		h := uint32(2166136261)
		for _, b := range p {
			h = (h ^ uint32(b)) * 16777619
		}
		return fmt.Sprintf("%q...%d %x", p[:8], len(p), h)
	}
	return fmt.Sprintf("%q", p)
}

// blank overwrites what there is of some bytes.
func blank(p []byte, from, to int) {
	for i := from; i < min(to, len(p)); i++ {
		p[i] = '.'
	}
}

// payload is what a step sends: its own number all over, or to a ping socket an echo request.
func (w *world) payload(s *step) []byte {
	n := randomLengths[s.a]
	p := []byte(strings.Repeat(fmt.Sprintf("<%d>", s.id), n/3+1))[:n]
	if s.c == 0 && n >= 8 {
		p[0], p[1], p[2], p[3], p[6], p[7] = byte(wire.ICMP4Echo), 0, 0, 0, 0, byte(s.id)
		if s.to.six {
			p[0] = byte(wire.ICMP6Echo)
		}
	}
	return p
}

// controlDrawn is a control message.
func controlDrawn(s *step) []byte {
	switch s.c {
	case 1:
		return controlMessage(unix.IPPROTO_IP, unix.IP_TTL, 9)
	case 2:
		return controlMessage(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, 9)
	case 3:
		return controlMessage(unix.IPPROTO_IP, unix.IP_TOS, 300)
	case 4:
		return segmentCmsg(99)
	}
	return nil
}

// controlShown names control messages and what of them is the same in every world.
func controlShown(b []byte) string {
	list, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return err.Error()
	}
	text := ""
	for _, m := range list {
		text += fmt.Sprintf("[%d %d %d", m.Header.Level, m.Header.Type, len(m.Data))
		switch {
		case m.Header.Level == unix.IPPROTO_IP && (m.Header.Type == unix.IP_TTL || m.Header.Type == unix.IP_TOS),
			m.Header.Level == unix.IPPROTO_IPV6 && (m.Header.Type == unix.IPV6_HOPLIMIT || m.Header.Type == unix.IPV6_TCLASS):
			text += " " + hex.EncodeToString(m.Data)
		}
		text += "]"
	}
	return text
}

// A world is where a sequence runs: both sides of a place.
type world struct {
	place *place
	base  int           // the sequence's first port
	fds   map[int]int   // by slot
	sides map[int]*side // of a slot
	mine  map[int]bool  // of slots: compared by what poll says of them
	kinds map[int]kindOfSocket
}

func (w *world) side(s *step) *side {
	if s.right {
		return &w.place.peer
	}
	return &w.place.me
}

func (w *world) api(s *step) berkeley { return w.side(s).api }

// opened notes a descriptor, and whether what poll says of it is compared.
func (w *world) opened(s *step, fd int, err error, compared bool) string {
	if err != nil {
		return show(err)
	}
	w.fds[s.id], w.sides[s.id] = fd, w.side(s)
	var k kindOfSocket
	for name, to := range map[int]*int{unix.SO_DOMAIN: &k.domain, unix.SO_TYPE: &k.typ, unix.SO_PROTOCOL: &k.proto} {
		*to, _ = w.api(s).GetsockoptInt(fd, unix.SOL_SOCKET, name)
	}
	w.kinds[s.id] = k
	if compared {
		w.mine[s.id] = true
	}
	return "opened"
}

// sockaddr is an address as this world has it.
func (w *world) sockaddr(s *step) unix.Sockaddr {
	self, other := &w.place.me, &w.place.peer
	if s.right {
		self, other = other, self
	}
	port := 0
	if s.to.port > 0 {
		port = w.base + s.to.port
	}
	var a, mapped netip.Addr
	six := s.to.six
	switch s.to.host {
	case noAddress:
		return nil
	case toOther:
		a, mapped = netip.AddrFrom16(other.ip6), netip.AddrFrom4(other.ip)
	case toSelf:
		a, mapped = netip.AddrFrom16(self.ip6), netip.AddrFrom4(self.ip)
	case toLoopback4:
		a, mapped = netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case toAny:
		a, mapped = netip.IPv6Unspecified(), netip.IPv4Unspecified()
	case toNobody:
		a, mapped = netip.MustParseAddr("fd98::7"), netip.MustParseAddr("10.97.0.7")
	case toBroadcast:
		a, mapped = netip.MustParseAddr("ff02::7"), netip.MustParseAddr("255.255.255.255")
	}
	if s.to.four {
		a = netip.AddrFrom16(mapped.As16())
	}
	if six {
		return &unix.SockaddrInet6{Addr: a.As16(), Port: port}
	}
	return &unix.SockaddrInet4{Addr: mapped.As4(), Port: port}
}

// addr shows an address as every world has it.
func (w *world) addr(sa unix.Sockaddr) string {
	port := func(n int) string {
		switch {
		case n == 0:
			return "0"
		case n > w.base && n <= w.base+randomPorts+1:
			return fmt.Sprint("P", n-w.base)
		}
		return "auto"
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr).String() + ":" + port(sa.Port)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr).String() + ":" + port(sa.Port)
	case nil:
		return "nil"
	}
	return fmt.Sprintf("%T", sa)
}

// states is what each socket says of itself.
func (w *world) states() (list []string, busy bool) {
	for slot := range w.mine {
		fd, ok := w.fds[slot]
		if !ok {
			continue
		}
		api := w.sides[slot].api
		fds := []unix.PollFd{{Fd: int32(fd), Events: everyPoll}}
		_, err := api.Poll(fds, 0)
		text := fmt.Sprintf("slot %3d %s %s", slot, show(err), pollNamed(uint32(uint16(fds[0].Revents))))
		if info, err := api.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			n, _ := api.IoctlGetInt(fd, FIONREAD)
			text += fmt.Sprint(" state ", info.State, " unread ", n)
			unacked, _ := api.IoctlGetInt(fd, unix.SIOCOUTQ)
			busy = busy || unacked > 0 && info.State != linuxClose
		} else if n, err := api.IoctlGetInt(fd, FIONREAD); err == nil {
			text += fmt.Sprint(" next ", n)
		}
		list = append(list, text)
	}
	slices.Sort(list)
	return list, busy || w.place.busy != nil && w.place.busy()
}

func (w *world) close() {
	for slot, fd := range w.fds {
		w.sides[slot].api.Close(fd)
	}
}

// unackedFor is how long a settled world may wait for acknowledgements: longer than they are delayed.
const unackedFor = 250 * time.Millisecond

// controlMessage is one control message with a number.
func controlMessage(level, typ, n int) []byte {
	b := make([]byte, unix.CmsgSpace(4))
	ne := binary.NativeEndian
	ne.PutUint64(b, uint64(unix.CmsgLen(4)))
	ne.PutUint32(b[8:], uint32(level))
	ne.PutUint32(b[12:], uint32(typ))
	ne.PutUint32(b[16:], uint32(n))
	return b
}
