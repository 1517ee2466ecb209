package main

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// What txonly sends: a UDP datagram to the discard port, between the first two
// addresses that are set aside for measurements (RFC 2544 appendix C.2.2), to a station
// that nobody has, so that no kernel at the other end bothers with it.
const (
	txonlyPort    = 9
	txonlySize    = 64 // bytes
	txonlyDstMAC  = "02:00:00:00:00:01"
	txonlySizeMin = 60 // bytes, the shortest Ethernet frame without its check sequence
)

var (
	txonlySrc = netip.AddrFrom4([4]byte{198, 18, 0, 1})
	txonlyDst = netip.AddrFrom4([4]byte{198, 18, 0, 2})
)

func txonlyCommand() *cobra.Command {
	var (
		flags rawFlags
		size  int
		dst   string
	)
	cmd := &cobra.Command{
		Use:   "txonly -i IF [flags]",
		Short: "Send one packet again and again, as fast as it goes",
		Long: `Send the same UDP packet from an interface, or from one queue of it, again and again:
how many a second can be had. Nothing is taken from the kernel.`,
		Example: `  sudo xdpsock txonly -i eth1
  sudo xdpsock txonly -i eth1 -q 0 -s 1514 --dst-mac 02:00:00:00:00:02 -d 10
  sudo xdpsock txonly -i eth1 -b 32 -d 10 -n 0 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			mac, err := parseMAC(dst)
			if err != nil {
				return err
			}
			if size < txonlySizeMin {
				return usagef("--size %d is shorter than an Ethernet frame, which has %d bytes", size, txonlySizeMin)
			}
			return flags.run(cmd, rawMode{
				name: "txonly",
				handler: func(nic engine.NICInfo, ports []engine.Device) (engine.Handler, *atomic.Uint64, error) {
					frame, err := txonlyFrame(nic, ports, mac, size)
					return engine.NewTxOnly(frame), nil, err
				},
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().IntVarP(&size, "size", "s", txonlySize, "bytes of a packet from its Ethernet header on")
	cmd.Flags().StringVar(&dst, "dst-mac", txonlyDstMAC, "Ethernet address to send to")
	return cmd
}

// parseMAC reads an Ethernet address.
func parseMAC(s string) (mac wire.MAC, err error) {
	b, err := net.ParseMAC(s)
	if err != nil || len(b) != len(mac) {
		return mac, usagef("--dst-mac %q is not an Ethernet address, such as %s", s, txonlyDstMAC)
	}
	return wire.MAC(b), nil
}

// txonlyFrame makes the packet.
func txonlyFrame(nic engine.NICInfo, ports []engine.Device, dst wire.MAC, size int) ([]byte, error) {
	longest := nic.MTU + wire.EthernetLen
	for _, d := range ports {
		if d.Info().RawIP {
			return nil, fmt.Errorf("%s has no Ethernet header, and txonly sends one: take a TAP instead of a TUN", nic.Interface)
		}
		longest = min(longest, d.Info().FrameLen)
	}
	if size > longest {
		return nil, usagef("--size %d is longer than %d, which the MTU %d of %s allows: `ip link set %s mtu %d` where it can be had",
			size, longest, nic.MTU, nic.Interface, nic.Interface, size-wire.EthernetLen)
	}
	var src wire.MAC
	copy(src[:], nic.Addr)
	frame := make([]byte, size)
	b := frame[wire.PutEthernet(frame, dst, src, wire.EtherTypeIPv4):]
	n := len(b) - wire.IPv4Len - wire.UDPLen
	b = b[wire.PutIPv4(b, &wire.IPv4Fields{
		DF: true, TTL: 64, Protocol: wire.ProtoUDP, Src: txonlySrc, Dst: txonlyDst, PayloadLen: wire.UDPLen + n,
	}):]
	wire.PutUDP(b, txonlyPort, txonlyPort, n)
	for i := range n {
		b[wire.UDPLen+i] = byte(i)
	}
	wire.UDP(b).Seal(wire.PseudoSum(txonlySrc, txonlyDst, wire.ProtoUDP, len(b)))
	return frame, nil
}
