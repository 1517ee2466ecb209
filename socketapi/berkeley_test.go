package socketapi

import (
	"errors"
	commandline "flag"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

// berkeley is the calls that both stacks have.
type berkeley interface {
	Socket(domain, typ, proto int) (int, error)
	Close(fd int) error
	Dup(fd int) (int, error)
	SetNonblock(fd int, on bool) error
	Bind(fd int, sa unix.Sockaddr) error
	Listen(fd, n int) error
	Accept(fd int) (int, unix.Sockaddr, error)
	Accept4(fd, flags int) (int, unix.Sockaddr, error)
	Connect(fd int, sa unix.Sockaddr) error
	Shutdown(fd, how int) error
	Getsockname(fd int) (unix.Sockaddr, error)
	Getpeername(fd int) (unix.Sockaddr, error)
	Read(fd int, p []byte) (int, error)
	Write(fd int, p []byte) (int, error)
	SendmsgN(fd int, p, oob []byte, to unix.Sockaddr, flags int) (int, error)
	Sendto(fd int, p []byte, flags int, to unix.Sockaddr) error
	Recvfrom(fd int, p []byte, flags int) (int, unix.Sockaddr, error)
	Recvmsg(fd int, p, oob []byte, flags int) (n, oobn, recvflags int, from unix.Sockaddr, err error)
	Sockatmark(fd int) (bool, error)
	sockopts
	waiter
}

// env is where a row of the table runs: the stack under test and its peer, which is
// always the kernel. What the row notes is compared between the two stacks.
type env struct {
	t        *testing.T
	me, peer side
	notes    []string
	port     int // the last that the row has taken
	portsEnd int // it takes those below

	after  []func()       // what undoes what the row has done to its hosts, the last first
	others sync.WaitGroup // goroutines that must end before the row's descriptors are closed
}

// side is one end of the wire.
type side struct {
	e   *env
	api berkeley
	ip  [4]byte
	ip6 [16]byte
	fds map[int]bool

	index int // of the interface
	mac   net.HardwareAddr
	tap   *tap // of the wire, for packetRows
}

// note writes down what a call brought.
func (e *env) note(what string, results ...any) {
	line := what + ":"
	for _, r := range results {
		if sa, ok := r.(*unix.SockaddrInet6); ok && sa != nil && int(sa.ZoneId) == e.me.index {
			line += strings.TrimSuffix(" "+show(r), strconv.Itoa(e.me.index)) + "of the link"
			continue
		}
		line += " " + show(r)
	}
	e.notes = append(e.notes, line)
}

// show writes a result so that it says the same on both stacks.
func show(r any) string {
	switch r := r.(type) {
	case nil:
		return "ok"
	case unix.Errno:
		return unix.ErrnoName(r)
	case *unix.SockaddrInet4:
		if r == nil {
			return "no address"
		}
		return netip.AddrPortFrom(netip.AddrFrom4(r.Addr), uint16(r.Port)).String()
	case *unix.SockaddrInet6:
		if r == nil {
			return "no address"
		}
		return fmt.Sprint(netip.AddrPortFrom(netip.AddrFrom16(r.Addr), uint16(r.Port)), " scope ", r.ZoneId)
	case []byte:
		return fmt.Sprintf("%q", r)
	}
	return fmt.Sprint(r)
}

// must is for what the row takes for granted.
func (e *env) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// open opens a socket of any kind.
func (s *side) open(domain, typ, proto int) int {
	s.e.t.Helper()
	fd, err := s.api.Socket(domain, typ, proto)
	return s.keep(fd, err)
}

func (s *side) socket(typ int) int {
	s.e.t.Helper()
	fd, err := s.api.Socket(unix.AF_INET, typ, 0)
	s.e.must(err)
	s.fds[fd] = true
	return fd
}

func (s *side) tcp() int { return s.socket(unix.SOCK_STREAM) }
func (s *side) udp() int { return s.socket(unix.SOCK_DGRAM) }

// keep has a descriptor closed at the end of the row.
func (s *side) keep(fd int, err error) int {
	s.e.t.Helper()
	s.e.must(err)
	s.fds[fd] = true
	return fd
}

func (s *side) close(fd int) {
	s.e.t.Helper()
	delete(s.fds, fd)
	s.e.must(s.api.Close(fd))
}

// at is an address of this side.
func (s *side) at(port int) *unix.SockaddrInet4 { return &unix.SockaddrInet4{Addr: s.ip, Port: port} }

func (s *side) name(fd int) *unix.SockaddrInet4 {
	s.e.t.Helper()
	sa, err := s.api.Getsockname(fd)
	s.e.must(err)
	return sa.(*unix.SockaddrInet4)
}

// set sets an option that is taken for granted.
func (s *side) set(fd, level, opt, n int) {
	s.e.t.Helper()
	s.e.must(s.api.SetsockoptInt(fd, level, opt, n))
}

// listener listens at a free port.
func (s *side) listener() (fd int, at *unix.SockaddrInet4) {
	s.e.t.Helper()
	fd = s.tcp()
	s.e.must(s.api.Bind(fd, s.at(0)))
	s.e.must(s.api.Listen(fd, 16))
	return fd, s.name(fd)
}

// datagram is a datagram socket at a free port.
func (s *side) datagram() (fd int, at *unix.SockaddrInet4) {
	s.e.t.Helper()
	fd = s.udp()
	s.e.must(s.api.Bind(fd, s.at(0)))
	return fd, s.name(fd)
}

func (s *side) accept(l int) int {
	s.e.t.Helper()
	fd, _, err := s.api.Accept(l)
	return s.keep(fd, err)
}

// connected makes a connection from this side to the other.
func (s *side) connected(to *side) (mine, theirs int) {
	s.e.t.Helper()
	l, at := to.listener()
	mine = s.tcp()
	s.e.must(s.api.Connect(mine, at))
	theirs = to.accept(l)
	to.close(l)
	return mine, theirs
}

// freePort is a port that no row has used before, the same on both stacks.
func (e *env) freePort() int {
	e.port++
	if e.port >= e.portsEnd {
		e.t.Fatalf("a row takes %d ports at most", portsOfRow-1)
	}
	return e.port
}

// portsOfRow is how many ports a row may take, and its first one is below those that Linux chooses (ip_local_port_range): there is
// room for 1388 rows.
const (
	portsOfRow  = 20
	portsOfRows = 5000
	portsChosen = 32768
)

// until waits for what must come.
func (e *env) until(what string, f func() bool) {
	e.t.Helper()
	for start := time.Now(); !f(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 10*time.Second {
			e.t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// state is tcpi_state.
func (s *side) state(fd int) int {
	i, err := s.api.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	s.e.must(err)
	return int(i.State)
}

// The states of TCP_INFO that rows wait for.
const (
	linuxEstablished = 1
	linuxSynSent     = 2
	linuxFinWait2    = 5
	linuxClose       = 7
	linuxCloseWait   = 8
)

// in runs a call in the background and says what came of it.
func in(f func() error) <-chan error {
	ch := make(chan error, 1)
	go func() { ch <- f() }()
	return ch
}

// beside runs a part of the row beside the rest. It ends before the row's descriptors are closed: the kernel gives their
// numbers to the next row, which runs at the same time.
func (e *env) beside(f func()) { e.others.Go(f) }

// soon is beside, a little later: what is called next waits.
func (e *env) soon(f func()) {
	e.beside(func() {
		time.Sleep(20 * time.Millisecond)
		f()
	})
}

// waiters are calls of a row that wait until something wakes them.
type waiters struct {
	e     *env
	names []string
	said  []chan string
}

func (e *env) waiting() *waiters { return &waiters{e: e} }

// add begins a call.
func (w *waiters) add(name string, call func() string) {
	said := make(chan string, 1)
	w.names, w.said = append(w.names, name), append(w.said, said)
	w.e.beside(func() { said <- call() })
}

// none gives the calls time to begin to wait, or to do so no longer, and notes which are over.
func (w *waiters) none(when string) {
	time.Sleep(50 * time.Millisecond)
	for i, said := range w.said {
		if len(said) > 0 {
			w.e.note(when+" is over", w.names[i])
		}
	}
}

// all notes what became of the calls.
func (w *waiters) all() {
	for i, said := range w.said {
		w.e.note(w.names[i], <-said)
	}
}

// sorted notes what became of the calls, and not of which: the first to run takes the socket's error.
func (w *waiters) sorted() {
	var all []string
	for _, said := range w.said {
		all = append(all, <-said)
	}
	slices.Sort(all)
	w.e.note("each", all)
}

// row is one behaviour.
type row struct {
	name string
	run  func(e *env)
}

// linux is the kernel's sockets, opened in a namespace.
type linux struct{ ns *netlab.NS }

func (k linux) Socket(domain, typ, proto int) (fd int, err error) {
	err = k.ns.Do(func() error {
		fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto)
		return err
	})
	var errno unix.Errno
	if errors.As(err, &errno) {
		return fd, errno
	}
	return fd, err
}

// Connect takes nil for AF_UNSPEC, which the unix package cannot say.
func (k linux) Connect(fd int, sa unix.Sockaddr) error {
	if sa == nil {
		return connectUnspec(fd)
	}
	begun, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	first := err != nil || begun.State != linuxSynSent
	interrupted := false
	for {
		switch err := unix.Connect(fd, sa); {
		case err == unix.EINTR:
			interrupted = true
		case interrupted && first && err == unix.EALREADY: // of the call that was interrupted it would have been
			return unix.EINPROGRESS
		default:
			return err
		}
	}
}

// restart is for calls that a signal ends: the Go runtime sends itself some, those with a time limit are not restarted by the
// kernel, and one that has received a part returns it. So the calling thread hears none meanwhile.
func restart(f func() error) error {
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = math.MaxUint64
	}
	for {
		if _, err := masked(&all, func() (int, error) { return 0, f() }); err != unix.EINTR {
			return err
		}
	}
}

func (linux) Close(fd int) error                  { return unix.Close(fd) }
func (linux) Dup(fd int) (int, error)             { return unix.Dup(fd) }
func (linux) SetNonblock(fd int, on bool) error   { return unix.SetNonblock(fd, on) }
func (linux) Bind(fd int, sa unix.Sockaddr) error { return unix.Bind(fd, sa) }
func (linux) Listen(fd, n int) error              { return unix.Listen(fd, n) }
func (linux) Accept(fd int) (n int, sa unix.Sockaddr, err error) {
	err = restart(func() error { n, sa, err = unix.Accept(fd); return err })
	return n, sa, err
}
func (linux) Accept4(fd, flags int) (int, unix.Sockaddr, error) { return unix.Accept4(fd, flags) }
func (linux) Shutdown(fd, how int) error                        { return unix.Shutdown(fd, how) }
func (linux) Getsockname(fd int) (unix.Sockaddr, error)         { return unix.Getsockname(fd) }
func (linux) Getpeername(fd int) (unix.Sockaddr, error)         { return unix.Getpeername(fd) }

func (linux) Sockatmark(fd int) (bool, error) {
	n, err := unix.IoctlGetInt(fd, unix.SIOCATMARK)
	return n != 0, err
}

func (linux) Read(fd int, p []byte) (n int, err error) {
	err = restart(func() error { n, err = unix.Read(fd, p); return err })
	return n, err
}

func (linux) Write(fd int, p []byte) (n int, err error) {
	err = restart(func() error { n, err = unix.Write(fd, p); return err })
	return n, err
}

func (linux) SendmsgN(fd int, p, oob []byte, to unix.Sockaddr, flags int) (n int, err error) {
	err = restart(func() error { n, err = unix.SendmsgN(fd, p, oob, to, flags|unix.MSG_NOSIGNAL); return err })
	return n, err
}

func (linux) Sendto(fd int, p []byte, flags int, to unix.Sockaddr) error {
	return restart(func() error { return unix.Sendto(fd, p, flags|unix.MSG_NOSIGNAL, to) })
}

func (linux) Recvfrom(fd int, p []byte, flags int) (n int, from unix.Sockaddr, err error) {
	err = restart(func() error { n, from, err = unix.Recvfrom(fd, p, flags); return err })
	return n, from, err
}

func (linux) Recvmsg(fd int, p, oob []byte, flags int) (n, oobn, recvflags int, from unix.Sockaddr, err error) {
	err = restart(func() error { n, oobn, recvflags, from, err = unix.Recvmsg(fd, p, oob, flags); return err })
	return n, oobn, recvflags, from, err
}

// play runs a row on one of the stacks.
func play(t *testing.T, r row, port int, me, peer side) []string {
	e := &env{t: t, port: port, portsEnd: port + portsOfRow, me: me, peer: peer}
	for _, s := range []*side{&e.me, &e.peer} {
		s.e, s.fds = e, map[int]bool{}
	}
	defer func() {
		for _, s := range []*side{&e.me, &e.peer} {
			for fd := range s.fds {
				s.api.Close(fd)
			}
		}
		for _, undo := range slices.Backward(e.after) {
			undo()
		}
	}()
	within(t, 30*time.Second, r.name, func() {
		r.run(e)
		e.others.Wait()
	})
	return e.notes
}

// kernelSide is the kernel's sockets in a namespace, with ping sockets for everyone and as many
// ICMP errors as there are reasons.
func kernelSide(t *testing.T, ns *netlab.NS, device, addr, addr6 string) side {
	s := side{api: linux{ns}, ip: netip.MustParseAddr(addr).As4(), ip6: netip.MustParseAddr(addr6).As16()}
	err := ns.Do(func() error {
		ifi, err := net.InterfaceByName(device)
		if err != nil {
			return err
		}
		s.index, s.mac = ifi.Index, ifi.HardwareAddr
		for key, value := range map[string]string{
			"ipv4/ping_group_range": "0 2147483647", "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
		} {
			if err := os.WriteFile("/proc/sys/net/"+key, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rowTimes is for who looks for what happens rarely.
var rowTimes = commandline.Int("row-times", 1, "how often TestBerkeley runs each row")

// A place is where rows run.
type place struct {
	name     string
	me, peer side
	busy     func() bool // whether frames are under way between them; nil: the kernel sees to it that none are
}

// places are the kernel's sockets, ours on a veth pair with the kernel's as their peer, and ours in memory, over a simulated
// wire (proto/simnet), with ours as their peer.
func places(t *testing.T) []place {
	st, peerNS := lab(t, 1, engine.ModeAuto)
	for _, name := range []string{"net.ipv4.icmp_ratelimit", "net.ipv6.icmp.ratelimit"} {
		fatal(t, st.Host().SetSysctl(name, "0"))
	}
	ours, kernelPeer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes},
		netlab.End{NS: kernelPeer, Name: "vb", Addrs: kernelPrefixes})
	kernel := place{name: "linux", me: kernelSide(t, ours, "va", engineAddr, engineAddr6), peer: kernelSide(t, kernelPeer, "vb", kernelAddr, kernelAddr6)}
	veth := place{name: "veth", me: engineSide(t, st, st.Host().NICs()[0].Info().Addr, engineAddr, engineAddr6), peer: kernelSide(t, peerNS, "vb", kernelAddr, kernelAddr6)}

	a, b := newSimWire(t, 1, 20*time.Microsecond)
	stA, stB := openOver(t, a, engineAddr, engineAddr6), openOver(t, b, kernelAddr, kernelAddr6)
	for _, st := range []*Stack{stA, stB} { // as the kernel's are
		if err := st.Host().SetSysctl(lowPorts, "1024"); err != nil {
			t.Fatal(err)
		}
	}
	memory := place{name: "memory", me: engineSide(t, stA, a.info.Addr, engineAddr, engineAddr6), peer: engineSide(t, stB, b.info.Addr, kernelAddr, kernelAddr6), busy: a.busy}
	return []place{kernel, veth, memory}
}

// engineSide is the sockets of a stack.
func engineSide(t *testing.T, st *Stack, mac net.HardwareAddr, addr, addr6 string) side {
	if _, err := st.ListenUDP(netip.MustParseAddrPort("0.0.0.0:4999")); err != nil { // no row's socket is the last
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := st.Table().Len(); n != 0 {
			t.Errorf("%d descriptors are left at %s", n, addr)
		}
	})
	return side{
		api: st.Table(), ip: netip.MustParseAddr(addr).As4(), ip6: netip.MustParseAddr(addr6).As16(),
		index: st.Host().Index(0), mac: mac,
	}
}

// rows is the whole table.
func rows() []row {
	return slices.Concat(socketRows, bindRows, portRows, userRows, listenRows, connectRows, streamRows, urgentRows, datagramRows, inet6Rows, groupRows, messageRows, udpRows, rawRows, errqueueRows, getsockoptRows, sockoptRows, callRows,
		pollRows, epollRows, orderRows, descriptorRows, kernelRows, ioctlRows, vectorRows, fileRows, fastOpenRows, familyRows, flagRows, peekOffRows, signalRows, everyOptionRows(),
		tcpOptionRows, tcpSYNRows, optionRows(), guardRows, segmentRows, gatherRows, zeroCopyRows, seldomRows,
		overIPv6(slices.Concat(flagStreamRows, peekOffRows, bindRows, listenRows, connectRows, streamRows, urgentRows, datagramRows, pollRows, ioctlRows, vectorRows, tcpOptionRows, fastOpenRows)...))
}

// TestRowsInTheDocsExist: what docs/sockets.md calls a row of TestBerkeley is how the name of one begins.
func TestRowsInTheDocsExist(t *testing.T) {
	text, err := os.ReadFile("../docs/sockets.md")
	fatal(t, err)
	table := rows()
	named := regexp.MustCompile("`TestBerkeley/([^`]+)`").FindAllSubmatch(text, -1)
	for _, m := range named {
		if !slices.ContainsFunc(table, func(r row) bool { return strings.HasPrefix(r.name, string(m[1])) }) {
			t.Errorf("no row of TestBerkeley begins with %q", m[1])
		}
	}
	if len(named) == 0 {
		t.Error("no row is named")
	}
}

// TestBerkeley runs every row on the kernel's sockets and on ours, and compares what came of each call.
func TestBerkeley(t *testing.T) {
	where := places(t)
	seen := map[string]bool{}
	if n := len(rows()); portsOfRows+n*portsOfRow > portsChosen {
		t.Fatalf("%d rows of %d ports reach those that Linux chooses for others", n, portsOfRow)
	}
	for i, r := range rows() {
		if seen[r.name] {
			t.Fatalf("two rows are called %q", r.name)
		}
		seen[r.name] = true
		t.Run(r.name, func(t *testing.T) {
			if waitsLong(r.name) {
				t.Parallel()
			}
			for range *rowTimes {
				everywhere(t, r, portsOfRows+i*portsOfRow, where)
			}
		})
	}
	for name := range differences {
		if !seen[name] {
			t.Errorf("a difference is listed for %q, and there is no such row", name)
		}
	}
}

// waitingRows are how the names of rows begin that wait seconds for what does not come: they run beside each other when the
// others are through.
var waitingRows = []string{"connect: a neighbour that does not answer", "connect: while another goroutine does", "errors: a neighbour that does not answer,"}

func waitsLong(row string) bool {
	return slices.ContainsFunc(waitingRows, func(prefix string) bool { return strings.HasPrefix(row, prefix) })
}

// kernelPeers are the rows, by how their names begin, whose peer has to be the kernel, and why.
var kernelPeers = map[string]string{
	"udp: checksums,": "the peer sends UDP by a raw socket without a checksum, which the engine's computes or refuses",
	"errors: of a connection that is being opened,": "the peer is made deaf by a packet filter of the kernel's",
	"nearest: of errors about a connection,":        "the peer is made deaf by a packet filter of the kernel's",
	"tcp option: TCP_INFO of both sides":            "the row is about the kernel's account beside ours, which counts joined segments",
}

// without says whether a row does not run in a place.
func (p *place) without(row string) bool {
	if p.name != "memory" {
		return false
	}
	for prefix := range kernelPeers {
		if strings.HasPrefix(row, prefix) {
			return true
		}
	}
	return false
}

// everywhere runs a row in all places, the first of which says what is right.
func everywhere(t *testing.T, r row, port int, where []place) {
	notes := make([][]string, len(where))
	// Side by side, since many rows wait. The group ends when all have.
	t.Run("on", func(t *testing.T) {
		for i, p := range where {
			if p.without(r.name) {
				continue
			}
			t.Run(p.name, func(t *testing.T) { t.Parallel(); notes[i] = play(t, r, port, p.me, p.peer) })
		}
	})
	if t.Failed() {
		return
	}
	if len(notes[0]) == 0 {
		t.Error("the row notes nothing, so it cannot fail")
	}
	for i, p := range where[1:] {
		if p.without(r.name) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			compare(t, differences[strings.TrimSuffix(r.name, overIPv6Suffix)], notes[0], notes[i+1])
		})
	}
}

// compare wants the same notes of both stacks, but for the differences that are listed.
func compare(t *testing.T, known difference, want, got []string) {
	t.Helper()
	var diff []string
	for i := range max(len(want), len(got)) {
		line := func(notes []string) string {
			if i < len(notes) {
				return notes[i]
			}
			return "nothing"
		}
		if a, b := line(want), line(got); a != b {
			diff = append(diff, fmt.Sprintf("linux %s | engine %s", a, b))
		}
	}
	if !slices.Equal(diff, known.lines) {
		t.Errorf("differences:\n\t%s\nlisted (%s):\n\t%s", strings.Join(diff, "\n\t"), known.why, strings.Join(known.lines, "\n\t"))
	}
}
