package socketapi

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A host whose address is the kernel's too has its ports held there as well: each is whosoever took it first, and
// the kernel's own again when the last who holds it has gone.
func TestPortsOfASharedAddress(t *testing.T) {
	for name, in := range map[string]host.Interface{
		"the program's": {Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone},
		"mirrored":      {Name: "va", Mirror: host.MirrorAddrs},
		"shared":        {Name: "va", Share: true},
	} {
		t.Run(name, func(t *testing.T) { portsOfASharedAddress(t, in) })
	}
}

func portsOfASharedAddress(t *testing.T, in host.Interface) {
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes}, netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes})
	st := openAt(t, ours, in)
	engine, kernel := &sharedSide{t: t, api: st.table}, &sharedSide{t: t, ns: ours}
	addrs := []struct {
		ip  string
		six bool
	}{{engineAddr, false}, {"0.0.0.0", false}, {engineAddr6, true}, {"::", true}}
	port := 4000
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		for _, mine := range addrs {
			for _, theirs := range addrs {
				want := error(nil)
				any4, any6 := mine.ip == "0.0.0.0" || theirs.ip == "0.0.0.0", mine.ip == "::" || theirs.ip == "::"
				if mine.ip == theirs.ip || any6 || any4 && mine.six == theirs.six {
					want = unix.EADDRINUSE
				}
				for _, order := range [][2]*sharedSide{{engine, kernel}, {kernel, engine}} {
					port++
					first, err := order[0].bind(typ, mine.ip, port, false)
					if err != nil {
						t.Fatalf("%s bind %s:%d: %v", order[0], mine.ip, port, err)
					}
					for _, reuse := range []bool{false, true} {
						second, err := order[1].bind(typ, theirs.ip, port, reuse)
						if err != want {
							t.Errorf("type %d: %s has %s, and %s binding to %s, with SO_REUSEADDR %v, gets %v, want %v", typ, order[0], mine.ip, order[1], theirs.ip, reuse, err, want)
						}
						if err == nil {
							order[1].close(second)
						}
					}
					order[0].close(first)
					again, err := order[1].bind(typ, theirs.ip, port, false)
					if err != nil {
						t.Errorf("type %d: %s cannot have %s after %s: %v", typ, order[1], theirs.ip, order[0], err)
						continue
					}
					order[1].close(again)
				}
			}
		}
	}
	sharedAmongOurs(t, engine, kernel)
	sharedConnections(t, st, peer, engine, kernel)
}

// sharedAmongOurs: sockets of ours that share a port as Linux lets them do so here too, and it is the kernel's when the last has gone.
func sharedAmongOurs(t *testing.T, engine, kernel *sharedSide) {
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		const port = 5000
		var fds []int
		for _, ip := range []string{engineAddr, "0.0.0.0", "::", engineAddr6, "0.0.0.0", engineAddr} {
			fd, err := engine.bind(typ, ip, port, true)
			if err != nil {
				t.Errorf("type %d: %s beside others: %v", typ, ip, err)
				continue
			}
			fds = append(fds, fd)
		}
		for len(fds) > 0 {
			for _, reuse := range []bool{false, true} {
				fd, err := kernel.bind(typ, "::", port, reuse)
				if err != unix.EADDRINUSE {
					t.Errorf("type %d: the kernel, beside %d of ours, SO_REUSEADDR %v: %v", typ, len(fds), reuse, err)
				}
				if err == nil {
					kernel.close(fd)
				}
			}
			engine.close(fds[0])
			fds = fds[1:]
		}
		fd, err := kernel.bind(typ, "::", port, false)
		if err != nil {
			t.Errorf("type %d: the kernel after all of ours: %v", typ, err)
			continue
		}
		kernel.close(fd)
	}
	// Loopback addresses are the engine's own here: whoever has the port there is in nobody's way.
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		theirs, err := kernel.bind(typ, "127.0.0.1", 5001, false)
		fatal(t, err)
		mine, err := engine.bind(typ, "127.0.0.1", 5001, false)
		if err != nil {
			t.Errorf("type %d: loopback: %v", typ, err)
		} else {
			engine.close(mine)
		}
		kernel.close(theirs)
	}
}

