// Command tcpclient is the TCP client of a socket tutorial, call for call: it connects to port 1100 of a server, says
// something, and shows the answer.
//
// Beside the C original: the engine is opened first; the server's address is an argument; what the original leaves to the
// reader ("perform read write operations") is a write and a read; errors are returned where C prints and exits.
//
// In come an interface, an address and the server's; out come lines. It must never hold the interface when it has
// ended.
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
		log.Fatal("usage: tcpclient INTERFACE ADDRESS/PREFIX SERVER")
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

	fd, err := socketapi.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP) // socket(PF_INET, SOCK_STREAM, IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	to, ok, err := socketapi.InetPton(unix.AF_INET, server)
	if !ok || err != nil {
		return fmt.Errorf("%q is no address", server)
	}
	sa := &unix.SockaddrInet4{Port: 1100, Addr: [4]byte(to)}
	if err := socketapi.Connect(fd, sa); err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	if _, err := socketapi.Write(fd, []byte("Hello from the client")); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	buffer := make([]byte, 1024)
	n, err := socketapi.Read(fd, buffer)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	fmt.Printf("received: %s\n", buffer[:n])
	if err := socketapi.Shutdown(fd, unix.SHUT_RDWR); err != nil && err != unix.ENOTCONN { // the server may have been first
		return fmt.Errorf("shutdown: %w", err)
	}
	return socketapi.Close(fd)
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
