package socketapi

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// The addresses of openSelf's host, and the loopback addresses that every host has.
var selves = []string{addrA, "10.98.1.1", "127.0.0.1", "127.1.2.3"}

// openSelf opens a stack of several cores whose links lead nowhere: what arrives comes from itself.
func openSelf(t *testing.T, cores int) (st *Stack, ends []*pipe) {
	t.Helper()
	interfaces := make([]host.Interface, 2)
	for i := range interfaces {
		interfaces[i].Addrs = []netip.Prefix{netip.MustParsePrefix(selves[i] + "/24")}
	}
	for range cores {
		a, b := newPipe()
		ends = append(ends, b)
		interfaces[0].Devices = append(interfaces[0].Devices, a)
	}
	if cores > 1 {
		interfaces = interfaces[:1]
		interfaces[0].Addrs = append(interfaces[0].Addrs, netip.MustParsePrefix(selves[1]+"/24"))
	} else {
		interfaces[0].Addrs = append(interfaces[0].Addrs, netip.MustParsePrefix(selves[1]+"/24"))
		interfaces = interfaces[:1]
	}
	st, err := Open(host.Config{Interfaces: interfaces, Sysctls: map[string]string{lowPorts: "0"}})
	fatal(t, err)
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return st, ends
}

// quiet checks that no IP packet has left by a link.
func quiet(t *testing.T, ends []*pipe) {
	t.Helper()
	for _, p := range ends {
		frames := make([]engine.Frame, 64)
		for n := p.Peek(frames); n > 0; n = p.Peek(frames) {
			for _, f := range frames[:n] {
				if f.Data[12] != 8 || f.Data[13] != 6 { // ARP announces the addresses
					t.Errorf("a packet to ourselves has left: %x", f.Data)
				}
			}
			p.Release(frames[:n])
		}
	}
}

func eachSelf(t *testing.T, f func(t *testing.T, st *Stack, addr string)) {
	for _, cores := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d cores", cores), func(t *testing.T) {
			st, ends := openSelf(t, cores)
			for _, addr := range selves {
				t.Run(addr, func(t *testing.T) { f(t, st, addr) })
			}
			quiet(t, ends)
		})
	}
}

// TestStreamToOurselves: both ends of a connection on one host.
func TestStreamToOurselves(t *testing.T) {
	eachSelf(t, func(t *testing.T, st *Stack, addr string) {
		l, err := st.Listen("tcp", addr+":7")
		fatal(t, err)
		echo := serveEcho(l)
		size := 3 << 20
		if testing.Short() {
			size = 300_000 // a dozen windows
		}
		body := make([]byte, size)
		rand.NewChaCha8([32]byte{1}).Read(body)
		var conns sync.WaitGroup
		for range 4 {
			conns.Go(func() {
				c, err := st.Dial("tcp", addr+":7")
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if peer := c.RemoteAddr().String(); peer != addr+":7" {
					t.Errorf("connected to %s", peer)
				}
				go func() {
					c.Write(body)
					c.(*TCPConn).CloseWrite()
				}()
				if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d of %d bytes came back, %v", len(got), len(body), err)
				}
			})
		}
		within(t, longest, "the connections", conns.Wait)
		fatal(t, l.Close())
		within(t, longest, "the server", func() { <-echo })
	})
}

