package main

import (
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/engine"
)

func rxdropCommand() *cobra.Command {
	var flags rawFlags
	cmd := &cobra.Command{
		Use:   "rxdrop -i IF [flags]",
		Short: "Receive every packet of an interface and drop it",
		Long: `Receive every packet of an interface, or of one queue of it, and drop it: how many a
second can be had. The kernel gets none of them while it runs, those of your own
ssh session included.`,
		Example: `  sudo xdpsock rxdrop -i eth1
  sudo xdpsock rxdrop -i eth1 -q 0 --mode zerocopy --busy-poll -d 10
  sudo xdpsock rxdrop -i eth1 -d 10 -n 0 --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return flags.run(cmd, rawMode{
				name: "rxdrop", receives: true,
				handler: func(engine.NICInfo, []engine.Device) (engine.Handler, *atomic.Uint64, error) {
					return &engine.RxDrop{}, nil, nil
				},
			})
		},
	}
	flags.add(cmd)
	return cmd
}
