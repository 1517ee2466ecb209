package main

import (
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/engine"
)

func l2fwdCommand() *cobra.Command {
	var (
		flags rawFlags
		dst   string
	)
	cmd := &cobra.Command{
		Use:   "l2fwd -i IF [flags]",
		Short: "Send every packet of an interface back with its Ethernet addresses exchanged",
		Long: `Receive every packet of an interface, or of one queue of it, exchange its Ethernet
addresses in place and send it back by the same queue, without copying it. The
kernel gets none of them while it runs, those of your own ssh session included.`,
		Example: `  sudo xdpsock l2fwd -i eth1
  sudo xdpsock l2fwd -i eth1 --dst-mac 02:00:00:00:00:02
  sudo xdpsock l2fwd -i eth1 -q 0 -d 10 -n 0 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var to *[6]byte
			if cmd.Flags().Changed("dst-mac") {
				mac, err := parseMAC(dst)
				if err != nil {
					return err
				}
				to = (*[6]byte)(&mac)
			}
			return flags.run(cmd, rawMode{
				name: "l2fwd", receives: true,
				handler: func(nic engine.NICInfo, ports []engine.Device) (engine.Handler, *atomic.Uint64, error) {
					for _, d := range ports {
						if d.Info().RawIP {
							return nil, nil, fmt.Errorf("%s has no Ethernet addresses to exchange: take a TAP instead of a TUN", nic.Interface)
						}
					}
					var from [6]byte
					copy(from[:], nic.Addr)
					h := engine.NewL2Fwd(ports, to, from)
					return h, &h.Dropped, nil
				},
			})
		},
	}
	flags.add(cmd)
	cmd.Flags().StringVar(&dst, "dst-mac", "", "send to this Ethernet address, from ours, instead of back")
	return cmd
}
