package engine

import (
	"encoding/binary"
	"errors"
	"math/bits"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A packetBatch is the argument of recvmmsg(2) or sendmmsg(2). Every message is
// a virtio_net_hdr and a frame; received ones have a control message too.
type packetBatch struct {
	msgs    []mmsghdr
	iovs    [][2]unix.Iovec
	vnet    [][vnetHdrLen]byte
	control [][auxdataSpace]byte
}

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
}

const (
	vnetHdrLen = 10 // struct virtio_net_hdr

	// struct virtio_net_hdr: flags, gso_type u8; hdr_len, gso_size, csum_start, csum_offset u16, of the machine's order
	vnetFlags, vnetGSOType, vnetCsumStart, vnetCsumOffset = 0, 1, 6, 8

	vnetNeedsCsum = 1 // VIRTIO_NET_HDR_F_NEEDS_CSUM: the checksum is that of the pseudo header alone
	vnetGSOUDP    = 3 // VIRTIO_NET_HDR_GSO_UDP
	vnetGSOUDPL4  = 5 // VIRTIO_NET_HDR_GSO_UDP_L4: many datagrams under one header
	vnetGSOECN    = 0x80

	// struct tpacket_auxdata: status, len, snaplen u32; mac, net, vlan_tci, vlan_tpid u16
	auxStatus, auxVLANTCI, auxVLANTPID, auxdataLen = 0, 16, 18, 20

	// CMSG_SPACE(auxdataLen) on any machine.
	auxdataSpace = 40
)

func (b *packetBatch) init() {
	b.msgs = make([]mmsghdr, lenderBatchMax)
	b.iovs = make([][2]unix.Iovec, lenderBatchMax)
	b.vnet = make([][vnetHdrLen]byte, lenderBatchMax)
	b.control = make([][auxdataSpace]byte, lenderBatchMax)
	for i := range b.msgs {
		b.iovs[i][0].Base = &b.vnet[i][0]
		b.iovs[i][0].SetLen(vnetHdrLen)
		b.msgs[i].hdr.Iov = &b.iovs[i][0]
		b.msgs[i].hdr.SetIovlen(2)
	}
}

// Peek lends what has arrived.
func (p *Packet) Peek(frames []Frame) (n int) {
	room := p.peekRoom(len(frames))
	if room == 0 {
		return 0
	}
	got := p.receive(room)
	// Frames leave the stack in the order of the slots: what slot i holds is then at the
	// top, and a slot that is passed over must wait until the others have been taken.
	var skipped [lenderBatchMax]uint32
	skips := 0
	for i := range got {
		slot := p.rx.memory(p.rx.top(0))
		data, ok := p.frame(i, slot)
		if !ok {
			skipped[skips] = p.rx.pop()
			skips++
			continue
		}
		frames[n] = p.take(data)
		n++
	}
	for _, number := range skipped[:skips] {
		p.rx.push(number)
	}
	p.received(frames[:n])
	return n
}

// receive fills the next free frames, leaving room for a VLAN tag before each.
func (p *Packet) receive(room int) (got int) {
	b := &p.rxMsgs
	for i := range room {
		slot := p.rx.memory(p.rx.top(i))[vlanTagLen:]
		b.iovs[i][1].Base = &slot[0]
		b.iovs[i][1].SetLen(len(slot))
		b.msgs[i].hdr.Control = &b.control[i][0]
		b.msgs[i].hdr.SetControllen(auxdataSpace)
		b.msgs[i].hdr.Flags = 0
	}
	r, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(room),
		unix.MSG_DONTWAIT, 0, 0)
	switch errno {
	case 0:
		return int(r)
	case unix.EAGAIN, unix.EINTR:
	default:
		p.receiveFailed(errno)
	}
	return 0
}

