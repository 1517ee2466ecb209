package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/service"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

func at(port uint16) string { return netip.AddrPortFrom(engineAddr.Addr(), port).String() }

// exchange sends one datagram and returns the answer.
func exchange(t *testing.T, c net.Conn, message string) string {
	t.Helper()
	buf := make([]byte, 2048)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if _, err := c.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(time.Now().Add(time.Second)) // the first may be lost with its ARP question
		if n, err := c.Read(buf); err == nil {
			return string(buf[:n])
		}
	}
	t.Fatal("no answer")
	return ""
}

func TestServe(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--json")
	p.says("ready")
	first := object[ready](t, p.stdout.String(), "ready")
	if first.Link.Interface != "server" || first.Link.Driver != "veth" || len(first.Link.Queues) != 1 || len(first.Services) != 6 {
		t.Errorf("ready: %+v", first)
	}

	t.Run("udp", func(t *testing.T) {
		c, err := l.client.Dial("udp", at(echoPort))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for i := range 100 {
			want := fmt.Sprintf("datagram %d %s", i, strings.Repeat("x", i*10))
			if got := exchange(t, c, want); got != want {
				t.Fatalf("echo of %q is %q", want, got)
			}
		}
		d, err := l.client.Dial("udp", at(discardPort))
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		d.Write([]byte("nothing"))
		d.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := d.Read(make([]byte, 10)); err == nil {
			t.Errorf("discard answered %d bytes", n)
		}
	})
	t.Run("tcp", func(t *testing.T) {
		c, err := l.client.Dial("tcp", at(echoPort))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		var want bytes.Buffer
		service.WriteBlob(&want, 1<<20)
		go func() {
			c.Write(want.Bytes())
			c.(*net.TCPConn).CloseWrite()
		}()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, want.Bytes()) {
			t.Errorf("echo of %d bytes: %d bytes, the same: %v, %v", want.Len(), len(got), bytes.Equal(got, want.Bytes()), err)
		}
	})
	t.Run("chargen", func(t *testing.T) {
		c, err := l.client.Dial("tcp", at(chargenPort))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		got := make([]byte, 200*74)
		if _, err := io.ReadFull(c, got); err != nil {
			t.Fatal(err)
		}
		if line := string(got[:74]); line != " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r\n" {
			t.Errorf("first line %q", line)
		}
		if !bytes.Equal(got[:74], got[95*74:96*74]) {
			t.Error("the 96th line is not the first again")
		}
	})
	t.Run("http", func(t *testing.T) {
		client := &http.Client{Transport: &http.Transport{DialContext: l.client.DialContext}, Timeout: patience}
		defer client.CloseIdleConnections()
		for range 10 {
			r, err := client.Get("http://" + at(httpPort) + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			r.Body.Close()
			if err != nil || string(body) != service.Hello {
				t.Fatalf("%q, %v", body, err)
			}
		}
	})

	p.signal(unix.SIGTERM)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	last := object[summary](t, p.stdout.String(), "summary")
	for _, s := range last.Services {
		used := s.Name == "discard" && s.Network == "tcp" || s.Messages > 0
		if !used || s.Failed > 0 && s.Name != "chargen" {
			t.Errorf("%+v", s)
		}
	}
	if last.Traffic.RxPackets == 0 || last.Traffic.TxPackets == 0 {
		t.Errorf("%+v", last.Traffic)
	}
	l.clean(t)
}

// clean checks that the interface is the kernel's again.
func (l *lab) clean(t *testing.T) {
	t.Helper()
	if id := l.program(t); id != 0 {
		t.Errorf("program %d is still attached", id)
	}
	// The kernel answers at its own address, and nobody at the engine's.
	kernel, err := l.server.ListenPacket("udp", netip.AddrPortFrom(serverAddr.Addr(), 7).String())
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		buf := make([]byte, 100)
		for {
			n, from, err := kernel.ReadFrom(buf)
			if err != nil {
				return
			}
			kernel.WriteTo(buf[:n], from)
		}
	}()
	defer kernel.Close()
	c, err := l.client.Dial("udp", kernel.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := exchange(t, c, "after"); got != "after" {
		t.Errorf("the kernel answers %q", got)
	}
}

