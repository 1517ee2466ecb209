package bpf

import (
	"encoding/binary"
	"net/netip"
)

// model says in Go what the program must answer. It shares no code and no key
// format with it: rules are kept as they were asked for, headers are read from
// slices that are cut to what a packet may claim.
type model struct {
	everything bool
	own        map[netip.Addr]bool
	shared     map[netip.Addr]bool
	ports      map[modelPort]bool
	flows      map[modelFlow]bool
	blocks     []modelBlock
	led        map[modelName]bool // datagrams whose first fragment was redirected
}

type modelPort struct {
	proto Proto
	local netip.AddrPort
}

type modelFlow struct {
	proto         Proto
	local, remote netip.AddrPort
}

type modelBlock struct {
	proto       Proto
	first, last uint16
}

type modelName struct {
	src, dst netip.Addr
	id       uint32
	proto    byte
}

func newModel() *model {
	return &model{
		own: map[netip.Addr]bool{}, shared: map[netip.Addr]bool{},
		ports: map[modelPort]bool{}, flows: map[modelFlow]bool{}, led: map[modelName]bool{},
	}
}

// known says whether any rule is about an address.
func (m *model) known(a netip.Addr) bool {
	if m.shared[a] {
		return true
	}
	for r := range m.ports {
		if !r.local.Addr().IsValid() || r.local.Addr() == a && !a.IsUnspecified() {
			return true
		}
	}
	for r := range m.flows {
		if r.local.Addr() == a {
			return true
		}
	}
	return false
}

