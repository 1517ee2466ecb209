package socketapi

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: ip(7) on IP_RECVERR; RFC 792, RFC 4443 §3 for what the types and codes mean.

// A PacketError is what became of one packet that a socket has sent, as an ICMP error has it. The
// errors of reads have it inside (errors.As); errors.Is finds its Errno.
type PacketError struct {
	To    netip.AddrPort // where the packet was sent; without a port for an echo request
	From  netip.Addr     // who reports it: a router, the destination, or this host itself
	Errno unix.Errno
	V6    bool      // Type and Code are of ICMPv6
	Type  uint8     // of the ICMP message
	Code  uint8     // likewise
	Info  uint32    // the MTU of the next hop with EMSGSIZE
	Seq   uint16    // the sequence number of an echo request
	Time  mono.Time // of the report's arrival, by the host's clock
}

// Error says what happened in the words of the protocol.
func (e *PacketError) Error() string { return fmt.Sprintf("%v says: %s", e.From, e.Reason()) }

// Unwrap returns the errno.
func (e *PacketError) Unwrap() error { return e.Errno }

// Expired says whether a router has thrown the packet away since it had gone as many hops as
// it was to go: what traceroute(8) lives on.
func (e *PacketError) Expired() bool {
	if e.V6 {
		return wire.ICMP6Type(e.Type) == wire.ICMP6TimeExceeded && e.Code == 0
	}
	return wire.ICMP4Type(e.Type) == wire.ICMP4TimeExceeded && e.Code == 0
}

// PortUnreachable says whether the destination was reached, and nobody is at the port there.
func (e *PacketError) PortUnreachable() bool {
	if e.V6 {
		return wire.ICMP6Type(e.Type) == wire.ICMP6Unreachable && e.Code == wire.ICMP6PortUnreachable
	}
	return wire.ICMP4Type(e.Type) == wire.ICMP4Unreachable && e.Code == wire.ICMP4PortUnreachable
}

// Reason is what the ICMP message says, as ping(8) words it.
func (e *PacketError) Reason() string {
	if e.V6 {
		return e.reason6()
	}
	return e.reason4()
}

// unreachable4 and unreachable6 are what the codes of "destination unreachable" say.
var (
	unreachable4 = [...]string{
		wire.ICMP4NetUnreachable:   "Destination Net Unreachable",
		wire.ICMP4HostUnreachable:  "Destination Host Unreachable",
		wire.ICMP4ProtoUnreachable: "Destination Protocol Unreachable",
		wire.ICMP4PortUnreachable:  "Destination Port Unreachable",
		wire.ICMP4SourceRouteFail:  "Source Route Failed",
		wire.ICMP4NetUnknown:       "Destination Net Unknown",
		wire.ICMP4HostUnknown:      "Destination Host Unknown",
		wire.ICMP4HostIsolated:     "Source Host Isolated",
		wire.ICMP4NetProhibited:    "Destination Net Prohibited",
		wire.ICMP4HostProhibited:   "Destination Host Prohibited",
		wire.ICMP4NetTOS:           "Destination Net Unreachable for Type of Service",
		wire.ICMP4HostTOS:          "Destination Host Unreachable for Type of Service",
		wire.ICMP4AdminProhibited:  "Packet filtered",
	}
	unreachable6 = [...]string{
		wire.ICMP6NoRoute:         "Destination unreachable: No route",
		wire.ICMP6AdminProhibited: "Destination unreachable: Administratively prohibited",
		wire.ICMP6BeyondScope:     "Destination unreachable: Beyond scope of source address",
		wire.ICMP6AddrUnreachable: "Destination unreachable: Address unreachable",
		wire.ICMP6PortUnreachable: "Destination unreachable: Port unreachable",
	}
)

// worded is what a list says of a code, otherwise where it says nothing.
func worded(list []string, code uint8, otherwise string) string {
	if int(code) < len(list) && list[code] != "" {
		return list[code]
	}
	return fmt.Sprintf("%s %d", otherwise, code)
}

