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

// The programs of the tutorial talk to each other over a veth pair, one in each namespace.
func TestTutorial(t *testing.T) {
	netlab.RequireRoot(t)
	dir := build(t, "./tcpserver", "./tcpclient", "./udpreceiver", "./udpsender")
	a, b := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: a, Name: "va"}, netlab.End{NS: b, Name: "vb"})
	const here, there = "10.97.0.1", "10.97.0.2"
	for _, c := range []struct {
		server, ready string // a program, and what it says when it waits
		client        string
		serverSays    string
		clientSays    string
	}{
		{"tcpserver", "listening", "tcpclient", "connection from " + there + "\nreceived: Hello from the client\n", "received: Hello from the server\n"},
		{"udpreceiver", "waiting", "udpsender", "datagram of 12 bytes from " + there + ": Hello World!\n", ""},
	} {
		t.Run(c.server, func(t *testing.T) {
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
			client := b.Command(filepath.Join(dir, c.client), "vb", there+"/24", here)
			out, err := client.CombinedOutput()
			if string(out) != c.clientSays || err != nil {
				t.Errorf("the client said %q, %v", out, err)
			}
			said, _ := io.ReadAll(lines)
			if err := server.Wait(); err != nil || string(said) != c.serverSays {
				t.Errorf("the server said %q, %v: %s", said, err, stderr.String())
			}
		})
	}
}
