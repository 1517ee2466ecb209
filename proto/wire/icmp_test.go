package wire

import (
	"bytes"
	"testing"
)

// An echo request becomes the reply that would be written from scratch.
func TestEchoReply(t *testing.T) {
	for _, c := range []struct {
		name       string
		ident, seq uint16
		payload    []byte
	}{
		{"usual", 77, 3, []byte("odd")},
		{"all zeros", 0, 0, make([]byte, 9)},
		{"nothing", 0, 0, nil},
		{"a sum of 0xffff", 0xffff, 0, nil},
	} {
		request := make([]byte, ICMP4Len+len(c.payload))
		want := bytes.Clone(request)
		PutICMP4(request, ICMP4Echo, 0, ICMPEcho(c.ident, c.seq))
		PutICMP4(want, ICMP4EchoReply, 0, ICMPEcho(c.ident, c.seq))
		copy(request[ICMP4Len:], c.payload)
		copy(want[ICMP4Len:], c.payload)
		ICMP4(request).Seal()
		ICMP4(want).Seal()
		if ICMP4(request).EchoReply(); !bytes.Equal(request, want) || !ICMP4(request).ChecksumOK() {
			t.Errorf("%s: %x, want %x", c.name, request, want)
		}
	}
}

// RFC 4884 §5.1: an error that says how long its quote is has extensions behind it.
func TestQuoted(t *testing.T) {
	var b [ICMP4Len + 200]byte
	for _, c := range []struct {
		kind        ICMP4Type
		words, want int
	}{{ICMP4Unreachable, 0, 200}, {ICMP4Unreachable, 32, 128}, {ICMP4TimeExceeded, 50, 200}, {ICMP4ParamProblem, 51, 200}, {ICMP4Redirect, 32, 200}} {
		PutICMP4(b[:], c.kind, 0, uint32(c.words)<<16)
		if got := len(ICMP4(b[:]).Quoted()); got != c.want {
			t.Errorf("%v of %d words quotes %d bytes, want %d", c.kind, c.words, got, c.want)
		}
	}
	for _, c := range []struct {
		kind        ICMP6Type
		words, want int
	}{{ICMP6Unreachable, 16, 128}, {ICMP6TimeExceeded, 25, 200}, {ICMP6TimeExceeded, 26, 200}, {ICMP6PacketTooBig, 16, 200}, {ICMP6ParamProblem, 16, 200}} {
		PutICMP6(b[:], c.kind, 0, uint32(c.words)<<24)
		if got := len(ICMP6(b[:]).Quoted()); got != c.want {
			t.Errorf("%v of %d words quotes %d bytes, want %d", c.kind, c.words, got, c.want)
		}
	}
}
