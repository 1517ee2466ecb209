// Command httpclient is a net/http client over the engine: it gets pages, by HTTP/2 where the server speaks it.
//
// In come an interface, an address, a file with a certificate to trust and URLs; out come lines. It must never hold the
// interface when it has ended.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

func main() {
	if len(os.Args) < 5 {
		log.Fatal("usage: httpclient INTERFACE ADDRESS/PREFIX CERTIFICATE URL...")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		log.Fatal(err)
	}
}

func run(device, addr, file string, urls []string) error {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: device, Addrs: []netip.Prefix{prefix}}}})
	if err != nil {
		return err
	}
	defer st.Close()
	transport := &http.Transport{
		DialContext:       (&socketapi.Dialer{Stack: st, Timeout: 30 * time.Second}).DialContext,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true, // net/http does so by itself with its own dialer alone
	}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	for _, url := range urls {
		if err := get(client, url); err != nil {
			return err
		}
	}
	return nil
}

func get(client *http.Client, url string) error {
	r, err := client.Get(url)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s: %s\n", r.Proto, r.Status, body)
	return nil
}
