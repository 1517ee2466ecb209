package wire

import (
	"encoding/hex"
	"math"
	"strings"
	"testing"
)

func TestSeqRunsInACircle(t *testing.T) {
	top := SeqOf(math.MaxUint32)
	for _, c := range []struct {
		a, b Seq
		diff int
	}{
		{SeqOf(0), SeqOf(0), 0},
		{SeqOf(1), SeqOf(0), 1},
		{SeqOf(0), top, 1},
		{top, SeqOf(0), -1},
		{SeqOf(0x7fffffff), SeqOf(0), 0x7fffffff},
		{SeqOf(0x80000001), SeqOf(0), -0x7fffffff},
		{SeqOf(0x40000000), SeqOf(0xc0000001), 0x7fffffff},
	} {
		if got := c.a.Sub(c.b); got != c.diff {
			t.Errorf("%v-%v is %d, want %d", c.a, c.b, got, c.diff)
		}
		if got := c.b.Add(c.diff); got != c.a {
			t.Errorf("%v+%d is %v, want %v", c.b, c.diff, got, c.a)
		}
		if c.a.Before(c.b) != (c.diff < 0) || c.a.After(c.b) != (c.diff > 0) || c.a.AtOrBefore(c.b) != (c.diff <= 0) || c.a.AtOrAfter(c.b) != (c.diff >= 0) {
			t.Errorf("%v and %v are not in the order of %d", c.a, c.b, c.diff)
		}
		later, earlier := c.a, c.b
		if c.diff < 0 {
			later, earlier = earlier, later
		}
		if c.a.Max(c.b) != later || c.a.Min(c.b) != earlier {
			t.Errorf("Max and Min of %v and %v: %v and %v", c.a, c.b, c.a.Max(c.b), c.a.Min(c.b))
		}
	}
}

func TestSeqInWindow(t *testing.T) {
	for _, c := range []struct {
		s, start Seq
		size     int
		want     bool
	}{
		{SeqOf(10), SeqOf(10), 0, false}, // a window of nothing holds nothing
		{SeqOf(10), SeqOf(10), -1, false},
		{SeqOf(10), SeqOf(10), 1, true},
		{SeqOf(11), SeqOf(10), 1, false},
		{SeqOf(9), SeqOf(10), 100, false},
		{SeqOf(3), SeqOf(math.MaxUint32 - 3), 8, true},
		{SeqOf(4), SeqOf(math.MaxUint32 - 3), 8, false},
		{SeqOf(math.MaxUint32 - 4), SeqOf(math.MaxUint32 - 3), 8, false},
		{SeqOf(1 << 30), SeqOf(0), 1<<30 + 1, true},
	} {
		if got := c.s.InWindow(c.start, c.size); got != c.want {
			t.Errorf("%v in %d from %v on: %v", c.s, c.size, c.start, got)
		}
	}
}

func TestFlagsString(t *testing.T) {
	for f, want := range map[Flags]string{0: "none", SYN: "SYN", SYN | ACK: "SYN|ACK", FIN | PSH | ACK: "FIN|PSH|ACK", 0xff: "FIN|SYN|RST|PSH|URG|ECE|CWR|ACK"} {
		if got := f.String(); got != want {
			t.Errorf("%#x is %q, want %q", uint8(f), got, want)
		}
	}
}

func TestSegLen(t *testing.T) {
	var b [TCPLen + 5]byte
	for f, want := range map[Flags]int{ACK: 5, SYN: 6, FIN | ACK: 6, SYN | FIN: 7} {
		PutTCP(b[:], &TCPFields{Flags: f})
		if got := TCP(b[:]).SegLen(); got != want {
			t.Errorf("%v: %d, want %d", f, got, want)
		}
	}
}

