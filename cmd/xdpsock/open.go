package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/route"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/dhcp"
	"github.com/xdpsock/xdpsock/socketapi/host"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

// stackFlags are the flags of the commands that run a stack on an interface.
type stackFlags struct {
	iface     string
	addrs     []string
	gateways  []string
	policy    string
	mode      string
	checksums string
	vlan      uint16
	mirror    []string
	share     bool
	noDetect  bool
	sysctls   []string

	dhcp bool // one of addrs is "dhcp"
}

func (f *stackFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.iface, "interface", "i", "", "interface to take packets from")
	flags.StringArrayVarP(&f.addrs, "address", "a", nil, "own address with the prefix of the link, as 192.0.2.7/24; or dhcp, auto (IPv6 from routers), local (169.254/16); may be repeated")
	flags.StringArrayVar(&f.gateways, "gateway", nil, "address of the router on the link; may be repeated: the next of its family is used while those before it do not answer")
	flags.Uint16Var(&f.vlan, "vlan", 0, "802.1Q VLAN that the addresses are on, 1 to 4094; 0: frames without a tag")
	flags.StringSliceVar(&f.mirror, "mirror", nil, "follow what the kernel has on the interface: routes, addresses or both; addresses that are taken over are heard by the kernel's programs no more")
	flags.BoolVar(&f.share, "share", false, "use the kernel's addresses on the interface, or those that -a names, beside the kernel, and take the ports of the engine's sockets alone")
	flags.BoolVar(&f.noDetect, "no-detect", false, "use IPv6 addresses at once, without finding out whether another station has them")
	flags.StringArrayVar(&f.sysctls, "sysctl", nil, "NAME=VALUE of a knob, as tcp_fin_timeout=30; 'xdpsock sysctl' and docs/sysctl.md list them; may be repeated")
	flags.StringVar(&f.policy, "policy", engine.Balanced.String(), "how to idle: latency (never sleeps), balanced or efficient")
	flags.StringVar(&f.mode, "mode", string(engine.ModeAuto), "how packets get here: auto, zerocopy, native, skb or packet")
	flags.StringVar(&f.checksums, "checksums", "auto", "unfinished TCP and UDP checksums: auto (good on virtual links), verify or trust")
}

// config says what the flags mean.
func (f *stackFlags) config() (cfg host.Config, err error) {
	switch {
	case f.iface == "":
		return cfg, usagef("no interface: say with -i which one to take packets from")
	case len(f.addrs) == 0 && !f.share && !slices.Contains(f.mirror, "addresses"):
		return cfg, usagef("no address: give the engine one of its own with -a, such as -a 192.0.2.7/24, or -a dhcp; or the kernel's with --share")
	case f.share && (len(f.gateways) > 0 || f.vlan != 0):
		return cfg, usagef("--share uses the kernel's routes and no VLAN: leave out --gateway and --vlan; a VLAN is opened as the kernel's interface of it, such as -i eth1.7")
	}
	if f.vlan > 4094 {
		return cfg, usagef("--vlan %d is not a VLAN: 1 to 4094, or 0 for frames without a tag", f.vlan)
	}
	in := host.Interface{Name: f.iface, VLAN: f.vlan, Share: f.share}
	for _, what := range f.mirror {
		switch what {
		case "routes":
			in.Mirror |= host.MirrorRoutes
		case "addresses":
			in.Mirror |= host.MirrorAddrs
		default:
			return cfg, usagef("--mirror %q is none of routes, addresses", what)
		}
	}
	if err := f.parseAddrs(&in); err != nil {
		return cfg, err
	}
	if f.noDetect {
		in.Detect = host.DetectNone
	}
	for _, s := range f.gateways {
		gw, err := netip.ParseAddr(s)
		if err != nil {
			return cfg, usagef("gateway %q is not an address, such as 192.0.2.1", s)
		}
		in.Gateways = append(in.Gateways, gw)
	}
	if in.Mode, err = parseMode(f.mode); err != nil {
		return cfg, err
	}
	switch f.checksums {
	case "auto":
		in.Checksums = host.ChecksumsAuto
	case "verify":
		in.Checksums = host.ChecksumsVerify
	case "trust":
		in.Checksums = host.ChecksumsTrust
	default:
		return cfg, usagef("--checksums %q is none of auto, verify, trust", f.checksums)
	}
	if cfg.Policy, err = engine.ParsePolicy(f.policy); err != nil {
		return cfg, usagef("--policy %q is none of latency, balanced, efficient", f.policy)
	}
	if cfg.Sysctls, err = parseSysctls(f.sysctls); err != nil {
		return cfg, err
	}
	cfg.Interfaces = []host.Interface{in}
	return cfg, nil
}

