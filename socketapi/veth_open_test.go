package socketapi

import (
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// What is agreed on in a handshake, with Linux as the peer, which asks for all of it: ECN (RFC 3168) and Fast Open (RFC
// 7413), as client and as server, over both families.
func TestOpeningWithLinux(t *testing.T) {
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes})
	if err := peer.Do(func() error {
		for name, value := range map[string]string{"tcp_ecn": "1", "tcp_fastopen": "3"} {
			if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	var st *Stack
	if err := ours.Do(func() (err error) {
		st, err = Open(host.Config{
			Interfaces: []host.Interface{{Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone}},
			Sysctls:    map[string]string{"tcp_ecn": "1", "tcp_fastopen": "3"},
		})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	eachFamily(t, func(t *testing.T, f family) {
		engineAt, kernelAt := netip.MustParseAddrPort(f.ours("7")), netip.MustParseAddrPort(f.theirs("7"))
		t.Run("engine serves", func(t *testing.T) {
			opens(t, st.Table(), linuxIn{ns: peer}, engineAt, func() uint64 { return tcpStats(st).FastOpenPassive })
		})
		t.Run("engine dials", func(t *testing.T) {
			opens(t, linuxIn{ns: peer}, st.Table(), kernelAt, func() uint64 { return tcpStats(st).FastOpenActive })
		})
	})
}

// tcpStats is what TCP has counted on the first core.
func tcpStats(st *Stack) tcp.Stats {
	c := st.Host().Cores()[0]
	c.Lock()
	defer c.Unlock()
	return c.Stack.TCP.Stats()
}

// opener is what opens needs of either stack.
type opener interface {
	Socket(domain, typ, proto int) (int, error)
	Bind(fd int, sa unix.Sockaddr) error
	Listen(fd, backlog int) error
	Accept(fd int) (int, unix.Sockaddr, error)
	Close(fd int) error
	Read(fd int, p []byte) (int, error)
	Write(fd int, p []byte) (int, error)
	Sendto(fd int, p []byte, flags int, to unix.Sockaddr) error
	Connect(fd int, sa unix.Sockaddr) error
	SetsockoptInt(fd, level, opt, n int) error
	GetsockoptTCPInfo(fd, level, opt int) (*unix.TCPInfo, error)
}

// opens exchanges a question and an answer over connections by MSG_FASTOPEN and TCP_FASTOPEN_CONNECT: the first is given a cookie, the
// others are opened by their SYNs, which count says.
func opens(t *testing.T, server, client opener, at netip.AddrPort, count func() uint64) {
	domain := unix.AF_INET
	if at.Addr().Is6() {
		domain = unix.AF_INET6
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	l, err := server.Socket(domain, unix.SOCK_STREAM, 0)
	must(err)
	defer server.Close(l)
	must(server.SetsockoptInt(l, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	must(server.Bind(l, sockaddr(at, domain)))
	must(server.SetsockoptInt(l, unix.IPPROTO_TCP, unix.TCP_FASTOPEN, 16))
	must(server.Listen(l, 16))
	before := count()
	const rounds = 6
	for i := range rounds {
		text := fmt.Sprintf("question %d", i)
		c, err := client.Socket(domain, unix.SOCK_STREAM, 0)
		must(err)
		must(client.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
		within(t, 20*time.Second, text, func() {
			if i%2 == 0 {
				if err := client.Sendto(c, []byte(text), unix.MSG_FASTOPEN, sockaddr(at, domain)); err != nil {
					t.Error("MSG_FASTOPEN:", err)
				}
			} else {
				if err := client.SetsockoptInt(c, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 1); err != nil {
					t.Error(err)
				}
				if err := client.Connect(c, sockaddr(at, domain)); err != nil {
					t.Error("connect:", err)
				}
				if _, err := client.Write(c, []byte(text)); err != nil {
					t.Error("write:", err)
				}
			}
			s, _, err := server.Accept(l)
			if err != nil {
				t.Error(err)
				return
			}
			buf := make([]byte, 100)
			n, err := server.Read(s, buf)
			if err != nil || string(buf[:n]) != text {
				t.Errorf("the server reads %q, %v", buf[:n], err)
			}
			if _, err := server.Write(s, []byte("answer to "+text)); err != nil {
				t.Error(err)
			}
			if n, err = client.Read(c, buf); err != nil || string(buf[:n]) != "answer to "+text {
				t.Errorf("the client reads %q, %v", buf[:n], err)
			}
			for side, get := range map[string]func() (*unix.TCPInfo, error){
				"server": func() (*unix.TCPInfo, error) { return server.GetsockoptTCPInfo(s, unix.IPPROTO_TCP, unix.TCP_INFO) },
				"client": func() (*unix.TCPInfo, error) { return client.GetsockoptTCPInfo(c, unix.IPPROTO_TCP, unix.TCP_INFO) },
			} {
				if info, err := get(); err != nil || info.Options&infoECN == 0 {
					t.Errorf("round %d: the %s's tcpi_options are %#x, %v", i, side, info.Options, err)
				}
			}
			if err := server.Close(s); err != nil {
				t.Error(err)
			}
			if n, err = client.Read(c, buf); n != 0 || err != nil {
				t.Errorf("at the end %d, %v", n, err)
			}
			if err := client.Close(c); err != nil {
				t.Error(err)
			}
		})
	}
	if got := count() - before; got != rounds-1 {
		t.Errorf("%d of %d connections were opened by their SYN", got, rounds-1)
	}
}

// linuxIn is the kernel's sockets of a namespace.
type linuxIn struct {
	linux
	ns *netlab.NS
}

func (k linuxIn) Socket(domain, typ, proto int) (fd int, err error) {
	err = k.ns.Do(func() error { fd, err = unix.Socket(domain, typ|unix.SOCK_CLOEXEC, proto); return err })
	return fd, err
}
