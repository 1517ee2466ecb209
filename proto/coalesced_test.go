package proto

import (
	"bytes"
	"testing"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestSegmentsLargerThanTheMTU: receive coalescing of a NIC or of a kernel makes one packet of a train of segments.
// It is longer than the link's MTU and than the MSS, and is taken like any other: read whole,
// acknowledged at once and by one acknowledgement.
func TestSegmentsLargerThanTheMTU(t *testing.T) {
	d := newDuo(t)
	body := make([]byte, 60_000)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	got := make([]byte, 1<<17)
	for range 20 { // windows grow first
		d.bulk(t, body, got)
	}
	d.ca.Write(body)
	d.ca.Kick(d.now)
	const head = wire.EthernetLen + wire.IPv4Len + wire.TCPLen + wire.TCPTimestampsLen
	var large []byte
	trains := 0
	for n := d.a.Output(0, d.frame[:], d.now); n > 0; n = d.a.Output(0, d.frame[:], d.now) {
		if trains++; large == nil {
			large = bytes.Clone(d.frame[:n])
			continue
		}
		large[wire.EthernetLen+wire.IPv4Len+13] |= d.frame[wire.EthernetLen+wire.IPv4Len+13] & byte(wire.PSH)
		large = append(large, d.frame[head:n]...)
	}
	if trains < 3 || len(large) < 3*1500 {
		t.Fatalf("%d segments, %d bytes", trains, len(large))
	}
	ip := wire.IPv4(large[wire.EthernetLen:])
	ip.SetTotalLen(len(ip))
	ip.Seal()
	h := wire.TCP(ip.Payload())
	h.Seal(ip.PseudoSum())

	before := d.b.Count
	d.b.Input(0, large, d.now)
	if c := d.b.Count.Since(&before); c[drop.None] != 1 || c.Dropped() != 0 {
		t.Fatalf("%v", drops(d.b))
	}
	if n, errno, _ := d.cb.Read(got); !bytes.Equal(got[:n], body[:len(large)-head]) {
		t.Fatalf("%d of %d bytes, %v", n, len(large)-head, errno)
	}
	acks := 0
	for n := d.b.Output(0, d.frame[:], d.now); n > 0; n = d.b.Output(0, d.frame[:], d.now) {
		if ack := wire.TCP(d.frame[wire.EthernetLen+wire.IPv4Len : n]).Ack(); ack != h.Seq().Add(len(large)-head) {
			t.Errorf("acknowledged up to %d of %d", ack.Sub(h.Seq()), len(large)-head)
		}
		acks++
		d.a.Input(0, d.frame[:n], d.now)
	}
	if acks != 1 {
		t.Errorf("%d acknowledgements", acks)
	}
	if left := d.ca.Unacked(); left != len(body)-(len(large)-head) {
		t.Errorf("%d bytes are not acknowledged", left)
	}
}