// parseAddrs reads the addresses, and the words that stand for ways to get one.
func (f *stackFlags) parseAddrs(in *host.Interface) (err error) {
	var list []string
	for _, s := range f.addrs {
		switch s {
		case "dhcp":
			f.dhcp = true
		case "auto":
			in.Auto = true
		case "local":
			in.LinkLocal = true
		default:
			list = append(list, s)
		}
	}
	if f.share && len(list) < len(f.addrs) {
		return usagef("--share uses the kernel's addresses, which the kernel gets by itself: leave out -a dhcp, auto and local")
	}
	in.Addrs, err = parsePrefixes(list)
	return err
}

func parsePrefixes(list []string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			if a, err := netip.ParseAddr(s); err == nil {
				bits := 24
				if a.Is6() {
					bits = 64
				}
				return nil, usagef("address %s has no prefix length: write it as %s/%d, with the prefix of the link", s, s, bits)
			}
			return nil, usagef("address %q is neither in CIDR form, such as 192.0.2.7/24, nor one of dhcp, auto, local", s)
		}
		prefixes = append(prefixes, p)
	}
	return prefixes, nil
}

// parseMode reads --mode; the raw modes have the same flag.
func parseMode(s string) (engine.Mode, error) {
	switch m := engine.Mode(s); m {
	case engine.ModeAuto, engine.ModeZeroCopy, engine.ModeNative, engine.ModeSKB, engine.ModePacket:
		return m, nil
	}
	return "", usagef("--mode %q is none of auto, zerocopy, native, skb, packet", s)
}

// open opens a stack as the flags say, and waits for the addresses that are asked for. end gives back
// what was lent and closes the stack.
func (f *stackFlags) open(ctx context.Context, out *output) (st *socketapi.Stack, end func() error, err error) {
	st, err = f.openStack()
	if err != nil {
		return nil, nil, err
	}
	end = st.Close
	defer func() {
		if err != nil {
			end()
		}
	}()
	if f.dhcp {
		out.say("%s: asking for an address by DHCP", f.iface)
		// Ctrl-C ends the asking, but not the lease: it is held until the last answer has been sent.
		life, give := context.WithCancel(context.WithoutCancel(ctx))
		asked := context.AfterFunc(ctx, give)
		client, err := dhcp.Open(life, dhcp.Config{Link: dhcp.OnStack(st, 0), Notify: func(e dhcp.Event) { sayLease(out, e) }})
		asked()
		if err != nil {
			give()
			return st, end, err
		}
		end = func() error { defer give(); return errors.Join(client.Close(), st.Close()) }
	}
	return st, end, f.awaitAddrs(ctx, st)
}

// autoMax is how long a router, or a link-local address, is waited for: three solicitations, four
// seconds apart (RFC 4861 §10), and detection.
const autoMax = 20 * time.Second

// awaitAddrs waits for the addresses that the stack gets by itself.
func (f *stackFlags) awaitAddrs(ctx context.Context, st *socketapi.Stack) error {
	for word, is := range map[string]func(netip.Addr) bool{
		"auto":  func(a netip.Addr) bool { return a.Is6() && !a.IsLinkLocalUnicast() },
		"local": func(a netip.Addr) bool { return a.Is4() && a.IsLinkLocalUnicast() },
	} {
		if !slices.Contains(f.addrs, word) {
			continue
		}
		wait, cancel := context.WithTimeout(ctx, autoMax)
		err := st.Host().Await(wait, 0, func(list []route.Addr) bool {
			return slices.ContainsFunc(list, func(a route.Addr) bool { return a.Usable() && is(a.Prefix.Addr()) })
		})
		cancel()
		switch {
		case err == nil:
		case errors.Is(err, context.DeadlineExceeded) && word == "auto":
			return fmt.Errorf("no router on the link of %s has advertised a prefix within %v: is there one? 'rdisc6 %s' asks from the kernel; otherwise give an address with -a", f.iface, autoMax, f.iface)
		default:
			return fmt.Errorf("wait for an address of %s (-a %s): %w", f.iface, word, err)
		}
	}
	return nil
}

// own is the stack's addresses, for people.
func own(st *socketapi.Stack) (list []string) {
	for _, a := range st.Host().Addrs() {
		if a.Usable() && !a.Prefix.Addr().IsLoopback() {
			list = append(list, a.Prefix.String())
		}
	}
	return list
}

// leaseEvent is what happens to a lease, for machines.
type leaseEvent struct {
	Event   string       `json:"event"` // "lease"
	What    string       `json:"what"`  // "bound", "renewed", "retrying", "lost" or "released"
	Addr    netip.Prefix `json:"address"`
	Server  netip.Addr   `json:"server"`
	DNS     []netip.Addr `json:"dns,omitempty"`
	Expires time.Time    `json:"expires"`
	Error   string       `json:"error,omitempty"`
}

