package engine

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Read first: sock_diag(7).

// KernelConnections returns the local addresses of the connections of TCP that the kernel's programs have from a port, in
// the network namespace of the calling thread. Those that nobody has any more, as in TIME-WAIT, are left out.
func KernelConnections(port uint16) (local []netip.Addr, err error) {
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		list, err := undisturbed(func() ([]*netlink.Socket, error) { return netlink.SocketDiagTCP(family) })
		if err != nil {
			return nil, fmt.Errorf("engine: connections of the kernel's: %w", err)
		}
		for _, s := range list {
			a, ok := netip.AddrFromSlice(s.ID.Source)
			connected := s.State != netlink.TCP_LISTEN && s.State != netlink.TCP_CLOSE
			if ok && connected && s.ID.SourcePort == port && s.INode != 0 {
				local = append(local, a.Unmap())
			}
		}
	}
	return local, nil
}
