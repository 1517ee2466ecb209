package engine

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// trainHeader is that of a train over Ethernet with payload bytes behind it: the IP header is whole, the TCP checksum that of the
// pseudo-header. ecn is the byte of the traffic class.
func trainHeader(src, dst netip.Addr, seq uint32, flags byte, payload int) (head []byte, at int) {
	const tcpLen = 20
	be := binary.BigEndian
	head = append(head, "\xff\xff\xff\xff\xff\xff\x02\x00\x00\x00\x00\x01"...)
	var addrs []byte
	addrs = append(append(addrs, src.AsSlice()...), dst.AsSlice()...)
	if src.Is4() {
		head = append(head, 8, 0, 0x45, 2)
		head = be.AppendUint16(head, uint16(20+tcpLen+payload))
		head = append(head, 0, 0, 0x40, 0, 64, unix.IPPROTO_TCP, 0, 0)
		head = append(head, addrs...)
		be.PutUint16(head[24:], ^fold(sumOf(head[14:])))
	} else {
		head = append(head, 0x86, 0xdd, 0x60, 0x20, 0, 0)
		head = be.AppendUint16(head, uint16(tcpLen+payload))
		head = append(head, unix.IPPROTO_TCP, 64)
		head = append(head, addrs...)
	}
	at = len(head)
	head = append(head, 0x10, 0x01, 0x20, 0x02)
	head = be.AppendUint32(head, seq)
	head = append(head, 0, 0, 0, 7, 0x50, flags, 0x10, 0, 0, 0, 0, 0)
	be.PutUint16(head[at+tcpChecksumOffset:], fold(sumOf(addrs)+uint64(unix.IPPROTO_TCP)+uint64(tcpLen+payload)))
	return head, at
}

