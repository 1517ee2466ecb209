package socketapi

import (
	"bytes"
	"encoding/binary"
	"errors"
	commandline "flag"
	"maps"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// everySize makes echo go through all sizes, some four hundred thousand exchanges of 32 KB each way on the
// average, which the bytes alone make a matter of minutes:
//
//	go test ./socketapi -run EverySize -every-size -timeout 30m
var everySize = commandline.Bool("every-size", false, "try every size from 0 to 65000, and not only a selection")

// sizesWhole is up to where each size is tried in any case: messages of up to four fragments.
const sizesWhole = 4500

// after is the size that is tried next.
func after(n int) int {
	switch {
	case *everySize || n < sizesWhole:
		return n + 1
	case testing.Short():
		return n + 331
	}
	return n + 41
}

// sizesMax is the longest of the lengths that echo is tried at, each from 0 on.
const sizesMax = 65_000

const (
	// sizesInFlight and bytesInFlight bound what is on its way at once: enough that neither side waits
	// for the other, and less than the rings and queues on the way hold.
	sizesInFlight = 32
	bytesInFlight = 128 << 10

	// sizesPatience is when something in flight is taken for lost, and sent again: a ring may be full
	// while the machine is busy with something else.
	sizesPatience = time.Second
)

// everySizeOf sends a message of each size and wants each back as it was. send sends one, and receive
// brings the payload of the next that came back, of whichever size, or os.ErrDeadlineExceeded after
// sizesPatience. What is lost is sent again.
func everySizeOf(t *testing.T, send func(n int) error, receive func() ([]byte, error)) {
	t.Helper()
	missing := make(map[int]bool, sizesInFlight)
	next, flying, lost := 0, 0, 0
	for next <= sizesMax || len(missing) > 0 {
		for next <= sizesMax && len(missing) < sizesInFlight && (len(missing) == 0 || flying+next <= bytesInFlight) {
			if err := send(next); err != nil {
				t.Fatalf("%d bytes: %v", next, err)
			}
			missing[next] = true
			flying += next
			next = after(next)
		}
		got, err := receive()
		n := len(got)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			if lost += len(missing); lost > 30*sizesInFlight {
				t.Fatalf("%d were lost, and at last %v", lost, slices.Collect(maps.Keys(missing)))
			}
			for n := range missing {
				if err := send(n); err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
			continue
		case err != nil:
			t.Fatal(err)
		case n > sizesMax || !bytes.Equal(got, sized(n)):
			t.Fatalf("%d bytes came back as others", n)
		}
		if missing[n] { // else it is one that was sent twice
			delete(missing, n)
			flying -= n
		}
	}
	if lost > 0 {
		t.Logf("%d were sent again", lost)
	}
}

// sized is a payload of n bytes that no other has, nor the same shifted: a part of text from a place that goes
// with n, and its length.
func sized(n int) []byte { return sizedText[n : 2*n : 2*n] }

var sizedText = func() []byte {
	b := make([]byte, 2*(sizesMax+8))
	for i := 0; i+4 <= len(b); i += 4 {
		binary.LittleEndian.PutUint32(b[i:], uint32(i)*0x9e3779b1)
	}
	return b
}()

// TestEchoAtEverySize: the engine cuts and puts together messages of each length from 0 to 65,000 bytes, the
// kernel being on the other side: UDP, its pings and ours.
func TestEchoAtEverySize(t *testing.T) {
	t.Parallel()
	eachFamily(t, func(t *testing.T, f family) {
		st, peer := lab(t, 1, engine.ModeAuto)
		t.Run("UDP", func(t *testing.T) { udpAtEverySize(t, f, st, peer) })
		t.Run("kernel pings", func(t *testing.T) { kernelPingsEverySize(t, f, peer) })
		t.Run("pings", func(t *testing.T) { pingsEverySize(t, f, st) })
	})
}

func udpAtEverySize(t *testing.T, f family, st *Stack, peer *netlab.NS) {
	p, err := peer.ListenPacket("udp", f.theirs("7"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	k := p.(*net.UDPConn)
	k.SetReadBuffer(4 << 20)
	go func() {
		for buf := make([]byte, 1<<16); ; {
			n, from, err := k.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			k.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	c, err := st.ListenUDP(netip.MustParseAddrPort(f.ours("0")))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadBuffer(4 << 20)
	to, buf := netip.MustParseAddrPort(f.theirs("7")), make([]byte, 1<<16)
	everySizeOf(t, func(n int) error {
		_, err := c.WriteToUDPAddrPort(sized(n), to)
		return err
	}, func() ([]byte, error) {
		c.SetReadDeadline(time.Now().Add(sizesPatience))
		n, _, err := c.ReadFromUDPAddrPort(buf)
		return buf[:n], err
	})
}

func kernelPingsEverySize(t *testing.T, f family, peer *netlab.NS) {
	c, to := pingKernel(t, peer, f), &net.IPAddr{IP: net.ParseIP(f.engine)}
	c.(*net.IPConn).SetReadBuffer(4 << 20)
	request, reply := byte(wire.ICMP4Echo), byte(wire.ICMP4EchoReply)
	if f.header == wire.IPv6Len {
		request, reply = byte(wire.ICMP6Echo), byte(wire.ICMP6EchoReply)
	}
	buf, b := make([]byte, 1<<16), make([]byte, 1<<16)
	everySizeOf(t, func(n int) error {
		m := append(append(b[:0], request, 0, 0, 0, 1, 2, byte(n>>8), byte(n)), sized(n)...)
		if f.header == wire.IPv4Len {
			wire.ICMP4(m).Seal()
		}
		_, err := c.WriteTo(m, to)
		return err
	}, func() ([]byte, error) {
		for {
			c.SetReadDeadline(time.Now().Add(sizesPatience))
			n, _, err := c.ReadFrom(buf)
			if err != nil {
				return nil, err
			}
			if n >= wire.ICMP4Len && buf[0] == reply && binary.BigEndian.Uint16(buf[4:]) == 0x102 { // a raw socket sees others too
				return buf[wire.ICMP4Len:n], nil
			}
		}
	})
}

func pingsEverySize(t *testing.T, f family, st *Stack) {
	c, err := st.ListenPing(netip.MustParseAddr(f.engine))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	to, buf := netip.MustParseAddr(f.kernel), make([]byte, 1<<16)
	everySizeOf(t, func(n int) error { return c.WriteEcho(to, uint16(n), sized(n)) }, func() ([]byte, error) {
		c.SetReadDeadline(time.Now().Add(sizesPatience))
		e, err := c.ReadEcho(buf)
		return e.Payload, err
	})
}
