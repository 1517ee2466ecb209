package autoconf

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
)

// Read first: RFC 7217 §5.

// identify makes the identifier of a stable address from its prefix, its DAD_Counter and the
// host's secret, so that it stays the same on this network, and says nothing to any other. An
// identifier that is reserved or taken counts as a duplicate.
func (i *Interface6) identify(a *address) {
	for {
		b := a.Prefix.Masked().Addr().As16()
		id := i.identifier([8]byte(b[:8]), a.counter)
		binary.BigEndian.PutUint64(b[8:], id)
		addr := netip.AddrFrom16(b)
		if !reserved(id) && i.find(addr) == nil {
			a.Prefix = netip.PrefixFrom(addr, a.Prefix.Bits())
			return
		}
		a.counter++
	}
}

// identifier is F() of RFC 7217 §5, with SHA-256, of which it is the last 64 bits. There
// is no Network_ID: an Ethernet has none.
func (i *Interface6) identifier(prefix [8]byte, counter uint8) uint64 {
	input := make([]byte, 0, 64)
	input = append(input, prefix[:]...)
	input = append(input, byte(len(i.cfg.Name))) // so that no two inputs read the same
	input = append(input, i.cfg.Name...)
	input = append(input, counter)
	input = append(input, i.cfg.Secret[:]...)
	sum := sha256.Sum256(input)
	return binary.BigEndian.Uint64(sum[len(sum)-8:])
}