// receiveFailed counts a packet that was put together in a way that this kernel's virtio_net_hdr
// has no word for (UDP_SEGMENT before Linux 6.2): it is gone. Behind frames of the same batch
// recvmmsg(2) leaves that error to the socket, where the next call finds it or a sleeper does.
func (p *Packet) receiveFailed(errno unix.Errno) {
	if errno == unix.EINVAL {
		p.stats.rxOversize.Add(1)
		return
	}
	p.failed(errno)
}

const vlanTagLen = 4

// frame makes of what message i left in its slot the frame that was on the wire.
func (p *Packet) frame(i int, slot []byte) (data []byte, ok bool) {
	msg, vnet := &p.rxMsgs.msgs[i], &p.rxMsgs.vnet[i]
	n := int(msg.len) - vnetHdrLen
	if n < etherHeaderLen {
		return nil, false
	}
	switch vnet[vnetGSOType] &^ vnetGSOECN {
	case vnetGSOUDP, vnetGSOUDPL4:
		// One header for many datagrams would be read as one long datagram.
		p.stats.rxOversize.Add(1)
		return nil, false
	}
	if msg.hdr.Flags&unix.MSG_TRUNC != 0 {
		p.stats.rxOversize.Add(1)
		return nil, false
	}
	data = slot[vlanTagLen : vlanTagLen+n]
	if vnet[vnetFlags]&vnetNeedsCsum != 0 {
		finishChecksum(data, int(binary.NativeEndian.Uint16(vnet[vnetCsumStart:])), int(binary.NativeEndian.Uint16(vnet[vnetCsumOffset:])))
	}
	if tci, tpid, ok := vlanOf(p.rxMsgs.control[i][:min(int(msg.hdr.Controllen), auxdataSpace)]); ok {
		copy(slot, data[:2*6])
		binary.BigEndian.PutUint16(slot[12:], tpid)
		binary.BigEndian.PutUint16(slot[14:], tci)
		data = slot[:vlanTagLen+n]
	}
	return data, true
}

const etherHeaderLen = 14

// vlanOf finds the tag that the kernel has taken off, in the PACKET_AUXDATA message.
func vlanOf(control []byte) (tci, tpid uint16, ok bool) {
	if len(control) < unix.SizeofCmsghdr+auxdataLen {
		return 0, 0, false
	}
	hdr := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	if hdr.Level != unix.SOL_PACKET || hdr.Type != unix.PACKET_AUXDATA {
		return 0, 0, false
	}
	aux := control[unix.SizeofCmsghdr:]
	status := binary.NativeEndian.Uint32(aux[auxStatus:])
	if status&unix.TP_STATUS_VLAN_VALID == 0 {
		return 0, 0, false
	}
	tpid = unix.ETH_P_8021Q
	if status&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		tpid = binary.NativeEndian.Uint16(aux[auxVLANTPID:])
	}
	return binary.NativeEndian.Uint16(aux[auxVLANTCI:]), tpid, true
}

// finishChecksum does what the hardware would have done for CHECKSUM_PARTIAL: the
// field at start+offset holds the sum over the pseudo header, and becomes the
// checksum over that and everything from start on.
func finishChecksum(data []byte, start, offset int) {
	field := start + offset
	if field+2 > len(data) {
		return // not what the kernel says it is; the checksum will not be right
	}
	sum := ^fold(sumOf(data[start:]))
	if sum == 0 && offset == udpChecksumOffset {
		sum = 0xffff // RFC 768: 0 says that there is none
	}
	binary.BigEndian.PutUint16(data[field:], sum)
}

const udpChecksumOffset = 6

// sumOf is the one's complement sum of big-endian 16-bit words, eight bytes at a time (RFC 1071 §2).
func sumOf(b []byte) (sum uint64) {
	var carry uint64
	for len(b) >= 8 {
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) > 0 {
		var rest [8]byte
		copy(rest[:], b)
		sum, carry = bits.Add64(sum, binary.BigEndian.Uint64(rest[:]), carry)
	}
	sum, carry = bits.Add64(sum, 0, carry)
	return sum + carry
}

