package socketapi

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
)

// echo asks until there is an answer to that very request.
func echo(t *testing.T, c *PingConn, to netip.Addr, seq uint16, payload []byte) Echo {
	t.Helper()
	buf := make([]byte, EchoHeaderLen+len(payload)+1)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if err := c.WriteEcho(to, seq, payload); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second))
		for {
			e, err := c.ReadEcho(buf)
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if e.Seq == seq {
				return e
			}
		}
	}
	t.Fatalf("%v does not answer", to)
	return Echo{}
}

func TestPing(t *testing.T) {
	st, _ := lab(t, 1, engine.ModeAuto)
	kernel := netip.MustParseAddr(kernelAddr)
	c, err := st.ListenPing(netip.IPv4Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	other, err := st.ListenPing(netip.MustParseAddr(engineAddr))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if c.Ident() == other.Ident() {
		t.Errorf("both have identifier %d", c.Ident())
	}
	for seq, size := range []int{0, 1, 56, 1472} {
		payload := bytes.Repeat([]byte{byte(seq + 1)}, size)
		before := c.Now()
		e := echo(t, c, kernel, uint16(seq), payload)
		if e.From != kernel || e.TTL != 64 || !bytes.Equal(e.Payload, payload) || e.Time.Before(before) || c.Now().Before(e.Time) {
			t.Errorf("%d bytes: reply from %v with TTL %d and %d bytes, at %v after %v", size, e.From, e.TTL, len(e.Payload), e.Time, before)
		}
	}
	// The answers are for who asked.
	other.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
	if e, err := other.ReadEcho(make([]byte, 2000)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("another socket heard %+v, %v", e, err)
	}
	if err := c.WriteEcho(kernel, 9, make([]byte, 65508)); !errors.Is(err, unix.EMSGSIZE) {
		t.Errorf("beyond what a packet can be: %v", err)
	}
	if err := c.WriteEcho(netip.MustParseAddr("fd00::1"), 9, nil); !errors.Is(err, unix.EAFNOSUPPORT) {
		t.Errorf("IPv6: %v", err)
	}
	if err := c.WriteEcho(netip.MustParseAddr("192.0.2.1"), 9, nil); !errors.Is(err, unix.ENETUNREACH) {
		t.Errorf("no route: %v", err)
	}
}

func TestPingSendsAndReceivesWithoutAllocating(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	st, _ := lab(t, 1, engine.ModeAuto)
	kernel := netip.MustParseAddr(kernelAddr)
	c, err := st.ListenPing(netip.IPv4Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	payload, buf := make([]byte, 56), make([]byte, 100)
	echo(t, c, kernel, 0, payload)
	c.SetReadDeadline(time.Now().Add(time.Minute))
	if n := testing.AllocsPerRun(200, func() {
		if err := c.WriteEcho(kernel, 1, payload); err != nil {
			t.Fatal(err)
		}
		if _, err := c.ReadEcho(buf); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestPingClosed(t *testing.T) {
	st, _ := lab(t, 1, engine.ModeAuto)
	if _, err := st.ListenPing(netip.MustParseAddr("192.0.2.1")); !errors.Is(err, unix.EADDRNOTAVAIL) {
		t.Errorf("at a foreign address: %v", err)
	}
	c, err := st.ListenPing(netip.IPv4Unspecified())
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		_, err := c.ReadEcho(make([]byte, 100))
		ended <- err
	}()
	time.Sleep(10 * time.Millisecond)
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("a read under way: %v", err)
	}
	if err := c.WriteEcho(netip.MustParseAddr(kernelAddr), 1, nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if err := c.SetReadDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline: %v", err)
	}
	if err := c.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("close again: %v", err)
	}
}
