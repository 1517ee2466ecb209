package tcp

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 9293 §3.10.1, RFC 6528.

// Connect begins a connection from a local address and port to a remote one. The program hears
// of its end by the gate: Out, or an error in SO_ERROR. The caller calls Init on the
// connection's Gate and owes it a Close.
//
// It fails with EADDRNOTAVAIL where the pair is taken already, or the port is bound to by others, which a caller who chose the
// port may mend by another, and with ENOBUFS where there are as many connections as may be.
func (t *TCP) Connect(local, remote netip.AddrPort, opt Options, now mono.Time) (*Conn, unix.Errno) {
	if local.Port() == 0 || remote.Port() == 0 || local.Addr().Is4() != remote.Addr().Is4() {
		return nil, unix.EINVAL
	}
	if opt.Congestion >= algorithms {
		return nil, unix.ENOENT
	}
	k := keyOf(local.Addr(), local.Port(), remote.Addr(), remote.Port())
	iss := t.isn(&k, now)
	if r := t.find(&k); r != 0 {
		var ok bool
		if iss, ok = t.replace(r, opt.Sharing&Bound != 0, now); !ok {
			return nil, unix.EADDRNOTAVAIL
		}
	}
	held := Tenure{opt.Device, opt.User, opt.Sharing}
	if !t.enter(&k, held) {
		return nil, unix.EADDRNOTAVAIL
	}
	c, errno := t.newConn(&k, t.share(opt))
	if errno == unix.EADDRINUSE {
		errno = unix.EADDRNOTAVAIL
	}
	if errno != 0 {
		t.leave(&k, held)
		return nil, errno
	}
	c.accepted = true
	c.setState(SynSent)
	c.setISS(iss)
	c.sendSYN(now)
	t.stats.ActiveOpens++
	return c, 0
}

// newConn makes a connection that is in the table and the directory, in state CLOSED. EADDRINUSE says
// that another core has claimed it.
func (t *TCP) newConn(k *key, opt *Options) (*Conn, unix.Errno) {
	local, remote := t.addrs(k)
	if t.cfg.Claim != nil && !t.cfg.Claim(netip.AddrPortFrom(local, k.localPort()), netip.AddrPortFrom(remote, k.remotePort())) {
		return nil, unix.EADDRINUSE
	}
	c := t.alloc()
	if c == nil {
		t.disclaim(k)
		return nil, unix.ENOBUFS
	}
	c.key = *k
	c.pseudo = uint32(wire.PseudoSum(local, remote, wire.ProtoTCP, 0).Fold())
	c.opt = opt
	c.rx.Init(t.cfg.Pool, t.params.Rmem.Default)
	c.tx.Init(t.cfg.Pool, t.params.Wmem.Default)
	c.setBuffers()
	c.setInline()
	c.setNotSentLow()
	c.quick = quickACKs
	c.setATO(delayedACK)
	c.ts.offset = t.tsOffset(k)
	c.snd.pathMSS = t.cfg.MSS(local, remote)
	c.resetMSS()
	c.rcv.mss = min(c.snd.mss, mssDefault4)
	c.rcv.scale = scaleFor(opt.windowMost(max(t.params.Rmem.Max, c.rx.Limit())))
	c.cc.choose(c.algorithm())
	t.table.insert(k, ref(c.index+1))
	return c, 0
}

// disclaim tells the directory that a connection has ended.
func (t *TCP) disclaim(k *key) {
	if t.cfg.Disclaim != nil {
		local, remote := t.addrs(k)
		t.cfg.Disclaim(netip.AddrPortFrom(local, k.localPort()), netip.AddrPortFrom(remote, k.remotePort()))
	}
}

// isn is ISN = M + F(localip, localport, remoteip, remoteport, secret) of RFC 6528 §3, M being
// a clock of 4.096 µs.
func (t *TCP) isn(k *key, now mono.Time) wire.Seq {
	f := t.sip.Sum(k.local[0], k.local[1], k.remote[0], k.remote[1], k.ports)
	return wire.SeqOf(uint32(f) + uint32(uint64(now)>>12))
}

// tsOffset is where the timestamp clock of a pair of hosts begins: it goes on across connections
// (RFC 7323 §5.4).
func (t *TCP) tsOffset(k *key) uint32 {
	return uint32(t.sip.Sum(k.local[0], k.local[1], k.remote[0], k.remote[1]))
}

// setISS begins our sequence numbers.
func (c *Conn) setISS(iss wire.Seq) {
	c.snd.iss, c.snd.una, c.snd.nxt = iss, iss, iss
	c.snd.small, c.snd.up = iss, iss
}

// scaleFor returns the shift with which a window of size bytes can be offered (RFC 7323
// §2.3). It is chosen for what the buffer may grow to.
func scaleFor(size int) (shift uint8) {
	for ; shift < wire.TCPWScaleMax && windowMax<<shift < size; shift++ {
	}
	return shift
}
