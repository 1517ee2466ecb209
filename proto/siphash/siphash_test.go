package siphash

import "testing"

// SipHash-2-4's own test vectors: key 00..0f, messages 00, 00 01, ... of whole words.
func TestSipHash(t *testing.T) {
	var secret [16]byte
	for i := range secret {
		secret[i] = byte(i)
	}
	k := New(secret)
	w0, w1, w2 := uint64(0x0706050403020100), uint64(0x0f0e0d0c0b0a0908), uint64(0x1716151413121110)
	for _, c := range []struct {
		got, want uint64
	}{
		{k.Sum(), 0x726fdb47dd0e0e31},
		{k.Sum(w0), 0x93f5f5799a932462},
		{k.Sum(w0, w1), 0x3f2acc7f57c29bdb},
		{k.Sum(w0, w1, w2), 0xb8ad50c6f649af94},
	} {
		if c.got != c.want {
			t.Errorf("SipHash is %#x, want %#x", c.got, c.want)
		}
	}
}
