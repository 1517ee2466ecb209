package socketapi

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A datagram that has to wait for its neighbour is stamped when it leaves, and known by its number; one to a neighbour
// that never answers is an error instead.
func TestStampOfADatagramThatWaits(t *testing.T) {
	a, b := twoHosts(t)
	heard, err := b.ListenUDP(netip.MustParseAddrPort(addrB + ":9")) // or ICMP's word of nobody there would be an error in between
	fatal(t, err)
	defer heard.Close()
	s := a.Table()
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
	fatal(t, err)
	defer s.Close(fd)
	fatal(t, s.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPING_OLD,
		unix.SOF_TIMESTAMPING_TX_SOFTWARE|unix.SOF_TIMESTAMPING_SOFTWARE|unix.SOF_TIMESTAMPING_OPT_ID|unix.SOF_TIMESTAMPING_OPT_TSONLY))
	fatal(t, s.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_RECVERR, 1))
	const each = 3
	began := time.Now()
	for range each {
		fatal(t, s.Sendto(fd, []byte("hello"), 0, at(addrB+":9")))
	}
	for key := range uint32(each) {
		oob := make([]byte, 300)
		n, oobn := -1, 0
		for n < 0 {
			if time.Since(began) > longest {
				t.Fatal("no stamp")
			}
			n, oobn, _, _, _ = s.Recvmsg(fd, make([]byte, 9), oob, unix.MSG_ERRQUEUE) // EAGAIN, until it has left
		}
		messages, err := unix.ParseSocketControlMessage(oob[:oobn])
		fatal(t, err)
		if n != 0 || len(messages) != 2 || messages[0].Header.Type != unix.SO_TIMESTAMPING_OLD || messages[1].Header.Type != unix.IP_RECVERR {
			t.Fatalf("%d bytes, %+v", n, messages)
		}
		sent := time.Unix(int64(binary.NativeEndian.Uint64(messages[0].Data)), int64(binary.NativeEndian.Uint64(messages[0].Data[8:])))
		if sent.Before(began.Add(-time.Millisecond)) || sent.After(time.Now().Add(time.Millisecond)) {
			t.Errorf("sent at %v, between %v and now", sent, began)
		}
		if e := messages[1].Data; unix.Errno(binary.NativeEndian.Uint32(e)) != unix.ENOMSG || e[4] != unix.SO_EE_ORIGIN_TIMESTAMPING || binary.NativeEndian.Uint32(e[12:]) != key {
			t.Errorf("datagram %d: %x", key, e)
		}
	}
}
