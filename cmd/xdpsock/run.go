package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/socketapi"
)

func runCommand() *cobra.Command {
	var flags stackFlags
	var place controlFlags
	cmd := &cobra.Command{
		Use:   "run -i IF (-a CIDR | --share) [flags] [--] PROGRAM [ARGUMENT...]",
		Short: "Start a program whose sockets are the engine's",
		Long: `Start a program that imports github.com/xdpsock/xdpsock/socketapi/unix where it imported
golang.org/x/sys/unix. The interface and the addresses of its sockets are those that are given
here: they reach it in the environment variable ` + socketapi.HostVariable + `, and its first call opens them. A program
that imports neither package runs as ever, on the kernel's sockets.

The program takes the place of this command: its process, its standard streams, its exit
code. The programs that it starts itself get no stack. 'xdpsock sockets' and the others that ask
reach it from its first call on.`,
		Example: `  sudo xdpsock run -i eth1 -a 192.0.2.7/24 ./echo -port 7
  sudo xdpsock run -i eth1 -a 192.0.2.7/24 --gateway 192.0.2.1 -- ./server --verbose`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("PROGRAM is missing; see '%s --help'", cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir, err := place.prepare(cmd)
			if err != nil {
				return err
			}
			return flags.execute(args, dir)
		},
	}
	cmd.Flags().SetInterspersed(false) // what follows the program is the program's
	flags.add(cmd)
	place.add(cmd)
	return cmd
}

// execute becomes a program whose stack is as the flags say, and is asked in a directory.
func (f *stackFlags) execute(args []string, control string) error {
	text, err := f.text(control)
	if err != nil {
		return err
	}
	if _, err := engine.LinkByName(f.iface); err != nil { // the program would find out at its first call
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return usagef("%w", err)
	}
	environment := []string{socketapi.HostVariable + "=" + text}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, socketapi.HostVariable+"=") {
			environment = append(environment, v)
		}
	}
	return fmt.Errorf("execute %s: %w", program, unix.Exec(program, args, environment))
}

// text is the stack that the flags describe, as the environment has it.
func (f *stackFlags) text(control string) (string, error) {
	cfg, err := f.ownConfig()
	switch {
	case err != nil:
		return "", err
	case f.dhcp:
		return "", usagef("-a dhcp: a lease is kept by this command, which the program takes the place of: give an address, as 192.0.2.7/24, or auto or local")
	}
	cfg.Control = control
	text, err := json.Marshal(cfg)
	return string(text), err
}