// What people get: where packets come from, and a summary of what became of them.
func TestServeForPeople(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--echo", "7007", "--policy", "efficient")
	p.says("Ctrl-C")
	c, err := l.client.Dial("udp", at(7007))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	exchange(t, c, "hello")
	closed, err := l.client.Dial("udp", at(7008))
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	closed.Write([]byte("nobody"))
	closed.SetReadDeadline(time.Now().Add(patience))
	if _, err := closed.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("at a port where nobody listens: %v", err)
	}
	p.signal(unix.SIGINT)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	out := p.stdout.String()
	for _, want := range []string{"server: ", "driver veth", "echo     udp 0.0.0.0:7007", "1 message", "udp-no-socket", "received "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	if strings.Contains(out, "discard") {
		t.Errorf("a service that is off:\n%s", out)
	}
}

func TestServeInterfaceDown(t *testing.T) {
	l := newLab(t)
	if err := l.veth.B.SetDown(); err != nil {
		t.Fatal(err)
	}
	args := []string{"serve", "-i", "server", "-a", engineAddr.String()}
	code, stdout, stderr := ran(t, l.server, args...)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "server", "down", "ip link set")
	if id := l.program(t); id != 0 {
		t.Errorf("program %d is still attached", id)
	}
}

// An engine that is killed leaves the interface working for the kernel at once.
func TestServeKilled(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String())
	p.says("Ctrl-C")
	if l.program(t) == 0 {
		t.Error("no program is attached")
	}
	p.signal(unix.SIGKILL)
	<-p.done
	l.clean(t)
}

