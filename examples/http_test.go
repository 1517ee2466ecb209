package examples

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// The HTTP server and client talk to each other over a veth pair, by HTTP and by HTTP/2 over TLS; then a client over the
// kernel's sockets talks to the server.
func TestHTTP(t *testing.T) {
	netlab.RequireRoot(t)
	dir := build(t, "./httpserver", "./httpclient")
	const here, there, kernel = "10.97.0.1", "10.97.0.2", "10.97.0.3"
	a, b := netlab.TestNS(t), netlab.TestNS(t)
	netlab.TestVeth(t, netlab.End{NS: a, Name: "va"}, netlab.End{NS: b, Name: "vb", Addrs: []netip.Prefix{netip.MustParsePrefix(kernel + "/24")}})
	server := a.Command(filepath.Join(dir, "httpserver"), "va", here+"/24")
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
	var pem strings.Builder
	for lines := bufio.NewReader(stdout); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the server said %q, %v: %s", pem.String(), err, stderr.String())
		}
		if line == "listening\n" {
			break
		}
		pem.WriteString(line)
	}
	file := filepath.Join(dir, "certificate.pem")
	if err := os.WriteFile(file, []byte(pem.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	client := b.Command(filepath.Join(dir, "httpclient"), "vb", there+"/24", file, "http://"+here, "https://"+here, "https://"+here)
	out, err := client.CombinedOutput()
	const secure = "HTTP/2.0 200 OK: Hello over HTTP/2.0, TLS true\n"
	if want := "HTTP/1.1 200 OK: Hello over HTTP/1.1, TLS false\n" + secure + secure; string(out) != want || err != nil {
		t.Errorf("the client said %q, %v, want %q", out, err, want)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(pem.String()))
	transport := &http.Transport{DialContext: b.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	r, err := (&http.Client{Transport: transport, Timeout: time.Minute}).Get("https://" + here)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if string(body) != "Hello over HTTP/2.0, TLS true" || err != nil {
		t.Errorf("over the kernel's sockets: %q, %v", body, err)
	}
	transport.CloseIdleConnections()
	if err := server.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := server.Wait(); err != nil {
		t.Errorf("the server: %v: %s", err, stderr.String())
	}
}
