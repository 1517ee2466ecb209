package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/socketapi/control"
)

// sysctlCommand prints knobs of a running engine, and turns them.
func sysctlCommand() *cobra.Command {
	var flags askFlags
	cmd := &cobra.Command{
		Use:   "sysctl [-i IF] [NAME[=VALUE]]...",
		Short: "Print or change the knobs of a running engine",
		Long: `Print the knobs of a running engine, all of them or those that are named, and change those
that are given a value. They have the names, units and ranges of Linux's sysctls, which
docs/sysctl.md lists; a name may leave out what stands before its last dot. A value counts
from then on.`,
		Example: `  sudo xdpsock sysctl
  sudo xdpsock sysctl net.ipv4.tcp_fin_timeout
  sudo xdpsock sysctl tcp_keepalive_time=60 tcp_rmem="4096 131072 33554432"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			engine, err := flags.choose()
			if err != nil {
				return err
			}
			answer, err := engine.Sysctl(args...)
			if err != nil {
				return err
			}
			saySysctls(outputOf(cmd), answer.Sysctls, flags.all)
			return nil
		},
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&flags.all, "describe", false, "print what each of them is, too")
	return cmd
}

// saySysctls prints knobs as sysctl(8) does.
func saySysctls(out *output, list []control.Sysctl, describe bool) {
	if describe {
		out.table("NAME\tVALUE\tUNIT\tRANGE\tMEANING", func(w io.Writer) {
			for _, s := range list {
				row(w, s.Name, s.Value, s.Unit, s.Range, s.Doc)
			}
		})
	}
	for _, s := range list {
		if !describe {
			out.say("%s = %s", s.Name, s.Value)
		}
		out.emit(struct {
			Event string `json:"event"` // "sysctl"
			control.Sysctl
		}{"sysctl", s})
	}
}

// parseSysctls reads the values of --sysctl.
func parseSysctls(list []string) (map[string]string, error) {
	set := map[string]string{}
	for _, s := range list {
		name, value, ok := strings.Cut(s, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return nil, usagef("--sysctl %q is not of the form NAME=VALUE, such as tcp_fin_timeout=30", s)
		}
		if _, twice := set[name]; twice {
			return nil, usagef("--sysctl has %s twice", name)
		}
		set[name] = value
	}
	return set, nil
}
