package control

import (
	"cmp"
	"net/netip"
	"strings"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/tcp"
	"github.com/xdpsock/xdpsock/proto/udp"
	"github.com/xdpsock/xdpsock/socketapi/host"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

func neighbours(h *host.Host) (list []Neighbour) {
	for _, n := range h.Neighbours() {
		row := Neighbour{Interface: n.Interface, Addr: h.Named(n.Addr).String(), State: n.State.String(), Waiting: n.Waiting, Core: n.Core}
		if !n.MAC.IsZero() {
			row.MAC = n.MAC.String()
		}
		list = append(list, row)
	}
	return list
}

func routes(h *host.Host) (list []Route) {
	for _, r := range h.Routes() {
		kind := r.Kind.String()
		if r.Redirected {
			kind = "redirected"
		}
		list = append(list, Route{
			Type: kind, Prefix: r.Prefix.String(), Gateway: nameOf(h, r.Gateway), Interface: r.Interface,
			Source: nameOf(h, r.Source), Metric: r.Metric, MTU: r.MTU, Weight: r.Weight,
		})
	}
	return list
}

func addrs(h *host.Host) (list []Addr) {
	now := h.Clock().Now()
	for _, a := range h.Addrs() {
		list = append(list, Addr{
			Interface: a.Interface, Addr: a.Prefix.String(), State: a.State.String(), Temporary: a.Temporary,
			Preferred: secondsTo(a.PreferredUntil, now), Valid: secondsTo(a.ValidUntil, now),
		})
	}
	return list
}

// secondsTo is how long it is until a time, nil if that is never.
func secondsTo(t, now mono.Time) *float64 {
	if t == 0 {
		return nil
	}
	left := max(0, t.Sub(now).Seconds())
	return &left
}

func sockets(h *host.Host) (list []Socket, more bool) {
	all, more := h.Sockets(socketsMax)
	for _, s := range all {
		row := Socket{
			Protocol: strings.ToLower(s.Protocol.String()), State: s.State.String(), RecvQ: s.RecvQ, SendQ: s.SendQ,
			Local: pairName(h, s.Local), Dropped: s.Dropped, Core: s.Core,
		}
		switch s.Kind {
		case host.Raw: // its port is its protocol
			row.Protocol = "raw"
		case host.Packet:
			row.Protocol = "packet"
			types := "*"
			if s.EtherType != udp.AllTypes {
				types = s.EtherType.String()
			}
			row.Local = cmp.Or(s.Interface, "*") + ":" + types
		}
		if s.Kind != host.Stream && s.State == tcp.Closed {
			row.State = "UNCONNECTED"
		}
		if s.Remote.IsValid() {
			row.Remote = pairName(h, s.Remote)
		}
		list = append(list, row)
	}
	return list, more
}

// sysctls sets and returns knobs. At the first that cannot be it stops; those before it are set.
func sysctls(h *host.Host, which []string) (list []Sysctl, err error) {
	all := h.Sysctls()
	if len(which) > 0 {
		all = nil
	}
	for _, w := range which {
		name, value, set := strings.Cut(w, "=")
		name = strings.TrimSpace(name)
		if set {
			if err := h.SetSysctl(name, value); err != nil {
				return nil, err
			}
		}
		s, err := h.Sysctl(name)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	for _, s := range all {
		list = append(list, Sysctl{s.Name, strings.ReplaceAll(s.Value, "\t", " "), s.Unit, s.Range, s.Doc})
	}
	return list, nil
}

func allTraffic(h *host.Host) *traffic.Summary {
	s := traffic.All(h)
	return &s
}

// nameOf is an address, or nothing.
func nameOf(h *host.Host, a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return h.Named(a).String()
}

// pairName is an address and a port.
func pairName(h *host.Host, a netip.AddrPort) string {
	return netip.AddrPortFrom(h.Named(a.Addr()), a.Port()).String()
}
