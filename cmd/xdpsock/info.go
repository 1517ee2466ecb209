package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/engine"
)

func infoCommand() *cobra.Command {
	var probe bool
	cmd := &cobra.Command{
		Use:   "info [IFACE]",
		Short: "Say what interfaces are and what AF_XDP would get on them",
		Long: `Say of an interface, or of all, what its driver, queues, MTU and XDP features are,
what AF_XDP would get on it and why not more, which addresses --share would use, and what
the kernel lacks of all that xdpsock would use. That is concluded from what the kernel tells,
and changes nothing. With --probe the interface is opened for a moment instead, which some
drivers answer by taking the link down and up again.`,
		Example: `  xdpsock info
  xdpsock info eth1
  sudo xdpsock info eth1 --probe --json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usagef("one interface, or none for all, not %d; see '%s --help'", len(args), cmd.CommandPath())
			}
			if len(args) == 0 && probe {
				return usagef("--probe needs the interface to open: xdpsock info IFACE --probe")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			names := args
			if len(names) == 0 {
				all, err := net.Interfaces()
				if err != nil {
					return fmt.Errorf("list interfaces: %w", err)
				}
				for _, i := range all {
					names = append(names, i.Name)
				}
			}
			return info(outputOf(cmd), names, probe, len(args) == 0)
		},
	}
	cmd.Flags().BoolVar(&probe, "probe", false, "open the interface for a moment and say what was had")
	return cmd
}

// info tells of each interface. Of all, one that is gone meanwhile is left out.
func info(out *output, names []string, probe, all bool) error {
	for i, name := range names {
		l, err := engine.LinkByName(name)
		if all && errors.Is(err, unix.ENODEV) {
			continue
		}
		if err != nil {
			return err
		}
		f := factsOf(&l)
		if probe {
			f.Gets, err = probed(name)
			if err != nil {
				return err
			}
		}
		f.Shareable = shareable(&l, &f.Gets)
		if i > 0 {
			out.say("")
		}
		f.say(out)
		out.emit(f)
	}
	k := factsOfKernel()
	out.say("")
	k.say(out)
	out.emit(k)
	if missing := missingCaps(); len(missing) > 0 {
		out.say("\nTo open an interface it takes %s, which this process has not got: run it as root or with sudo.", strings.Join(missing, ", "))
	}
	return nil
}

// facts is what there is to say of an interface.
type facts struct {
	Event     string    `json:"event"` // "interface"
	Interface string    `json:"interface"`
	Index     int       `json:"index"`
	Up        bool      `json:"up"`
	Carrier   bool      `json:"carrier"`
	Kind      string    `json:"kind"`   // of the link: "veth", "bridge"; "" for hardware
	Driver    string    `json:"driver"` // "" if it has none
	Virtual   bool      `json:"virtual"`
	Addr      string    `json:"addr"`
	Addrs     []string  `json:"addresses"`
	Shareable []string  `json:"shareable"` // those of them that --share would use
	MTU       int       `json:"mtu"`
	RxQueues  int       `json:"rx_queues"`
	TxQueues  int       `json:"tx_queues"`
	MaxQueues int       `json:"max_queues"` // that ethtool -L can set up, 0 if the driver does not tell
	Features  *string   `json:"xdp_features"`
	Programs  []program `json:"xdp_programs"`
	Gets      gets      `json:"af_xdp"`
	Missing   []string  `json:"missing_capabilities"`
}

// program is an XDP program on an interface.
type program struct {
	ID   uint32 `json:"id"`
	Mode string `json:"mode"`
	Name string `json:"name"`
}

// gets is what opening an interface gives.
type gets struct {
	Mode   string   `json:"mode"` // as --mode has it, or unknownMode; "" if it does not open
	Why    []string `json:"why_not_more"`
	Probed bool     `json:"probed"`
}

// unknownMode is for kernels that do not tell what a driver can do.
const unknownMode = "unknown"

func factsOf(l *engine.Link) facts {
	f := facts{
		Event: "interface", Interface: l.Name, Index: l.Index, Up: l.Up, Carrier: l.Carrier,
		Kind: l.Kind, Driver: l.Driver, Virtual: l.Virtual, Addr: l.MAC.String(), Addrs: []string{}, MTU: l.MTU,
		RxQueues: l.RXQueues, TxQueues: l.TXQueues, MaxQueues: max(l.Channels.CombinedMax, l.Channels.RXMax),
		Programs: []program{}, Missing: missingCaps(),
	}
	for _, a := range l.Addrs {
		f.Addrs = append(f.Addrs, a.String())
	}
	if l.XDP.Known {
		s := l.XDP.Features.String()
		f.Features = &s
	}
	attached, err := bpf.Attachments(l.Index)
	if err == nil {
		for _, a := range attached {
			f.Programs = append(f.Programs, program{a.ID, a.Mode.String(), a.Name})
		}
	}
	f.Gets = forecast(l, len(f.Programs) > 0)
	return f
}

// forecast concludes what --mode auto would give, by the ladder that engine.OpenNIC
// climbs down.
func forecast(l *engine.Link, occupied bool) (g gets) {
	g.Why = []string{}
	not := func(format string, args ...any) { g.Why = append(g.Why, fmt.Sprintf(format, args...)) }
	switch x := l.XDP; {
	case !l.Up:
		not("it is down: `ip link set %s up`", l.Name)
		return g
	case occupied:
		not("an XDP program is attached already: `bpftool net show dev %s` names it", l.Name)
		return g
	case l.MAC == nil && !l.Loopback:
		not("AF_XDP: its packets have no Ethernet header; rxdrop alone opens")
		g.Mode = "packet"
	case x.Known && x.Features&engine.XDPBasic == 0:
		not("zerocopy, native: the driver has no XDP")
		g.Mode = "skb"
	case x.Known && x.Features&engine.XDPRedirect == 0:
		not("zerocopy, native: the driver has no XDP_REDIRECT")
		g.Mode = "skb"
	case x.Known && x.Features&engine.XDPRxSG == 0 && l.MTU > engine.SingleBufferMTU():
		not("zerocopy, native: the driver takes no packets of several buffers, and those of MTU %d do not fit into one: `ip link set %s mtu %d`",
			l.MTU, l.Name, engine.SingleBufferMTU())
		g.Mode = "skb"
	case x.Known && x.Features&engine.XDPZeroCopy == 0:
		not("zerocopy: the driver has no AF_XDP zero-copy")
		g.Mode = "native"
	case x.Known:
		g.Mode = "zerocopy"
	case l.Loopback:
		not("zerocopy, native: a loopback has no XDP in its driver")
		g.Mode = "skb"
	default:
		not("this kernel does not tell XDP features (Linux 6.3 does): `xdpsock info %s --probe` tries", l.Name)
		g.Mode = unknownMode
	}
	return g
}

// probed opens the interface and closes it again.
func probed(name string) (g gets, err error) {
	nic, err := engine.OpenNIC(engine.NICConfig{Interface: name})
	if err != nil {
		return g, err
	}
	i := nic.Info()
	g = gets{Mode: i.Mode, Why: []string{}, Probed: true}
	if i.Mode == "native copy" {
		g.Mode = string(engine.ModeNative)
	}
	for _, r := range i.Refused {
		g.Why = append(g.Why, strings.Join(strings.Fields(r), " "))
	}
	return g, nic.Close()
}

// shareable is the addresses that the engine can use beside the kernel: it takes an XDP program.
func shareable(l *engine.Link, g *gets) []string {
	list := []string{}
	for _, a := range l.Addrs {
		if g.Mode != "" && g.Mode != string(engine.ModePacket) && !a.Addr().IsLoopback() {
			list = append(list, a.String())
		}
	}
	return list
}

func (f *facts) say(o *output) {
	o.say("%s (link %d)", f.Interface, f.Index)
	state := "down"
	if f.Up {
		state = "up, no carrier"
		if f.Carrier {
			state = "up"
		}
	}
	kind := f.Kind
	if kind == "" {
		kind = "hardware"
		if f.Virtual {
			kind = "loopback"
		}
	}
	o.say("  state      %s", state)
	o.say("  kind       %s, driver %s", kind, orNone(f.Driver))
	addrs := f.Addrs
	if f.Addr != "" {
		addrs = append([]string{f.Addr}, addrs...)
	}
	o.say("  address    %s", strings.Join(addrs, ", "))
	o.say("  MTU        %d", f.MTU)
	most := ""
	if f.MaxQueues > f.RxQueues {
		most = fmt.Sprintf(" (up to %d: `ethtool -L %s`)", f.MaxQueues, f.Interface)
	}
	o.say("  queues     %d that receive, %d that send%s", f.RxQueues, f.TxQueues, most)
	features := "not told by this kernel (Linux 6.3)"
	if f.Features != nil {
		features = *f.Features
	}
	o.say("  XDP        %s", features)
	for _, p := range f.Programs {
		o.say("             program %d %q, %s mode", p.ID, p.Name, p.Mode)
	}
	how := "would get"
	if f.Gets.Probed {
		how = "gets"
	}
	why := "because"
	switch f.Gets.Mode {
	case "":
		o.say("  AF_XDP     does not open")
	case unknownMode:
		o.say("  AF_XDP     cannot be concluded")
	default:
		o.say("  AF_XDP     %s %s", how, f.Gets.Mode)
		why = "not better, because"
	}
	for _, w := range f.Gets.Why {
		o.say("             %s: %s", why, w)
	}
	if len(f.Shareable) > 0 {
		o.say("  --share    %s, beside the kernel", strings.Join(f.Shareable, ", "))
	}
}

// needs are the capabilities that opening an interface takes, each by the bits of which
// one is enough.
var needs = []struct {
	name string
	bits uint64
}{
	{"CAP_NET_ADMIN", 1 << unix.CAP_NET_ADMIN},
	{"CAP_NET_RAW", 1 << unix.CAP_NET_RAW},
	{"CAP_BPF", 1<<unix.CAP_BPF | 1<<unix.CAP_SYS_ADMIN},
	{"CAP_PERFMON", 1<<unix.CAP_PERFMON | 1<<unix.CAP_SYS_ADMIN},
}

// missingCaps lists those that this process has not got.
func missingCaps() []string {
	missing := []string{}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return missing
	}
	for line := range bytes.Lines(status) {
		rest, ok := bytes.CutPrefix(line, []byte("CapEff:"))
		if !ok {
			continue
		}
		have, err := strconv.ParseUint(string(bytes.TrimSpace(rest)), 16, 64)
		if err != nil {
			return missing
		}
		for _, n := range needs {
			if have&n.bits == 0 {
				missing = append(missing, n.name)
			}
		}
	}
	return missing
}