// sharedConnections: the port of a connection, and that of one that was accepted when its listener has gone, are held too.
func sharedConnections(t *testing.T, st *Stack, peer *netlab.NS, engine, kernel *sharedSide) {
	l, err := peer.Listen("tcp", kernelAddr+":0")
	fatal(t, err)
	defer l.Close()
	c, err := st.Dial("tcp", l.Addr().String())
	fatal(t, err)
	taken := func(who string, port int, want error) {
		t.Helper()
		fd, err := kernel.bind(unix.SOCK_STREAM, engineAddr, port, true)
		if err != want {
			t.Errorf("the port of %s in the kernel: %v, want %v", who, err, want)
		}
		if err == nil {
			kernel.close(fd)
		}
	}
	given := func(who string, port int) { // soon: it takes system calls, which the core leaves to others
		t.Helper()
		within(t, longest, who, func() {
			for {
				fd, err := kernel.bind(unix.SOCK_STREAM, engineAddr, port, true)
				if err == nil {
					kernel.close(fd)
					return
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	port := netip.MustParseAddrPort(c.LocalAddr().String()).Port()
	taken("a connection", int(port), unix.EADDRINUSE)
	c.Close()
	taken("a connection that is closed", int(port), unix.EADDRINUSE) // it waits for the peer's FIN, and would be in TIME-WAIT then
	far, err := l.Accept()
	fatal(t, err)
	fatal(t, far.(*net.TCPConn).SetLinger(0))
	far.Close()
	given("a connection that was reset", int(port))

	own, err := st.Listen("tcp", engineAddr+":6000")
	fatal(t, err)
	k, err := peer.Dial("tcp", engineAddr+":6000")
	fatal(t, err)
	defer k.Close()
	accepted, err := own.Accept()
	fatal(t, err)
	own.Close()
	taken("an accepted connection", 6000, unix.EADDRINUSE)
	fatal(t, accepted.(*TCPConn).SetLinger(0))
	accepted.Close()
	given("an accepted connection that was reset", 6000)

	// What the kernel chooses for its programs is none of ours, and the other way round: all of a small range.
	fatal(t, st.Host().SetSysctl("net.ipv4.ip_local_port_range", "7000 7009"))
	fatal(t, kernel.ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("7000 7009"), 0)
	}))
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		seen := map[int]bool{}
		for i := range 10 {
			side := []*sharedSide{engine, kernel}[i%2]
			fd, err := side.bind(typ, "0.0.0.0", 0, false)
			if err != nil {
				t.Fatalf("type %d: %s: port %d of the range: %v", typ, side, i, err)
			}
			defer side.close(fd)
			port := side.port(fd)
			if seen[port] {
				t.Errorf("type %d: %d is chosen twice", typ, port)
			}
			seen[port] = true
		}
		for _, side := range []*sharedSide{engine, kernel} {
			if _, err := side.bind(typ, "0.0.0.0", 0, false); err != unix.EADDRINUSE {
				t.Errorf("type %d: %s: a port when all are taken: %v", typ, side, err)
			}
		}
	}
}

// A sharedSide binds sockets of the engine or, with a namespace, of the kernel's.
type sharedSide struct {
	t   *testing.T
	api *Table
	ns  *netlab.NS
}

func (s *sharedSide) String() string {
	if s.ns != nil {
		return "the kernel"
	}
	return "the engine"
}

func (s *sharedSide) bind(typ int, ip string, port int, reuse bool) (fd int, err error) {
	a := netip.MustParseAddr(ip)
	family, to := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: port, Addr: a.As16()})
	if a.Is4() {
		family, to = unix.AF_INET, &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	if s.ns == nil {
		table := s.api
		fd, err = table.Socket(family, typ, 0)
		fatal(s.t, err)
		fatal(s.t, table.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, number(reuse)))
		if err = table.Bind(fd, to); err != nil {
			table.Close(fd)
		}
		return fd, err
	}
	return fd, s.ns.Do(func() error {
		if fd, err = unix.Socket(family, typ|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, number(reuse))
		if err == nil {
			err = unix.Bind(fd, to)
		}
		if err != nil {
			unix.Close(fd)
		}
		return err
	})
}

