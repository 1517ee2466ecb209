package engine

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/bpf"
)

// ShareAddr has port rules hold at an address that stays the kernel's: frames to it come to the devices if a rule says
// so, and no ARP and no neighbour discovery does. Calls are counted. It is EOPNOTSUPP in ModePacket, where the kernel would answer
// what is ours too.
func (n *NIC) ShareAddr(addr netip.Addr) error {
	return n.rule(func(p *bpf.Program) error { return p.ShareAddr(addr) })
}

// UnshareAddr undoes one ShareAddr.
func (n *NIC) UnshareAddr(addr netip.Addr) error {
	return n.rule(func(p *bpf.Program) error { return p.UnshareAddr(addr) })
}

// AddPort takes a port of TCP or UDP at one address, or with 0.0.0.0 and :: at all of the family that are shared: see
// [bpf.Program.AddPort]. Calls are counted.
func (n *NIC) AddPort(protocol uint8, local netip.AddrPort) error {
	return n.rule(func(p *bpf.Program) error { return p.AddPort(bpf.Proto(protocol), local) })
}

// RemovePort undoes one AddPort.
func (n *NIC) RemovePort(protocol uint8, local netip.AddrPort) error {
	return n.rule(func(p *bpf.Program) error { return p.RemovePort(bpf.Proto(protocol), local) })
}

// rule changes a rule of the program's, if there is one.
func (n *NIC) rule(change func(*bpf.Program) error) error {
	if n.program == nil {
		return fmt.Errorf("engine: %s: an address is shared with the kernel by an XDP program, and there is none in mode %q: %w",
			n.info.Interface, n.info.Mode, unix.EOPNOTSUPP)
	}
	return change(n.program)
}
