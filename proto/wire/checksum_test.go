package wire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
)

// naiveSum is RFC 1071 §4.1 read aloud: the second opinion.
func naiveSum(b []byte, initial uint16) uint16 {
	sum := uint32(initial)
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
		if sum > 0xffff {
			sum -= 0xffff
		}
	}
	return uint16(sum)
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// RFC 1071 §3 has one worked example.
func TestSumOfTheRFC(t *testing.T) {
	b := []byte{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}
	if got := SumOf(b).Fold(); got != 0xddf2 {
		t.Errorf("sum %#x, want 0xddf2", got)
	}
	if got := Checksum(b, 0); got != ^uint16(0xddf2) {
		t.Errorf("checksum %#x, want %#x", got, ^uint16(0xddf2))
	}
}

func TestSumAtAllLengthsAndOffsets(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	buf := randomBytes(r, 400)
	ones := bytes.Repeat([]byte{0xff}, 400)
	zeros := make([]byte, 400)
	for _, b := range [][]byte{buf, ones, zeros} {
		for offset := range 9 {
			for n := range 300 {
				part := b[offset : offset+n]
				if got, want := SumOf(part).Fold(), naiveSum(part, 0); got != want {
					t.Fatalf("%d bytes at %d: %#x, want %#x", n, offset, got, want)
				}
				if got, want := SumOf(part).Add(0xfffe).Fold(), naiveSum(part, 0xfffe); got != want {
					t.Fatalf("%d bytes at %d on 0xfffe: %#x, want %#x", n, offset, got, want)
				}
			}
		}
	}
}

func TestSumOfPartsIsTheSum(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 2000 {
		b := randomBytes(r, 1+r.IntN(200))
		cut := r.IntN(len(b) + 1)
		head, rest := SumOf(b[:cut]), SumOf(b[cut:])
		if cut%2 == 1 {
			rest = rest.Odd()
		}
		if got, want := rest.Add(head).Fold(), naiveSum(b, 0); got != want {
			t.Fatalf("%d bytes cut at %d: %#x, want %#x", len(b), cut, got, want)
		}
	}
}

func TestSumCarriesAll(t *testing.T) {
	for _, s := range []Sum{0, 1, 0xffff, 0x10000, 0xffff_ffff, 0x1_0000_0000, 0xffff_ffff_ffff_ffff, 0xffff_ffff_ffff_fffe, 0xffff_0000_ffff_0001} {
		want := uint64(s) % 0xffff
		if want == 0 && s != 0 {
			want = 0xffff
		}
		if got := s.Fold(); uint64(got) != want {
			t.Errorf("%#x folds to %#x, want %#x", uint64(s), got, want)
		}
	}
}

func TestCopySum(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 1))
	for range 3000 {
		src := randomBytes(r, r.IntN(300))
		dst := make([]byte, len(src)+r.IntN(3))
		guard := randomBytes(r, len(dst)-len(src))
		copy(dst[len(src):], guard)
		initial := Sum(r.Uint64())
		if got, want := CopySum(dst, src, initial).Fold(), initial.Add(SumOf(src)).Fold(); got != want {
			t.Fatalf("%d bytes: %#x, want %#x", len(src), got, want)
		}
		if !bytes.Equal(dst[:len(src)], src) || !bytes.Equal(dst[len(src):], guard) {
			t.Fatalf("%d bytes were not copied as they should", len(src))
		}
	}
}

func TestUpdateChecksum(t *testing.T) {
	// RFC 1624 §4: the case that RFC 1141 got wrong.
	if got := UpdateChecksum(0xdd2f, 0x5555, 0x3285); got != 0x0000 {
		t.Errorf("RFC 1624 §4: %#x, want 0", got)
	}
	r := rand.New(rand.NewPCG(4, 1))
	for range 5000 {
		b := randomBytes(r, 20)
		b[8], b[9] = 0, 0
		old := Checksum(b, 0)
		from, from32 := binary.BigEndian.Uint16(b[2:]), binary.BigEndian.Uint32(b[4:])
		to, to32 := uint16(r.Uint32()), r.Uint32()
		binary.BigEndian.PutUint16(b[2:], to)
		if got, want := UpdateChecksum(old, from, to), Checksum(b, 0); got != want {
			t.Fatalf("%#x %#x→%#x: %#x, want %#x", old, from, to, got, want)
		}
		old = Checksum(b, 0)
		binary.BigEndian.PutUint32(b[4:], to32)
		if got, want := UpdateChecksum32(old, from32, to32), Checksum(b, 0); got != want {
			t.Fatalf("%#x %#x→%#x: %#x, want %#x", old, from32, to32, got, want)
		}
	}
}

