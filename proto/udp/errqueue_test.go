package udp

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/ring"
)

func newErrSocket() *Socket {
	s := &Socket{Gate: new(ring.Gate), Error: new(ring.Errno)}
	s.Errors.Init(ring.NewPool(1 << 20))
	return s
}

func TestErrQueueReturnsWhatWasPut(t *testing.T) {
	s := newErrSocket()
	s.RecvErr = true
	in := ExtendedError{
		Errno: unix.ECONNREFUSED, Origin: OriginICMP, Type: 3, Code: 3, Info: 1 << 31,
		To: netip.MustParseAddrPort("10.0.0.2:9"), Offender: netip.MustParseAddr("10.0.0.3"), Iface: 2, Time: 77,
	}
	var wakes ring.Wakes
	for i := range 3 {
		in.Code = uint8(i)
		if r := s.Report(&in, false, []byte("quoted"), &wakes); r != drop.None {
			t.Fatal(r)
		}
	}
	if e := unix.Errno(s.Error.Take()); e != unix.ECONNREFUSED {
		t.Errorf("SO_ERROR is %v", e)
	}
	for i := range 3 {
		var out ExtendedError
		p := make([]byte, 4)
		n, whole, ok := s.Errors.Get(&out, p)
		in.Code = uint8(i)
		if !ok || n != 4 || whole != 6 || !bytes.Equal(p, []byte("quot")) || out != in {
			t.Errorf("error %d: %d of %d bytes, %v: %+v", i, n, whole, ok, out)
		}
	}
	if _, _, ok := s.Errors.Get(new(ExtendedError), nil); ok || s.Errors.Len() != 0 {
		t.Error("a fourth error")
	}
}

func TestErrQueueIsBounded(t *testing.T) {
	s := newErrSocket()
	s.RecvErr = true
	in := ExtendedError{Errno: unix.EMSGSIZE, To: netip.MustParseAddrPort("10.0.0.2:9")}
	var wakes ring.Wakes
	n := 0
	for ; s.Report(&in, true, make([]byte, 2000), &wakes) == drop.None; n++ {
		if n > errQueueMax/quoteMax {
			t.Fatal("no end")
		}
	}
	if want := errQueueMax / (extendedLen + quoteMax + ring.DatagramOverhead); n != want {
		t.Errorf("%d errors fit, not %d", n, want)
	}
}

// Who hears of what: the rows of udp_err.
func TestWhoHearsOfAnError(t *testing.T) {
	for _, row := range []struct {
		connected, asked, hard bool
		errno                  bool // SO_ERROR is set
		queued                 bool
	}{
		{false, false, false, false, false},
		{false, false, true, false, false},
		{true, false, false, false, false},
		{true, false, true, true, false},
		{false, true, false, true, true},
		{true, true, true, true, true},
	} {
		for _, to := range []string{"10.0.0.2:9", "[fd00::2]:9"} {
			s := newErrSocket()
			in := ExtendedError{Errno: unix.EHOSTUNREACH, To: netip.MustParseAddrPort(to)}
			if row.connected {
				s.Remote = in.To
			}
			s.RecvErr, s.RecvErr6 = row.asked && in.To.Addr().Is4(), row.asked && in.To.Addr().Is6()
			var wakes ring.Wakes
			s.Report(&in, row.hard, nil, &wakes)
			if got := s.Error.Peek() != 0; got != row.errno {
				t.Errorf("%+v: SO_ERROR is set: %v", row, got)
			}
			if got := s.Errors.Len() == 1; got != row.queued {
				t.Errorf("%+v: queued: %v", row, got)
			}
		}
	}
}

func TestDiscoveryHasTheKernelsNumbers(t *testing.T) {
	for n, want := range map[int]Discovery{
		unix.IP_PMTUDISC_DONT: DiscoverDont, unix.IP_PMTUDISC_WANT: DiscoverWant, unix.IP_PMTUDISC_DO: DiscoverDo,
		unix.IP_PMTUDISC_PROBE: DiscoverProbe, unix.IP_PMTUDISC_INTERFACE: DiscoverInterface, unix.IPV6_PMTUDISC_OMIT: DiscoverOmit,
	} {
		if d, ok := DiscoveryOf(n); !ok || d != want || d.Option() != n {
			t.Errorf("%d is %v, whose number is %d", n, d, d.Option())
		}
	}
	for _, n := range []int{-1, 6, 256} {
		if _, ok := DiscoveryOf(n); ok {
			t.Errorf("%d is taken", n)
		}
	}
}
