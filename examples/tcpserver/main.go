// Command tcpserver is the TCP server of a socket tutorial, call for call: it waits at port 1100 for one client, shows
// what it says, answers, and ends.
//
// Beside the C original: the engine is opened first; one client is served, and not one after another for ever; what the
// original leaves to the reader ("perform read write operations") is a read and a write; errors are returned where C prints
// and exits. Every call of the sockets is there, with its arguments, in its order.
//
// In come an interface and an address; out come lines. It must never hold the interface when it has ended.
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
	if len(os.Args) != 3 {
		log.Fatal("usage: tcpserver INTERFACE ADDRESS/PREFIX")
	}
	if err := run(os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(device, addr string) error {
	st, err := start(device, addr)
	if err != nil {
		return err
	}
	defer st.Close()

	fd, err := socketapi.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_TCP) // socket(PF_INET, SOCK_STREAM, IPPROTO_TCP)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	sa := &unix.SockaddrInet4{Port: 1100} // sin_port = htons(1100), sin_addr = htonl(INADDR_ANY)
	if err := socketapi.Bind(fd, sa); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	if err := socketapi.Listen(fd, 10); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println("listening")
	client, from, err := socketapi.Accept(fd)
	if err != nil {
		return fmt.Errorf("accept: %w", err)
	}
	fmt.Println("connection from", socketapi.InetNtoa(from.(*unix.SockaddrInet4).Addr))
	buffer := make([]byte, 1024)
	n, err := socketapi.Read(client, buffer)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	fmt.Printf("received: %s\n", buffer[:n])
	if _, err := socketapi.Write(client, []byte("Hello from the server")); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if err := socketapi.Shutdown(client, unix.SHUT_RDWR); err != nil {
		return fmt.Errorf("shutdown: %w", err)
	}
	socketapi.Close(client)
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
