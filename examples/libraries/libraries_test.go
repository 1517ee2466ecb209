package libraries

import (
	"bufio"
	"bytes"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// The lab: the engine's addresses at the two ends of a veth pair, and one of the kernel's.
const here, there, kernel = "10.97.0.1", "10.97.0.2", "10.97.0.3"

// build builds the programs, without what a debugger wants of them: linking takes longest.
func build(t *testing.T) (dir string) {
	t.Helper()
	netlab.RequireRoot(t)
	dir = t.TempDir()
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", dir, "./quicecho", "./grpchealth", "./sshserver").CombinedOutput(); err != nil {
		t.Fatalf("the examples do not build: %v\n%s", err, out)
	}
	return dir
}

func lab(t *testing.T) (a, b *netlab.NS) {
	a, b = netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: a, Name: "va"},
		netlab.End{NS: b, Name: "vb", Addrs: []netip.Prefix{netip.MustParsePrefix(kernel + "/24")}})
	return a, b
}

// start runs a server until it listens, and returns what it said before. It is stopped when the test ends, and must
// end well.
func start(t *testing.T, ns *netlab.NS, name string, args ...string) (said string) {
	t.Helper()
	server := ns.Command(name, args...)
	var stderr bytes.Buffer
	server.Stderr = &stderr
	stdout, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(time.Minute, func() { server.Process.Kill() })
	t.Cleanup(func() {
		defer late.Stop()
		if err := server.Process.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
		if err := server.Wait(); err != nil {
			t.Errorf("the server: %v: %s", err, stderr.String())
		}
	})
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the server said %q, %v", said, err)
		}
		if line == "listening\n" {
			return said
		}
		said += line
	}
}

func TestLibraries(t *testing.T) {
	dir := build(t)
	t.Run("quic", func(t *testing.T) {
		a, b := lab(t)
		pem := start(t, a, filepath.Join(dir, "quicecho"), "va", here+"/24")
		file := filepath.Join(t.TempDir(), "certificate.pem")
		if err := os.WriteFile(file, []byte(pem), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := b.Command(filepath.Join(dir, "quicecho"), "vb", there+"/24", here, file).CombinedOutput()
		if !strings.HasSuffix(string(out), "received: Hello over QUIC\n") || err != nil {
			t.Errorf("the client said %q, %v", out, err)
		}
	})
	t.Run("grpc", func(t *testing.T) {
		a, b := lab(t)
		start(t, a, filepath.Join(dir, "grpchealth"), "va", here+"/24")
		out, err := b.Command(filepath.Join(dir, "grpchealth"), "vb", there+"/24", here).CombinedOutput()
		if string(out) != "received: SERVING\n" || err != nil {
			t.Errorf("the client said %q, %v", out, err)
		}
	})
	t.Run("ssh", func(t *testing.T) {
		a, b := lab(t)
		known := start(t, a, filepath.Join(dir, "sshserver"), "va", here+"/24", "secret")
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(known))
		if err != nil {
			t.Fatalf("%q: %v", known, err)
		}
		for _, password := range []string{"wrong", "secret"} {
			c, err := b.Dial("tcp", net.JoinHostPort(here, "22")) // by the kernel's sockets
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetDeadline(time.Now().Add(time.Minute))
			conn, channels, requests, err := ssh.NewClientConn(c, here, &ssh.ClientConfig{
				User: "gopher", Auth: []ssh.AuthMethod{ssh.Password(password)}, HostKeyCallback: ssh.FixedHostKey(key),
			})
			if password == "wrong" {
				if err == nil {
					t.Error("any password will do")
				}
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			client := ssh.NewClient(conn, channels, requests)
			s, err := client.NewSession()
			if err != nil {
				t.Fatal(err)
			}
			if out, err := s.Output("uptime"); string(out) != "gopher wants \"uptime\"\n" || err != nil {
				t.Errorf("the session said %q, %v", out, err)
			}
			client.Close()
		}
	})
}

// TestPortingBefore: what docs/porting.md begins with from gVisor is the program of this module, which compiles.
func TestPortingBefore(t *testing.T) {
	text, err := os.ReadFile("../../docs/porting.md")
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile("gonet/main.go")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "```go\n"+string(program)+"```\n") {
		t.Error("docs/porting.md has another program than gonet/main.go")
	}
}
