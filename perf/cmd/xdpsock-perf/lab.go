package main

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/path"
)

var (
	clientAddr = netip.MustParsePrefix("10.77.0.2/24")
	kernelAddr = netip.MustParsePrefix("10.77.0.1/24") // the server end's own address
	engineAddr = netip.MustParsePrefix("10.77.0.9/24") // nobody's until the engine answers for it
)

// A lab is two namespaces and what joins them: a veth pair, two interfaces of the machine on
// one segment, or a long way between two TAP devices. The server's candidates run one after the other at the same end.
type lab struct {
	client, server *netlab.NS
	a, b           *netlab.Link   // at the client, at the server
	loans          []*netlab.Loan // what has to be given back
	taps           []*netlab.Tap
	relay          *path.Relay // between the taps
	notes          []string
	body           []byte // what the first HTTP server answered
}

// newLab makes the one that a suite needs, with offloads as asked.
func (e *env) newLab(s *suite) (l *lab, err error) {
	l = new(lab)
	if err := e.track(l); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	// Nothing may speak unasked: an IPv6 host would announce itself into the counts.
	if l.client, err = netlab.NewNS(netlab.NoIPv6()); err != nil {
		return nil, err
	}
	if l.server, err = netlab.NewNS(netlab.NoIPv6()); err != nil {
		return nil, err
	}
	if err := l.client.Do(manyPorts); err != nil {
		return nil, err
	}
	client, server := netlab.End{NS: l.client, Name: "client"}, netlab.End{NS: l.server, Name: "server"}
	if !s.raw {
		client.Addrs, server.Addrs = []netip.Prefix{clientAddr}, []netip.Prefix{kernelAddr}
	}
	if e.opt.offloads != "on" {
		client.Off = netlab.OnWire
	}
	if e.opt.offloads == "both-off" {
		server.Off = netlab.OnWire
	}
	if s.path != nil {
		return l, l.stretch(client, server)
	}
	if e.opt.links != nil {
		return l, l.borrow(e.opt.links, client, server)
	}
	veth, err := netlab.VethPair(client, server)
	if err == nil {
		l.a, l.b = veth.A, veth.B
	}
	return l, err
}

// manyPorts lets the thread's namespace open more connections a minute than it has ports: those in TIME-WAIT are taken again
// after a second.
func manyPorts() error {
	for name, value := range map[string]string{"ip_local_port_range": "1024 65535", "tcp_tw_reuse": "1"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
			return err
		}
	}
	return nil
}

// carrierMax is how long two interfaces may take to have a carrier; a switch may take its time.
const carrierMax = 10 * time.Second

// borrow takes two interfaces of the machine.
func (l *lab) borrow(names []string, ends ...netlab.End) error {
	for i, end := range ends {
		loan, err := netlab.Borrow(nil, names[i], end)
		if err != nil {
			return err
		}
		l.loans = append(l.loans, loan)
	}
	l.a, l.b = l.loans[0].Link, l.loans[1].Link
	l.note("measured between the interfaces %s and %s", names[0], names[1])
	for _, loan := range l.loans {
		for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			up, err := carrier(loan)
			if err != nil {
				return err
			}
			if up {
				break
			}
			if time.Since(begun) > carrierMax {
				return fmt.Errorf("%s has no carrier", loan.Name)
			}
		}
	}
	return nil
}

func carrier(loan *netlab.Loan) (up bool, err error) {
	err = loan.NS.Do(func() error {
		k, err := netlink.LinkByName(loan.Name)
		if err == nil {
			up = k.Attrs().RawFlags&unix.IFF_LOWER_UP != 0
		}
		return err
	})
	return up, err
}

// close takes the lab down; processes that still run in it are killed.
func (l *lab) close() {
	for _, loan := range l.loans {
		if err := loan.Return(); err != nil {
			progress("%v", err)
		}
	}
	l.loans = nil
	if l.relay != nil {
		if err := l.relay.Close(); err != nil {
			progress("%v", err)
		}
		l.relay = nil
	}
	for _, t := range l.taps {
		t.Close()
	}
	for _, ns := range []*netlab.NS{l.server, l.client} {
		if ns == nil {
			continue
		}
		if err := ns.Close(); err != nil {
			progress("%v", err)
		}
	}
}

// describe says what both ends leave to the device, as the kernel has it now.
func (l *lab) describe() string {
	var ends []string
	for _, link := range []*netlab.Link{l.a, l.b} {
		on, err := link.Offloads()
		if err != nil {
			return err.Error()
		}
		names := []string{}
		for _, o := range []struct {
			bit  netlab.Offload
			name string
		}{{netlab.TxChecksum, "tx"}, {netlab.TSO, "tso"}, {netlab.GSO, "gso"}, {netlab.GRO, "gro"}} {
			state := "off"
			if on&o.bit != 0 {
				state = "on"
			}
			names = append(names, o.name+" "+state)
		}
		ends = append(ends, link.Name+" end: "+strings.Join(names, ", "))
	}
	return strings.Join(ends, "; ")
}

// note remembers something to print below the table, once.
func (l *lab) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	for _, n := range l.notes {
		if n == s {
			return
		}
	}
	l.notes = append(l.notes, s)
}

// received is how many frames the client's end has received, by the kernel's count.
func (l *lab) received() (n uint64, err error) {
	err = l.client.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/dev")
		if err != nil {
			return err
		}
		n, err = rxPackets(b, l.a.Name)
		return err
	})
	return n, err
}

// rxPackets reads /proc/net/dev: after the name come bytes, then packets.
func rxPackets(b []byte, name string) (uint64, error) {
	for line := range bytes.Lines(b) {
		key, rest, ok := strings.Cut(string(line), ":")
		if !ok || strings.TrimSpace(key) != name {
			continue
		}
		if f := strings.Fields(rest); len(f) > 1 {
			return strconv.ParseUint(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("/proc/net/dev has no line for %s", name)
}

// attached says whether the server's end has an XDP program.
func (l *lab) attached() (yes bool, err error) {
	err = l.server.Do(func() error {
		link, err := netlink.LinkByName(l.b.Name)
		if err != nil {
			return err
		}
		yes = link.Attrs().Xdp != nil && link.Attrs().Xdp.Attached
		return nil
	})
	return yes, err
}