// TestDatagramToOurselves: of every size, and there when sendto has returned.
func TestDatagramToOurselves(t *testing.T) {
	eachSelf(t, func(t *testing.T, st *Stack, addr string) {
		s := st.Table()
		to, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
		fatal(t, err)
		defer s.Close(to)
		from, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
		fatal(t, err)
		defer s.Close(from)
		fatal(t, s.Bind(to, at(addr+":7")))
		p := make([]byte, 1<<16)
		source := addr
		if addr == "127.1.2.3" {
			source = "127.0.0.1" // what the route of 127.0.0.0/8 prefers
		}
		for _, size := range []int{0, 1, 1472, 1473, 65507} {
			body := bytes.Repeat([]byte{byte(size)}, size)
			fatal(t, s.Sendto(from, body, 0, at(addr+":7")))
			n, sa, err := s.Recvfrom(to, p, 0)
			if err != nil || !bytes.Equal(p[:n], body) {
				t.Errorf("%d bytes: %d arrived, %v", size, n, err)
				continue
			}
			if a := sa.(*unix.SockaddrInet4); netip.AddrFrom4(a.Addr) != netip.MustParseAddr(source) {
				t.Errorf("%d bytes: from %v", size, a.Addr)
			}
		}
		if err := s.Sendto(from, p[:65508], 0, at(addr+":7")); err != unix.EMSGSIZE {
			t.Errorf("65508 bytes: %v", err)
		}
		// Nobody is there: the error comes back to a socket that is connected.
		fatal(t, s.Connect(from, at(addr+":8")))
		_, err = s.Write(from, []byte("?"))
		fatal(t, err)
		if _, err := s.Write(from, []byte("?")); err != unix.ECONNREFUSED {
			t.Errorf("the port is closed: %v", err)
		}
	})
}

// TestPingOurselves: echo requests are answered, up to the largest packet.
func TestPingOurselves(t *testing.T) {
	eachSelf(t, func(t *testing.T, st *Stack, addr string) {
		c, err := st.ListenPing(netip.IPv4Unspecified())
		fatal(t, err)
		defer c.Close()
		for seq, size := range []int{0, 56, 1473, 65507} {
			payload := bytes.Repeat([]byte{byte(seq + 1)}, size)
			if e := echo(t, c, netip.MustParseAddr(addr), uint16(seq), payload); !bytes.Equal(e.Payload, payload) {
				t.Errorf("%d bytes: another payload of %d bytes", size, len(e.Payload))
			}
		}
	})
}

// TestNobodyListensHere: a connection to a closed port of our own is refused at once, and one to the
// very socket that asks is Linux's simultaneous open.
func TestNobodyListensHere(t *testing.T) {
	eachSelf(t, func(t *testing.T, st *Stack, addr string) {
		s := st.Table()
		fd, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		fatal(t, err)
		defer s.Close(fd)
		if err := s.Connect(fd, at(addr+":8")); err != unix.ECONNREFUSED {
			t.Errorf("a closed port: %v", err)
		}
		self, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		fatal(t, err)
		defer s.Close(self)
		fatal(t, s.Bind(self, at(addr+":9")))
		fatal(t, s.Connect(self, at(addr+":9")))
		_, err = s.Write(self, []byte("myself"))
		fatal(t, err)
		p := make([]byte, 99)
		if n, err := s.Read(self, p); err != nil || string(p[:n]) != "myself" {
			t.Errorf("read %q, %v", p[:max(n, 0)], err)
		}
	})
}

// TestLoopbackStaysInside: a packet of a link that says it is from or to 127.0.0.0/8 or from our own
// address is dropped, and no socket with a loopback address sends to a link.
func TestLoopbackStaysInside(t *testing.T) {
	st, _ := openSelf(t, 1)
	s := st.Table()
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	defer s.Close(fd)
	fatal(t, s.Bind(fd, at("127.0.0.1:0")))
	if err := s.Sendto(fd, []byte("out"), 0, at("10.98.0.9:7")); err != unix.EINVAL {
		t.Errorf("from 127.0.0.1 to a neighbour: %v, want EINVAL as on Linux", err)
	}
	stream, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	defer s.Close(stream)
	fatal(t, s.Bind(stream, at("127.0.0.1:0")))
	if err := s.Connect(stream, at("10.98.0.9:7")); err != unix.EINVAL {
		t.Errorf("connect from 127.0.0.1 to a neighbour: %v, want EINVAL as on Linux", err)
	}
}
