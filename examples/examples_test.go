package examples

import (
	"bufio"
	"io"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// build builds programs, without what a debugger wants of them: linking takes longest.
func build(t *testing.T, programs ...string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	args := append([]string{"build", "-ldflags=-s -w", "-o", dir}, programs...)
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Fatalf("the examples do not build: %v\n%s", err, out)
	}
	return dir
}

// The programs of the tutorial talk to each other over a veth pair, one in each namespace, and then to the kernel's sockets.
func TestTutorial(t *testing.T) {
	netlab.RequireRoot(t)
	dir := build(t, "./tcpserver", "./tcpclient", "./udpreceiver", "./udpsender")
	a, b := netlab.TestNS(t), netlab.TestNS(t)
	const here, there, kernelHere, kernelThere = "10.97.0.1", "10.97.0.2", "10.97.0.3", "10.97.0.4"
	at := func(addr string) []netip.Prefix {
		return []netip.Prefix{netip.PrefixFrom(netip.MustParseAddr(addr), 24)}
	}
	netlab.TestVeth(t, netlab.End{NS: a, Name: "va", Addrs: at(kernelHere)}, netlab.End{NS: b, Name: "vb", Addrs: at(kernelThere)})
	kernels := func(network, address, say string) func() (string, error) { // the client's part, by the kernel's sockets
		return func() (string, error) {
			c, err := b.Dial(network, address)
			if err != nil {
				return "", err
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			if _, err := io.WriteString(c, say); err != nil || network == "udp" {
				return "", err
			}
			answer, err := io.ReadAll(c)
			return "received: " + string(answer) + "\n", err
		}
	}
	program := func(name string) func() (string, error) {
		return func() (string, error) {
			out, err := b.Command(filepath.Join(dir, name), "vb", there+"/24", here).CombinedOutput()
			return string(out), err
		}
	}
	for _, c := range []struct {
		server, ready string // a program, and what it says when it waits
		name          string // of the client
		client        func() (string, error)
		serverSays    string
		clientSays    string
	}{
		{"tcpserver", "listening", "tcpclient", program("tcpclient"), "connection from " + there + "\nreceived: Hello from the client\n", "received: Hello from the server\n"},
		{"tcpserver", "listening", "kernel", kernels("tcp", here+":1100", "Hello from Linux"), "connection from " + kernelThere + "\nreceived: Hello from Linux\n", "received: Hello from the server\n"},
		{"udpreceiver", "waiting", "udpsender", program("udpsender"), "datagram of 12 bytes from " + there + ": Hello World!\n", ""},
		{"udpreceiver", "waiting", "kernel", kernels("udp", here+":7654", "Hello World!"), "datagram of 12 bytes from " + kernelThere + ": Hello World!\n", ""},
	} {
		t.Run(c.server+" "+c.name, func(t *testing.T) {
			server := a.Command(filepath.Join(dir, c.server), "va", netip.PrefixFrom(netip.MustParseAddr(here), 24).String())
			var stderr strings.Builder
			server.Stderr = &stderr
			stdout, err := server.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := server.Start(); err != nil {
				t.Fatal(err)
			}
			late := time.AfterFunc(time.Minute, func() { server.Process.Kill() })
			defer late.Stop()
			lines := bufio.NewReader(stdout)
			if line, err := lines.ReadString('\n'); line != c.ready+"\n" {
				t.Fatalf("it said %q, %v: %s", line, err, stderr.String())
			}
			out, err := c.client()
			if out != c.clientSays || err != nil {
				t.Errorf("the client said %q, %v", out, err)
			}
			said, _ := io.ReadAll(lines)
			if err := server.Wait(); err != nil || string(said) != c.serverSays {
				t.Errorf("the server said %q, %v: %s", said, err, stderr.String())
			}
		})
	}
	t.Run("tcpclient and the kernel's server", func(t *testing.T) {
		l, err := a.Listen("tcp", kernelHere+":1100")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		heard := make(chan string, 1)
		go func() {
			c, err := l.Accept()
			if err != nil {
				heard <- err.Error()
				return
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			p := make([]byte, 99)
			n, _ := c.Read(p)
			io.WriteString(c, "Hello from Linux")
			heard <- string(p[:n])
		}()
		out, err := b.Command(filepath.Join(dir, "tcpclient"), "vb", there+"/24", kernelHere).CombinedOutput()
		if string(out) != "received: Hello from Linux\n" || err != nil || <-heard != "Hello from the client" {
			t.Errorf("the client said %q, %v", out, err)
		}
	})
	t.Run("udpsender and the kernel's receiver", func(t *testing.T) {
		u, err := a.ListenPacket("udp", kernelHere+":7654")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		u.SetDeadline(time.Now().Add(time.Minute))
		if out, err := b.Command(filepath.Join(dir, "udpsender"), "vb", there+"/24", kernelHere).CombinedOutput(); err != nil {
			t.Errorf("the sender said %q, %v", out, err)
		}
		p := make([]byte, 99)
		n, from, err := u.ReadFrom(p)
		if err != nil || string(p[:n]) != "Hello World!" || !strings.HasPrefix(from.String(), there+":") {
			t.Errorf("%q from %v, %v", p[:n], from, err)
		}
	})
}
