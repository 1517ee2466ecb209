package engine

import "github.com/xdpsock/xdpsock/xsk"

// The sizes of an AF_XDP device. Rings are powers of two.
const (
	// afxdpRxRing is how many packets may arrive while nobody looks: at a million a second
	// 2 ms, about what a program that was preempted needs.
	afxdpRxRing = 2048

	// afxdpTxRing is how far the driver may fall behind us. What does not fit stays in the
	// sockets, where it is better off.
	afxdpTxRing = 1024

	// afxdpCompletionRing holds all that can be in flight, so that the kernel never has to wait for
	// us to take completions before it sends (it answers EAGAIN then).
	afxdpCompletionRing = afxdpTxRing

	// afxdpKeepMax is how many frames a handler may keep at once, a port.
	afxdpKeepMax = 1024

	// afxdpScratchLen (bytes) is where packets of several descriptors are made contiguous, a
	// batch of them: two of the longest that IP knows, 28 of 9 KB.
	afxdpScratchLen = 256 << 10
)

// afxdpFrames is how many frames one port can have out at once; a UMEM has as many
// for each of its ports, so that none starves another.
const afxdpFrames = afxdpRxRing + // fill ring, driver and rx ring: kept topped up to this
	batchMax + // lent by Peek
	afxdpTxRing + // tx ring
	afxdpCompletionRing + // sent, or being sent, and not reclaimed yet
	afxdpKeepMax + // kept by the handler
	batchMax // shown by Reserve

// linkHeaderMax (bytes) is what comes before an IP packet: Ethernet and two VLAN tags.
const linkHeaderMax = 14 + 2*4

// UMEMFor says what memory a core needs for that many AF_XDP ports whose packets have up to mtu
// bytes. Packets that do not fit into one frame need AFXDPConfig.MultiBuffer; multi says so.
func UMEMFor(mtu, ports int) (cfg xsk.UMEMConfig, multi bool) {
	cfg = xsk.UMEMConfig{Frames: ports * afxdpFrames, FrameSize: 2048}
	if mtu+linkHeaderMax > cfg.RoomRx() {
		cfg.FrameSize = 4096
	}
	return cfg, mtu+linkHeaderMax > cfg.RoomRx()
}
