package wire

import (
	"encoding/binary"
	"strconv"
)

// Read first: RFC 8200 §4, RFC 5095 (routing header type 0), RFC 6946 (atomic
// fragments), RFC 7112 (first fragments), RFC 8504 §5.3 (limits).

const (
	// extHeadersMax is how many extension headers a packet may have. Each of the six kinds of
	// RFC 8200 §4.1 occurs at most once, destination options twice; one is to spare.
	extHeadersMax = 8

	// extOptionsMax is how many options other than padding one header may have, the default of
	// Linux's max_hbh_opts_number and max_dst_opts_number (RFC 8504 §5.3).
	extOptionsMax = 8

	// extPadMax is how many bytes of padding may stand in a row: more than what aligns to 8
	// bytes has no honest use (RFC 4942 §2.1.9.5).
	extPadMax = 7

	ext6Pad1        = 0
	ext6PadN        = 1
	ext6RouterAlert = 5

	// FragmentLen is the length of a fragment header.
	FragmentLen = 8

	// RouterAlert6Len is the length of a hop-by-hop options header that holds a router alert alone.
	RouterAlert6Len = 8
)

// An ExtFault says what is wrong with a chain of extension headers. What is to be answered
// is a parameter problem with [Extensions.Pointer].
type ExtFault uint8

const (
	ExtOK                  ExtFault = iota
	ExtShort                        // the packet ends inside the chain; not answered
	ExtOrder                        // hop-by-hop options elsewhere than first, or two fragment headers; code 1 (RFC 8200 §4.1, §4.3)
	ExtTooMany                      // more headers than the limit; not answered
	ExtOptionBad                    // an option ends beyond its header, or padding carries data; not answered
	ExtOptionTooMany                // more options than the limit; not answered
	ExtOptionDiscard                // an unknown option of action 01; not answered (RFC 8200 §4.2)
	ExtOptionReport                 // an unknown option of action 10; code 2
	ExtOptionReportUnicast          // an unknown option of action 11; code 2 unless the packet was multicast
	ExtRouting                      // an unknown routing type with segments left; code 0 (RFC 8200 §4.4, RFC 5095)
	ExtFirstFragment                // the first fragment lacks a part of the chain; code 3 (RFC 8200 §4.5, RFC 7112)
)

func (f ExtFault) String() string {
	names := [...]string{"ok", "short", "order", "too many headers", "bad option", "too many options", "discard option",
		"report option", "report option unless multicast", "routing", "first fragment incomplete"}
	if int(f) < len(names) {
		return names[f]
	}
	return "ExtFault(" + strconv.Itoa(int(f)) + ")"
}

// Extensions is what stands between an IPv6 header and what it carries. Offsets count from
// the start of the IPv6 header, as the pointer of a parameter problem does.
type Extensions struct {
	Fault    ExtFault
	Protocol Protocol // what is at Offset: a transport protocol, ProtoNoNext, ProtoFragment or one that is unknown
	Offset   int      // bytes

	// NextHeaderAt is the offset of the byte that names Protocol: the pointer to report an
	// unknown one with, and what reassembly writes the protocol of the whole to.
	NextHeaderAt int

	// Pointer is the offset of what Fault is about.
	Pointer int

	RouterAlert bool // the hop-by-hop options had one (RFC 2711)

	// A fragment of a larger packet. The walk has ended at its fragment header, so that
	// Protocol is ProtoFragment. An atomic fragment is none (RFC 6946 §4): the walk goes on
	// behind its header.
	Fragment       bool
	MoreFragments  bool
	FragmentOffset int      // bytes, of the data after the fragment header, in the fragmentable part
	FragmentID     uint32   //
	FragmentNext   Protocol // what the fragmentable part begins with
}

// WalkExtensions finds what an IPv6 packet carries. Of a packet in fragments it says so and,
// for the first one, sees to it that the whole chain is in it.
func WalkExtensions(h IPv6) Extensions {
	e := walk(h, false)
	if e.Fault == ExtOK && e.Fragment && e.FragmentOffset == 0 {
		first := walk(h, true)
		if first.Fault == ExtShort || first.Fault == ExtOK && len(h)-first.Offset < transportMin(first.Protocol) {
			e.Fault, e.Pointer = ExtFirstFragment, 0
		}
	}
	return e
}

// WalkQuotedExtensions finds the transport header in a packet that an ICMPv6 error quotes.
// It does not judge options, which the sender, we, wrote, and looks into a first
// fragment. The quote may be cut off: the Fault is ExtShort if that was before the
// transport header.
func WalkQuotedExtensions(h IPv6) Extensions { return walk(h, true) }

// transportMin is how much of a transport header counts as "through the upper-layer
// header" (RFC 8200 §4.5).
func transportMin(p Protocol) int {
	switch p {
	case ProtoTCP:
		return TCPLen
	case ProtoUDP, ProtoICMPv6:
		return UDPLen
	}
	return 0
}

