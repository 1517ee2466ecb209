package control

import (
	"net/netip"
	"strings"

	"github.com/xdpsock/xdpsock/cmd/xdpsock/internal/traffic"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

func neighbours(h *host.Host) (list []Neighbour) {
	for _, n := range h.Neighbours() {
		row := Neighbour{Interface: n.Interface, Addr: n.Addr.String(), State: n.State.String(), Waiting: n.Waiting, Core: n.Core}
		if !n.MAC.IsZero() {
			row.MAC = n.MAC.String()
		}
		list = append(list, row)
	}
	return list
}

func routes(h *host.Host) (list []Route) {
	for _, r := range h.Routes() {
		list = append(list, Route{
			Type: r.Kind.String(), Prefix: r.Prefix.String(), Gateway: nameOf(r.Gateway), Interface: r.Interface,
			Source: nameOf(r.Source), Metric: r.Metric, MTU: r.MTU,
		})
	}
	return list
}

func addrs(h *host.Host) (list []Addr) {
	for _, a := range h.Addrs() {
		list = append(list, Addr{Interface: a.Interface, Addr: a.Prefix.String()})
	}
	return list
}

func sockets(h *host.Host) (list []Socket, more bool) {
	all, more := h.Sockets(socketsMax)
	for _, s := range all {
		row := Socket{
			Protocol: strings.ToLower(s.Protocol.String()), State: s.State.String(), RecvQ: s.RecvQ, SendQ: s.SendQ,
			Local: s.Local.String(), Dropped: s.Dropped, Core: s.Core,
		}
		if s.Protocol != wire.ProtoTCP && s.State == tcp.Closed {
			row.State = "UNCONNECTED"
		}
		if s.Remote.IsValid() {
			row.Remote = s.Remote.String()
		}
		list = append(list, row)
	}
	return list, more
}

func allTraffic(h *host.Host) *traffic.Summary {
	s := traffic.All(h)
	return &s
}

// nameOf is an address, or nothing.
func nameOf(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}
