package socketapi

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// bothAnswers is a resolver that finds addrB and addrB6 for every name, without a network.
func bothAnswers() *net.Resolver {
	return (&nameServer{zone: zone{"*": {addrB, addrB6}}}).resolver()
}

// hole is a wire that swallows the TCP segments of a family, and counts them.
type hole struct {
	four, six      atomic.Bool
	lost4, lost6   atomic.Int32
	seenFour, seen atomic.Int32 // of TCP over IPv4, over IPv6
}

func (h *hole) drop(frame []byte) bool {
	switch binary.BigEndian.Uint16(frame[12:]) {
	case 0x0800:
		if frame[14+9] == unix.IPPROTO_TCP {
			h.seenFour.Add(1)
			if h.four.Load() {
				h.lost4.Add(1)
				return true
			}
		}
	case 0x86dd:
		if frame[14+6] == unix.IPPROTO_TCP {
			h.seen.Add(1)
			if h.six.Load() {
				h.lost6.Add(1)
				return true
			}
		}
	}
	return false
}

// nothingDials waits until a host has no connection on its way, and none but those that are meant to be.
func nothingDials(t *testing.T, st *Stack, connections int) {
	t.Helper()
	var list []host.Socket
	for start := time.Now(); time.Since(start) < longest; time.Sleep(time.Millisecond) {
		list, _ = st.Host().Sockets(100)
		n := 0
		for _, s := range list {
			if s.Kind == host.Stream && s.State != tcp.Listen && s.State != tcp.TimeWait {
				n++
			}
		}
		if n == connections {
			return
		}
	}
	t.Errorf("%d connections are wanted: %+v", connections, list)
}

// TestHappyEyeballs dials a name that has addresses of both families, over wires that lose one or refuse it.
func TestHappyEyeballs(t *testing.T) {
	h := new(hole)
	a, b := twoFamilies(t, h.drop)
	bystander(t, a)
	l4, err := b.Listen("tcp4", ":80")
	fatal(t, err)
	defer l4.Close()
	l6, err := b.Listen("tcp6", ":80")
	fatal(t, err)
	defer l6.Close()
	only4, err := b.Listen("tcp4", ":81")
	fatal(t, err)
	defer only4.Close()
	for _, l := range []net.Listener{l4, l6, only4} {
		go serveEcho(l)
	}
	const hour = time.Hour
	for _, c := range []struct {
		name, network, port string
		lost4, lost6        bool
		delay, timeout      time.Duration
		want                string // the address that is reached, or of the error
		err                 error
	}{
		{name: "both answer", network: "tcp", port: "80", want: addrB6, delay: hour},
		{name: "IPv6 is a black hole", network: "tcp", port: "80", lost6: true, want: addrB, delay: 5 * time.Millisecond},
		{name: "IPv4 is a black hole", network: "tcp", port: "80", lost4: true, want: addrB6, delay: 1},
		{name: "IPv6 is refused", network: "tcp", port: "81", want: addrB, delay: hour},
		{name: "IPv6 is refused, one after another", network: "tcp", port: "81", want: addrB, delay: -1},
		{name: "both are black holes", network: "tcp", port: "80", lost4: true, lost6: true, want: addrB6, delay: 1, timeout: 50 * time.Millisecond, err: context.DeadlineExceeded},
		{name: "both are refused", network: "tcp", port: "82", want: addrB6, err: unix.ECONNREFUSED},
		{name: "no fallback", network: "tcp", port: "80", lost6: true, want: addrB6, delay: -1, timeout: 50 * time.Millisecond, err: context.DeadlineExceeded},
		{name: "tcp4", network: "tcp4", port: "80", lost6: true, want: addrB},
		{name: "tcp6", network: "tcp6", port: "80", lost4: true, want: addrB6},
		{name: "tcp6 alone", network: "tcp6", port: "81", want: addrB6, err: unix.ECONNREFUSED},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.four.Store(c.lost4)
			h.six.Store(c.lost6)
			defer func() { h.four.Store(false); h.six.Store(false) }()
			before4, before6 := h.lost4.Load(), h.lost6.Load()
			d := Dialer{Stack: a, Resolver: bothAnswers(), FallbackDelay: c.delay, Timeout: c.timeout}
			conn, err := d.Dial(c.network, net.JoinHostPort("both.test.", c.port))
			for d.Timeout != 0 && h.lost6.Load() == before6 && d.Timeout < longest { // a busy machine spent it on the name
				d.Timeout *= 2
				conn, err = d.Dial(c.network, net.JoinHostPort("both.test.", c.port))
			}
			var reached net.Addr
			if err != nil {
				var op *net.OpError
				if !errors.As(err, &op) {
					t.Fatalf("%v is no OpError", err)
				}
				reached = op.Addr
			} else {
				reached = conn.RemoteAddr()
			}
			if want := net.JoinHostPort(c.want, c.port); fmt.Sprint(reached) != want || !errors.Is(err, c.err) {
				t.Errorf("%v, %v, want %s, %v", reached, err, want, c.err)
			}
			if c.lost6 && c.network == "tcp" && h.lost6.Load() == before6 {
				t.Error("IPv6 was not tried")
			}
			if c.err == nil && c.lost4 && h.lost4.Load() == before4 && c.delay == 1 {
				t.Log("IPv4 was not tried: IPv6 was quicker than a nanosecond's timer")
			}
			if err == nil {
				if _, err := conn.Write([]byte("x")); err != nil {
					t.Error(err)
				}
				if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
					t.Error(err)
				}
				nothingDials(t, a, 1) // the loser's attempt is over
				conn.(*TCPConn).SetLinger(0)
				conn.Close()
			}
			nothingDials(t, a, 0)
		})
	}
	// Where the first family answers at once the other is never asked.
	seen := h.seenFour.Load()
	conn, err := (&Dialer{Stack: a, Resolver: bothAnswers(), FallbackDelay: hour}).Dial("tcp", "both.test.:80")
	fatal(t, err)
	conn.(*TCPConn).SetLinger(0)
	conn.Close()
	if h.seenFour.Load() != seen {
		t.Error("IPv4 was tried without need")
	}
	// Both at once: one wins, the other is given up, a hundred times.
	for range 100 {
		conn, err := (&Dialer{Stack: a, Resolver: bothAnswers(), FallbackDelay: 1}).Dial("tcp", "both.test.:80")
		fatal(t, err)
		conn.(*TCPConn).SetLinger(0)
		conn.Close()
	}
	nothingDials(t, a, 0)
	nothingDials(t, b, 0)
}

