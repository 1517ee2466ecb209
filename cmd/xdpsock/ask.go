package main

import (
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/socketapi/control"
	"github.com/xdpsock/xdpsock/socketapi/host"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

// The commands that print what a running engine holds. All ask by its control socket, and
// differ in what they ask for and how they print it.

type askFlags struct {
	iface string
	pid   int
	dir   string
	all   bool // of drops: the reasons that have dropped nothing too; of sysctl: with what they are
}

// askCommands makes them.
func askCommands() []*cobra.Command {
	return []*cobra.Command{
		askCommand("neigh", control.AskNeighbours, sayNeighbours, &cobra.Command{
			Short: "Print the neighbours of a running engine",
			Long: `Print the stations on the link that a running engine knows, their MAC addresses and
what it knows about their being there, in the words of RFC 4861: a STALE one is asked
again when there is something to send to it. WAITING are datagrams that wait for an answer.`,
			Example: `  sudo xdpsock neigh
  sudo xdpsock neigh -i eth1 --json`,
		}),
		askCommand("route", control.AskRoutes, sayRoutes, &cobra.Command{
			Short: "Print the routes of a running engine",
			Long:  `Print the routes of a running engine, in the order in which it looks at them.`,
			Example: `  sudo xdpsock route
  sudo xdpsock route -i eth1 --json`,
		}),
		askCommand("addr", control.AskAddrs, sayAddrs, &cobra.Command{
			Short: "Print the addresses of a running engine",
			Long: `Print the addresses that a running engine has for its own, their state (an address is
tentative until it is known to be nobody else's, and deprecated when nothing new should
begin with it) and for how long they are to be preferred and valid.`,
			Example: `  sudo xdpsock addr
  sudo xdpsock addr -i eth1 --json`,
		}),
		askCommand("sockets", control.AskSockets, saySockets, &cobra.Command{
			Short: "Print the sockets and connections of a running engine",
			Long: `Print the sockets of a running engine and its connections, those that their program
has closed included, as ss(8) does for the kernel. RECV-Q is what the program has not read
and SEND-Q what the peer has not acknowledged, in bytes; of a listener, the connections
that wait to be accepted, and how many may. DROPPED are datagrams for which there was no room.`,
			Example: `  sudo xdpsock sockets
  sudo xdpsock sockets -i eth1 --json`,
		}),
		askCommand("drops", control.AskDrops, sayDrops, &cobra.Command{
			Short: "Print why a running engine has dropped packets, and how many",
			Long: `Print the reasons for which a running engine has dropped packets, how many, and what each
means. Everything that is dropped is counted for exactly one reason.`,
			Example: `  sudo xdpsock drops
  sudo xdpsock drops -i eth1 --all`,
		}),
		sysctlCommand(),
	}
}

func askCommand(name string, subject control.Subject, say func(*output, *control.Answer, *askFlags), cmd *cobra.Command) *cobra.Command {
	var flags askFlags
	cmd.Use = name + " [-i IF]"
	cmd.Args = noArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		engine, err := flags.choose()
		if err != nil {
			return err
		}
		answer, err := engine.Ask(subject)
		if err != nil {
			return err
		}
		say(outputOf(cmd), answer, &flags)
		return nil
	}
	flags.add(cmd)
	if subject == control.AskDrops {
		cmd.Flags().BoolVar(&flags.all, "all", false, "print the reasons too for which nothing was dropped")
	}
	return cmd
}

// add adds the flags that say which engine is asked.
func (f *askFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.iface, "interface", "i", "", "interface that the engine runs on; needed if several engines run")
	flags.IntVar(&f.pid, "pid", 0, "process that the engine runs in")
	flags.StringVar(&f.dir, "control", control.Dir, "directory of the engines' control sockets")
}

// choose finds the engine that they say.
func (f *askFlags) choose() (*control.Found, error) {
	engine, err := control.Choose(f.dir, f.iface, f.pid)
	if errors.Is(err, control.ErrSeveral) {
		err = usageError{err}
	}
	return engine, err
}

// table prints a table for people.
func (o *output) table(head string, rows func(w io.Writer)) {
	if o.json {
		return
	}
	t := tabwriter.NewWriter(o.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, head)
	rows(t)
	t.Flush()
}

// row prints the cells of one row, an empty one as a dash.
func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			fmt.Fprint(w, "\t")
		}
		if c == "" {
			c = "-"
		}
		fmt.Fprint(w, c)
	}
	fmt.Fprintln(w)
}

// coreOf is the column of a core: -1 is all of them.
func coreOf(core int) any {
	if core < 0 {
		return "all"
	}
	return core
}

func sayNeighbours(out *output, a *control.Answer, _ *askFlags) {
	out.table("ADDRESS\tINTERFACE\tMAC\tSTATE\tWAITING\tCORE", func(w io.Writer) {
		for _, n := range a.Neighbours {
			row(w, n.Addr, n.Interface, n.MAC, n.State, n.Waiting, n.Core)
		}
	})
	for _, n := range a.Neighbours {
		out.emit(struct {
			Event string `json:"event"` // "neighbour"
			control.Neighbour
		}{"neighbour", n})
	}
}

