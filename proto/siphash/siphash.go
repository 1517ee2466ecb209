// Package siphash is SipHash-2-4, a hash with a key: who does not know the key can neither
// foresee what it makes nor find two inputs that it makes the same of. In come words; out goes
// a number. It is what connections and fragments are looked up by, and what numbers that nobody
// may guess are made of.
package siphash

import (
	"encoding/binary"
	"math/bits"
)

// Read first: Aumasson and Bernstein, "SipHash: a fast short-input PRF", §2.

// A Key is the key.
type Key struct{ k0, k1 uint64 }

// New makes a key of a secret.
func New(secret [16]byte) Key {
	return Key{binary.LittleEndian.Uint64(secret[:8]), binary.LittleEndian.Uint64(secret[8:])}
}

// Sum returns the hash of words, as the little-endian bytes that they are.
func (k Key) Sum(words ...uint64) uint64 {
	v0 := k.k0 ^ 0x736f6d6570736575
	v1 := k.k1 ^ 0x646f72616e646f6d
	v2 := k.k0 ^ 0x6c7967656e657261
	v3 := k.k1 ^ 0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	for _, m := range words {
		v3 ^= m
		round()
		round()
		v0 ^= m
	}
	last := uint64(len(words)*8) << 56
	v3 ^= last
	round()
	round()
	v0 ^= last
	v2 ^= 0xff
	round()
	round()
	round()
	round()
	return v0 ^ v1 ^ v2 ^ v3
}