func (e *PacketError) reason4() string {
	switch wire.ICMP4Type(e.Type) {
	case wire.ICMP4Unreachable:
		if e.Code == wire.ICMP4FragNeeded {
			return fmt.Sprintf("Frag needed and DF set (mtu = %d)", e.Info)
		}
		return worded(unreachable4[:], e.Code, "Dest Unreachable, Bad Code:")
	case wire.ICMP4TimeExceeded:
		if e.Code == 0 {
			return "Time to live exceeded"
		}
		return "Frag reassembly time exceeded"
	case wire.ICMP4ParamProblem:
		return e.problem()
	}
	return fmt.Sprintf("Bad ICMP type: %d", e.Type)
}

func (e *PacketError) reason6() string {
	switch wire.ICMP6Type(e.Type) {
	case wire.ICMP6Unreachable:
		return worded(unreachable6[:], e.Code, "Destination unreachable: Unknown code")
	case wire.ICMP6PacketTooBig:
		return fmt.Sprintf("Packet too big: mtu=%d", e.Info)
	case wire.ICMP6TimeExceeded:
		if e.Code == 0 {
			return "Time exceeded: Hop limit"
		}
		return "Time exceeded: Defragmentation failure"
	case wire.ICMP6ParamProblem:
		return e.problem()
	}
	return fmt.Sprintf("Unknown ICMP type: %d", e.Type)
}

func (e *PacketError) problem() string { return fmt.Sprintf("Parameter problem: pointer = %d", e.Info) }

// errReported is no errno of the kernel: an error about a packet waits to be read.
const errReported = unix.Errno(1<<16 + 1)

// report makes reads return errors about packets that were sent, each of them, whether the
// socket is connected or not. They stand for SO_ERROR, which is not set any more.
func (s *datagram) report() {
	s.change(func(end *udp.Socket) {
		end.RecvErr, end.RecvErr6 = true, true
		end.Error = &s.unread
	})
	s.reporting.Store(true)
}

// reported says whether an error waits that a read is to return.
func (s *datagram) reported() bool { return s.reporting.Load() && s.queued() }

// queued says whether an error waits in the error queue.
func (s *datagram) queued() bool {
	for _, end := range s.ends {
		if end.Errors.Len() > 0 {
			return true
		}
	}
	return false
}

// receiveReport is receive of a socket that may be reporting: it returns a datagram, or a report, or
// an errno.
func (s *datagram) receiveReport(p []byte) (m ring.Datagram, n int, report *PacketError, errno unix.Errno) {
	for {
		if m, n, errno = s.receive(p, 0, mono.Never); errno != errReported {
			return m, n, nil, errno
		}
		if report = s.takeReport(); report != nil { // another reader may have been faster
			return m, 0, report, 0
		}
	}
}

// takeReport takes the oldest error of a core that has one, nil if none has.
func (s *datagram) takeReport() *PacketError {
	s.recv.Lock()
	defer s.recv.Unlock()
	var x udp.ExtendedError
	var quote [wire.ICMP4Len]byte // an echo request's header, or what a program sent
	for _, end := range s.ends {
		n, _, ok := end.Errors.Get(&x, quote[:])
		if !ok {
			continue
		}
		e := &PacketError{
			To: x.To, From: x.Offender, Errno: x.Errno, V6: x.Origin == udp.OriginICMP6,
			Type: x.Type, Code: x.Code, Info: x.Info, Time: x.Time,
		}
		if s.protocol != wire.ProtoUDP && n == len(quote) {
			e.Seq = wire.ICMP4(quote[:]).Seq() // the two families have it at the same place
		}
		return e
	}
	return nil
}

// setTTL sets the time to live, or hop limit, of what is sent to a single host.
func (s *datagram) setTTL(ttl int) unix.Errno {
	if ttl < 1 || ttl > 255 {
		return unix.EINVAL
	}
	s.change(func(end *udp.Socket) { end.TTL, end.HopLimit, end.HasHops = uint8(ttl), uint8(ttl), true })
	return 0
}
