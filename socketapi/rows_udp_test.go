package socketapi

import (
	"encoding/binary"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// What UDP looks like on the wire by the socket's options, and what of the wire a socket takes.

// watching is a packet socket of the peer's for the family's packets.
func (f ipFamily) watching(e *env) (packets int) {
	e.t.Helper()
	packets = e.peer.open(unix.AF_PACKET, unix.SOCK_DGRAM, 0)
	e.must(e.peer.api.Bind(packets, &unix.SockaddrLinklayer{Protocol: networkOrder(uint16(f.pick(unix.ETH_P_IP, unix.ETH_P_IPV6))), Ifindex: e.peer.index}))
	e.must(e.peer.api.SetsockoptTimeval(packets, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
	return packets
}

// datagram is the next datagram, or first fragment of one, to a port that a packet socket sees: its UDP header, and how
// it came.
func (f ipFamily) datagram(e *env, packets, port int) (udp []byte, how string) {
	e.t.Helper()
	for p := make([]byte, 4000); ; {
		n, _, err := e.peer.api.Recvfrom(packets, p, 0)
		e.must(err)
		next, at := p[f.pick(9, 6)], f.headerLen()
		if f.four() {
			how = fmt.Sprint("DF ", p[6]&0x40 != 0, ", more ", p[6]&0x20 != 0)
			if binary.BigEndian.Uint16(p[6:])&0x1fff != 0 {
				continue
			}
		} else if how = "whole"; next == unix.IPPROTO_FRAGMENT {
			next, how, at = p[at], "fragment", at+8
			if binary.BigEndian.Uint16(p[at-6:])&^7 != 0 {
				continue
			}
		}
		if next == unix.IPPROTO_UDP && n >= at+wire.UDPLen && int(binary.BigEndian.Uint16(p[at+2:])) == port {
			return slices.Clone(p[at:n]), how
		}
	}
}

var udpRows = slices.Concat(
	bothFamilies("udp: IP_MTU_DISCOVER, every value", func(e *env, f ipFamily) {
		packets := f.watching(e)
		for _, v := range []int{unix.IP_PMTUDISC_DONT, unix.IP_PMTUDISC_WANT, unix.IP_PMTUDISC_DO, unix.IP_PMTUDISC_PROBE, unix.IP_PMTUDISC_INTERFACE, unix.IP_PMTUDISC_OMIT, 6, -1} {
			_, at := f.bound(&e.peer)
			mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
			e.note(fmt.Sprint("set ", v), e.me.api.SetsockoptInt(mine, f.level, f.pick(unix.IP_MTU_DISCOVER, unix.IPV6_MTU_DISCOVER), v))
			for _, n := range []int{100, f.pick(1472, 1452), f.pick(1473, 1453), 3000} {
				err := e.me.api.Sendto(mine, make([]byte, n), 0, at)
				e.note(fmt.Sprint("send ", n), err)
				if err == nil {
					_, how := f.datagram(e, packets, portOf(at))
					e.note("it comes", how)
				}
			}
		}
	}),
	bothFamilies("udp: checksums", func(e *env, f ipFamily) {
		packets := f.watching(e)
		_, at := f.bound(&e.peer)
		mine := e.me.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.me.api.Bind(mine, f.in(&e.me, e.freePort())))
		for _, on := range []int{0, 1} {
			e.note("SO_NO_CHECK", e.me.api.SetsockoptInt(mine, unix.SOL_SOCKET, unix.SO_NO_CHECK, on))
			e.must(e.me.api.Sendto(mine, []byte("hello"), 0, at))
			udp, _ := f.datagram(e, packets, portOf(at))
			e.note("none", binary.BigEndian.Uint16(udp[6:]) == 0)
		}
		// None, a wrong one, and one that is right, which ends the waiting.
		raw := e.peer.open(f.domain, unix.SOCK_RAW, unix.IPPROTO_UDP)
		for _, c := range []struct {
			text string
			sum  uint16
		}{{"none", 0}, {"wrong", 0x1234}} {
			b := make([]byte, wire.UDPLen+len(c.text))
			wire.PutUDP(b, uint16(portOf(at)), uint16(portOf(e.me.sockname(mine))), len(c.text))
			copy(b[wire.UDPLen:], c.text)
			binary.BigEndian.PutUint16(b[6:], c.sum)
			e.must(e.peer.api.Sendto(raw, b, 0, f.in(&e.me, 0)))
		}
		theirs := e.peer.open(f.domain, unix.SOCK_DGRAM, 0)
		e.must(e.peer.api.Sendto(theirs, []byte("right"), 0, e.me.sockname(mine)))
		e.must(e.me.api.SetsockoptTimeval(mine, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10}))
		for got := ""; got != "right"; {
			p := make([]byte, 99)
			n, _, err := e.me.api.Recvfrom(mine, p, 0)
			e.must(err)
			got = string(p[:n])
			e.note("receive", got)
		}
	}),
)
