// Command udpsender is the UDP sender of a socket tutorial, call for call: it sends "Hello World!" to port 7654 of a
// host.
//
// Beside the C original: the engine is opened first, and the receiver's address is an argument; errors are returned where C
// prints and exits.
//
// In come an interface, an address and the host's. It must never hold the interface when it has ended.
package main

import (
	"fmt"
	"log"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: udpsender INTERFACE ADDRESS/PREFIX HOST")
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3]); err != nil {
		log.Fatal(err)
	}
}

func run(device, addr, server string) error {
	st, err := start(device, addr)
	if err != nil {
		return err
	}
	defer st.Close()

	sock, err := socketapi.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP) // socket(PF_INET, SOCK_DGRAM, IPPROTO_UDP)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	to, ok := socketapi.InetAton(server) // sin_addr = inet_addr(...)
	if !ok {
		return fmt.Errorf("%q is no address", server)
	}
	sa := &unix.SockaddrInet4{Port: 7654, Addr: to}
	if err := socketapi.Sendto(sock, []byte("Hello World!"), 0, sa); err != nil {
		return fmt.Errorf("sendto: %w", err)
	}
	return socketapi.Close(sock)
}

// start opens the engine on an interface, with an address of its own, and makes the socket calls its.
func start(name, addr string) (*socketapi.Stack, error) {
	prefix, err := netip.ParsePrefix(addr)
	if err != nil {
		return nil, err
	}
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Name: name, Addrs: []netip.Prefix{prefix}}}})
	if err != nil {
		return nil, err
	}
	socketapi.Use(st)
	return st, nil
}