// TestShareOfATimeout is how package net divides a timeout.
func TestShareOfATimeout(t *testing.T) {
	for _, c := range []struct {
		remains time.Duration
		left    int
		want    time.Duration
	}{
		{12 * time.Second, 1, 12 * time.Second}, {12 * time.Second, 3, 4 * time.Second}, {12 * time.Second, 10, 2 * time.Second},
		{time.Second, 4, time.Second}, {2 * time.Second, 2, 2 * time.Second},
	} {
		if got := share(c.remains, c.left); got != c.want {
			t.Errorf("of %v for %d addresses the first gets %v, want %v", c.remains, c.left, got, c.want)
		}
	}
}

// TestDialGivenUp: a context that ends leaves no half of a connection, whatever moment it ends at.
func TestDialGivenUp(t *testing.T) {
	h := new(hole)
	a, b := twoFamilies(t, h.drop)
	bystander(t, a)
	l, err := b.Listen("tcp", ":80")
	fatal(t, err)
	defer l.Close()
	go serveEcho(l)
	to := net.JoinHostPort(addrB, "80")

	h.four.Store(true)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	_, err = a.DialContext(ctx, "tcp", to)
	var op net.Error
	if !errors.As(err, &op) || !op.Timeout() || !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a dial whose context has timed out: %v", err)
	}
	ctx, cancel = context.WithCancel(context.Background())
	time.AfterFunc(10*time.Millisecond, cancel)
	if _, err = a.DialContext(ctx, "tcp", to); !errors.Is(err, context.Canceled) || err.(net.Error).Timeout() {
		t.Errorf("a dial whose context was cancelled: %v", err)
	}
	why, because := context.WithCancelCause(context.Background())
	time.AfterFunc(10*time.Millisecond, func() { because(errors.New("because")) })
	if _, err = a.DialContext(why, "tcp", to); !errors.Is(err, context.Canceled) { // as package net has it: without the cause
		t.Errorf("a dial whose context was cancelled for a reason: %v", err)
	}
	nothingDials(t, a, 0)
	h.four.Store(false)

	both := Dialer{Stack: a, Resolver: bothAnswers(), FallbackDelay: 50 * time.Microsecond}
	for i := range 400 { // around the moment that the connection is made, or that the other family is tried too
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(time.Duration(i)*time.Microsecond, cancel)
		c, err := net.Conn(nil), error(nil)
		if i%2 == 0 {
			c, err = a.DialContext(ctx, "tcp", to)
		} else {
			c, err = both.DialContext(ctx, "tcp", "both.test.:80")
		}
		if err == nil {
			if _, err := c.Write([]byte("x")); err != nil { // it outlives the context
				t.Error(err)
			}
			c.(*TCPConn).SetLinger(0)
			c.Close()
		} else if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		cancel()
	}
	nothingDials(t, a, 0)
	nothingDials(t, b, 0)
}