// Options are written in Linux's order, byte for byte.
func TestPutTCPOptions(t *testing.T) {
	blocks := [SACKBlocksMax][2]Seq{{SeqOf(1), SeqOf(2)}, {SeqOf(3), SeqOf(4)}, {SeqOf(5), SeqOf(6)}, {SeqOf(7), SeqOf(8)}}
	for _, c := range []struct {
		name string
		syn  bool
		o    TCPOptions
		want string
	}{
		{"SYN of nothing", true, NoTCPOptions, ""},
		{"SYN of Linux", true, TCPOptions{MSS: 1460, SACKPermitted: true, TS: true, TSVal: 0x01020304, WScale: 7}, "020405b4 0402080a 01020304 00000000 01030307"},
		{"SYN without timestamps", true, TCPOptions{MSS: 1460, SACKPermitted: true, WScale: 0}, "020405b4 01010402 01030300"},
		{"SYN without SACK", true, TCPOptions{MSS: 536, TS: true, TSVal: 1, TSEcr: 2, WScale: -1}, "02040218 0101080a 00000001 00000002"},
		{"SYN that asks for a cookie", true, TCPOptions{MSS: 1460, WScale: -1, FastOpen: []byte{}}, "020405b4 22020101"},
		{"SYN with a cookie", true, TCPOptions{WScale: -1, FastOpen: []byte{1, 2, 3, 4, 5, 6, 7, 8}}, "220a0102 03040506 07080101"},
		{"SYN whose cookie does not fit", true, TCPOptions{MSS: 1460, SACKPermitted: true, TS: true, WScale: 14, FastOpen: make([]byte, 20)}, "020405b4 0402080a 00000000 00000000 0103030e"},
		{"nothing", false, NoTCPOptions, ""},
		{"timestamps", false, TCPOptions{TS: true, TSVal: 1, TSEcr: 2}, "0101080a 00000001 00000002"},
		{"one block", false, TCPOptions{SACK: blocks, SACKCount: 1}, "0101050a 00000001 00000002"},
		{"four blocks", false, TCPOptions{SACK: blocks, SACKCount: 4}, "01010522 00000001 00000002 00000003 00000004 00000005 00000006 00000007 00000008"},
		{"three blocks beside timestamps", false, TCPOptions{TS: true, SACK: blocks, SACKCount: 4}, "0101080a 00000000 00000000 0101051a 00000001 00000002 00000003 00000004 00000005 00000006"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b [40]byte
			put := PutTCPOptions
			if c.syn {
				put = PutSYNOptions
			}
			n := put(b[:], &c.o)
			if got, want := hex.EncodeToString(b[:n]), strings.ReplaceAll(c.want, " ", ""); got != want {
				t.Errorf("\n got %s\nwant %s", got, want)
			}
		})
	}
}

// A malformed list stops at the bad option, keeps what was good and says so.
func TestParseTCPOptions(t *testing.T) {
	for _, c := range []struct {
		name, hex string
		want      TCPOptions
		ok        bool
	}{
		{"none", "", TCPOptions{WScale: -1}, true},
		{"unknown ones are skipped", "1e04aabb 020405b4", TCPOptions{MSS: 1460, WScale: -1}, true},
		{"nothing counts after the end", "00 020405b4", TCPOptions{WScale: -1}, true},
		{"window scale above 14 is 14 (RFC 7323 §2.3)", "0303ff", TCPOptions{WScale: 14}, true},
		{"window scale 0 is an option", "030300", TCPOptions{WScale: 0}, true},
		{"timestamps alone", "0101080a 00000001 00000002", TCPOptions{WScale: -1, TS: true, TSVal: 1, TSEcr: 2}, true},
		{"timestamps not aligned", "080a 00000001 00000002 0101", TCPOptions{WScale: -1, TS: true, TSVal: 1, TSEcr: 2}, true},
		{"good, then length 0", "020405b4 0300", TCPOptions{MSS: 1460, WScale: -1}, false},
		{"good, then length 1", "020405b4 0301", TCPOptions{MSS: 1460, WScale: -1}, false},
		{"good, then beyond the list", "0402 080a0000", TCPOptions{SACKPermitted: true, WScale: -1}, false},
		{"good, then no length", "0402 08", TCPOptions{SACKPermitted: true, WScale: -1}, false},
		{"MSS of 3 bytes, and what follows it is not read", "0203b4 0402", TCPOptions{WScale: -1}, false},
		{"timestamps of 6 bytes", "0806 00000001", TCPOptions{WScale: -1}, false},
		{"SACK permitted with data", "040300", TCPOptions{WScale: -1}, false},
		{"SACK of half a block", "0506 00000001", TCPOptions{WScale: -1}, false},
		{"SACK of no block", "0502", TCPOptions{WScale: -1}, false},
		{"two blocks", "0512 00000001 00000002 fffffff0 00000010", TCPOptions{WScale: -1, SACKCount: 2, SACK: [4][2]Seq{{SeqOf(1), SeqOf(2)}, {SeqOf(0xfffffff0), SeqOf(16)}}}, true},
		{"cookie asked for", "2202", TCPOptions{WScale: -1, FastOpen: []byte{}}, true},
		{"cookie", "220601020304", TCPOptions{WScale: -1, FastOpen: []byte{1, 2, 3, 4}}, true},
		{"cookie of 2 bytes", "22040102", TCPOptions{WScale: -1}, false},
		{"cookie of odd length", "22070102030405", TCPOptions{WScale: -1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := hex.DecodeString(strings.ReplaceAll(c.hex, " ", ""))
			if err != nil {
				t.Fatal(err)
			}
			if got, ok := ParseTCPOptions(b); ok != c.ok || !equalOptions(&got, &c.want) {
				t.Errorf("\n got %+v %v\nwant %+v %v", got, ok, c.want, c.ok)
			}
		})
	}
}
