package proto

import (
	"bytes"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// A message that is cut into datagrams waits whole for room in the device, whatever its socket's limit, or not at all; what has
// left already is not sent again.
func TestSegmentsWaitTogether(t *testing.T) {
	eachFamily(t, func(t *testing.T, f *family) {
		a, b := f.acquainted()
		sock, peer := newSocket(a, &a.UDP, at(f.a, 1000)), newSocket(b, &b.UDP, at(f.b, 7))
		sock.Send.SetLimit(3000)
		body := f.numbered(3)[:10_500]
		offer := func(pulled int) (frames [][]byte, errno unix.Errno) {
			m := udp.Message{To: netip.AddrPortFrom(f.b, 7), Payload: body, Segment: 1000, HasSegment: true}
			if _, e := a.OfferMessage(wire.ProtoUDP, sock, &m, 1); e != 0 {
				return nil, e
			}
			for range pulled {
				buf := make([]byte, 2048)
				frames = append(frames, buf[:a.Output(0, buf, 1)])
			}
			return frames, a.Settle()
		}
		frames, errno := offer(4)
		if errno != 0 || sock.Send.Len() != 7 {
			t.Fatal(errno, sock.Send.Len())
		}
		if _, errno := offer(0); errno != unix.EAGAIN || sock.Send.Len() != 7 {
			t.Fatal("a message beyond the limit:", errno, sock.Send.Len())
		}
		for _, frame := range frames {
			b.Input(0, frame, 1)
		}
		exchange(t, a, b, 1)
		var got []byte
		var m ring.Datagram
		for i := range 11 {
			p := make([]byte, 2048)
			n, ok := peer.Recv.Get(&m, p, false)
			if want := min(1000, len(body)-len(got)); !ok || n != want {
				t.Fatal("datagram", i, n, ok)
			}
			got = append(got, p[:n]...)
		}
		if peer.Recv.Len() != 0 || !bytes.Equal(got, body) {
			t.Error("it is not what was sent:", len(got), peer.Recv.Len())
		}
	})
}

func TestSegmentsAllocateNothing(t *testing.T) {
	a, _ := family4.acquainted()
	sock := newSocket(a, &a.UDP, at(family4.a, 1000))
	sock.Segment = 1000
	body, buf := make([]byte, 10_500), make([]byte, 2048)
	m := udp.Message{To: netip.AddrPortFrom(family4.b, 7), Payload: body}
	if n := testing.AllocsPerRun(100, func() {
		if _, e := a.OfferMessage(wire.ProtoUDP, sock, &m, 1); e != 0 {
			t.Fatal(e)
		}
		for range 11 {
			if a.Output(0, buf, 1) == 0 {
				t.Fatal("there are too few")
			}
		}
		if e := a.Settle(); e != 0 || a.Output(0, buf, 1) != 0 {
			t.Fatal("there are too many", e)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
