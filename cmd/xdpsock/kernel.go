package main

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/service"
)

// kernelCommand is serve over the kernel's sockets: what demo compares with. It is the
// same services in the same program, so that nothing but the sockets differs.
func kernelCommand() *cobra.Command {
	var (
		addr string
		at   ports
	)
	cmd := &cobra.Command{
		Use:     "serve-kernel -a IP [flags]",
		Short:   "Give the services of serve over the kernel's sockets, to compare with",
		Example: `  xdpsock serve-kernel -a 192.0.2.8 --echo 7007`,
		Hidden:  true,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ip, err := netip.ParseAddr(addr)
			if err != nil {
				return usagef("address %q is not one, such as 192.0.2.8", addr)
			}
			if err := at.check(cmd); err != nil {
				return err
			}
			return serveKernel(cmd.Context(), outputOf(cmd), ip, at)
		},
	}
	cmd.Flags().StringVarP(&addr, "address", "a", "", "address of the kernel's to listen on")
	at.add(cmd)
	return cmd
}

func serveKernel(ctx context.Context, out *output, ip netip.Addr, at ports) (err error) {
	ended := make(chan error, 1)
	group := &service.Group{Report: func(err error) {
		select {
		case ended <- err:
		default: // one is enough
		}
	}}
	defer group.Close()
	tcp := func(port uint16, serve func(net.Listener)) error {
		if port == 0 {
			return nil
		}
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
		if err == nil {
			serve(l)
		}
		return err
	}
	udp := func(port uint16, serve func(service.PacketConn, int)) error {
		if port == 0 {
			return nil
		}
		c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
		if err == nil {
			serve(c, 1)
		}
		return err
	}
	for _, err := range []error{
		udp(at.echo, group.EchoUDP), tcp(at.echo, group.EchoTCP),
		udp(at.discard, group.DiscardUDP), tcp(at.discard, group.DiscardTCP),
		tcp(at.chargen, group.ChargenTCP), tcp(at.http, group.HTTP),
	} {
		if err != nil {
			return err
		}
	}
	began := time.Now()
	sayServices(out, group.Stats())
	out.emit(ready{Event: "ready", Services: group.Stats()})
	select {
	case <-ctx.Done():
	case err = <-ended:
	}
	group.Close()
	sayDone(out, time.Since(began), group.Stats())
	out.emit(summary{Event: "summary", Seconds: time.Since(began).Seconds(), Services: group.Stats()})
	return err
}
