package socketapi

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// TestPathMTUAsLinuxHasIt: each value of IP_MTU_DISCOVER and IPV6_MTU_DISCOVER on a path whose second
// link takes 1300 bytes and whose first takes 1500. What a program sees, and what arrives at the
// far end, is the same with Linux's sockets and with ours.
func TestPathMTUAsLinuxHasIt(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	var notes [2][]string
	for i, name := range []string{"Linux", "engine"} {
		t.Run(name, func(t *testing.T) {
			var api berkeley
			var far *netlab.NS
			var second *netlab.Veth
			if i == 0 {
				var ours *netlab.NS
				ours, far, _, second = routedNets(t, true)
				api = linux{ours}
			} else {
				var st *Stack
				st, far, second = routedLab(t)
				api = st.Table()
			}
			narrow(t, second, 1300)
			for mode := unix.IP_PMTUDISC_DONT; mode <= unix.IP_PMTUDISC_OMIT; mode++ {
				for _, six := range []bool{false, true} {
					notes[i] = append(notes[i], pmtuRow(t, api, far, six, mode)...)
				}
			}
		})
	}
	if len(notes[0]) == 0 || len(notes[0]) != len(notes[1]) {
		t.Fatalf("%d lines of Linux, %d of the engine", len(notes[0]), len(notes[1]))
	}
	for i := range notes[0] {
		if notes[0][i] != notes[1][i] {
			t.Errorf("linux %s\nengine %s", notes[0][i], notes[1][i])
		}
	}
}

// pmtuRow sends datagrams over the path by a socket of one mode and notes what comes of each.
func pmtuRow(t *testing.T, api berkeley, far *netlab.NS, six bool, mode int) (notes []string) {
	t.Helper()
	domain, level, discover, mtu, recvErr, header := unix.AF_INET, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_MTU, unix.IP_RECVERR, 28
	addr := fmt.Sprintf("10.98.0.1%d", mode)
	var to unix.Sockaddr = &unix.SockaddrInet4{Port: 7, Addr: netip.MustParseAddr(addr).As4()}
	if six {
		domain, level, discover, mtu, recvErr, header = unix.AF_INET6, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_MTU, unix.IPV6_RECVERR, 48
		addr = fmt.Sprintf("fd98::1%d", mode)
		to = &unix.SockaddrInet6{Port: 7, Addr: netip.MustParseAddr(addr).As16()}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	k, err := far.ListenPacket("udp", netip.AddrPortFrom(netip.MustParseAddr(addr), 7).String())
	must(err)
	defer k.Close()
	fd, err := api.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	must(err)
	defer api.Close(fd)
	must(api.SetsockoptInt(fd, level, discover, mode))
	must(api.SetsockoptInt(fd, level, recvErr, 1))
	must(api.Connect(fd, to))
	buf, oob := make([]byte, 1<<16), make([]byte, 512)
	for _, length := range []int{1300, 1400, 1400, 1501, 4000, 1500} {
		line := fmt.Sprintf("mode %d, IPv6 %v, a packet of %d:", mode, six, length)
		_, err := api.Write(fd, body(length-header))
		line += " " + show(err)
		// Either it arrives, or a router says why not. With the last modes over IPv6 it may be neither:
		// an empty one that is sent behind it always arrives.
		followed := six && mode >= unix.IP_PMTUDISC_INTERFACE && err == nil
		if followed {
			_, err := api.Write(fd, nil)
			must(err)
		}
		for until := time.Now().Add(proofPatience); time.Now().Before(until); {
			k.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
			n, _, err := k.ReadFrom(buf)
			if err == nil && n > 0 {
				line += fmt.Sprintf(", arrived %v", slices.Equal(buf[:n], body(length-header)))
			}
			if err == nil && (n == 0 || !followed) {
				break
			}
			n, oobn, _, _, err := api.Recvmsg(fd, buf, oob, unix.MSG_ERRQUEUE)
			if err != nil {
				continue
			}
			messages, err := unix.ParseSocketControlMessage(oob[:oobn])
			must(err)
			for _, m := range messages {
				if m.Header.Type == int32(recvErr) { // struct sock_extended_err
					line += fmt.Sprintf(", error %s origin %d type %d code %d info %d, quotes %v", unix.ErrnoName(unix.Errno(binary.NativeEndian.Uint32(m.Data))),
						m.Data[4], m.Data[5], m.Data[6], binary.NativeEndian.Uint32(m.Data[8:]), n > 0)
				}
			}
			break
		}
		soErr, err := api.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		must(err)
		path, err := api.GetsockoptInt(fd, level, mtu)
		must(err)
		notes = append(notes, line+fmt.Sprintf(", SO_ERROR %q, MTU %d", unix.ErrnoName(unix.Errno(soErr)), path))
	}
	return notes
}
