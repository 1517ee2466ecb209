package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/service"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

// The ports of the services when none is given: those of their RFCs.
const (
	echoPort    = 7
	discardPort = 9
	chargenPort = 19
	httpPort    = 80
)

// ports are where the services answer; 0 is nowhere.
type ports struct{ echo, discard, chargen, http uint16 }

func (p *ports) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Uint16Var(&p.echo, "echo", echoPort, "port of echo over TCP and UDP (RFC 862); 0: off")
	flags.Uint16Var(&p.discard, "discard", discardPort, "port of discard over TCP and UDP (RFC 863); 0: off")
	flags.Uint16Var(&p.chargen, "chargen", chargenPort, "port of the character generator over TCP (RFC 864); 0: off")
	flags.Uint16Var(&p.http, "http", httpPort, "port of HTTP; 0: off")
}

// check finds ports that cannot all be had. If some are given and others not, those
// that are not given are off.
func (p *ports) check(cmd *cobra.Command) error {
	of := []struct {
		name string
		port *uint16
	}{{"echo", &p.echo}, {"discard", &p.discard}, {"chargen", &p.chargen}, {"http", &p.http}}
	some := false
	for _, f := range of {
		some = some || cmd.Flags().Changed(f.name) && *f.port != 0
	}
	taken := map[uint16]string{}
	for _, f := range of {
		if some && !cmd.Flags().Changed(f.name) {
			*f.port = 0
		}
		if *f.port == 0 {
			continue
		}
		if other := taken[*f.port]; other != "" {
			return usagef("--%s and --%s are both port %d: give them different ones, or 0 to switch one off", other, f.name, *f.port)
		}
		taken[*f.port] = f.name
	}
	if len(taken) == 0 {
		return usagef("every service is off: give one of --echo, --discard, --chargen, --http a port")
	}
	return nil
}

func serveCommand() *cobra.Command {
	var (
		flags stackFlags
		at    ports
		place controlFlags
	)
	cmd := &cobra.Command{
		Use:   "serve -i IF (-a CIDR | --share) [flags]",
		Short: "Give small services at an address of the engine's own, or at the kernel's",
		Long: `Give RFC 862 echo and RFC 863 discard over TCP and UDP, RFC 864 characters over TCP,
and HTTP, at addresses of the engine's own: they must not be the kernel's, and the
kernel keeps all its own traffic. If no port is given, the services are at those of
their RFCs; if some are, the others are off.

With --share they are at the kernel's addresses on the interface instead. The kernel keeps
everything there but the ports of the services, a remote login included.

While it runs, 'xdpsock neigh', 'route', 'addr', 'sockets' and 'drops' print what it holds, and
'xdpsock sysctl' prints and turns its knobs.

HTTP answers GET / with a line, GET /blob/BYTES with that many bytes, and POST /sum
with the SHA-256 of what was posted.`,
		Example: `  sudo xdpsock serve -i eth1 -a 192.0.2.7/24
  sudo xdpsock serve -i eth1 -a 192.0.2.7/24 --gateway 192.0.2.1 --echo 7007 --policy latency
  sudo xdpsock serve -i eth1 -a 192.0.2.7/24 -a 2001:db8::7/64
  sudo xdpsock serve -i eth1 -a 192.0.2.7/24 --http 8080 --json
  sudo xdpsock serve -i eth1 -a dhcp -a auto
  sudo xdpsock serve -i eth0 --share --http 8080`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := at.check(cmd); err != nil {
				return err
			}
			place.given = cmd.Flags().Changed("control")
			return serve(cmd.Context(), outputOf(cmd), cmd.ErrOrStderr(), &flags, at, place)
		},
	}
	flags.add(cmd)
	at.add(cmd)
	place.add(cmd)
	return cmd
}

// ready is the first object that serve prints.
type ready struct {
	Event    string          `json:"event"` // "ready"
	Link     *link           `json:"link,omitempty"`
	Policy   string          `json:"policy,omitempty"`
	Services []service.Stats `json:"services"`
}

// summary is the last.
type summary struct {
	Event    string           `json:"event"` // "summary"
	Seconds  float64          `json:"seconds"`
	Traffic  *traffic.Summary `json:"traffic,omitempty"`
	Services []service.Stats  `json:"services"`
}

