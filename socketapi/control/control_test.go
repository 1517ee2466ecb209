package control

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// mute is a device at which nothing arrives and from which nothing leaves.
type mute struct{ name string }

func (m mute) Info() engine.Info {
	return engine.Info{Name: m.name, Addr: net.HardwareAddr{2, 0, 0, 0, 0, 1}, MTU: 1500, FrameLen: 1514}
}
func (mute) Peek([]engine.Frame) int    { return 0 }
func (mute) Release([]engine.Frame)     {}
func (mute) Reserve([]engine.Frame) int { return 0 }
func (mute) Submit([]engine.Frame, int) {}
func (mute) Unsent() bool               { return false }
func (mute) Free(engine.Frame)          {}
func (mute) Ready() bool                { return false }
func (mute) Wait(mono.Time)             {}
func (mute) Wake()                      {}
func (mute) Err() error                 { return nil }
func (mute) Stats() engine.DeviceStats  { return engine.DeviceStats{RxPackets: 9, RxDropped: 4} }
func (mute) Close() error               { return nil }

func newHost(t *testing.T, iface string) *host.Host {
	t.Helper()
	h, err := host.Open(host.Config{
		Interfaces: []host.Interface{{
			Devices:  []engine.Device{mute{iface}},
			Addrs:    []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")},
			Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")},
		}},
		Manual: true, Seed: &[2]uint64{1, 2},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func newServer(t *testing.T, dir, iface string) *Server {
	t.Helper()
	s, err := Open(dir, newHost(t, iface))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// place is a short directory that does not exist yet.
func place(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "x")
}

func TestAsk(t *testing.T) {
	dir := place(t)
	s := newServer(t, dir, "eth1")
	c := s.host.Cores()[0]
	c.Lock()
	if _, errno := c.Stack.TCP.Listen(netip.MustParseAddrPort("192.0.2.7:80"), tcp.ListenConfig{Backlog: 5}); errno != 0 {
		t.Fatal(errno)
	}
	c.Stack.UDP.Add(&udp.Socket{Local: netip.MustParseAddrPort("0.0.0.0:7"), Gate: new(ring.Gate), Dropped: 2})
	c.Stack.Raw.Add(&udp.Socket{Local: netip.MustParseAddrPort("0.0.0.0:89"), Gate: new(ring.Gate), Raw: new(udp.Raw)})
	for i, typ := range []wire.EtherType{udp.AllTypes, wire.EtherTypeARP} {
		c.Stack.AddPacketSocket(&udp.Socket{Link: &udp.Link{Port: i - 1, Type: typ}, Gate: new(ring.Gate)})
	}
	c.Stack.Neigh.Want(0, netip.MustParseAddr("192.0.2.9"), c.Now())
	c.Stack.Count.CountN(drop.UDPNoSocket, 3)
	c.Unlock()

	engine, err := Choose(dir, "eth1", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(what Subject) *Answer {
		t.Helper()
		a, err := engine.Ask(what)
		if err != nil {
			t.Fatal(err)
		}
		if a.Engine.PID != os.Getpid() || !slices.Equal(a.Engine.Interfaces, []string{"eth1"}) || a.Engine.Cores != 1 {
			t.Errorf("%+v", a.Engine)
		}
		return a
	}
	if a := ask(AskNeighbours); len(a.Neighbours) != 1 || a.Neighbours[0] != (Neighbour{Interface: "eth1", Addr: "192.0.2.9", State: "INCOMPLETE"}) {
		t.Errorf("%+v", a.Neighbours)
	}
	if a := ask(AskRoutes); len(a.Routes) != 2 ||
		a.Routes[0] != (Route{Type: "unicast", Prefix: "192.0.2.0/24", Interface: "eth1", Source: "192.0.2.7"}) ||
		a.Routes[1] != (Route{Type: "unicast", Prefix: "0.0.0.0/0", Gateway: "192.0.2.1", Interface: "eth1"}) {
		t.Errorf("%+v", a.Routes)
	}
	if a := ask(AskAddrs); len(a.Addrs) != 1 || a.Addrs[0] != (Addr{Interface: "eth1", Addr: "192.0.2.7/24", State: "preferred"}) {
		t.Errorf("%+v", a.Addrs)
	}
	now := s.host.Clock().Now()
	if err := s.host.AddAddr(0, route.Addr{
		Prefix: netip.MustParsePrefix("2001:db8::7/64"), State: route.Deprecated, Temporary: true, PreferredUntil: now, ValidUntil: now.Add(time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, x := range ask(AskAddrs).Addrs {
		if x.Addr == "2001:db8::7/64" {
			found = x.State == "deprecated" && x.Temporary && *x.Preferred == 0 && *x.Valid > 3000 && *x.Valid <= 3600
		}
		if a, _, _ := strings.Cut(x.Addr, "/"); strings.Contains(a, "%") {
			t.Errorf("%+v has a zone beside its interface", x)
		}
	}
	if !found {
		t.Errorf("%+v", ask(AskAddrs).Addrs)
	}
	if a := ask(AskSockets); a.More || len(a.Sockets) != 5 ||
		a.Sockets[0] != (Socket{Protocol: "tcp", State: "LISTEN", SendQ: 5, Local: "192.0.2.7:80"}) ||
		a.Sockets[1] != (Socket{Protocol: "udp", State: "UNCONNECTED", Local: "0.0.0.0:7", Dropped: 2}) ||
		a.Sockets[2] != (Socket{Protocol: "raw", State: "UNCONNECTED", Local: "0.0.0.0:89"}) ||
		a.Sockets[3] != (Socket{Protocol: "packet", State: "UNCONNECTED", Local: "*:*"}) ||
		a.Sockets[4] != (Socket{Protocol: "packet", State: "UNCONNECTED", Local: "eth1:ARP"}) {
		t.Errorf("%+v", a.Sockets)
	}
	a := ask(AskDrops)
	if len(a.Traffic.Drops) != drop.Reasons-1 || a.Traffic.RxPackets != 9 || a.Traffic.RxDropped != 4 {
		t.Errorf("%d reasons, %+v", len(a.Traffic.Drops), a.Traffic)
	}
	for _, d := range a.Traffic.Drops {
		if want := map[string]uint64{"udp-no-socket": 3}[d.Reason]; d.Packets != want || d.Explain == "" {
			t.Errorf("%+v, want %d", d, want)
		}
	}
	if _, err := engine.Ask("the time"); err == nil || !strings.Contains(err.Error(), "the time") {
		t.Errorf("%v", err)
	}
}

// say writes to the server and returns what it answers.
func say(t *testing.T, s *Server, question string) string {
	t.Helper()
	conn, err := net.Dial("unix", s.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	go func() {
		io.WriteString(conn, question)
		conn.(*net.UnixConn).CloseWrite()
	}()
	answer, _ := io.ReadAll(conn) // a reset is what one gets who says more than is listened to
	return string(answer)
}

func TestNonsense(t *testing.T) {
	s := newServer(t, place(t), "eth1")
	for _, question := range []string{"GET / HTTP/1.0\r\n\r\n", "{", "[]", `{"ask":7}`, `{"ask":"` + strings.Repeat("x", 2*requestMax) + `"}`, strings.Repeat(" ", requestMax+1) + `{"ask":"engine"}`} {
		var a Answer
		if err := json.Unmarshal([]byte(say(t, s, question)), &a); err == nil && a.Error == "" {
			t.Errorf("%.40q: %+v", question, a)
		}
	}
	if answer := say(t, s, ""); answer != "" {
		t.Errorf("nothing was asked: %s", answer)
	}
	if answer := say(t, s, `{"ask":"engine"}`); !strings.Contains(answer, `"interfaces":["eth1"]`) || strings.Count(answer, "\n") != 1 {
		t.Errorf("after all that: %q", answer)
	}
}

// Those who ask nothing keep others waiting, but not the server from ending.
func TestSilence(t *testing.T) {
	s := newServer(t, place(t), "eth1")
	for range serversMax + 2 {
		conn, err := net.Dial("unix", s.Path())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
	}
	began := time.Now()
	s.Close()
	if took := time.Since(began); took > timeout/2 {
		t.Errorf("it took %v to end", took)
	}
	if _, err := os.Lstat(s.Path()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func TestPermissions(t *testing.T) {
	dir := place(t)
	s := newServer(t, dir, "eth1")
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, s.Path(): fs.ModeSocket | 0o600} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	open := place(t)
	if err := os.Mkdir(open, 0o700); err != nil {
		t.Fatal(err)
	}
	os.Chmod(open, 0o755)
	link := place(t)
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		open:                                "chmod 700",
		link:                                "not a directory",
		filepath.Join(dir, "no", "such"):    "no such file",
		place(t) + strings.Repeat("x", 100): "at most 107 bytes",
	} {
		if s, err := Open(path, s.host); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", path, err)
			if err == nil {
				s.Close()
			}
		}
	}
}

func TestForeignDirectoryIsRefused(t *testing.T) {
	dir := place(t)
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := os.Chown(dir, 65534, 65534)
	if errors.Is(err, fs.ErrPermission) {
		t.Skip("needs CAP_CHOWN, to give a directory to somebody else: run as root")
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := listen(dir); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("%v", err)
	}
}

// What a killed process left behind goes, what is alive and what is no socket stays.
func TestSweep(t *testing.T) {
	dir := place(t)
	alive := newServer(t, dir, "eth1")
	stale := filepath.Join(dir, "1"+suffix)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: stale}); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	file := filepath.Join(dir, "2"+suffix)
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := newServer(t, dir, "eth2")
	if _, err := os.Lstat(stale); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what was left behind is still there: %v", err)
	}
	for _, path := range []string{alive.Path(), second.Path(), file} {
		if _, err := os.Lstat(path); err != nil {
			t.Error(err)
		}
	}
	if alive.Path() == second.Path() {
		t.Error("two servers have one socket")
	}
}

func TestChoose(t *testing.T) {
	dir := place(t)
	fails := func(want error, iface string, pid int, says ...string) {
		t.Helper()
		_, err := Choose(dir, iface, pid)
		if !errors.Is(err, want) {
			t.Errorf("%q, %d: %v, want %v", iface, pid, err, want)
			return
		}
		for _, s := range says {
			if !strings.Contains(err.Error(), s) {
				t.Errorf("%q does not say %q", err, s)
			}
		}
	}
	finds := func(want, iface string) {
		t.Helper()
		if f, err := Choose(dir, iface, 0); err != nil || f.Interfaces[0] != want {
			t.Errorf("%q: %+v, %v", iface, f, err)
		}
	}
	fails(ErrNone, "", 0, "xdpsock serve", dir)
	newServer(t, dir, "eth1")
	finds("eth1", "")
	second := newServer(t, dir, "eth2")
	finds("eth1", "eth1")
	finds("eth2", "eth2")
	fails(ErrSeveral, "", 0, "eth1", "eth2", "-i", "--pid")
	fails(ErrNone, "eth3", 0, "eth3", "eth1", "eth2")
	fails(ErrNone, "eth1", 1, "process 1")
	second.Close()
	finds("eth1", "")
}

// One that does not answer is not mistaken for one that is not there, and keeps nobody from another for long.
func TestOneDoesNotAnswer(t *testing.T) {
	t.Parallel()
	dir := place(t)
	alive := newServer(t, dir, "eth1")
	stopped := filepath.Join(dir, "1"+suffix)
	l, err := net.Listen("unix", stopped) // and nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	var asking sync.WaitGroup
	for _, c := range []struct {
		iface string
		pid   int
		says  []string // nil: it is found
	}{
		{"eth1", 0, nil},
		{"", os.Getpid(), nil},
		{"", 0, []string{"several", "eth1", stopped + " has not answered", "--pid"}},
		{"eth2", 0, []string{stopped + " has not answered"}},
		{"", 1, []string{stopped + " has not answered"}},
	} {
		asking.Go(func() {
			f, err := Choose(dir, c.iface, c.pid)
			if c.says == nil && (err != nil || f.path != alive.Path()) || c.says != nil && err == nil {
				t.Errorf("%q, %d: %v", c.iface, c.pid, err)
				return
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q, %d: %q does not say %q", c.iface, c.pid, err, s)
				}
			}
		})
	}
	asking.Wait()
	if took := time.Since(began); took > timeout-time.Second {
		t.Errorf("it took %v to find", took)
	}
}

// An answer that never ends is not read for ever.
func TestStrangeServer(t *testing.T) {
	path := place(t)
	for answer, says := range map[string]string{"": "EOF", "{}x": "", "hello\n": "invalid", `{"error":"no"}`: "no"} {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, answer)
			conn.Close()
		}()
		_, err = ask(path, Request{Ask: AskEngine}, timeout)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v", answer, err)
		}
		l.Close()
	}
}