func (m *model) judge(frame []byte) Verdict {
	if m.everything {
		return RedirectEverything
	}
	if len(frame) < 14 {
		return PassShort
	}
	kind, rest := binary.BigEndian.Uint16(frame[12:]), frame[14:]
	for tags := 0; kind == 0x8100 || kind == 0x88a8; tags++ {
		if tags == 2 {
			return PassDepth
		}
		if len(rest) < 4 {
			return PassShort
		}
		kind, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	group := frame[0]&1 == 1
	switch kind {
	case 0x0806:
		return m.arp(rest)
	case 0x0800:
		return m.ip4(rest, group)
	case 0x86dd:
		return m.ip6(rest, group)
	}
	return PassProtocol
}

func (m *model) arp(b []byte) Verdict {
	if len(b) < 28 {
		return PassShort
	}
	head := binary.BigEndian.Uint64(b)
	if head != 0x0001_0800_06_04_0001 && head != 0x0001_0800_06_04_0002 {
		return PassProtocol
	}
	if m.own[netip.AddrFrom4([4]byte(b[24:28]))] {
		return RedirectARP
	}
	return PassForeign
}

func (m *model) ip4(b []byte, group bool) Verdict {
	if group {
		return PassGroup
	}
	if len(b) < 20 {
		return PassShort
	}
	header, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if b[0]>>4 != 4 || header < 20 || total < header {
		return PassMalformed
	}
	src, dst := netip.AddrFrom4([4]byte(b[12:])), netip.AddrFrom4([4]byte(b[16:]))
	if m.own[dst] {
		return RedirectAddress
	}
	if !m.known(dst) {
		return PassForeign
	}
	b = b[:min(total, len(b))]
	name := modelName{src, dst, uint32(binary.BigEndian.Uint16(b[4:])), b[9]}
	offset := int(b[6]&0x1f)<<8 | int(b[7])
	more := b[6]&0x20 != 0
	if offset != 0 {
		return m.follow(name)
	}
	v := PassShort
	if len(b) >= header {
		if b[9] == 1 {
			v = m.error4(b[header:], dst)
		} else {
			v = m.transport(b[9], b[header:], dst, src)
		}
	}
	if more {
		m.led[name] = v.Redirects()
	}
	return v
}

func (m *model) follow(n modelName) Verdict {
	if m.led[n] {
		return RedirectFragment
	}
	return PassFragment
}

func (m *model) error4(b []byte, dst netip.Addr) Verdict {
	if len(b) < 8 {
		return PassShort
	}
	if t := b[0]; t != 3 && t != 11 && t != 12 {
		return PassProtocol
	}
	b = b[8:]
	if len(b) < 20 {
		return PassShort
	}
	header := int(b[0]&15) * 4
	if b[0]>>4 != 4 || header < 20 {
		return PassMalformed
	}
	if netip.AddrFrom4([4]byte(b[12:])) != dst {
		return PassForeign
	}
	if b[6]&0x1f != 0 || b[7] != 0 {
		return PassFragment
	}
	if len(b) < header {
		return PassShort
	}
	return m.quote(b[9], b[header:], dst, netip.AddrFrom4([4]byte(b[16:])))
}

func (m *model) ip6(b []byte, group bool) Verdict {
	if len(b) < 40 {
		return PassShort
	}
	if b[0]>>4 != 6 {
		return PassMalformed
	}
	src, dst := netip.AddrFrom16([16]byte(b[8:])), netip.AddrFrom16([16]byte(b[24:]))
	// The program knows no difference between an IPv4 address and one mapped.
	src, dst = src.Unmap(), dst.Unmap()
	payload := b[40:]
	payload = payload[:min(len(payload), int(binary.BigEndian.Uint16(b[4:])))]
	if b[24] == 0xff {
		return m.group6(b[6], payload)
	}
	if group {
		return PassGroup
	}
	if m.own[dst] {
		return RedirectAddress
	}
	if !m.known(dst) {
		return PassForeign
	}
	c, v := readChain(b[6], payload)
	if v != 0 {
		return v
	}
	name := modelName{src, dst, c.id, 0}
	if c.offset != 0 {
		return m.follow(name)
	}
	if c.proto == 58 {
		v = m.error6(c.rest, dst)
	} else {
		v = m.transport(c.proto, c.rest, dst, src)
	}
	if c.more {
		m.led[name] = v.Redirects()
	}
	return v
}

func (m *model) group6(next byte, b []byte) Verdict {
	c, v := readChain(next, b)
	switch {
	case v != 0:
		return v
	case c.fragment || c.proto != 58:
		return PassGroup
	case len(c.rest) < 8:
		return PassShort
	case c.rest[0] != 135:
		return PassGroup
	case len(c.rest) < 24:
		return PassShort
	case m.own[netip.AddrFrom16([16]byte(c.rest[8:])).Unmap()]:
		return RedirectSolicit
	}
	return PassGroup
}

func (m *model) error6(b []byte, dst netip.Addr) Verdict {
	if len(b) < 8 {
		return PassShort
	}
	if b[0] == 0 || b[0] > 4 {
		return PassProtocol
	}
	b = b[8:]
	if len(b) < 40 {
		return PassShort
	}
	if b[0]>>4 != 6 {
		return PassMalformed
	}
	if netip.AddrFrom16([16]byte(b[8:])).Unmap() != dst {
		return PassForeign
	}
	c, v := readChain(b[6], b[40:])
	if v != 0 {
		return v
	}
	if c.offset != 0 {
		return PassFragment
	}
	return m.quote(c.proto, c.rest, dst, netip.AddrFrom16([16]byte(b[24:])).Unmap())
}

type modelChain struct {
	proto    byte
	rest     []byte // from the transport's header on
	fragment bool
	more     bool
	offset   int
	id       uint32
}

// readChain reads extension headers; the verdict is 0 if it came to their end.
func readChain(next byte, b []byte) (c modelChain, v Verdict) {
	for read := 0; ; read++ {
		switch next {
		case 0, 43, 44, 51, 60:
		default:
			c.proto, c.rest = next, b
			return c, 0
		}
		if read == 6 {
			return c, PassDepth
		}
		if len(b) < 8 {
			return c, PassShort
		}
		size := 8 + int(b[1])*8
		switch next {
		case 43:
			if b[3] != 0 {
				return c, PassProtocol
			}
		case 51:
			size = 8 + int(b[1])*4
		case 44:
			if c.fragment {
				return c, PassMalformed
			}
			size = 8
			c.fragment = true
			c.offset = int(binary.BigEndian.Uint16(b[2:]) >> 3)
			c.more = b[3]&1 == 1
			c.id = binary.BigEndian.Uint32(b[4:])
			if c.offset != 0 {
				return c, 0
			}
		}
		if len(b) < size {
			return c, PassShort
		}
		next, b = b[0], b[size:]
	}
}

func (m *model) transport(proto byte, b []byte, dst, src netip.Addr) Verdict {
	if proto != 6 && proto != 17 {
		return PassProtocol
	}
	if len(b) < 4 {
		return PassShort
	}
	return m.flow(Proto(proto), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:])), netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)))
}

func (m *model) quote(proto byte, b []byte, src, dst netip.Addr) Verdict {
	if proto != 6 && proto != 17 {
		return PassProtocol
	}
	if len(b) < 4 {
		return PassShort
	}
	v := m.flow(Proto(proto), netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:])))
	if v.Redirects() {
		return RedirectICMP
	}
	return v
}

func (m *model) flow(proto Proto, local, remote netip.AddrPort) Verdict {
	at := func(a netip.Addr) bool { return m.ports[modelPort{proto, netip.AddrPortFrom(a, local.Port())}] }
	wild := netip.IPv6Unspecified()
	if local.Addr().Is4() {
		wild = netip.IPv4Unspecified()
	}
	for _, b := range m.blocks {
		if m.shared[local.Addr()] && b.proto == proto && b.first <= local.Port() && local.Port() <= b.last {
			return RedirectBlock
		}
	}
	switch {
	case m.shared[local.Addr()] && at(wild), !local.Addr().IsUnspecified() && at(local.Addr()):
		return RedirectPort
	case m.flows[modelFlow{proto, local, remote}]:
		return RedirectFlow
	case at(netip.Addr{}):
		return RedirectPort
	}
	return PassUnruled
}