// A second engine on the interface is refused and leaves the first alone.
func TestServeTwice(t *testing.T) {
	l := newLab(t)
	first := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String())
	first.says("Ctrl-C")
	args := []string{"serve", "-i", "server", "-a", "10.99.0.4/24"}
	code, stdout, stderr := ran(t, l.server, append(args, "--mode", "native")...)
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	oneLine(t, args, stdout, stderr, "server")
	c, err := l.client.Dial("udp", at(echoPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := exchange(t, c, "still here"); got != "still here" {
		t.Errorf("the first answers %q", got)
	}
}

// Clients that stay, and one that does not read, do not keep it from ending.
func TestServeEndsWithClients(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--json")
	p.says("ready")
	for _, port := range []uint16{echoPort, discardPort, chargenPort, httpPort} {
		c, err := l.client.Dial("tcp", at(port))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c, err := l.client.Dial("tcp", at(echoPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := exchange(t, c, "answered"); got != "answered" {
		t.Errorf("echo %q", got)
	}
	p.signal(unix.SIGTERM)
	began := time.Now()
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	t.Logf("ended after %v", time.Since(began))
	object[summary](t, p.stdout.String(), "summary")
	// The client that was answered reads a clean end.
	c.SetReadDeadline(time.Now().Add(patience))
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("after the end: %d bytes, %v", n, err)
	}
	l.clean(t)
}

// What serve answers last is sent before it ends: nothing that was accepted is lost.
func TestServeSendsWhatItAnswered(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--json")
	p.says("ready")
	c, err := l.client.Dial("tcp", at(httpPort))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const length = 1 << 20
	fmt.Fprintf(c, "GET /blob/%d HTTP/1.0\r\n\r\n", length)
	c.SetReadDeadline(time.Now().Add(patience))
	one := make([]byte, 1)
	if _, err := c.Read(one); err != nil { // it has begun
		t.Fatal(err)
	}
	p.signal(unix.SIGTERM)
	rest, err := io.ReadAll(c)
	if err != nil || len(rest) < length {
		t.Errorf("%d bytes after the first, %v", len(rest), err)
	}
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
}

// With several queues a socket lives on several cores, and flows land on all of them.
func TestServeQueues(t *testing.T) {
	l := &lab{client: netlab.TestNS(t, netlab.NoIPv6()), server: netlab.TestNS(t, netlab.NoIPv6())}
	l.veth = netlab.TestVeth(t,
		netlab.End{NS: l.client, Name: "client", Addrs: []netip.Prefix{clientAddr}, Queues: 2},
		netlab.End{NS: l.server, Name: "server", Addrs: []netip.Prefix{serverAddr}, Queues: 2})
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--json")
	p.says("ready")
	if r := object[ready](t, p.stdout.String(), "ready"); len(r.Link.Queues) != 2 {
		t.Errorf("%+v", r.Link)
	}
	for i := range 16 {
		for _, network := range []string{"udp", "tcp"} {
			c, err := l.client.Dial(network, at(echoPort))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			want := fmt.Sprintf("flow %d", i)
			if got := exchange(t, c, want); got != want {
				t.Errorf("%s echo of %q is %q", network, want, got)
			}
		}
	}
	p.signal(unix.SIGTERM)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	l.clean(t)
}

// Every way to get at packets, and every way to idle.
func TestServeModes(t *testing.T) {
	l := newLab(t)
	for _, test := range []struct{ mode, policy, got string }{
		{"native", "balanced", "native copy"},
		{"skb", "efficient", "skb"},
		{"packet", "balanced", "packet"},
		{"auto", "latency", "native copy"},
	} {
		t.Run(test.mode+" "+test.policy, func(t *testing.T) {
			p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--mode", test.mode, "--policy", test.policy, "--json")
			p.says("ready")
			if r := object[ready](t, p.stdout.String(), "ready"); r.Link.Mode != test.got || r.Policy != test.policy {
				t.Errorf("%+v, policy %s", r.Link, r.Policy)
			}
			for _, network := range []string{"udp", "tcp"} {
				c, err := l.client.Dial(network, at(echoPort))
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				if got := exchange(t, c, "hello"); got != "hello" {
					t.Errorf("%s echo of hello is %q", network, got)
				}
			}
			p.signal(unix.SIGTERM)
			if code := p.ends(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &p.stderr)
			}
			l.clean(t)
		})
	}
}

// The kernel's own address is not for us: a remote login may come by it.
func TestServeKernelsAddress(t *testing.T) {
	l := newLab(t)
	for _, command := range [][]string{{"serve"}, {"ping", clientAddr.Addr().String()}} {
		args := append(command, "-i", "server", "-a", serverAddr.String())
		code, stdout, stderr := ran(t, l.server, args...)
		if code != exitFailed {
			t.Errorf("%v: exit code %d", args, code)
		}
		oneLine(t, args, stdout, stderr, serverAddr.Addr().String(), "on server", "ip address del")
	}
	args := []string{"serve", "-i", "server", "-a", "127.0.0.1/8"} // which nobody should be told to take away
	code, stdout, stderr := ran(t, l.server, args...)
	if code != exitUsage || strings.Contains(stderr, "del") {
		t.Errorf("%v: exit code %d", args, code)
	}
	oneLine(t, args, stdout, stderr, "127.0.0.1/8")
	l.clean(t)
}

// With trust or verify, an unfinished checksum is or is not taken as good, whatever the link.
func TestServeChecksums(t *testing.T) {
	l := newLab(t) // its offloads are on: the kernel leaves checksums unfinished
	for _, test := range []struct {
		checksums string
		answers   bool
	}{{"auto", true}, {"trust", true}, {"verify", false}} {
		t.Run(test.checksums, func(t *testing.T) {
			p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String(), "--echo", "7", "--checksums", test.checksums, "--json")
			p.says("ready")
			c, err := l.client.Dial("udp", at(echoPort))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if test.answers {
				exchange(t, c, "unfinished")
			} else {
				c.Write([]byte("unfinished"))
				// A ping on the same queue is answered after the datagram was judged.
				d := &demoRun{lab: &demoLab{client: l.client}}
				if _, err := d.inClient(func() (sample, error) { return works[0].task(t.Context(), engineAddr.Addr(), time.Millisecond) }); err != nil {
					t.Fatal(err)
				}
				c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
				if n, err := c.Read(make([]byte, 100)); err == nil {
					t.Errorf("%d bytes in answer", n)
				}
			}
			p.signal(unix.SIGTERM)
			if code := p.ends(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &p.stderr)
			}
			refused := uint64(0)
			for _, d := range object[summary](t, p.stdout.String(), "summary").Traffic.Drops {
				if d.Reason == "udp-checksum" {
					refused = d.Packets
				}
			}
			if (refused > 0) == test.answers {
				t.Errorf("%d refused for their checksum", refused)
			}
		})
	}
}

// An engine whose interface is deleted says so, and what it has done.
func TestServeInterfaceDeleted(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String())
	p.says("Ctrl-C")
	if err := l.veth.B.Delete(); err != nil {
		t.Fatal(err)
	}
	if code := p.ends(); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if s := p.stderr.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "the interface was deleted") {
		t.Errorf("%q", s)
	}
	if s := p.stdout.String(); !strings.Contains(s, "received ") {
		t.Errorf("no summary:\n%s", s)
	}
}
