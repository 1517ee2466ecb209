package load

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// quick is as short as a measurement can be and still have both phases.
func quick(server netip.AddrPort) Config {
	return Config{Server: server, Size: 64, Conns: 1, InFlight: 256, Warm: 20 * time.Millisecond, Run: 100 * time.Millisecond}
}

func addrPort(a net.Addr) netip.AddrPort { return netip.MustParseAddrPort(a.String()) }

// udpServer answers with what reply makes of a datagram, nil being nothing.
func udpServer(t *testing.T, reply func(p []byte) []byte) netip.AddrPort {
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if p := reply(buf[:n]); p != nil {
				c.WriteTo(p, from)
			}
		}
	}()
	return addrPort(c.LocalAddr())
}

// tcpServer runs serve for each connection.
func tcpServer(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return addrPort(l.Addr())
}

func same(p []byte) []byte { return p }

func echo(c net.Conn) { io.Copy(c, c) }

// Begin and End are called once each, in order, around what is counted.
func TestPhases(t *testing.T) {
	var calls strings.Builder
	c := quick(udpServer(t, same))
	c.Begin = func() { calls.WriteString("begin ") }
	c.End = func() { calls.WriteString("end") }
	r, err := UDPEcho(c)
	if err != nil {
		t.Fatal(err)
	}
	if calls.String() != "begin end" {
		t.Errorf("calls: %q", calls.String())
	}
	if r.Ops == 0 || r.Elapsed < c.Run || r.Latency.Count() != r.Ops || r.Bytes != r.Ops*64 {
		t.Errorf("%d transactions, %d bytes, %d latencies in %v", r.Ops, r.Bytes, r.Latency.Count(), r.Elapsed)
	}
}