func serve(ctx context.Context, out *output, stderr io.Writer, flags *stackFlags, at ports, place controlFlags) (err error) {
	stack, end, err := flags.open(ctx, out)
	if err != nil {
		return err
	}
	defer func() {
		if e := end(); err == nil {
			err = e
		}
	}()
	answering, err := place.open(stack.Host())
	switch {
	case err != nil && place.given:
		return err
	case err != nil:
		fmt.Fprintln(stderr, noControl(err))
	case answering != nil:
		defer answering.Close()
	}
	ended := make(chan error, 1)
	group := &service.Group{Report: func(err error) {
		select {
		case ended <- err:
		default: // one is enough
		}
	}}
	defer group.Close()
	setProcessors(len(stack.Host().Cores()))
	if err := offer(group, stack, at); err != nil {
		if flags.share && errors.Is(err, unix.EADDRINUSE) {
			err = fmt.Errorf("%w: a program of the kernel's has the port, 'ss -lntup' says which", err)
		}
		return err
	}
	began := time.Now()
	l := linkOf(stack.Host().NICs()[0], own(stack))
	l.say(out)
	whose := "own"
	if flags.share {
		whose = "shared with the kernel:"
	}
	out.say("policy %s; %s %s", flags.policy, whose, strings.Join(own(stack), ", "))
	sayServices(out, group.Stats())
	out.emit(ready{"ready", &l, flags.policy, group.Stats()})
	watching, stop := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() { defer close(watched); sayLink(watching, out, stack.Host()) }()

	select {
	case <-ctx.Done():
	case err = <-ended:
		err = whyDown(stack.Host(), err)
	}
	stop()
	<-watched
	group.Close() // and with the last socket, what was answered has been sent
	t := traffic.Of(stack.Host())
	sayDone(out, time.Since(began), group.Stats())
	sayTraffic(out, &t)
	out.emit(summary{"summary", time.Since(began).Seconds(), &t, group.Stats()})
	return err
}

// whyDown is what a device says of its end, where a service has ended because of it.
func whyDown(h *host.Host, err error) error {
	if !errors.Is(err, unix.ENETDOWN) {
		return err
	}
	for _, c := range h.Cores() {
		for port := range c.Ports() {
			if e := c.Port(port).Err(); e != nil {
				return e
			}
		}
	}
	return err
}

// setProcessors gives the Go scheduler a processor for each core of the engine, unless
// GOMAXPROCS says otherwise. A core's goroutines run one after the other on the processor that
// turns it; an idle processor more only takes them away, and its search for work costs others
// theirs. Measured on two CPUs with one core, in runs of their own: TCP echo on 64 connections
// 1.34 to 1.67 times the kernel's rate instead of 1.18, net/http 0.88 to 1.0 instead of 0.72.
func setProcessors(cores int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, min(cores, runtime.NumCPU())))
	}
}

// offer opens the services over the engine's sockets, at all its addresses.
func offer(group *service.Group, stack *socketapi.Stack, at ports) error {
	loops := len(stack.Host().Cores())
	all := netip.IPv4Unspecified()
	if slices.ContainsFunc(stack.Host().Addrs(), func(a host.Addr) bool { return a.Prefix.Addr().Is6() && !a.Prefix.Addr().IsLoopback() }) {
		all = netip.IPv6Unspecified() // which takes IPv4 too
	}
	any := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(all, port) }
	tcp := func(port uint16, serve func(*socketapi.TCPListener)) error {
		if port == 0 {
			return nil
		}
		l, err := stack.ListenTCP(any(port))
		if err == nil {
			serve(l)
		}
		return err
	}
	udp := func(port uint16, serve func(service.PacketConn, int)) error {
		if port == 0 {
			return nil
		}
		c, err := stack.ListenUDP(any(port))
		if err == nil {
			serve(c, loops)
		}
		return err
	}
	for _, err := range []error{
		udp(at.echo, group.EchoUDP),
		tcp(at.echo, func(l *socketapi.TCPListener) { group.EchoTCP(l) }),
		udp(at.discard, group.DiscardUDP),
		tcp(at.discard, func(l *socketapi.TCPListener) { group.DiscardTCP(l) }),
		tcp(at.chargen, func(l *socketapi.TCPListener) { group.ChargenTCP(l) }),
		tcp(at.http, func(l *socketapi.TCPListener) { group.HTTP(l) }),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func sayServices(out *output, services []service.Stats) {
	for _, s := range services {
		out.say("%-8s %s %s", s.Name, s.Network, s.Addr)
	}
	out.say("Ctrl-C ends it.")
}

// sayDone prints a line a service that was used.
func sayDone(out *output, took time.Duration, services []service.Stats) {
	out.say("\n%v:", took.Round(time.Millisecond))
	for _, s := range services {
		if s.Messages == 0 && s.Connections == 0 {
			continue
		}
		line := fmt.Sprintf("%-8s %s  %s, %s in, %s out", s.Name, s.Network, plural(s.Messages, "message"), byteCount(s.RxBytes), byteCount(s.TxBytes))
		if s.Network == "tcp" {
			line += ", " + plural(s.Connections, "connection")
		}
		if s.Failed > 0 {
			line += fmt.Sprintf(", %d not answered", s.Failed)
		}
		if s.Refused > 0 {
			line += fmt.Sprintf(", %d refused: from a port that would answer the answer", s.Refused)
		}
		out.say("%s", line)
	}
}
