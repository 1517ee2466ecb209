// Command xdpsock runs network services, tests and measurements on the xdpsock engine.
//
// In come flags; out come lines for people, or with --json for machines. Each mode
// is a file of its own. It must never leave a program attached to an interface, a
// namespace or a process behind, however it ends.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it was tried and did not work, or a check failed
	exitUsage  = 2 // it could not be tried: a wrong flag or argument, or a missing privilege
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

// run is main with everything it touches passed in.
func run(args []string, stdout, stderr io.Writer) int {
	// The second signal ends the process as the first would have without us.
	ctx, restore := signal.NotifyContext(context.Background(), unix.SIGINT, unix.SIGTERM)
	defer restore()
	context.AfterFunc(ctx, restore)

	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	var silent silentError
	switch {
	case errors.As(err, &silent):
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintf(stderr, "%s: interrupted before it had begun\n", cmd.CommandPath())
	default:
		// One line, whatever a library below put into its error.
		fmt.Fprintf(stderr, "%s: %s\n", cmd.CommandPath(), strings.Join(strings.Fields(err.Error()), " "))
	}
	return exitCode(err)
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "xdpsock",
		Short: "Sockets over AF_XDP, without the kernel's stack",
		Long: `xdpsock takes packets from a network interface by AF_XDP, runs IP, TCP and UDP in
user space, and gives programs sockets. What is not for its own address stays with
the kernel.`,
		Example: `  sudo xdpsock demo
  sudo xdpsock serve -i eth1 -a 192.0.2.7/24
  sudo xdpsock run -i eth1 -a 192.0.2.7/24 PROGRAM
  sudo xdpsock ping -i eth1 -a 192.0.2.7/24 192.0.2.1`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.PersistentFlags().Bool("json", false, "print JSON, one object a line, for machines")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%w; see '%s --help'", err, cmd.CommandPath())
	})
	root.AddCommand(
		infoCommand(),
		rxdropCommand(),
		txonlyCommand(),
		l2fwdCommand(),
		serveCommand(),
		runCommand(),
		pingCommand(),
		tracerouteCommand(),
		demoCommand(),
		kernelCommand(),
	)
	root.AddCommand(askCommands()...)
	return root
}

// usageError is what is wrong with a flag or an argument.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// silentError ends a command that has said itself what is wrong.
type silentError struct{ error }

func (e silentError) Unwrap() error { return e.error }

// exitCode says how the process ends after err.
func exitCode(err error) int {
	var usage usageError
	if errors.As(err, &usage) || errors.Is(err, os.ErrPermission) {
		return exitUsage
	}
	return exitFailed
}

// noArgs and oneArg are cobra's, with errors that are usage errors.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if !cmd.HasParent() {
		return usagef("%q is not a command; see '%s --help'", args[0], cmd.CommandPath())
	}
	return usagef("argument %q is not understood; see '%s --help'", args[0], cmd.CommandPath())
}

func oneArg(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		switch {
		case len(args) == 0:
			return usagef("%s is missing; see '%s --help'", name, cmd.CommandPath())
		case len(args) > 1:
			return usagef("one %s, not %d; see '%s --help'", name, len(args), cmd.CommandPath())
		}
		return nil
	}
}

// An output is where a command says something: in lines for people, or in objects for
// machines.
type output struct {
	mu   sync.Mutex // news of a lease comes at any time
	w    io.Writer
	json bool
}

func outputOf(cmd *cobra.Command) *output {
	asJSON, _ := cmd.Flags().GetBool("json")
	return &output{w: cmd.OutOrStdout(), json: asJSON}
}

// say prints for people, and nothing for machines.
func (o *output) say(format string, args ...any) {
	if !o.json {
		o.mu.Lock()
		defer o.mu.Unlock()
		fmt.Fprintf(o.w, format+"\n", args...)
	}
}

// emit prints one line of JSON, and nothing for people.
func (o *output) emit(v any) {
	if !o.json {
		return
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // a type of ours that JSON does not know
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.w, "%s\n", b)
}
