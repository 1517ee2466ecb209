package main

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi"
)

// A prober sends the packets of traceroute and knows them again in what is answered.
type prober interface {
	// send sends probe i, which may go so many hops.
	send(i, ttl int) error
	// read waits for the next answer, until the deadline, and says which probe it is to. Numbers of probes
	// that were never sent can come of a stranger.
	read() (i int, a answer, err error)
	SetReadDeadline(time.Time) error
	target() netip.Addr
	now() mono.Time
	Close() error
}

// answerOf is the answer that an ICMP error is.
func answerOf(e *socketapi.PacketError, target netip.Addr) answer {
	a := answer{from: e.From, at: e.Time, final: !e.Expired(), target: e.PortUnreachable() && e.From == target}
	if a.final && !a.target {
		a.note = note(e)
	}
	return a
}

// note is what traceroute(8) prints for an error which is not that of the hop count.
func note(e *socketapi.PacketError) string {
	switch {
	case e.Errno == unix.EMSGSIZE:
		return fmt.Sprintf("!F-%d", e.Info)
	case e.PortUnreachable():
		return "!p" // by somebody else than the target
	case e.V6 && wire.ICMP6Type(e.Type) == wire.ICMP6Unreachable:
		switch e.Code {
		case wire.ICMP6NoRoute:
			return "!N"
		case wire.ICMP6AdminProhibited, wire.ICMP6SourcePolicy, wire.ICMP6RejectRoute:
			return "!X"
		case wire.ICMP6BeyondScope, wire.ICMP6AddrUnreachable:
			return "!H"
		}
	case !e.V6 && wire.ICMP4Type(e.Type) == wire.ICMP4Unreachable:
		switch e.Code {
		case wire.ICMP4NetUnreachable, wire.ICMP4NetUnknown:
			return "!N"
		case wire.ICMP4HostUnreachable, wire.ICMP4HostUnknown:
			return "!H"
		case wire.ICMP4ProtoUnreachable:
			return "!P"
		case wire.ICMP4SourceRouteFail:
			return "!S"
		case wire.ICMP4NetProhibited, wire.ICMP4HostProhibited, wire.ICMP4AdminProhibited:
			return "!X"
		}
		return fmt.Sprintf("!%d", e.Code)
	}
	return fmt.Sprintf("!<%d-%d>", e.Type, e.Code)
}

// udpProber sends datagrams, each to a port of its own.
type udpProber struct {
	*socketapi.UDPConn
	stack   *socketapi.Stack
	to      netip.AddrPort // of the first
	payload []byte
}

func openUDPProber(stack *socketapi.Stack, target netip.Addr, port uint16) (prober, error) {
	conn, err := stack.ListenUDP(netip.AddrPortFrom(unspecified(target), 0))
	if err != nil {
		return nil, err
	}
	conn.ReportErrors()
	return &udpProber{conn, stack, netip.AddrPortFrom(target, port), make([]byte, traceSize-headersOf(target))}, nil
}

func (p *udpProber) send(i, ttl int) error {
	if err := p.SetTTL(ttl); err != nil {
		return err
	}
	_, err := p.WriteToUDPAddrPort(p.payload, netip.AddrPortFrom(p.to.Addr(), p.to.Port()+uint16(i)))
	return err
}

func (p *udpProber) read() (int, answer, error) {
	_, from, err := p.ReadFromUDPAddrPort(p.payload[:0:0])
	var report *socketapi.PacketError
	switch {
	case errors.As(err, &report):
		return p.index(report.To), answerOf(report, p.to.Addr()), nil
	case err != nil:
		return 0, answer{}, err
	}
	// Somebody listens at that port, and has answered.
	return p.index(from), answer{from: from.Addr(), at: p.now(), final: true, target: from.Addr() == p.to.Addr()}, nil
}

// index is the number of the probe that was sent to an address.
func (p *udpProber) index(to netip.AddrPort) int {
	if to.Addr() != p.to.Addr() || to.Port() < p.to.Port() {
		return 1 << 16 // a stranger's
	}
	return int(to.Port() - p.to.Port())
}

func (p *udpProber) target() netip.Addr { return p.to.Addr() }
func (p *udpProber) now() mono.Time     { return p.stack.Host().Clock().Now() }

// echoProber sends echo requests.
type echoProber struct {
	*socketapi.PingConn
	to      netip.Addr
	payload []byte
	buf     []byte
}

func openEchoProber(stack *socketapi.Stack, target netip.Addr, _ uint16) (prober, error) {
	conn, err := stack.ListenPing(unspecified(target))
	if err != nil {
		return nil, err
	}
	return &echoProber{conn, target, make([]byte, traceSize-headersOf(target)), make([]byte, traceSize)}, nil
}

func (p *echoProber) send(i, ttl int) error {
	if err := p.SetTTL(ttl); err != nil {
		return err
	}
	return p.WriteEcho(p.to, uint16(i), p.payload)
}

func (p *echoProber) read() (int, answer, error) {
	e, err := p.ReadEcho(p.buf)
	var report *socketapi.PacketError
	switch {
	case errors.As(err, &report):
		return int(report.Seq), answerOf(report, p.to), nil
	case err != nil:
		return 0, answer{}, err
	}
	return int(e.Seq), answer{from: e.From, at: e.Time, final: e.From == p.to, target: e.From == p.to}, nil
}

func (p *echoProber) target() netip.Addr { return p.to }
func (p *echoProber) now() mono.Time     { return p.Now() }