func (s *sharedSide) port(fd int) int {
	var sa unix.Sockaddr
	var err error
	if s.ns == nil {
		sa, err = s.api.Getsockname(fd)
	} else {
		sa, err = unix.Getsockname(fd)
	}
	fatal(s.t, err)
	return sa.(*unix.SockaddrInet4).Port
}

func (s *sharedSide) close(fd int) {
	if s.ns == nil {
		fatal(s.t, s.api.Close(fd))
		return
	}
	fatal(s.t, unix.Close(fd))
}

// sharedCrashVar tells the process that TestPortsOfASharedAddressAfterACrash starts what it is.
const sharedCrashVar = "XDPSOCK_TEST_SHARED_CRASH"

// A process that is killed leaves no port behind, and all that the kernel does goes on.
func TestPortsOfASharedAddressAfterACrash(t *testing.T) {
	netlab.RequireRoot(t)
	if os.Getenv(sharedCrashVar) != "" {
		holdSharedPorts(t)
		return
	}
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes}, netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes})
	cmd := ours.Command(os.Args[0], "-test.run=^TestPortsOfASharedAddressAfterACrash$")
	cmd.Env = append(os.Environ(), sharedCrashVar+"=1")
	out, err := cmd.StdoutPipe()
	fatal(t, err)
	fatal(t, cmd.Start())
	_, err = out.Read(make([]byte, 1)) // it holds them
	fatal(t, err)
	kernel := &sharedSide{t: t, ns: ours}
	if _, err := kernel.bind(unix.SOCK_STREAM, engineAddr, 4000, true); err != unix.EADDRINUSE {
		t.Errorf("before: %v", err)
	}
	login := loginFrom(t, peer, ours, engineAddr+":22")
	login.goesOn("before")
	if c, err := peer.Dial("tcp", engineAddr+":4000"); !errors.Is(err, unix.ECONNREFUSED) { // it does not listen
		t.Errorf("before: connected to %v, %v", c, err)
	}
	served, err := peer.Dial("tcp", engineAddr+":4001")
	fatal(t, err)
	defer served.Close()
	_, err = served.Read(make([]byte, 1)) // it was accepted
	fatal(t, err)
	fatal(t, cmd.Process.Kill())
	if _, ok := cmd.Wait().(*exec.ExitError); !ok {
		t.Error("it was not killed")
	}
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fd, err := kernel.bind(typ, engineAddr, 4000, false)
		if err != nil {
			t.Errorf("after: %v", err)
			continue
		}
		kernel.close(fd)
	}
	login.goesOn("after")
	served.SetDeadline(time.Now().Add(longest)) // the kernel knows nothing of it
	served.Write([]byte("x"))
	if _, err := served.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("a connection of the process that was killed: %v", err)
	}
	login.stop()
	again, err := ours.Listen("tcp", engineAddr+":4000") // and its traffic is the kernel's
	fatal(t, err)
	defer again.Close()
	c, err := peer.Dial("tcp", engineAddr+":4000")
	fatal(t, err)
	c.Close()
}

// holdSharedPorts is the process to be killed.
func holdSharedPorts(t *testing.T) {
	here, err := netlab.Current()
	fatal(t, err)
	defer here.Close()
	st := openAt(t, here, host.Interface{Name: "va", Share: true})
	for _, typ := range []int{unix.SOCK_STREAM, unix.SOCK_DGRAM} {
		fd, err := st.table.Socket(unix.AF_INET, typ, 0)
		fatal(t, err)
		fatal(t, st.table.Bind(fd, &unix.SockaddrInet4{Port: 4000, Addr: netip.MustParseAddr(engineAddr).As4()}))
	}
	l, err := st.Listen("tcp", ":4001")
	fatal(t, err)
	os.Stdout.WriteString("\n")
	c, err := l.Accept()
	fatal(t, err)
	_, err = c.Write([]byte("x"))
	fatal(t, err)
	time.Sleep(time.Hour)
}
