// Command netserver gives the services of `xdpsock serve` over the kernel's
// sockets, by package net and the plainest code for it: the peer that the engine
// is measured against.
//
// In go an address and ports; out come RFC 862 echo over UDP and TCP, RFC 863
// discard over UDP and TCP, RFC 864 chargen over TCP, and HTTP. It must never be
// tuned beyond what a programmer who uses package net would write, and never know
// that it is measured. With -burn it works for a while on each request: a
// server of known slowness, by which the harness itself is tested.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("netserver: ")
	addr := flag.String("a", "0.0.0.0", "address to listen on")
	echo := flag.Int("echo", 0, "port of echo over UDP and TCP")
	discard := flag.Int("discard", 0, "port of discard over UDP and TCP")
	chargen := flag.Int("chargen", 0, "port of chargen over TCP")
	web := flag.Int("http", 0, "port of HTTP")
	cc := flag.String("cc", "", "TCP's congestion control (TCP_CONGESTION); default: the kernel's")
	burn := flag.Duration("burn", 0, "processor time to waste on each request")
	flag.Parse()
	ip, err := netip.ParseAddr(*addr)
	if err != nil || flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "usage: netserver [-a IP] [-echo PORT] [-discard PORT] [-chargen PORT] [-http PORT] [-cc NAME] [-burn DURATION]")
		os.Exit(2)
	}
	at := func(port int) string { return net.JoinHostPort(ip.String(), strconv.Itoa(port)) }

	s := services{burn: *burn}
	if *echo != 0 {
		go serveUDP(at(*echo), s.echoUDP)
		go serveTCP(at(*echo), *cc, s.echoTCP)
	}
	if *discard != 0 {
		go serveUDP(at(*discard), s.discardUDP)
		go serveTCP(at(*discard), *cc, s.discardTCP)
	}
	if *chargen != 0 {
		go serveTCP(at(*chargen), *cc, s.chargenTCP)
	}
	if *web != 0 {
		go serveHTTP(at(*web), s.hello)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
}

func serveUDP(addr string, serve func(*net.UDPConn)) {
	c, err := net.ListenPacket("udp", addr)
	if err != nil {
		log.Fatal(err)
	}
	serve(c.(*net.UDPConn))
}

// serveTCP accepts connections that have the congestion control of their listener.
func serveTCP(addr, cc string, serve func(net.Conn)) {
	var lc net.ListenConfig
	if cc != "" {
		lc.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			refused := raw.Control(func(fd uintptr) {
				err = os.NewSyscallError("TCP_CONGESTION", unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, cc))
			})
			return cmp.Or(refused, err)
		}
	}
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ECONNABORTED) {
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			log.Fatal(err)
		}
		go func() {
			defer c.Close()
			serve(c)
		}()
	}
}

// serveHTTP sets the limits that a server on a network sets. They cost timers on each
// request, so both sides of a comparison have to have them.
func serveHTTP(addr string, hello http.HandlerFunc) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", hello)
	s := &http.Server{Addr: addr, Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	log.Fatal(s.ListenAndServe())
}
