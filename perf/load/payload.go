package load

import (
	"encoding/binary"
	"fmt"
)

// minSize is the bytes of a request's number.
const minSize = 8

// stamp fills p with request number seq: the number itself, then words that depend on
// it and on their place, so that an answer to another request, or one whose
// bytes were shifted, is told apart.
func stamp(p []byte, seq uint64) {
	binary.LittleEndian.PutUint64(p, seq)
	i := 8
	for ; i+8 <= len(p); i += 8 {
		binary.LittleEndian.PutUint64(p[i:], word(seq, i))
	}
	for w := word(seq, i); i < len(p); i++ {
		p[i] = byte(w)
		w >>= 8
	}
}

func word(seq uint64, at int) uint64 {
	return (seq + uint64(at)) * 0x9e3779b97f4a7c15 // 2^64 / golden ratio: neighbours differ in all bytes
}

// stamped reads the number of an answer and says whether the rest is what stamp
// wrote beside it.
func stamped(p []byte, size int) (seq uint64, ok bool) {
	if len(p) != size {
		return 0, false
	}
	seq = binary.LittleEndian.Uint64(p)
	i := 8
	for ; i+8 <= len(p); i += 8 {
		if binary.LittleEndian.Uint64(p[i:]) != word(seq, i) {
			return seq, false
		}
	}
	for w := word(seq, i); i < len(p); i++ {
		if p[i] != byte(w) {
			return seq, false
		}
		w >>= 8
	}
	return seq, true
}

func mismatch(p []byte) error {
	return fmt.Errorf("load: an answer of %d bytes is not the echo of any request: % x", len(p), p[:min(len(p), 32)])
}
