package autoconf

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/proto/timer"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// FuzzAdvertised feeds an interface messages that anybody on the link could send, with time
// between them. The input is a list of messages: two bytes of length, one of sender and
// kind, one of seconds to pass, the message.
func FuzzAdvertised(f *testing.F) {
	seed := func(kind byte, m []byte) []byte {
		b := binary.BigEndian.AppendUint16(nil, uint16(len(m)))
		return append(append(b, kind, 2), m...)
	}
	b := make([]byte, 300)
	n := wire.PutRouterAdvertisement(b, &wire.RouterAdvertisementFields{CurHopLimit: 64, Lifetime: 1800 * time.Second, RetransTimer: time.Second})
	n += wire.PutPrefixOption(b[n:], &wire.NDPPrefix{Prefix: net1, OnLink: true, Autonomous: true, Valid: time.Hour, Preferred: time.Minute})
	n += wire.PutServersOption(b[n:], time.Minute, routerA)
	n += wire.PutDomainsOption(b[n:], time.Minute, "example.org")
	ra := seed(0, b[:n])
	f.Add(ra)
	f.Add(append(ra, seed(1, b[:n])...))
	r := make([]byte, wire.RedirectLen)
	wire.PutRedirect(r, routerB, netip.MustParseAddr("2001:db8:9::1"))
	f.Add(append(ra, seed(0x10, r)...))
	f.Add(append(ra, seed(0x20, net1.Addr().AsSlice())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		w := newWorld6(t, nil)
		w.Start(w.now)
		var o wire.NDPOptions
		for len(b) >= 4 {
			size, kind, wait := int(binary.BigEndian.Uint16(b)), b[2], b[3]
			b = b[4:]
			m := b[:min(size, len(b))]
			b = b[len(m):]
			from := netip.AddrFrom16([16]byte{0xfe, 0x80, 15: kind & 15})
			switch kind >> 4 {
			case 0:
				if ra, ok := wire.ParseRouterAdvertisement(m); ok && o.Parse(ra.Options()) {
					w.Advertised(from, ra, &o, w.now)
				}
			case 1:
				if r, ok := wire.ParseRedirect(m); ok {
					w.hops[r.Dst()] = from
					w.Redirected(from, r, w.now)
				}
			case 2:
				if len(m) >= 16 {
					target := netip.AddrFrom16([16]byte(m))
					if all := w.Addrs(); kind&1 == 1 && len(all) > 0 {
						target = all[len(all)-1].Prefix.Addr()
					}
					w.Probed(target, m[16:], macX, w.now)
					w.Claimed(target, macX, w.now)
				}
			case 3:
				w.NotRouter(from, w.now)
			}
			w.pass(time.Duration(wait) * time.Second)
			check(t, w)
		}
		// Whatever was said, the interface ends asking, or waiting for a lifetime.
		if w.wheel.Deadline() == mono.Never && len(w.Routes()) == 0 {
			t.Error("nobody is asked for a router, and there is none")
		}
	})
}

func check(t *testing.T, w *world6) {
	if len(w.Addrs()) > addrsMax+1 || len(w.Routes()) > routersMax+prefixesMax+redirectsMax || len(w.Servers()) > serversMax || len(w.Domains()) > domainsMax {
		t.Fatalf("%d addresses, %d routes, %d servers, %d domains", len(w.Addrs()), len(w.Routes()), len(w.Servers()), len(w.Domains()))
	}
	for _, a := range w.Addrs() {
		if past := w.now - timer.Tick; a.Valid <= past || a.State == route.Preferred && a.Preferred <= past {
			t.Fatalf("%v %v is past its time", a.Prefix, a.State)
		}
		if p := a.Prefix.Addr(); p.IsMulticast() || p.IsUnspecified() || a.Prefix.Bits() != 64 {
			t.Fatalf("address %v", a.Prefix)
		}
	}
	if p := w.Params(); p.MTU < mtuMin || p.MTU > 1500 || p.RetransTimer < retransMin || p.RetransTimer > retransMax {
		t.Fatalf("params %+v", p)
	}
	if w.wheel.Deadline() <= w.now {
		t.Fatal("a timer is set for the past")
	}
}
