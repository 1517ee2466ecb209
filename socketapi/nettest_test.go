package socketapi

import (
	"errors"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/net/nettest"

	"github.com/xdpsock/xdpsock/engine"
)

type dialer func(network, address string) (net.Conn, error)

// pipesBetween makes connections from dial to a listener.
func pipesBetween(l net.Listener, dial dialer) nettest.MakePipe {
	return func() (c1, c2 net.Conn, stop func(), err error) {
		type accepted struct {
			c   net.Conn
			err error
		}
		ch := make(chan accepted, 1)
		go func() {
			c, err := l.Accept()
			ch <- accepted{c, err}
		}()
		c1, err = dial("tcp", l.Addr().String())
		a := <-ch
		if err = errors.Join(err, a.err); err != nil {
			return nil, nil, nil, err
		}
		return c1, a.c, func() { c1.Close(); a.c.Close() }, nil
	}
}

// bystander is a socket that stays open, so that no connection is the stack's last: closing
// that one waits for a peer that does not read.
func bystander(t *testing.T, st *Stack) {
	c, err := st.ListenUDP(netip.AddrPortFrom(netip.IPv4Unspecified(), 0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
}

func TestConnEngineToEngine(t *testing.T) {
	a, b := twoHosts(t)
	l, err := b.Listen("tcp", addrB+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bystander(t, a)
	nettest.TestConn(t, pipesBetween(l, a.Dial))
}

func TestConnEngineToKernel(t *testing.T) {
	st, peer := lab(t, 1, engine.ModeAuto)
	l, err := peer.Listen("tcp", kernelAddr+":80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	bystander(t, st)
	nettest.TestConn(t, pipesBetween(l, st.Dial))
}

func TestConnKernelToEngine(t *testing.T) {
	for _, queues := range []int{1, 2} {
		st, peer := lab(t, queues, engine.ModeAuto)
		l, err := st.Listen("tcp", engineAddr+":80")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		// The connection under test is the first of the pair: here the one that was accepted.
		mp := pipesBetween(l, peer.Dial)
		nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
			c1, c2, stop, err = mp()
			return c2, c1, stop, err
		})
	}
}
