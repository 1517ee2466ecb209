package socketapi

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// TestRawPingAndPacketSocketsOnTwoCores: whichever core a packet reaches, and whichever it is handed over
// to, each of these sockets has it once.
func TestRawPingAndPacketSocketsOnTwoCores(t *testing.T) {
	t.Parallel()
	st, peer := lab(t, 2, engine.ModeAuto)
	tb := st.Table()
	open := func(domain, typ, proto int) int {
		t.Helper()
		fd, err := tb.Socket(domain, typ|unix.SOCK_NONBLOCK, proto)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { tb.Close(fd) })
		return fd
	}
	eachFamily(t, func(t *testing.T, f family) {
		four := f.header == wire.IPv4Len
		domain, icmp := unix.AF_INET6, unix.IPPROTO_ICMPV6
		if four {
			domain, icmp = unix.AF_INET, unix.IPPROTO_ICMP
		}
		const flows = 24
		rawTCP, rawICMP := open(domain, unix.SOCK_RAW, unix.IPPROTO_TCP), open(domain, unix.SOCK_RAW, icmp)
		watch := open(unix.AF_PACKET, unix.SOCK_DGRAM, int(networkOrder(unix.ETH_P_ALL)))
		l, err := peer.Listen("tcp", f.theirs("0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		for range flows { // a connection lives on a core of its own choice, its replies come to either
			c, err := st.Dial("tcp", l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		for i := range flows {
			c, err := st.ListenPing(netip.MustParseAddr(f.engine))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			c.SetReadDeadline(time.Now().Add(longest))
			if err := c.WriteEcho(netip.MustParseAddr(f.kernel), uint16(i), []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if e, err := c.ReadEcho(make([]byte, 99)); err != nil || e.Seq != uint16(i) {
				t.Fatalf("ping %d: %d, %v", i, e.Seq, err)
			}
		}
		// What each socket saw, by what it is: every one twice flows times, once each.
		seen := map[string]map[string]int{}
		note := func(who string, b []byte) {
			if seen[who] == nil {
				seen[who] = map[string]int{}
			}
			switch {
			case who == "tcp" && wire.TCP(b).Flags()&(wire.SYN|wire.ACK) == wire.SYN|wire.ACK:
				seen[who][fmt.Sprint("SYN+ACK to ", wire.TCP(b).DstPort())]++
			case who != "tcp" && (four && b[0] == byte(wire.ICMP4EchoReply) || !four && b[0] == byte(wire.ICMP6EchoReply)):
				seen[who][fmt.Sprint("reply to ", binary.BigEndian.Uint16(b[4:]))]++
			}
		}
		for end := time.Now().Add(10 * time.Second); time.Now().Before(end) && (len(seen["tcp"]) < flows || len(seen["icmp"]) < flows || len(seen["packet"]) < flows); {
			for fd, who := range map[int]string{rawTCP: "tcp", rawICMP: "icmp", watch: "packet"} {
				b := make([]byte, 2000)
				n, _, err := tb.Recvfrom(fd, b, 0)
				if err != nil {
					time.Sleep(time.Millisecond)
					continue
				}
				if b = b[:n]; who == "packet" {
					ip4, ok4 := wire.ParseIPv4(b)
					ip6, ok6 := wire.ParseIPv6(b)
					switch {
					case ok4 && four && ip4.Protocol() == wire.ProtoICMP:
						note(who, ip4.Payload())
					case ok6 && !four && ip6.NextHeader() == wire.ProtoICMPv6:
						note(who, b[wire.IPv6Len:])
					}
					continue
				}
				if four {
					b = wire.IPv4(b).Payload()
				}
				note(who, b)
			}
		}
		for _, who := range []string{"tcp", "icmp", "packet"} {
			if len(seen[who]) != flows {
				t.Errorf("%s: of %d there were %d", who, flows, len(seen[who]))
			}
			for what, n := range seen[who] {
				if n != 1 {
					t.Errorf("%s: %s %d times", who, what, n)
				}
			}
		}
	})
	t.Run("SO_RXQ_OVFL", func(t *testing.T) { overflowOnTwoCores(t, st, peer) })
}

// overflowOnTwoCores: the number of datagrams lost is the socket's, whichever core had no room for them.
func overflowOnTwoCores(t *testing.T, st *Stack, peer *netlab.NS) {
	tb := st.Table()
	fd, err := tb.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tb.Close(fd)
	for _, err := range []error{
		tb.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1), tb.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 1),
		tb.Bind(fd, &unix.SockaddrInet4{Port: 9}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	var flows [16]net.Conn
	for i := range flows {
		if flows[i], err = peer.Dial("udp", engineAddr+":9"); err != nil {
			t.Fatal(err)
		}
		defer flows[i].Close()
	}
	full := func() uint64 {
		stats := st.Host().Stats()
		return stats[drop.UDPSocketFull]
	}
	before, last := full(), uint32(0)
	send := func() {
		for _, c := range flows {
			if _, err := c.Write(make([]byte, 1000)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 20 {
		send()
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		for {
			p, oob := make([]byte, 2000), make([]byte, 99)
			_, oobn, _, _, err := tb.Recvmsg(fd, p, oob, 0)
			if err != nil {
				break
			}
			if messages, _ := unix.ParseSocketControlMessage(oob[:oobn]); len(messages) == 1 {
				n := binary.NativeEndian.Uint32(messages[0].Data)
				if n < last {
					t.Fatalf("%d were lost, and before it were %d", n, last)
				}
				last = n
			}
		}
		used := 0
		for _, c := range st.Host().Cores() {
			c.Lock()
			if n := c.Stack.Count[drop.UDPSocketFull]; n > 0 {
				used++
			}
			c.Unlock()
		}
		if lost := full() - before; used == 2 && uint64(last) == lost {
			return
		}
		flows[time.Now().UnixNano()%16].Write([]byte("x")) // one by one there is room: it tells the number
	}
	t.Errorf("%d are said to have been lost, and %d were", last, full()-before)
}
