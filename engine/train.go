package engine

import (
	"encoding/binary"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Train is TCP segments of one connection that leave as one packet, which the kernel or the NIC cuts (GSO): the headers
// stand in the frame's Data once, made out for all of it, and the payload somewhere else. The TCP checksum field holds the
// sum of the pseudo-header, not complemented.
//
// In copy mode a packet costs the kernel some microseconds on its way from the tx ring to the wire, whatever its length: 80 % of what
// sending in bulk takes. A train costs that once. Measured on veth, one stream to a kernel's socket in writes of 7 KB: 3.43 Gbit/s
// instead of 1.91.
type Train struct {
	Pieces  [][]byte // the payload in order, trainPieces at most; they stand until Submit has returned
	Len     int      // its bytes, at most Info.TrainMax
	Segment int      // payload bytes of each segment but the last
	At      int      // where the TCP header begins in Data
}

// segments is how many packets come of it.
func (t *Train) segments() int { return max((t.Len+t.Segment-1)/t.Segment, 1) }

// takeTrain takes the frame with a train, which is the last, off those that Submit is to send; nil: there is none.
func takeTrain(frames []Frame) (train *Frame, rest []Frame) {
	last := len(frames) - 1
	if last < 0 || frames[last].Train == nil {
		return nil, frames
	}
	return &frames[last], frames[:last]
}

const (
	// trainMax (bytes) is the longest payload: an IP packet has 65535 bytes at most, headers included.
	trainMax = 65535 - 40 - 60

	// trainPieces is how many pieces of 4 KiB the longest payload has at most, the first one and the last
	// one being cut.
	trainPieces = 18

	// trainBuffer asks for the socket's send buffer in bytes, which the kernel doubles: what waits for the interface at once
	// at most (tcp_limit_output_bytes of Linux). A train counts with some 70 KB.
	trainBuffer = 1 << 20

	// trainTurn is how many trains of a port one turn sends: 512 KiB, as much as eight batches of packets.
	trainTurn = 8

	// struct virtio_net_hdr: hdr_len, gso_size u16.
	vnetHdrLenField, vnetGSOSize = 2, 4

	vnetGSOTCP4 = 1 // VIRTIO_NET_HDR_GSO_TCPV4
	vnetGSOTCP6 = 4 // VIRTIO_NET_HDR_GSO_TCPV6

	tcpChecksumOffset = 16
	tcpFlagsOffset    = 13
	tcpCWR            = 0x80
)

// A trainSocket sends trains by AF_PACKET, whose virtio_net_hdr says how to cut them: the socket of a [Packet], or one beside an AF_XDP
// socket. All belongs to the core.
type trainSocket struct {
	fd   int
	vnet [vnetHdrLen]byte
	iovs [2 + trainPieces]unix.Iovec
	msg  unix.Msghdr

	// pending is the message that the kernel had no room for, from its vnet on; empty: there is none. Its bytes are a copy, since
	// the connection may have ended when it is sent.
	pending []byte
}

// openTrains opens the socket for an interface in the network namespace of the calling thread.
func openTrains(index int) (s *trainSocket, err error) {
	// Protocol 0: nothing arrives.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("engine: packet socket (needs CAP_NET_RAW): %w", err)
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1); err != nil {
		return nil, fmt.Errorf("engine: packet socket: PACKET_VNET_HDR: %w", err)
	}
	// SO_SNDBUFFORCE needs CAP_NET_ADMIN; without it the system's limit holds, and fewer trains wait for the interface.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, trainBuffer) != nil {
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, trainBuffer)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: index}); err != nil {
		return nil, fmt.Errorf("engine: packet socket: bind: %w", err)
	}
	return newTrainSocket(fd), nil
}

func newTrainSocket(fd int) *trainSocket {
	s := &trainSocket{fd: fd}
	s.msg.Iov = &s.iovs[0]
	return s
}

// send gives the kernel a train behind its headers. EAGAIN says that it waits, for again.
func (s *trainSocket) send(head []byte, t *Train) unix.Errno {
	if len(t.Pieces) > trainPieces || t.Segment <= 0 || t.At+tcpFlagsOffset >= len(head) {
		return unix.EINVAL
	}
	s.describe(head, t)
	s.put(0, s.vnet[:])
	s.put(1, head)
	for i, piece := range t.Pieces {
		s.put(2+i, piece)
	}
	n := 2 + len(t.Pieces)
	errno := s.write(n)
	if errno == unix.EAGAIN {
		s.keep(head, t)
	}
	return errno
}

// keep has a train wait for again.
func (s *trainSocket) keep(head []byte, t *Train) {
	s.describe(head, t)
	s.pending = append(append(s.pending[:0], s.vnet[:]...), head...)
	for _, piece := range t.Pieces {
		s.pending = append(s.pending, piece...)
	}
}

// again tries to send what waits. Unless it is EAGAIN once more, nothing waits then.
func (s *trainSocket) again() unix.Errno {
	s.put(0, s.pending)
	errno := s.write(1)
	if errno != unix.EAGAIN {
		s.pending = s.pending[:0]
	}
	return errno
}

// waits says whether a train waits for room, before which nothing else goes out.
func (s *trainSocket) waits() bool { return s != nil && len(s.pending) > 0 }

func (s *trainSocket) put(i int, b []byte) {
	s.iovs[i].Base = unsafe.SliceData(b)
	s.iovs[i].SetLen(len(b))
}

// describe fills in the virtio_net_hdr.
func (s *trainSocket) describe(head []byte, t *Train) {
	ne := binary.NativeEndian
	s.vnet = [vnetHdrLen]byte{vnetFlags: vnetNeedsCsum}
	ne.PutUint16(s.vnet[vnetHdrLenField:], uint16(len(head)))
	ne.PutUint16(s.vnet[vnetCsumStart:], uint16(t.At))
	ne.PutUint16(s.vnet[vnetCsumOffset:], tcpChecksumOffset)
	if t.Len <= t.Segment {
		return
	}
	kind := byte(vnetGSOTCP4)
	if head[etherHeaderLen]>>4 == 6 {
		kind = vnetGSOTCP6
	}
	if head[t.At+tcpFlagsOffset]&tcpCWR != 0 {
		kind |= vnetGSOECN
	}
	s.vnet[vnetGSOType] = kind
	ne.PutUint16(s.vnet[vnetGSOSize:], uint16(t.Segment))
}

// write is one sendmsg(2) of the first n of iovs. It does not wait, so Go's scheduler need not hear of it.
func (s *trainSocket) write(n int) unix.Errno {
	s.msg.SetIovlen(n)
	for {
		_, _, errno := unix.RawSyscall(unix.SYS_SENDMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&s.msg)), unix.MSG_DONTWAIT)
		if errno != unix.EINTR {
			return errno
		}
	}
}

func (s *trainSocket) close() error {
	if s == nil {
		return nil
	}
	return unix.Close(s.fd)
}
