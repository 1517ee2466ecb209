package wire

import "encoding/binary"

// Read first: RFC 9293 §3.2, RFC 7323 §2-3, RFC 2018 §2-3, RFC 7413 §4.1.1.

// Kinds of TCP options (IANA "TCP Option Kind Numbers").
const (
	tcpOptEnd           = 0
	tcpOptNOP           = 1
	tcpOptMSS           = 2
	tcpOptWScale        = 3
	tcpOptSACKPermitted = 4
	tcpOptSACK          = 5
	tcpOptTimestamps    = 8
	tcpOptFastOpen      = 34
)

const (
	// TCPTimestampsLen is what timestamps take of each segment: 10 bytes and two NOPs that
	// align them (RFC 7323 appendix A).
	TCPTimestampsLen = 12

	// TCPWScaleMax is the largest shift count (RFC 7323 §2.3).
	TCPWScaleMax = 14

	// SACKBlocksMax is how many blocks fit into 40 bytes of options (RFC 2018 §3);
	// three beside timestamps.
	SACKBlocksMax = 4

	// FastOpenCookieMin and FastOpenCookieMax are the bounds of a cookie (RFC 7413 §4.1.1).
	FastOpenCookieMin = 4
	FastOpenCookieMax = 16

	tcpOptionsMax = TCPMaxLen - TCPLen

	timestampsHead = tcpOptNOP<<24 | tcpOptNOP<<16 | tcpOptTimestamps<<8 | 10
)

// TCPOptions are the options of one segment. The zero value is not that of a segment
// without any, since a window scale of 0 is an option too: that is [NoTCPOptions].
type TCPOptions struct {
	MSS           uint16 // bytes, of a SYN; 0: absent
	WScale        int8   // shift count 0 to TCPWScaleMax, of a SYN; -1: absent
	SACKPermitted bool   // of a SYN
	TS            bool   // TSVal and TSEcr are there
	SACKCount     uint8  // blocks in SACK
	TSVal, TSEcr  uint32
	SACK          [SACKBlocksMax][2]Seq // left edge, right edge (the first number after the block)
	FastOpen      []byte                // of a SYN: the cookie, empty when one is asked for, nil when absent
}

// NoTCPOptions are the options of a segment without any.
var NoTCPOptions = TCPOptions{WScale: -1}

// ParseTCPOptions reads the options of a segment, b being [TCP.Options]. FastOpen
// points into b. Unknown options are skipped (RFC 9293 §3.2, MUST-6). ok is false if the list is
// malformed: an option ends beyond the list, is shorter than two bytes, or a known one
// has a length that is not its own. What came before stands, what comes after is
// not read. A shift count above 14 is taken as 14 (RFC 7323 §2.3).
func ParseTCPOptions(b []byte) (o TCPOptions, ok bool) {
	o.WScale = -1
	if len(b) == TCPTimestampsLen && binary.BigEndian.Uint32(b) == timestampsHead {
		o.TS, o.TSVal, o.TSEcr = true, binary.BigEndian.Uint32(b[4:8]), binary.BigEndian.Uint32(b[8:12])
		return o, true
	}
	for len(b) > 0 {
		switch b[0] {
		case tcpOptEnd:
			return o, true
		case tcpOptNOP:
			b = b[1:]
			continue
		}
		if len(b) < 2 || b[1] < 2 || int(b[1]) > len(b) {
			return o, false
		}
		if !o.parse(b[0], b[2:b[1]:b[1]]) {
			return o, false
		}
		b = b[b[1]:]
	}
	return o, true
}

// parse takes in one option; v is what follows its kind and length.
func (o *TCPOptions) parse(kind uint8, v []byte) bool {
	switch kind {
	case tcpOptMSS:
		if len(v) != 2 {
			return false
		}
		o.MSS = binary.BigEndian.Uint16(v)
	case tcpOptWScale:
		if len(v) != 1 {
			return false
		}
		o.WScale = int8(min(v[0], TCPWScaleMax))
	case tcpOptSACKPermitted:
		if len(v) != 0 {
			return false
		}
		o.SACKPermitted = true
	case tcpOptTimestamps:
		if len(v) != 8 {
			return false
		}
		o.TS, o.TSVal, o.TSEcr = true, binary.BigEndian.Uint32(v[0:4]), binary.BigEndian.Uint32(v[4:8])
	case tcpOptSACK:
		if len(v) == 0 || len(v)%8 != 0 || len(v) > 8*SACKBlocksMax {
			return false
		}
		o.SACKCount = uint8(len(v) / 8)
		for i := range o.SACKCount {
			o.SACK[i] = [2]Seq{{binary.BigEndian.Uint32(v[8*i:])}, {binary.BigEndian.Uint32(v[8*i+4:])}}
		}
	case tcpOptFastOpen:
		if len(v) != 0 && (len(v) < FastOpenCookieMin || len(v) > FastOpenCookieMax || len(v)%2 != 0) {
			return false
		}
		o.FastOpen = v
	}
	return true
}

