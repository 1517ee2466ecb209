package socketapi

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A host whose memory is used up, as its device takes nothing, says ENOBUFS to who sends a datagram for which his own queue has
// room, waiting or not, until there is memory again.
func TestNoMemoryIsENOBUFS(t *testing.T) {
	a, b := newPipe()
	const memory = 256 << 10
	st, err := Open(host.Config{
		Interfaces: []host.Interface{{Devices: []engine.Device{a}, Detect: host.DetectNone, Addrs: []netip.Prefix{netip.MustParsePrefix(addrA + "/24")}}},
		Memory:     memory,
		Drain:      -1,
	})
	fatal(t, err)
	defer st.Close()
	s := st.Table()
	everyone := at("10.98.0.255:9") // nobody is asked who that is
	open := func(flags int) int {
		t.Helper()
		fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM|flags, 0)
		fatal(t, err)
		fatal(t, s.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1))
		return fd
	}
	p := make([]byte, 1400)
	var full []int // sockets whose own queue is full, until the memory is
	for found := false; !found; {
		fd := open(unix.SOCK_NONBLOCK)
		full = append(full, fd)
		for err = nil; err == nil; {
			err = s.Sendto(fd, p, 0, everyone)
		}
		if found = err == unix.ENOBUFS; !found && err != unix.EAGAIN || len(full) > 64 {
			t.Fatalf("socket %d: %v", len(full), err)
		}
	}
	waiting := open(0)
	if err := s.Sendto(waiting, p, 0, everyone); err != unix.ENOBUFS {
		t.Errorf("a socket that waits: %v, want ENOBUFS", err)
	}
	for range pipeSlots / 2 { // the device takes some
		b.in.head.Add(1)
	}
	a.Wake()
	within(t, longest, "a datagram when there is memory again", func() {
		for err = s.Sendto(waiting, p, 0, everyone); err == unix.ENOBUFS; err = s.Sendto(waiting, p, 0, everyone) {
			if b.in.tail.Load() != b.in.head.Load() {
				b.in.head.Add(1)
				a.Wake()
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
}
