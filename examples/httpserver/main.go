// Command httpserver is a net/http server over the engine: HTTP at port 80, and at port 443 HTTP/1.1 and HTTP/2 over TLS.
//
// In come an interface and an address; out come lines, the first ones of which are the certificate. It must never hold the
// interface when it has ended.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"time"

	"github.com/xdpsock/xdpsock/examples/certificate"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// patience is how long requests under way may take when the server is stopped.
const patience = 5 * time.Second

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: httpserver INTERFACE ADDRESS/PREFIX")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, device, addr string) error {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return err
	}
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: device, Addrs: []netip.Prefix{prefix}}}})
	if err != nil {
		return err
	}
	defer st.Close()
	cert, pem, err := certificate.New(prefix.Addr())
	if err != nil {
		return err
	}
	plain, err := st.Listen("tcp", ":80")
	if err != nil {
		return err
	}
	secure, err := st.Listen("tcp", ":443")
	if err != nil {
		return err
	}
	// A Server that serves both kinds is told of h2: its first Serve decides whether it has that, and sees no TLS.
	s := &http.Server{Handler: http.HandlerFunc(hello), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "http/1.1"},
	}}
	fmt.Printf("%slistening\n", pem)
	return serve(ctx, s, plain, secure)
}

// hello says how it was asked.
func hello(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "Hello over %s, TLS %v", r.Proto, r.TLS != nil)
}

// serve serves until the context ends.
func serve(ctx context.Context, s *http.Server, plain, secure net.Listener) error {
	ended := make(chan error, 2)
	go func() { ended <- s.Serve(plain) }()
	go func() { ended <- s.ServeTLS(secure, "", "") }()
	var err error
	select {
	case err = <-ended:
		s.Close()
	case <-ctx.Done():
		late, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err = s.Shutdown(late)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