func TestPseudoSum(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 1))
	for range 2000 {
		n := 8 + r.IntN(70000)
		a4, b4 := randomBytes(r, 4), randomBytes(r, 4)
		head := append(append([]byte{}, a4...), b4...)
		head = append(head, 0, byte(ProtoUDP), byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
		got := PseudoSum(netip.AddrFrom4([4]byte(a4)), netip.AddrFrom4([4]byte(b4)), ProtoUDP, n).Fold()
		if want := naiveSum(head, 0); got != want {
			t.Fatalf("IPv4 %x: %#x, want %#x", head, got, want)
		}
		a6, b6 := randomBytes(r, 16), randomBytes(r, 16)
		head = append(append([]byte{}, a6...), b6...)
		head = append(head, byte(n>>24), byte(n>>16), byte(n>>8), byte(n), 0, 0, 0, byte(ProtoTCP))
		got = PseudoSum(netip.AddrFrom16([16]byte(a6)), netip.AddrFrom16([16]byte(b6)), ProtoTCP, n).Fold()
		if want := naiveSum(head, 0); got != want {
			t.Fatalf("IPv6 %x: %#x, want %#x", head, got, want)
		}
	}
}

func TestCheckTransport(t *testing.T) {
	src, dst := netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("10.4.5.6")
	segment := func(p Protocol, headerLen int) ([]byte, Sum) {
		b := make([]byte, headerLen+11)
		for i := range b {
			b[i] = byte(i*7 + 1)
		}
		return b, PseudoSum(src, dst, p, len(b))
	}
	for _, c := range []struct {
		p         Protocol
		field, at int
	}{{ProtoTCP, TCPLen, 16}, {ProtoUDP, UDPLen, 6}, {ProtoICMPv6, 8, 2}} {
		b, pseudo := segment(c.p, c.field)
		put := func(v uint16) { binary.BigEndian.PutUint16(b[c.at:], v) }
		put(0)
		put(Checksum(b, pseudo))
		if got := CheckTransport(c.p, b, pseudo); got != ChecksumGood {
			t.Errorf("%v: finished checksum is %v", c.p, got)
		}
		b[len(b)-1] ^= 0x10
		if got := CheckTransport(c.p, b, pseudo); got != ChecksumBad {
			t.Errorf("%v: damaged segment is %v", c.p, got)
		}
		put(pseudo.Fold())
		if got := CheckTransport(c.p, b, pseudo); got != ChecksumUnfinished {
			t.Errorf("%v: the pseudo-header's sum is %v", c.p, got)
		}
		for n := range c.at + 2 {
			if got := CheckTransport(c.p, b[:n], pseudo); got != ChecksumBad {
				t.Errorf("%v cut to %d bytes is %v", c.p, n, got)
			}
		}
		put(0)
		want := ChecksumBad
		if c.p == ProtoUDP {
			want = ChecksumAbsent
		}
		if got := CheckTransport(c.p, b, pseudo); got != want {
			t.Errorf("%v: zero field is %v, want %v", c.p, got, want)
		}
	}
	if got := CheckTransport(ProtoIGMP, make([]byte, 40), 0); got != ChecksumBad {
		t.Errorf("a protocol without pseudo-header is %v", got)
	}
}

// A sum of 0xffff makes the checksum 0, which on UDP means that there is none.
func TestUDPNeverSendsZero(t *testing.T) {
	b := make([]byte, UDPLen+2)
	h := UDP(b[:PutUDP(b, 1, 2, 2)+2])
	pseudo := Sum(0)
	rest := Checksum(h, pseudo)
	binary.BigEndian.PutUint16(b[UDPLen:], rest)
	h.Seal(pseudo)
	if h.Checksum() != 0xffff {
		t.Errorf("Seal wrote %#x", h.Checksum())
	}
	if got := h.Check(pseudo); got != ChecksumGood {
		t.Errorf("Check says %v", got)
	}
	h.SealSum(pseudo, SumOf(h.Payload()))
	if h.Checksum() != 0xffff {
		t.Errorf("SealSum wrote %#x", h.Checksum())
	}
}

var sink uint64

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{20, 64, 256, 1460, 9000} {
		buf := randomBytes(rand.New(rand.NewPCG(1, 2)), n)
		b.Run(fmt.Sprint("fast/", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += uint64(SumOf(buf))
			}
		})
		b.Run(fmt.Sprint("naive/", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += uint64(naiveSum(buf, 0))
			}
		})
	}
}

func BenchmarkCopySum(b *testing.B) {
	for _, n := range []int{64, 256, 1460, 9000} {
		src, dst := randomBytes(rand.New(rand.NewPCG(1, 2)), n), make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			for b.Loop() {
				sink += uint64(CopySum(dst, src, 0))
			}
		})
	}
}
