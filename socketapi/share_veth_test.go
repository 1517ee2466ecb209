package socketapi

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// An address that the kernel and the engine both use: host.Interface.Share.

// login is a connection of the kernel's to another kernel, like ssh's, which goes on whatever the engine does.
type login struct {
	t     *testing.T
	conn  net.Conn
	turns atomic.Int64
	end   atomic.Bool
	done  chan struct{}
}

// loginFrom opens one from a namespace to a server of the kernel's in another.
func loginFrom(t *testing.T, from, server *netlab.NS, at string) *login {
	l, err := server.Listen("tcp", at)
	fatal(t, err)
	t.Cleanup(func() { l.Close() })
	go serveEcho(l)
	c, err := from.Dial("tcp", at)
	fatal(t, err)
	in := &login{t: t, conn: c, done: make(chan struct{})}
	go in.run()
	return in
}

func (l *login) run() {
	defer close(l.done)
	defer l.conn.Close()
	sent, got := make([]byte, 512), make([]byte, 512)
	for !l.end.Load() {
		rand.NewChaCha8([32]byte{byte(l.turns.Load())}).Read(sent)
		l.conn.SetDeadline(time.Now().Add(longest))
		_, err := l.conn.Write(sent)
		if err == nil {
			_, err = io.ReadFull(l.conn, got)
		}
		if err != nil || !bytes.Equal(sent, got) {
			l.t.Errorf("the login after %d turns: %v", l.turns.Load(), err)
			return
		}
		l.turns.Add(1)
	}
}

// goesOn waits until it has done some more.
func (l *login) goesOn(when string) {
	l.t.Helper()
	want := l.turns.Load() + 20
	eventually(l.t, "the login goes on "+when, func() bool { return l.turns.Load() >= want })
}

func (l *login) stop() {
	l.end.Store(true)
	<-l.done
}

// TestSharedAddress: the engine serves and calls from the kernel's addresses, on two cores, and the kernel goes on to live there.
func TestSharedAddress(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	ours, peer := netlab.TestNS(t), netlab.TestNS(t)
	veth := netlab.TestVeth(t,
		netlab.End{NS: ours, Name: "va", Addrs: enginePrefixes, Queues: 2},
		netlab.End{NS: peer, Name: "vb", Addrs: kernelPrefixes, Queues: 2})
	in, out := loginFrom(t, peer, ours, engineAddr+":22"), loginFrom(t, ours, peer, "["+kernelAddr6+"]:22")
	in.goesOn("before")
	st := openAt(t, ours, host.Interface{Name: "va", Share: true})
	in.goesOn("with the engine")

	l, err := st.Listen("tcp", ":80")
	fatal(t, err)
	served := serveEcho(l)
	u, err := st.ListenUDP(netip.MustParseAddrPort("[::]:80"))
	fatal(t, err)
	go echoUDP(u)
	var all sync.WaitGroup
	for _, way := range []struct{ mine, theirs netip.Addr }{
		{netip.MustParseAddr(engineAddr), netip.MustParseAddr(kernelAddr)},
		{netip.MustParseAddr(engineAddr6), netip.MustParseAddr(kernelAddr6)},
		{linkLocalOf(t, ours, "va"), linkLocalOf(t, peer, "vb")},
	} {
		there := func(a netip.Addr, l *netlab.Link, port uint16) string { // as seen at the end l
			if a.IsLinkLocalUnicast() {
				a = wire.WithScope(a, uint32(l.Index))
			}
			return netip.AddrPortFrom(a, port).String()
		}
		all.Go(func() {
			for range 20 {
				c, err := peer.Dial("tcp", there(way.mine, veth.B, 80))
				if err != nil {
					t.Errorf("to %v: %v", way.mine, err)
					return
				}
				bulkEcho(t, c, 100_000, 3)
			}
		})
		all.Go(func() {
			l, err := peer.Listen("tcp", there(way.theirs, veth.B, 0))
			if err != nil {
				t.Error(err)
				return
			}
			served := serveEcho(l)
			port := l.Addr().(*net.TCPAddr).Port
			for range 20 {
				c, err := st.Dial("tcp", there(way.theirs, veth.A, uint16(port)))
				if err != nil {
					t.Errorf("from %v: %v", way.mine, err)
					return
				}
				bulkEcho(t, c, 100_000, 5)
			}
			l.Close()
			<-served
		})
		all.Go(func() { datagramsAcross(t, peer, there(way.mine, veth.B, 80)) })
		all.Go(func() { refusals(t, st, peer, there(way.mine, veth.B, 81), there(way.theirs, veth.A, 81)) })
	}
	all.Wait()
	in.goesOn("beside all that")
	out.goesOn("beside all that")

	for _, typ := range []int{unix.SOCK_RAW, unix.SOCK_DGRAM} {
		if _, err := st.table.Socket(unix.AF_INET, typ, unix.IPPROTO_ICMP); err != unix.EPROTONOSUPPORT {
			t.Errorf("a socket of ICMP, type %d: %v", typ, err)
		}
	}
	if _, err := st.ListenPing(netip.IPv4Unspecified()); !errors.Is(err, unix.EPROTONOSUPPORT) {
		t.Errorf("a ping socket: %v", err)
	}
	fatal(t, l.Close())
	fatal(t, u.Close())
	<-served
	fatal(t, st.Close())
	in.goesOn("after the engine")
	k, err := ours.Listen("tcp", engineAddr+":80")
	fatal(t, err)
	defer k.Close()
	c, err := peer.Dial("tcp", engineAddr+":80")
	fatal(t, err)
	c.Close()
	in.stop()
	out.stop()
}

// datagramsAcross has datagrams echoed, some of them longer than the link takes.
func datagramsAcross(t *testing.T, from *netlab.NS, to string) {
	c, err := from.Dial("udp", to)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	for _, n := range []int{1, 1400, 2000} {
		p := bytes.Repeat([]byte{byte(n)}, n)
		got := make([]byte, 3000)
		for try := 1; ; try++ {
			c.Write(p)
			c.SetReadDeadline(time.Now().Add(time.Second))
			m, err := c.Read(got)
			if err == nil && bytes.Equal(got[:m], p) {
				break
			}
			if try == 20 {
				t.Errorf("%d bytes to %s: %d, %v", n, to, m, err)
				return
			}
		}
	}
}

// refusals: who has no port is told by whoever has the address, and the errors reach the one whose datagram it was.
func refusals(t *testing.T, st *Stack, peer *netlab.NS, mine, theirs string) {
	e, err := st.Dial("udp", theirs)
	if err != nil {
		t.Error(err)
		return
	}
	defer e.Close()
	k, err := peer.Dial("udp", mine)
	if err != nil {
		t.Error(err)
		return
	}
	defer k.Close()
	for who, c := range map[string]net.Conn{"the engine": e, "the kernel": k} {
		for try := 1; ; try++ { // an ICMP error may be left out for there being so many
			c.Write([]byte("x"))
			c.SetReadDeadline(time.Now().Add(time.Second))
			if _, err = c.Read(make([]byte, 1)); errors.Is(err, unix.ECONNREFUSED) {
				break
			}
			if try == 20 {
				t.Errorf("%s, a datagram to %v: %v", who, c.RemoteAddr(), err)
				break
			}
		}
	}
	if c, err := st.Dial("tcp", theirs); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the engine connects to %s: %v, %v", theirs, c, err)
	}
	if c, err := peer.Dial("tcp", mine); !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("the kernel connects to %s: %v, %v", mine, c, err)
	}
}
