package wire

import "strconv"

// Read first: RFC 9293 §3.4.

// A Seq is a TCP sequence number. The numbers run in a circle, so that `<` means
// nothing on them and does not compile; == does what it should. Comparisons are right
// for numbers less than 2^31 apart.
type Seq struct{ n uint32 }

// SeqOf returns the sequence number n.
func SeqOf(n uint32) Seq { return Seq{n} }

// Uint32 returns the number as it stands in a header.
func (s Seq) Uint32() uint32 { return s.n }

// Add returns the number n bytes after s, or before it if n is negative.
func (s Seq) Add(n int) Seq { return Seq{s.n + uint32(n)} }

// Sub returns how many bytes s is after o, negative if it is before it.
func (s Seq) Sub(o Seq) int { return int(int32(s.n - o.n)) }

func (s Seq) Before(o Seq) bool     { return int32(s.n-o.n) < 0 }
func (s Seq) AtOrBefore(o Seq) bool { return int32(s.n-o.n) <= 0 }
func (s Seq) After(o Seq) bool      { return int32(s.n-o.n) > 0 }
func (s Seq) AtOrAfter(o Seq) bool  { return int32(s.n-o.n) >= 0 }

// InWindow says whether s is one of the size numbers from start on.
func (s Seq) InWindow(start Seq, size int) bool { return uint64(s.n-start.n) < uint64(max(size, 0)) }

// Max returns the later of both.
func (s Seq) Max(o Seq) Seq {
	if s.Before(o) {
		return o
	}
	return s
}

// Min returns the earlier of both.
func (s Seq) Min(o Seq) Seq {
	if s.After(o) {
		return o
	}
	return s
}

func (s Seq) String() string { return strconv.FormatUint(uint64(s.n), 10) }