func fold(sum uint64) uint16 {
	sum = sum>>32 + sum&(1<<32-1)
	sum = sum>>32 + sum&(1<<32-1)
	sum = sum>>16 + sum&0xffff
	sum = sum>>16 + sum&0xffff
	return uint16(sum>>16 + sum&0xffff)
}

// Reserve shows free frames, but none before a train that waits.
func (p *Packet) Reserve(frames []Frame) int {
	if p.trains.waits() {
		p.stats.txNoFrame.Add(1)
		return 0
	}
	return p.lender.Reserve(frames)
}

// Unsent says whether frames wait for the kernel to take them.
func (p *Packet) Unsent() bool { return p.lender.Unsent() || p.trains.waits() }

// Submit sends. What the kernel has no room for waits, in order.
func (p *Packet) Submit(frames []Frame, reserved int) {
	train, frames := takeTrain(frames)
	p.submit(frames)
	for len(p.waiting()) > 0 {
		if p.err.Load() != nil {
			p.drop()
			break
		}
		if !p.transmit() {
			break
		}
	}
	p.settle()
	if len(p.waiting()) == 0 && p.trains.waits() {
		p.trainSent(p.trains.again(), 1)
	}
	if train != nil {
		p.sendTrain(train)
	}
}

// sendTrain sends the train of a frame behind what waits already.
func (p *Packet) sendTrain(f *Frame) {
	n := f.Train.segments()
	switch {
	case p.trains.waits(): // more than Reserve has shown room for
		p.stats.txInvalid.Add(1)
		return
	case len(p.waiting()) > 0:
		p.trains.keep(f.Data, f.Train)
	case !p.trainSent(p.trains.send(f.Data, f.Train), n):
		return
	}
	p.stats.txPackets.Add(uint64(n))
	p.stats.txBytes.Add(uint64(n*len(f.Data) + f.Train.Len))
}

// trainSent counts what the kernel has said to a train of n segments, and says whether they went out or will.
func (p *Packet) trainSent(errno unix.Errno, n int) bool {
	p.stats.kicks.Add(1)
	switch errno {
	case 0, unix.EAGAIN:
		return true
	case unix.ENOBUFS: // the queueing discipline has dropped it
		p.stats.txBusy.Add(uint64(n))
	default:
		p.stats.kickErrors.Add(1)
		p.stats.txInvalid.Add(uint64(n))
		p.failed(errno)
	}
	return false
}

// transmit is one sendmmsg(2). It says whether to go on.
func (p *Packet) transmit() bool {
	b := &p.txMsgs
	waiting := p.waiting()
	n := min(len(waiting), lenderBatchMax)
	bytes := 0
	for i, o := range waiting[:n] {
		b.iovs[i][1].Base = unsafe.SliceData(o.data)
		b.iovs[i][1].SetLen(len(o.data))
	}
	p.stats.kicks.Add(1)
	r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(p.fd), uintptr(unsafe.Pointer(&b.msgs[0])), uintptr(n),
		unix.MSG_DONTWAIT, 0, 0)
	if errno == 0 {
		for _, o := range waiting[:r] {
			bytes += len(o.data)
		}
		p.stats.txPackets.Add(uint64(r))
		p.stats.txBytes.Add(uint64(bytes))
		p.sent(int(r))
		return true
	}
	switch errno {
	case unix.EAGAIN, unix.EINTR: // the socket's send buffer is full of frames that the driver still has
		return errno == unix.EINTR
	case unix.ENOBUFS: // the queueing discipline has dropped it
		p.stats.txBusy.Add(1)
	default:
		p.stats.kickErrors.Add(1)
		if p.failed(errno) {
			return true
		}
		if errors.Is(errno, unix.ENETDOWN) {
			return false
		}
		p.stats.txInvalid.Add(1) // EMSGSIZE, EINVAL: this frame; trying it again would stop the others
	}
	p.sent(1)
	return true
}
