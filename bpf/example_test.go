package bpf_test

import (
	"fmt"
	"log"
	"net"
	"net/netip"

	"github.com/xdpsock/xdpsock/bpf"
)

// Steer an address of our own, with one AF_XDP socket for the only queue.
func Example() {
	var socket int // an AF_XDP socket's descriptor

	nic, err := net.InterfaceByName("eth1")
	if err != nil {
		log.Fatal(err)
	}
	p, err := bpf.Load(bpf.Config{Queues: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	if err := p.SetSocket(0, socket); err != nil {
		log.Fatal(err)
	}
	if err := p.AddAddr(netip.MustParseAddr("192.0.2.7")); err != nil {
		log.Fatal(err)
	}
	got, err := p.Attach(nic.Index, bpf.Auto)
	if err != nil {
		log.Fatal(err) // says which modes were tried, and what to do
	}
	fmt.Println("steering in mode", got.Mode, "after", got.Refused)
}
