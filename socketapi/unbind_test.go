package socketapi

import (
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestUnbindAfterClose plays the race of a shutdown with a close: the listener is taken out, the
// socket closes, and only then the port is given back. A connection that was accepted there
// keeps it.
func TestUnbindAfterClose(t *testing.T) {
	a, b := twoHosts(t)
	s, errno := newTCPSocket(a.host, unix.AF_INET)
	if errno != 0 {
		t.Fatal(errno)
	}
	if errno := s.listen(1); errno != 0 {
		t.Fatal(errno)
	}
	local := netip.AddrPortFrom(netip.MustParseAddr(addrA), s.name().Port())
	peer, err := b.Dial("tcp", local.String())
	fatal(t, err)
	defer peer.Close()
	conn, _, errno := s.accept(0)
	if errno != 0 {
		t.Fatal(errno)
	}
	s.listener.Swap(nil).close(unix.EINVAL)
	if errno := s.close(); errno != 0 {
		t.Fatal(errno)
	}
	s.mu.Lock()
	s.unbind()
	s.mu.Unlock()
	if _, err := a.ListenTCP(local); err == nil {
		t.Error("the port of a connection was given away")
	}
	conn.common().linger.Onoff = 1 // without FIN-WAIT-2 and TIME-WAIT, which keep the port, too
	conn.close()
	l, err := a.ListenTCP(local)
	fatal(t, err)
	l.Close()
}
