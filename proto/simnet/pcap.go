package simnet

// Read first: draft-ietf-opsawg-pcap §4 (file header), §5 (packet record).

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/xdpsock/xdpsock/proto/mono"
)

const (
	pcapMagicNanosecond = 0xa1b23c4d // timestamps in nanoseconds
	pcapSnapLen         = 1 << 18    // bytes; libpcap's MAXIMUM_SNAPLEN
	linkTypeEthernet    = 1
	linkTypeRaw         = 101 // begins with an IPv4 or IPv6 header
)

// A Pcap writes what passes on wires to a pcap file with nanosecond timestamps,
// for tcpdump and Wireshark. A frame is written at the moment it is sent, so that cause
// comes before effect, and only if it is going to arrive: as it arrives, and as often.
// The virtual time 0 is the beginning of 1970.
type Pcap struct {
	w   io.Writer
	err error
	buf []byte
}

// NewPcap writes the file's header. Several wires may share one Pcap, if they are all
// of one kind, rawIP or not.
func NewPcap(w io.Writer, rawIP bool) *Pcap {
	p := &Pcap{w: w}
	link := uint32(linkTypeEthernet)
	if rawIP {
		link = linkTypeRaw
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, pcapMagicNanosecond)
	b = le.AppendUint16(b, 2) // version 2.4
	b = le.AppendUint16(b, 4)
	b = append(b, make([]byte, 8)...) // reserved
	b = le.AppendUint32(b, pcapSnapLen)
	p.put(le.AppendUint32(b, link))
	return p
}

// Err is the first error of writing; nothing was written after it.
func (p *Pcap) Err() error { return p.err }

func (p *Pcap) write(frame []byte, now mono.Time) {
	le := binary.LittleEndian
	stored := frame[:min(len(frame), pcapSnapLen)]
	b := le.AppendUint32(p.buf[:0], uint32(now/1e9))
	b = le.AppendUint32(b, uint32(now%1e9))
	b = le.AppendUint32(b, uint32(len(stored)))
	b = le.AppendUint32(b, uint32(len(frame)))
	b = append(b, stored...)
	p.buf = b
	p.put(b)
}

func (p *Pcap) put(b []byte) {
	if p.err != nil {
		return
	}
	if _, err := p.w.Write(b); err != nil {
		p.err = fmt.Errorf("simnet: pcap: %w", err)
	}
}
