package autoconf

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 3927 §2.1 (which address), §2.5 (when to give it up).

// localChoice is where the choice of a link-local address is.
type localChoice struct {
	on   bool
	rand *rand.Rand
}

// LinkLocal switches a link-local address of the interface's own choice on or off. It is probed for,
// and when another station has it or takes it, followed by another one.
func (i *Interface4) LinkLocal(on bool, now mono.Time) {
	if on == i.local.on {
		return
	}
	i.local.on = on
	if !on {
		n := len(i.addrs)
		i.addrs = slices.DeleteFunc(i.addrs, func(a *address4) bool { return a.Origin == LinkLocal })
		i.changed = len(i.addrs) != n
	} else {
		i.local.rand = localRand(i.cfg.MAC)
		i.addLocal(now)
	}
	i.settle(now)
}

// localRand makes choices that are the same each time a host starts, and another host's are
// others (RFC 3927 §2.1).
func localRand(mac wire.MAC) *rand.Rand {
	var b [8]byte
	copy(b[:], mac[:])
	return rand.New(rand.NewPCG(binary.LittleEndian.Uint64(b[:]), 0x3927))
}

// addLocal chooses an address from 169.254.1.0 to 169.254.254.255 and probes for it.
func (i *Interface4) addLocal(now mono.Time) {
	var addr netip.Addr
	for ok := false; !ok; ok = i.find(addr) == nil { // the program may have one, too
		v := 0x0100 + i.local.rand.Uint32N(0xfe00)
		addr = netip.AddrFrom4([4]byte{169, 254, byte(v >> 8), byte(v)})
	}
	i.add(&address4{
		Addr:    Addr{Prefix: netip.PrefixFrom(addr, 16), Origin: LinkLocal, Preferred: mono.Never, Valid: mono.Never},
		defence: DefendOnce,
	}, true, now)
}

// nextLocal follows a link-local address that was lost by another.
func (i *Interface4) nextLocal(a *address4, now mono.Time) {
	if a.Origin != LinkLocal {
		return
	}
	i.addrs = slices.DeleteFunc(i.addrs, func(x *address4) bool { return x == a })
	i.addLocal(now)
}
