package socketapi

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// A port that is chosen before the peer is known is not one that still belongs to a connection which its program has closed, and
// there may be none.
func TestDialFromAChosenPort(t *testing.T) {
	t.Parallel()
	st, _ := openSelf(t, 1)
	fatal(t, st.Host().SetSysctl("net.ipv4.tcp_tw_reuse", "0"))
	for i, at := range []string{"127.0.0.1:6000", "[::1]:6000"} {
		l, err := st.Listen("tcp", at)
		fatal(t, err)
		defer l.Close()
		d := Dialer{Stack: st, LocalAddr: &net.TCPAddr{IP: []net.IP{net.IPv4zero, net.IPv6unspecified}[i]}}
		for first := 7000 + 100*i; first < 7020+100*i; first += 2 {
			fatal(t, st.Host().SetSysctl("net.ipv4.ip_local_port_range", fmt.Sprint(first, first+1)))
			var ports [2]uint16
			for i := range ports {
				c, err := d.Dial("tcp", at)
				if err != nil {
					t.Fatalf("%s, connection %d of ports from %d: %v", at, i, first, err)
				}
				ports[i] = netip.MustParseAddrPort(c.LocalAddr().String()).Port()
				fatal(t, c.Close())
			}
			if ports[0] == ports[1] {
				t.Errorf("%s: port %d twice", at, ports[0])
			}
			if c, err := d.Dial("tcp", at); !errors.Is(err, unix.EADDRINUSE) {
				t.Errorf("%s: a third connection from two ports: %v, %v", at, c, err)
			}
		}
	}
}