// sayLease prints what happens to a lease.
func sayLease(out *output, e dhcp.Event) {
	l := leaseEvent{"lease", string(e.What), e.Lease.Addr, e.Lease.Server, e.Lease.DNS, e.Lease.Expires, ""}
	if e.Err != nil {
		l.Error = e.Err.Error()
	}
	out.emit(l)
	switch {
	case e.Err != nil:
		out.say("lease %s: %s: %v", e.Lease.Addr, e.What, e.Err)
	case e.What == dhcp.Released:
		out.say("lease %s: released", e.Lease.Addr)
	default:
		out.say("lease %s: %s by %s until %s", e.Lease.Addr, e.What, e.Lease.Server, e.Lease.Expires.Format(time.TimeOnly))
	}
}

// openStack opens a stack as the flags say.
func (f *stackFlags) openStack() (*socketapi.Stack, error) {
	cfg, err := f.ownConfig()
	if err != nil {
		return nil, err
	}
	return socketapi.Open(cfg)
}

// ownConfig is config without addresses of the kernel's that are not shared with it.
func (f *stackFlags) ownConfig() (host.Config, error) {
	cfg, err := f.config()
	if err != nil {
		return cfg, err
	}
	for _, p := range cfg.Interfaces[0].Addrs {
		if p.Addr().IsLoopback() { // no advice to share it, or to take it away
			return cfg, usagef("address %s is a host's way to itself, which it need not be given", p)
		}
		if err := notKernels(p.Addr()); err != nil && !f.share {
			return cfg, err
		}
	}
	return cfg, nil
}

// echoes refuses to wait for ICMP echo replies where they are the kernel's.
func (f *stackFlags) echoes() error {
	if f.share {
		return usagef("with --share ICMP echo stays with the kernel: use its ping, or give the engine an address of its own with -a")
	}
	return nil
}

// notKernels refuses an address that the kernel has: all its traffic would be ours from
// then on, a remote login by which the command was given included.
func notKernels(addr netip.Addr) error {
	all, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Unmap() == addr.Unmap() {
				return fmt.Errorf("%s is an address of the kernel's own, on %s: share it with --share, give the engine another one of that link, or take it away with 'ip address del %s dev %s'", addr, i.Name, a, i.Name)
			}
		}
	}
	return nil
}

// A link is what an interface gave us, for machines.
type link struct {
	Interface string   `json:"interface"`
	Driver    string   `json:"driver"`
	Mode      string   `json:"mode"`
	Queues    []int    `json:"queues"`
	MTU       int      `json:"mtu"`
	Addr      string   `json:"addr"`
	Addrs     []string `json:"addresses,omitempty"`
	Refused   []string `json:"refused,omitempty"`
}

func linkOf(nic *engine.NIC, addrs []string) link {
	i := nic.Info()
	return link{
		Interface: i.Interface, Driver: i.Driver, Mode: i.Mode, Queues: i.Queues, MTU: i.MTU,
		Addr: i.Addr.String(), Addrs: addrs, Refused: i.Refused,
	}
}

// say prints what an interface gave us, and why not more.
func (l *link) say(o *output) {
	o.say("%s: %s, %s, driver %s, MTU %d", l.Interface, l.Mode, plural(len(l.Queues), "queue"), orNone(l.Driver), l.MTU)
	for _, r := range l.Refused {
		o.say("  not better, because: %s", strings.Join(strings.Fields(r), " "))
	}
}

// sayTraffic prints a line of sums, and one for each reason of a drop.
func sayTraffic(o *output, t *traffic.Summary) {
	o.say("received %s (%s), sent %s (%s), left %s to the kernel",
		plural(t.RxPackets, "packet"), byteCount(t.RxBytes), plural(t.TxPackets, "packet"), byteCount(t.TxBytes), plural(t.Passed, "packet"))
	for _, line := range lostBeside(t) {
		o.say("  %s", line)
	}
	for _, d := range t.Drops {
		o.say("  %12d  dropped, %s: %s", d.Packets, d.Reason, d.Explain)
	}
}

func orNone(s string) string {
	if s == "" {
		return "unknown"
	}
	return s
}

// plural is "1 packet", "2 packets".
func plural[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// byteCount is "999 B", "1.5 MiB".
func byteCount(n uint64) string {
	const units = "KMGTPE"
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/(1<<10), 0
	for ; f >= 1<<10 && i < len(units)-1; i++ {
		f /= 1 << 10
	}
	return fmt.Sprintf("%.1f %ciB", f, units[i])
}
