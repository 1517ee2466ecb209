package ip

import (
	"bytes"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/drop"
)

// A model is what reassembly is, with no thought for memory or speed: a byte is there or it is
// not.
type model struct {
	bytes [1 << 16]int16 // -1: not there
	total int
	count int
	dead  bool
	seen  map[[3]int]bool // fragments: offset, length, more
}

func (m *model) reset() {
	*m = model{total: -1, seen: map[[3]int]bool{}}
	for i := range m.bytes {
		m.bytes[i] = -1
	}
}

// in says what is to become of a fragment that is good by itself.
func (m *model) in(offset int, more bool, data []byte) (whole []byte, reason drop.Reason) {
	if m.dead {
		return nil, drop.FragmentOverlap
	}
	end := offset + len(data)
	name := [3]int{offset, len(data), 0}
	if more {
		name[2] = 1
	}
	exact := m.seen[name]
	clash := false
	highest := 0
	for i, v := range m.bytes {
		if v >= 0 {
			highest = i + 1
			if i >= offset && i < end {
				clash = true
				exact = exact && v == int16(data[i-offset])
			}
		}
	}
	if exact {
		return nil, drop.FragmentDuplicate
	}
	if clash || !more && (m.total >= 0 || highest > end) || more && m.total >= 0 && end >= m.total {
		m.dead = true
		return nil, drop.FragmentOverlap
	}
	m.seen[name] = true
	m.count++
	for i, v := range data {
		m.bytes[offset+i] = int16(v)
	}
	if !more {
		m.total = end
	}
	if m.total < 0 {
		return nil, drop.None
	}
	for _, v := range m.bytes[:m.total] {
		if v < 0 {
			return nil, drop.None
		}
		whole = append(whole, byte(v))
	}
	m.reset()
	return whole, drop.None
}

// FuzzReassembly gives fragments of one datagram to the reassembly and to the model. A step is
// four bytes: offset in units of 8 bytes and up, length, flags and content.
func FuzzReassembly(f *testing.F) {
	f.Add(false, []byte{0, 3, 1, 7, 3, 2, 0, 7})
	f.Add(true, []byte{3, 2, 0, 7, 0, 3, 1, 7})
	f.Add(true, []byte{0, 4, 1, 7, 1, 1, 1, 7, 0, 4, 1, 7})
	f.Add(false, []byte{0, 250, 1, 7, 250, 250, 1, 7, 244, 251, 5, 1, 250, 250, 1, 7})
	f.Fuzz(func(t *testing.T, six bool, script []byte) {
		v := 0
		if six {
			v = 1
		}
		g := newRig(t, Config{})
		var m model
		m.reset()
		for steps := 0; len(script) >= 4 && steps < 60; steps++ {
			s := script[:4]
			script = script[4:]
			if s[2]&0x80 != 0 { // time goes by
				g.pass(61 * time.Second)
				m.reset()
				continue
			}
			offset, length, more := 8*int(s[0]), 8*int(s[1]), s[2]&1 != 0
			if !more {
				length += int(s[2] >> 1 & 7)
			}
			if offset == 0 && !more {
				continue // not a fragment
			}
			data := bytes.Repeat([]byte{s[3]}, length)
			whole, reason := g.in(piece(v, 1, offset, more, data))
			if length == 0 {
				if reason != drop.FragmentBad {
					t.Fatalf("empty: %v", reason)
				}
				continue
			}
			want, wantReason := m.in(offset, more, data)
			if reason != wantReason || (whole != nil) != (want != nil) {
				t.Fatalf("step %d, %d+%d more %v: %v and %d bytes, the model says %v and %d", steps, offset, length, more, reason, len(whole), wantReason, len(want))
			}
			if whole != nil && !bytes.Equal(dataOf(t, whole), want) {
				t.Fatalf("step %d: other bytes", steps)
			}
			if g.r.Used() > 1<<18 {
				t.Fatalf("%d bytes", g.r.Used())
			}
		}
		g.pass(61 * time.Second)
		if g.r.Len() != 0 || g.r.Used() != 0 {
			t.Fatalf("%d datagrams and %d bytes are left", g.r.Len(), g.r.Used())
		}
	})
}
