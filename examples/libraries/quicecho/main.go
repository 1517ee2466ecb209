// Command quicecho speaks QUIC by github.com/quic-go/quic-go over a net.PacketConn of the engine: the server sends back
// what a stream brings, the client says something and shows the answer.
//
// In come an interface, an address and, for the client, the server's and a file with its certificate; out come lines, of
// the server the first ones are the certificate. It must never hold the interface when it has ended.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"

	"github.com/quic-go/quic-go"

	"github.com/xdpsock/xdpsock/examples/certificate"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

const (
	port     = 4433
	protocol = "quicecho"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch len(os.Args) {
	case 3:
		err = serve(ctx, os.Args[1], os.Args[2])
	case 5:
		err = ask(ctx, os.Args[1], os.Args[2], os.Args[3], os.Args[4])
	default:
		err = errors.New("usage: quicecho INTERFACE ADDRESS/PREFIX [SERVER CERTIFICATE]")
	}
	if err != nil && ctx.Err() == nil {
		log.Fatal(err)
	}
}

func open(name, addr string) (*socketapi.Stack, netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return nil, prefix, err
	}
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: name, Addrs: []netip.Prefix{prefix}}}})
	return st, prefix, err
}

func serve(ctx context.Context, device, addr string) error {
	st, prefix, err := open(device, addr)
	if err != nil {
		return err
	}
	defer st.Close()
	c, err := st.ListenPacket("udp", netip.AddrPortFrom(prefix.Addr(), port).String())
	if err != nil {
		return err
	}
	defer c.Close()
	cert, pem, err := certificate.New(prefix.Addr())
	if err != nil {
		return err
	}
	l, err := quic.Listen(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return err
	}
	defer l.Close()
	fmt.Printf("%slistening\n", pem)
	for {
		conn, err := l.Accept(ctx)
		if err != nil {
			return err
		}
		go echo(ctx, conn)
	}
}

// echo serves one connection.
func echo(ctx context.Context, conn *quic.Conn) {
	for {
		s, err := conn.AcceptStream(ctx)
		if err != nil {
			return
		}
		go func() {
			defer s.Close()
			io.Copy(s, s)
		}()
	}
}

func ask(ctx context.Context, device, addr, server, file string) error {
	st, _, err := open(device, addr)
	if err != nil {
		return err
	}
	defer st.Close()
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	to, err := netip.ParseAddr(server)
	if err != nil {
		return err
	}
	c, err := st.ListenPacket("udp", ":0")
	if err != nil {
		return err
	}
	defer c.Close()
	conn, err := quic.Dial(ctx, c, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, port)),
		&tls.Config{RootCAs: roots, ServerName: server, NextProtos: []string{protocol}}, nil)
	if err != nil {
		return err
	}
	defer conn.CloseWithError(0, "")
	s, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	if _, err := s.Write([]byte("Hello over QUIC")); err != nil {
		return err
	}
	if err := s.Close(); err != nil { // the sending side of it
		return err
	}
	answer, err := io.ReadAll(s)
	if err != nil {
		return err
	}
	fmt.Printf("received: %s\n", answer)
	return nil
}
