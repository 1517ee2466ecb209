package tcp

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.9.2.2, RFC 5927 §4, §6, RFC 5461.

// Unreachable is told of an ICMP error that quotes a segment of ours with number seq. It is
// believed only if that is in flight (RFC 5927 §4). It says whether it was.
//
// A connection that is being opened ends with errno. On an established one no ICMP error is
// fatal, hard or not (RFC 5927 §5.2, as Linux): see soft.
func (t *TCP) Unreachable(local, remote netip.AddrPort, seq wire.Seq, errno unix.Errno, now mono.Time) bool {
	c := t.quoted(local, remote, seq)
	if c == nil {
		return false
	}
	if c.opening() {
		c.end(errno, now)
		return true
	}
	c.soft(errno)
	return true
}

// opening says whether a program of ours opens the connection, and has to hear of what is in the way. One that a peer
// opens and a program has already (RFC 7413) is as good as open.
func (c *Conn) opening() bool {
	return c.accepted && (c.state == SynSent || c.state == SynReceived && !c.passive)
}

// Telling is where the program is told of ICMP errors that end the opening of a connection, nil if there is no opening
// or, over IPv6, it did not ask: Linux does not look whether it did over IPv4 (ip_icmp_error, ipv6_icmp_error). What
// is put there comes before Unreachable or Fail.
func (c *Conn) Telling() *ring.Late {
	if !c.opening() || !c.opt.RecvErr && !c.key.is4() {
		return nil
	}
	return c.opt.Errors
}

// soft is an error that c lives on with: the reason for when it times out (RFC 1122 §4.2.3.9), or with
// RecvErr the program's next call's (tcp_v4_err in net/ipv4/tcp_ipv4.c).
func (c *Conn) soft(errno unix.Errno) {
	if !c.opt.RecvErr || c.state < Established || c.state == Closed {
		c.softErr = uint16(errno)
		return
	}
	c.soErr.Store(uint64(errno))
	c.t.wakes.Open(&c.Gate, ring.In|ring.Out|ring.Err)
}

// TooBig is told of an ICMP "packet too big" that quotes a segment of ours with number seq and
// says the next hop's MTU. It says whether that was believed.
func (t *TCP) TooBig(local, remote netip.AddrPort, seq wire.Seq, mtu int, now mono.Time) bool {
	c := t.quoted(local, remote, seq)
	if c == nil {
		return false
	}
	c.SetPMTU(mtu, now)
	return true
}

// InFlight says whether seq is that of a segment of a connection which may still be on its way: an ICMP
// error about another one is forged, or too late (RFC 5927 §4).
func (t *TCP) InFlight(local, remote netip.AddrPort, seq wire.Seq) bool {
	return t.quoted(local, remote, seq) != nil
}

// quoted returns the connection that an ICMP error is about, nil if it is none or seq is not in flight.
func (t *TCP) quoted(local, remote netip.AddrPort, seq wire.Seq) *Conn {
	c := t.Lookup(local, remote)
	if c == nil || seq.Before(c.snd.una) || seq.AtOrAfter(c.snd.nxt) {
		return nil
	}
	return c
}

// Lookup returns the connection between two ends, nil if there is none on this core (or
// it is in TIME-WAIT).
func (t *TCP) Lookup(local, remote netip.AddrPort) *Conn {
	k := keyOf(local.Addr(), local.Port(), remote.Addr(), remote.Port())
	if r := t.find(&k); r != 0 && r&refTimeWait == 0 {
		return t.conn(uint32(r) - 1)
	}
	return nil
}