// walk follows the chain. When quoted, options are not looked at and a first fragment is
// looked through.
func walk(h IPv6, quoted bool) Extensions {
	e := Extensions{Protocol: h.NextHeader(), Offset: IPv6Len, NextHeaderAt: 6}
	fragments := 0
	for n := 0; ; n++ {
		switch e.Protocol {
		case ProtoHopByHop, ProtoRouting, ProtoDestOpts, ProtoFragment:
		default:
			return e
		}
		if n == extHeadersMax {
			return e.fault(ExtTooMany, e.NextHeaderAt)
		}
		if e.Protocol == ProtoHopByHop && n > 0 {
			return e.fault(ExtOrder, e.NextHeaderAt)
		}
		b := h[e.Offset:]
		if len(b) < 8 {
			return e.fault(ExtShort, e.Offset)
		}
		if e.Protocol == ProtoFragment {
			if fragments++; fragments > 1 {
				return e.fault(ExtOrder, e.NextHeaderAt)
			}
			if e.fragment(b); e.Fragment && !(quoted && e.FragmentOffset == 0) {
				return e
			}
			e.step(b, FragmentLen)
			continue
		}
		size := int(b[1])*8 + 8
		if size > len(b) {
			return e.fault(ExtShort, e.Offset)
		}
		if e.Protocol == ProtoRouting {
			// RFC 8200 §4.4: with no segments left a host skips any type; none is known here,
			// type 0 being deprecated (RFC 5095 §3).
			if b[3] != 0 && !quoted {
				return e.fault(ExtRouting, e.Offset+2)
			}
		} else if !quoted {
			if e.options(b[:size]); e.Fault != ExtOK {
				return e
			}
		}
		e.step(b, size)
	}
}

// fault ends the walk.
func (e Extensions) fault(f ExtFault, pointer int) Extensions {
	e.Fault, e.Pointer = f, pointer
	return e
}

// step goes behind a header that is size bytes long.
func (e *Extensions) step(b []byte, size int) {
	e.Protocol, e.NextHeaderAt = Protocol(b[0]), e.Offset
	e.Offset += size
}

// fragment reads a fragment header.
func (e *Extensions) fragment(b []byte) {
	v := binary.BigEndian.Uint16(b[2:4])
	e.FragmentNext = Protocol(b[0])
	e.FragmentOffset, e.MoreFragments = int(v&^7), v&1 != 0
	e.FragmentID = binary.BigEndian.Uint32(b[4:8])
	e.Fragment = e.FragmentOffset != 0 || e.MoreFragments
}

// options reads the options of a whole hop-by-hop or destination options header b.
func (e *Extensions) options(b []byte) {
	options, pad := 0, 0
	for at := 2; at < len(b); {
		if b[at] == ext6Pad1 {
			if pad++; pad > extPadMax {
				*e = e.fault(ExtOptionBad, e.Offset+at)
				return
			}
			at++
			continue
		}
		if at+2 > len(b) || at+2+int(b[at+1]) > len(b) {
			*e = e.fault(ExtOptionBad, e.Offset+at)
			return
		}
		kind, v := b[at], b[at+2:at+2+int(b[at+1])]
		if kind == ext6PadN {
			if pad += 2 + len(v); pad > extPadMax || !allZero(v) {
				*e = e.fault(ExtOptionBad, e.Offset+at)
				return
			}
		} else {
			pad = 0
			if options++; options > extOptionsMax {
				*e = e.fault(ExtOptionTooMany, e.Offset+at)
				return
			}
			if f := e.option(kind, v); f != ExtOK {
				*e = e.fault(f, e.Offset+at)
				return
			}
		}
		at += 2 + len(v)
	}
}

// option takes in one option. The two high bits of an unknown one say what to do
// (RFC 8200 §4.2).
func (e *Extensions) option(kind uint8, v []byte) ExtFault {
	if kind == ext6RouterAlert && e.Protocol == ProtoHopByHop {
		if len(v) != 2 {
			return ExtOptionBad
		}
		e.RouterAlert = true
		return ExtOK
	}
	return [4]ExtFault{ExtOK, ExtOptionDiscard, ExtOptionReport, ExtOptionReportUnicast}[kind>>6]
}

func allZero(b []byte) bool {
	for _, v := range b {
		if v != 0 {
			return false
		}
	}
	return true
}

// PutFragment writes a fragment header and returns its length. The offset is in
// bytes, a multiple of 8.
func PutFragment(b []byte, next Protocol, offset int, more bool, id uint32) int {
	v := uint64(next)<<56 | uint64(uint16(offset)&^7)<<32 | uint64(id)
	if more {
		v |= 1 << 32
	}
	binary.BigEndian.PutUint64(b[0:8], v)
	return FragmentLen
}

// PutRouterAlert6 writes the hop-by-hop options header that MLD messages carry, a
// router alert of value 0 and its padding (RFC 2711 §2.1), and returns its length.
func PutRouterAlert6(b []byte, next Protocol) int {
	binary.BigEndian.PutUint64(b[0:8], uint64(next)<<56|ext6RouterAlert<<40|2<<32|ext6PadN<<8)
	return RouterAlert6Len
}
