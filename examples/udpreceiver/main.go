// Command udpreceiver is the UDP receiver of a socket tutorial, call for call: it shows the first datagram that comes to
// port 7654.
//
// Beside the C original: the engine is opened first, and it ends after one datagram instead of never; errors are returned
// where C prints and exits.
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
		log.Fatal("usage: udpreceiver INTERFACE ADDRESS/PREFIX")
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

	sock, err := socketapi.Socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_UDP) // socket(PF_INET, SOCK_DGRAM, IPPROTO_UDP)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	sa := &unix.SockaddrInet4{Port: 7654} // sin_addr = htonl(INADDR_ANY), sin_port = htons(7654)
	if err := socketapi.Bind(sock, sa); err != nil {
		return fmt.Errorf("bind: %w", err)
	}
	fmt.Println("waiting")
	buffer := make([]byte, 1024)
	n, from, err := socketapi.Recvfrom(sock, buffer, 0)
	if err != nil {
		return fmt.Errorf("recvfrom: %w", err)
	}
	fmt.Printf("datagram of %d bytes from %s: %s\n", n, socketapi.InetNtoa(from.(*unix.SockaddrInet4).Addr), buffer[:n])
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