// PutSYNOptions writes the options of a SYN or SYN-ACK in the order that Linux uses, so
// that middleboxes see nothing new: MSS, SACK permitted, timestamps, NOP and
// window scale, Fast Open. It returns their length, a multiple of 4; b has room for
// 40 bytes. A Fast Open cookie that does not fit any more is left out (RFC 7413 §4.1.1: the
// client then asks without one). SACK blocks do not belong on a SYN and are not written.
func PutSYNOptions(b []byte, o *TCPOptions) int {
	n := 0
	if o.MSS != 0 {
		binary.BigEndian.PutUint32(b, tcpOptMSS<<24|4<<16|uint32(o.MSS))
		n = 4
	}
	switch {
	case o.TS && o.SACKPermitted:
		binary.BigEndian.PutUint32(b[n:], tcpOptSACKPermitted<<24|2<<16|tcpOptTimestamps<<8|10)
		n += 4 + putTimestampValues(b[n+4:], o.TSVal, o.TSEcr)
	case o.TS:
		n += PutTimestamps(b[n:], o.TSVal, o.TSEcr)
	case o.SACKPermitted:
		binary.BigEndian.PutUint32(b[n:], tcpOptNOP<<24|tcpOptNOP<<16|tcpOptSACKPermitted<<8|2)
		n += 4
	}
	if o.WScale >= 0 {
		binary.BigEndian.PutUint32(b[n:], tcpOptNOP<<24|tcpOptWScale<<16|3<<8|uint32(min(o.WScale, TCPWScaleMax)))
		n += 4
	}
	if o.FastOpen != nil && n+padded(2+len(o.FastOpen)) <= tcpOptionsMax {
		b[n], b[n+1] = tcpOptFastOpen, uint8(2+len(o.FastOpen))
		end := n + 2 + copy(b[n+2:], o.FastOpen)
		n += padded(2 + len(o.FastOpen))
		for ; end < n; end++ {
			b[end] = tcpOptNOP
		}
	}
	return n
}

// PutTCPOptions writes the options of a segment after the handshake in the order that
// Linux uses: NOP NOP timestamps, NOP NOP SACK. It returns their length, a multiple of
// 4; b has room for 40 bytes. Of the SACK blocks those go out that fit, the first ones:
// see [TCPOptionsLen].
func PutTCPOptions(b []byte, o *TCPOptions) int {
	n := 0
	if o.TS {
		n = PutTimestamps(b, o.TSVal, o.TSEcr)
	}
	if blocks := min(int(o.SACKCount), sackBlocksFit(o.TS)); blocks > 0 {
		binary.BigEndian.PutUint32(b[n:], tcpOptNOP<<24|tcpOptNOP<<16|tcpOptSACK<<8|uint32(2+8*blocks))
		n += 4
		for _, edge := range o.SACK[:blocks] {
			binary.BigEndian.PutUint32(b[n:], edge[0].n)
			binary.BigEndian.PutUint32(b[n+4:], edge[1].n)
			n += 8
		}
	}
	return n
}

// TCPOptionsLen returns what [PutTCPOptions] will write for a segment with or without
// timestamps and with that many SACK blocks at hand.
func TCPOptionsLen(ts bool, sackBlocks int) int {
	n := 0
	if ts {
		n = TCPTimestampsLen
	}
	if blocks := min(sackBlocks, sackBlocksFit(ts)); blocks > 0 {
		n += 4 + 8*blocks
	}
	return n
}

// sackBlocksFit returns how many blocks fit beside timestamps, or without them.
func sackBlocksFit(ts bool) int {
	if ts {
		return SACKBlocksMax - 1
	}
	return SACKBlocksMax
}

// PutTimestamps writes NOP NOP timestamps and returns TCPTimestampsLen: all the options
// that most segments have.
func PutTimestamps(b []byte, val, ecr uint32) int {
	_ = b[TCPTimestampsLen-1]
	binary.BigEndian.PutUint32(b, timestampsHead)
	putTimestampValues(b[4:], val, ecr)
	return TCPTimestampsLen
}

func putTimestampValues(b []byte, val, ecr uint32) int {
	binary.BigEndian.PutUint64(b, uint64(val)<<32|uint64(ecr))
	return 8
}

// padded rounds n up to a whole word.
func padded(n int) int { return (n + 3) &^ 3 }
