package proto

import (
	"encoding/binary"
	"net/netip"
)

// own is the addresses of the host, in words: whether one of them is meant is asked several times a
// packet. A handful is looked through faster than a table is asked.
type own struct {
	four []uint32
	six  [][2]uint64 // those without a zone
}

// has4 says whether a is one of them.
func (o *own) has4(a uint32) bool {
	for _, own := range o.four {
		if own == a {
			return true
		}
	}
	return false
}

// has6 says whether the address of two words, and no zone, is one of them.
func (o *own) has6(high, low uint64) bool {
	for i := range o.six {
		if own := &o.six[i]; own[1] == low && own[0] == high {
			return true
		}
	}
	return false
}

// setOwn collects them from the ports.
func (s *Stack) setOwn() {
	s.own.four, s.own.six = s.own.four[:0], s.own.six[:0]
	for i := range s.ports {
		for _, a := range s.ports[i].own {
			switch {
			case a.Is4():
				s.own.four = append(s.own.four, word4(a))
			case a.Zone() == "":
				b := a.As16()
				s.own.six = append(s.own.six, [2]uint64{binary.BigEndian.Uint64(b[:]), binary.BigEndian.Uint64(b[8:])})
			}
		}
	}
}

// local says whether a is an address of ours, on whichever port: hosts are weak
// (RFC 1122 §3.3.4.2), as Linux is. The loopback addresses are every host's.
func (s *Stack) local(a netip.Addr) bool {
	if a.Is4() {
		v := word4(a)
		return s.own.has4(v) || v>>24 == 127
	}
	for i := range s.ports {
		if s.ports[i].owns(a) {
			return true
		}
	}
	return a.IsLoopback()
}

// owns says whether a is an address of this port.
func (p *port) owns(a netip.Addr) bool {
	for _, own := range p.own {
		if own == a {
			return true
		}
	}
	return false
}

// isBroadcast says whether a reaches every host of p's link, apart from the limited broadcast address.
func (p *port) isBroadcast(a uint32) bool {
	for _, b := range p.directed {
		if a == b {
			return true
		}
	}
	return false
}

// broadcast4 says whether a reaches every host of p's link.
func (p *port) broadcast4(a netip.Addr) bool {
	if !a.Is4() {
		return false
	}
	v := word4(a)
	return v == 1<<32-1 || p.isBroadcast(v)
}