func TestHonestServers(t *testing.T) {
	udp, tcp := quick(udpServer(t, same)), quick(tcpServer(t, echo))
	many := tcp
	many.Conns = 64
	odd := many
	odd.Size = 101
	for _, m := range []struct {
		name string
		run  func(Config) (*Result, error)
		c    Config
	}{
		{"UDPEcho", UDPEcho, udp},
		{"UDPWindow", UDPWindow, udp},
		{"TCPEcho 1", TCPEcho, tcp},
		{"TCPEcho 64", TCPEcho, many},
		{"TCPEcho 64, 101 bytes", TCPEcho, odd},
		{"TCPConnect 1", TCPConnect, tcp},
		{"TCPConnect 64", TCPConnect, many},
	} {
		t.Run(m.name, func(t *testing.T) {
			r, err := m.run(m.c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Ops == 0 || r.Latency.Quantile(0.5) == 0 {
				t.Errorf("%d transactions, median %v", r.Ops, r.Latency.Quantile(0.5))
			}
		})
	}
}

// A server that takes its time shows as one, whatever else the machine does.
func TestSlowServer(t *testing.T) {
	const nap = 5 * time.Millisecond
	c := quick(udpServer(t, func(p []byte) []byte { time.Sleep(nap); return p }))
	r, err := UDPEcho(c)
	if err != nil {
		t.Fatal(err)
	}
	if most := 1 / nap.Seconds(); r.Rate() > most || r.Latency.Quantile(0.5) < nap {
		t.Errorf("%.0f requests/s with a median of %v, from a server that sleeps %v on each", r.Rate(), r.Latency.Quantile(0.5), nap)
	}
}

// One flipped bit, a byte too few or too many, or the answer to something that was
// never asked ends the measurement.
func TestLyingServers(t *testing.T) {
	lies := map[string]func(p []byte) []byte{
		"bit flipped": func(p []byte) []byte { p[len(p)-1] ^= 1; return p },
		"too short":   func(p []byte) []byte { return p[:len(p)-1] },
		"too long":    func(p []byte) []byte { return append(p, 0) },
		"not asked":   func(p []byte) []byte { stamp(p, 1<<40); return p },
	}
	for name, lie := range lies {
		t.Run(name, func(t *testing.T) {
			c := quick(udpServer(t, lie))
			if r, err := UDPEcho(c); err == nil {
				t.Errorf("UDPEcho counted %d", r.Ops)
			}
			if r, err := UDPWindow(c); err == nil {
				t.Errorf("UDPWindow counted %d", r.Ops)
			}
		})
	}
	for name, serve := range map[string]func(net.Conn){
		"bit flipped": func(c net.Conn) {
			buf := make([]byte, 64)
			for n := 0; ; n++ {
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
				if n == 3 {
					buf[40] ^= 0x10
				}
				c.Write(buf)
			}
		},
		"closes": func(c net.Conn) { c.Read(make([]byte, 64)) },
	} {
		t.Run("tcp "+name, func(t *testing.T) {
			c := quick(tcpServer(t, serve))
			if r, err := TCPEcho(c); err == nil {
				t.Errorf("one connection counted %d", r.Ops)
			}
			c.Conns = 8
			if r, err := TCPEcho(c); err == nil {
				t.Errorf("eight connections counted %d", r.Ops)
			}
		})
	}
}

// What a server drops is counted, and the window stays full all the same.
func TestLossIsCounted(t *testing.T) {
	var n int
	c := quick(udpServer(t, func(p []byte) []byte {
		if n++; n%100 == 0 {
			return nil
		}
		return p
	}))
	c.InFlight = 8 // a hundredth lost would empty it within 800 requests
	c.Run = 10 * lostAfter
	r, err := UDPWindow(c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Lost == 0 || r.Ops < 10*r.Lost {
		t.Errorf("%d answered, %d lost", r.Ops, r.Lost)
	}
}

// A window gives a slot up before another request needs it.
func TestWindowSlots(t *testing.T) {
	w := &window{next: 1, oldest: 1}
	w.sent[1] = 5
	w.pending, w.next = 1, 2
	if lost := w.expire(4); lost != 0 || w.pending != 1 {
		t.Fatalf("lost %d before its time", lost)
	}
	w.next = 1 + slots - burst
	if lost := w.expire(4); lost != 1 || w.pending != 0 || w.sent[1] != 0 {
		t.Errorf("lost %d, pending %d: its slot is about to be used again", lost, w.pending)
	}
}

func TestStreams(t *testing.T) {
	chargen := func(c net.Conn) {
		// From the middle of a line's neighbour on, in pieces that fit nothing.
		for at := uint64(74 * 5); ; at += 1009 {
			if _, err := c.Write(printable.at(at)[:1009]); err != nil {
				return
			}
		}
	}
	for name, m := range map[string]struct {
		run   func(Config) (*Result, error)
		serve func(net.Conn)
	}{
		"from":    {StreamFrom, chargen},
		"to":      {StreamTo, func(c net.Conn) { io.Copy(io.Discard, c) }},
		"through": {StreamThrough, echo},
	} {
		t.Run(name, func(t *testing.T) {
			c := quick(tcpServer(t, m.serve))
			r, err := m.run(c)
			if err != nil {
				t.Fatal(err)
			}
			if r.Bytes == 0 || r.Elapsed < c.Run {
				t.Errorf("%d bytes in %v", r.Bytes, r.Elapsed)
			}
		})
	}
}

// A stream with one wrong byte, a byte left out, or no known beginning is refused.
func TestWrongStreams(t *testing.T) {
	for name, m := range map[string]struct {
		run   func(Config) (*Result, error)
		serve func(net.Conn)
		want  string
	}{
		"chargen, wrong byte": {StreamFrom, func(c net.Conn) {
			p := append([]byte(nil), printable.bytes[:7030]...)
			p[5000] ^= 1
			for {
				if _, err := c.Write(p); err != nil {
					return
				}
			}
		}, "byte"},
		"not chargen": {StreamFrom, func(c net.Conn) { c.Write(make([]byte, 4096)); c.Read(make([]byte, 1)) }, "RFC 864"},
		"echo, byte left out": {StreamThrough, func(c net.Conn) {
			buf := make([]byte, 1000)
			for n := 0; ; n++ {
				if _, err := io.ReadFull(c, buf); err != nil {
					return
				}
				if n == 5 {
					buf = buf[:999]
				}
				c.Write(buf)
			}
		}, "byte"},
		"discard that answers": {StreamTo, func(c net.Conn) { c.Write([]byte("no")); io.Copy(io.Discard, c) }, "discard"},
	} {
		t.Run(name, func(t *testing.T) {
			c := quick(tcpServer(t, m.serve))
			c.Warm, c.Run = 200*time.Millisecond, 200*time.Millisecond
			r, err := m.run(c)
			if err == nil {
				t.Fatalf("counted %d bytes", r.Bytes)
			}
			if !strings.Contains(err.Error(), m.want) {
				t.Errorf("error %q does not speak of %q", err, m.want)
			}
		})
	}
}

func TestAwait(t *testing.T) {
	udp, tcp := udpServer(t, same), tcpServer(t, echo)
	if err := Await(udp, tcp, 5*time.Second); err != nil {
		t.Error(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := addrPort(l.Addr())
	l.Close()
	if err := Await(netip.AddrPort{}, gone, 30*time.Millisecond); err == nil || !errors.Is(err, unix.ECONNREFUSED) {
		t.Errorf("nobody listens: %v", err)
	}
}