// What a kernel makes of a train between two AF_XDP ends, which it cuts by itself: segments of one size with numbers that follow, CWR
// on the first, PSH and FIN on the last, and checksums that are right.
func TestTrain(t *testing.T) {
	t.Run("AF_XDP", func(t *testing.T) {
		l := newXDPLink(t, 1, 1500)
		testTrain(t, l.open(l.a, 0, nil), l.open(l.b, 0, nil))
	})
	t.Run("AF_PACKET", func(t *testing.T) {
		l := newXDPLink(t, 1, 1500)
		var near *Packet
		err := l.ns.Do(func() (err error) {
			near, err = OpenPacket(PacketConfig{Interface: l.a.Name})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		testTrain(t, near, l.open(l.b, 0, nil))
	})
}

func testTrain(t *testing.T, near, far Device) {
	if near.Info().TrainMax != trainMax {
		t.Fatal("takes no trains")
	}
	const fin, psh, ack, cwr = 1, 8, 16, 128
	payload := make([]byte, 50*1000)
	for i := range payload {
		payload[i] = byte(i * 7 >> 3)
	}
	sent := uint64(0)
	for _, c := range []struct {
		src, dst string
		n        int
	}{{"192.0.2.1", "192.0.2.2", 50_000}, {"2001:db8::1", "2001:db8::2", 43_210}, {"192.0.2.1", "192.0.2.2", 999}, {"192.0.2.1", "192.0.2.2", 1000}} {
		head, at := trainHeader(netip.MustParseAddr(c.src), netip.MustParseAddr(c.dst), 1_000_000, ack|psh|fin|cwr, c.n)
		tx := make([]Frame, 4)
		r := near.Reserve(tx)
		// A frame of its own goes before the train, and the slot of the train stays free.
		putHeader(tx[0].Data, 77)
		tx[0].Data = tx[0].Data[:60]
		tx[1].Data = tx[1].Data[:copy(tx[1].Data, head)]
		tx[1].Train = &Train{Pieces: [][]byte{payload[:100], payload[100:c.n]}, Len: c.n, Segment: 1000, At: at}
		near.Submit(tx[:2], r)
		want := (c.n + 999) / 1000
		sent += uint64(1 + want)
		var got [][]byte
		comeTrue(t, "the segments", func() bool {
			readFrames(far, func(f *Frame) { got = append(got, bytes.Clone(f.Data)) })
			return len(got) >= 1+want
		})
		if len(got) != 1+want || len(got[0]) != 60 {
			t.Fatalf("%s: %d frames, the first of %d bytes, want %d", c.src, len(got), len(got[0]), 1+want)
		}
		var all []byte
		for i, f := range got[1:] {
			flags := byte(ack)
			if i == 0 {
				flags |= cwr
			}
			if i == want-1 {
				flags |= psh | fin
			}
			size := min(1000, c.n-1000*i)
			seq := binary.BigEndian.Uint32(f[at+4:])
			if seq != uint32(1_000_000+1000*i) || f[at+tcpFlagsOffset] != flags || len(f) != len(head)+size {
				t.Errorf("%s: segment %d: seq %d, flags %#x, %d bytes", c.src, i, seq, f[at+tcpFlagsOffset], len(f))
			}
			addrs := f[26:at]
			if at > 34 {
				addrs = f[22:at]
			}
			pseudo := sumOf(addrs) + unix.IPPROTO_TCP + uint64(len(f)-at)
			field := binary.BigEndian.Uint16(f[at+tcpChecksumOffset:])
			if fold(pseudo+sumOf(f[at:])) != 0xffff && field != fold(pseudo) { // a veth leaves it unfinished
				t.Errorf("%s: segment %d: checksum %#x", c.src, i, field)
			}
			all = append(all, f[at+20:]...)
		}
		if !bytes.Equal(all, payload[:c.n]) {
			t.Errorf("%s: the payload is another one", c.src)
		}
	}
	if s := near.Stats(); s.TxPackets != sent || s.TxBusy+s.TxInvalid != 0 {
		t.Errorf("%d packets are counted, want %d: %+v", s.TxPackets, sent, s)
	}
	closeDevice(t, near)
	closeDevice(t, far)
}

// A train that finds no room waits as a copy, and nothing is shown to be sent before it.
func TestTrainWaitsForRoom(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	unix.SetsockoptInt(fds[0], unix.SOL_SOCKET, unix.SO_SNDBUF, 1) // the least: the second message has no room
	s := newTrainSocket(fds[0])
	head, at := trainHeader(netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 5, 16|128, 3000)
	payload := bytes.Repeat([]byte("abc"), 1000)
	train := &Train{Pieces: [][]byte{payload[:1], payload[1:]}, Len: len(payload), Segment: 1400, At: at}
	sent := 0
	for ; !s.waits(); sent++ {
		if errno := s.send(head, train); errno != 0 && errno != unix.EAGAIN || sent > 1000 {
			t.Fatal(sent, errno)
		}
	}
	want := slices.Concat(s.vnet[:], head, payload)
	clear(payload) // the connection has ended, and its memory is another's
	if errno := s.again(); errno != unix.EAGAIN || !s.waits() {
		t.Fatal("sent without room:", errno)
	}
	got := make([]byte, 70_000)
	for i := range sent {
		n, err := unix.Read(fds[1], got)
		if err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("message %d of %d: %d bytes, want %d, %v", i, sent, n, len(want), err)
		}
		if i == 0 {
			if errno := s.again(); errno != 0 || s.waits() {
				t.Fatal("not sent with room:", errno)
			}
		}
	}
	ne := binary.NativeEndian
	if want[vnetFlags] != vnetNeedsCsum || want[vnetGSOType] != vnetGSOTCP4|vnetGSOECN || ne.Uint16(want[vnetHdrLenField:]) != uint16(len(head)) ||
		ne.Uint16(want[vnetGSOSize:]) != 1400 || ne.Uint16(want[vnetCsumStart:]) != uint16(at) || ne.Uint16(want[vnetCsumOffset:]) != 16 {
		t.Errorf("virtio_net_hdr % x", want[:vnetHdrLen])
	}
	for name, bad := range map[string]*Train{
		"too many pieces": {Pieces: make([][]byte, trainPieces+1), Len: 1, Segment: 1, At: at},
		"no segment":      {Len: 1, At: at},
		"no TCP header":   {Len: 1, Segment: 1, At: len(head)},
	} {
		if errno := s.send(head, bad); errno != unix.EINVAL {
			t.Errorf("%s: %v", name, errno)
		}
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
}

// A device that does not take trains counts one as what cannot be sent, and its frame is not lost.
func TestTrainThatNobodyTakes(t *testing.T) {
	l := newXDPLink(t, 1, 1500)
	l.a.noTrains = true
	d := l.open(l.a, 0, nil)
	if d.Info().TrainMax != 0 {
		t.Error("takes trains")
	}
	tx := make([]Frame, 1)
	for range 3 * afxdpFrames {
		r := d.Reserve(tx)
		if r != 1 {
			t.Fatal("a frame was lost")
		}
		tx[0].Train = &Train{Len: 1, Segment: 1}
		d.Submit(tx, r)
	}
	if s := d.Stats(); s.TxInvalid != 3*afxdpFrames || s.TxPackets != 0 {
		t.Errorf("%+v", s)
	}
	closeDevice(t, d)
}

// A handler stops behind a train and is asked again, for at most so many in one turn.
func TestTurnOfTrains(t *testing.T) {
	h := &fakeHandler{}
	c, dev, _ := manual(t, h)
	left, asked := 2*trainTurn+1, 0
	h.onOutput = func(_ int, frames []Frame) int {
		for i := range frames {
			if frames[i].Train != nil {
				t.Error("a train is left from before")
			}
			frames[i].Data = frames[i].Data[:1]
			if asked++; asked%2 == 0 && left > 0 { // one packet, then a train
				left--
				frames[i].Train = new(Train)
				return i + 1
			}
			if left == 0 {
				return i
			}
		}
		return len(frames)
	}
	for _, want := range []int{trainTurn + 1, 1, 0} {
		dev.submits = nil
		c.Turn()
		if left != want {
			t.Fatalf("%d trains are left, want %d (%v)", left, want, dev.submits)
		}
		if c.full != (left > 0) {
			t.Errorf("with %d trains left, full is %v", left, c.full)
		}
	}
}
