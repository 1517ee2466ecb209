package socketapi

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/udp"
)

// FuzzSendControl: whatever lengths control messages say, they are read within what there is, and what they
// make of a datagram can be sent.
func FuzzSendControl(f *testing.F) {
	pa, _ := newPipe()
	st := openOver(f, pa, addrA)
	info := append(binary.NativeEndian.AppendUint32(nil, uint32(st.Host().Index(0))), make([]byte, 8)...)
	for _, four := range []bool{true, false} {
		for _, oob := range [][]byte{
			nil, {1, 2, 3}, intCmsg(unix.IPPROTO_IP, unix.IP_TTL, 7), append(intCmsg(unix.IPPROTO_IP, unix.IP_TOS, 0xb8), intCmsg(unix.IPPROTO_IP, unix.IP_TTL, 1)...),
			cmsg(unix.IPPROTO_IP, unix.IP_PKTINFO, info), intCmsg(unix.IPPROTO_IPV6, unix.IPV6_HOPLIMIT, -1), intCmsg(unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 255),
			cmsg(unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, make([]byte, 20)), intCmsg(unix.SOL_SOCKET, unix.SCM_RIGHTS, 3), intCmsg(unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1),
			binary.NativeEndian.AppendUint64(nil, 1<<63), append(binary.NativeEndian.AppendUint64(nil, ^uint64(0)), make([]byte, 16)...),
		} {
			f.Add(four, oob)
		}
	}
	f.Fuzz(func(t *testing.T, four bool, oob []byte) {
		s := settings{host: st.Host(), family: unix.AF_INET6, kind: unix.SOCK_DGRAM, proto: unix.IPPROTO_UDP}
		m := udp.Message{To: netip.MustParseAddrPort("[2001:db8::1]:7")}
		if four {
			s.family, m.To = unix.AF_INET, netip.MustParseAddrPort(addrB+":7")
		}
		switch errno := sendControl(&m, oob, &s); {
		case errno != 0:
		case m.HasTTL && four && m.TTL == 0:
			t.Error("a TTL of 0")
		case int(m.Port) > len(st.Host().Interfaces())+1:
			t.Errorf("port %d, and there is none", m.Port)
		case m.Source.IsValid() && (m.Source.Is4() != four || !st.Host().Local(m.Source)):
			t.Errorf("from %v", m.Source)
		}
	})
}

// FuzzReceiveControl: however little room there is, what is written is within it, and parses.
func FuzzReceiveControl(f *testing.F) {
	f.Add(uint8(0), []byte("x"))
	f.Add(uint8(40), []byte("12345678"))
	f.Fuzz(func(t *testing.T, room uint8, data []byte) {
		c := control{b: make([]byte, room)}
		for range 3 {
			c.put(unix.IPPROTO_IP, unix.IP_TTL, data)
		}
		if c.n > int(room) {
			t.Fatalf("%d of %d bytes", c.n, room)
		}
		if !c.trunc {
			if list, err := unix.ParseSocketControlMessage(c.b[:c.n]); err != nil || len(list) != 3 {
				t.Fatalf("%d messages, %v", len(list), err)
			}
		}
	})
}