func sayRoutes(out *output, a *control.Answer, _ *askFlags) {
	out.table("DESTINATION\tTYPE\tGATEWAY\tINTERFACE\tSOURCE\tMETRIC\tMTU\tWEIGHT", func(w io.Writer) {
		for _, r := range a.Routes {
			orNothing := func(n int) any {
				if n > 0 {
					return n
				}
				return ""
			}
			row(w, r.Prefix, r.Type, r.Gateway, r.Interface, r.Source, r.Metric, orNothing(r.MTU), orNothing(r.Weight))
		}
	})
	for _, r := range a.Routes {
		out.emit(struct {
			Event string `json:"event"` // "route"
			control.Route
		}{"route", r})
	}
}

func sayAddrs(out *output, a *control.Answer, _ *askFlags) {
	out.table("ADDRESS\tINTERFACE\tSTATE\tPREFERRED\tVALID", func(w io.Writer) {
		for _, x := range a.Addrs {
			state := x.State
			if x.Temporary {
				state += ", temporary"
			}
			row(w, x.Addr, x.Interface, state, lasting(x.Preferred), lasting(x.Valid))
		}
	})
	for _, x := range a.Addrs {
		out.emit(struct {
			Event string `json:"event"` // "address"
			control.Addr
		}{"address", x})
	}
}

// lasting is for how long something holds.
func lasting(seconds *float64) string {
	if seconds == nil {
		return "forever"
	}
	return time.Duration(*seconds * float64(time.Second)).Round(time.Second).String()
}

func saySockets(out *output, a *control.Answer, _ *askFlags) {
	out.table("PROTOCOL\tSTATE\tRECV-Q\tSEND-Q\tLOCAL\tREMOTE\tDROPPED\tCORE", func(w io.Writer) {
		for _, s := range a.Sockets {
			row(w, s.Protocol, s.State, s.RecvQ, s.SendQ, s.Local, s.Remote, s.Dropped, coreOf(s.Core))
		}
	})
	for _, s := range a.Sockets {
		out.emit(struct {
			Event string `json:"event"` // "socket"
			control.Socket
		}{"socket", s})
	}
	if a.More {
		out.say("There are more: these are the first %d.", len(a.Sockets))
		out.emit(struct {
			Event string `json:"event"` // "more"
			Shown int    `json:"shown"`
		}{"more", len(a.Sockets)})
	}
}

// sayDrops prints the engine's own reasons, and below them what it heard of others'.
func sayDrops(out *output, a *control.Answer, flags *askFlags) {
	t := a.Traffic
	var list []traffic.Drop
	for _, d := range t.Drops {
		if d.Packets > 0 || flags.all {
			list = append(list, d)
		}
	}
	t.Drops = list
	out.table("PACKETS\tREASON\tMEANING", func(w io.Writer) {
		for _, d := range t.Drops {
			row(w, d.Packets, d.Reason, d.Explain)
		}
	})
	out.say("Of %s received, and of what there was to send.", plural(t.RxPackets, "packet"))
	for _, line := range lostBeside(t) {
		out.say("%s", line)
	}
	for _, d := range t.Drops {
		out.emit(struct {
			Event string `json:"event"` // "drop"
			traffic.Drop
		}{"drop", d})
	}
	t.Drops = []traffic.Drop{}
	out.emit(struct {
		Event string `json:"event"` // "traffic"
		*traffic.Summary
	}{"traffic", t})
}

// lostBeside says what was lost, or does not come, where the engine's own counters do not reach.
func lostBeside(t *traffic.Summary) (lines []string) {
	if t.RxDropped > 0 {
		lines = append(lines, fmt.Sprintf("%12d  lost on receive: the kernel had no frame or no room in the ring of ours", t.RxDropped))
	}
	if t.TxBusy > 0 {
		lines = append(lines, fmt.Sprintf("%12d  lost on send: the driver had no room", t.TxBusy))
	}
	if t.Unshared > 0 {
		lines = append(lines, fmt.Sprintf("%12d  ports of sockets here are the kernel's: a program of its had them before their address was shared, or an interface has too many", t.Unshared))
	}
	return lines
}

// controlFlags is how serve and run are told where the control socket is to be.
type controlFlags struct {
	dir   string
	given bool // by the user
}

func (f *controlFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "control", control.Dir, "directory of the control socket at which 'xdpsock sockets' and others ask; empty: none")
}

// open opens the control socket, if there is to be one.
func (f *controlFlags) open(h *host.Host) (*control.Server, error) {
	if f.dir == "" {
		return nil, nil
	}
	return control.Open(f.dir, h)
}

// prepare is for a program that opens the socket by itself: it says where, and "" for nowhere.
func (f *controlFlags) prepare(cmd *cobra.Command) (dir string, err error) {
	if f.dir == "" {
		return "", nil
	}
	dir, err = filepath.Abs(f.dir) // the program may change its directory
	if err == nil {
		err = control.Prepare(dir)
	}
	switch {
	case err != nil && cmd.Flags().Changed("control"):
		return "", err
	case err != nil:
		fmt.Fprintln(cmd.ErrOrStderr(), noControl(err))
		return "", nil
	}
	return dir, nil
}

// noControl is what is said when the usual place is not to be had: that is no reason not to
// serve. A place that the user gave is.
func noControl(err error) string {
	return "no control socket, so 'xdpsock sockets' and others will not find this engine: " + strings.Join(strings.Fields(err.Error()), " ")
}
