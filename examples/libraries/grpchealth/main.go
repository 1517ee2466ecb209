// Command grpchealth speaks gRPC by google.golang.org/grpc over a net.Listener and a dialer of the engine: the server
// answers how it is (the health service), the client asks it.
//
// In come an interface, an address and, for the client, the server's; out come lines. It must never hold the interface when
// it has ended.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/netip"
	"os"
	"os/signal"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

const port = "50051"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	switch len(os.Args) {
	case 3:
		err = serve(ctx, os.Args[1], os.Args[2])
	case 4:
		err = ask(ctx, os.Args[1], os.Args[2], os.Args[3])
	default:
		err = errors.New("usage: grpchealth INTERFACE ADDRESS/PREFIX [SERVER]")
	}
	if err != nil {
		log.Fatal(err)
	}
}

func open(name, addr string) (*socketapi.Stack, error) {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return nil, err
	}
	return socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: name, Addrs: []netip.Prefix{prefix}}}})
}

func serve(ctx context.Context, device, addr string) error {
	st, err := open(device, addr)
	if err != nil {
		return err
	}
	defer st.Close()
	l, err := st.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	defer context.AfterFunc(ctx, s.GracefulStop)()
	fmt.Println("listening")
	return s.Serve(l)
}

func ask(ctx context.Context, device, addr, server string) error {
	st, err := open(device, addr)
	if err != nil {
		return err
	}
	defer st.Close()
	// passthrough: the dialer finds the address, and not gRPC by the kernel's resolver.
	conn, err := grpc.NewClient("passthrough:///"+net.JoinHostPort(server, port),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, to string) (net.Conn, error) { return st.DialContext(ctx, "tcp", to) }))
	if err != nil {
		return err
	}
	defer conn.Close()
	answer, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	fmt.Println("received:", answer.Status)
	return nil
}
