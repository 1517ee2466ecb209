package main

import (
	"context"

	"github.com/xdpsock/xdpsock/socketapi/host"
)

// linkEvent is what the interface is like after a change, for machines.
type linkEvent struct {
	Event   string `json:"event"` // "link"
	Up      bool   `json:"up"`
	MTU     int    `json:"mtu"`                // bytes of an IP packet, as it is used
	LinkMTU int    `json:"link_mtu,omitempty"` // what the interface has, where that is more
}

// sayLink prints what becomes of the interface until ctx ends.
func sayLink(ctx context.Context, out *output, h *host.Host) {
	name := h.Interfaces()[0]
	for was, changed := h.Link(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-h.Done():
			return
		case <-changed:
		}
		var is host.LinkState
		is, changed = h.Link(0)
		e := linkEvent{Event: "link", Up: is.Up, MTU: is.MTU}
		if is.LinkMTU > is.MTU {
			e.LinkMTU = is.LinkMTU
		}
		switch {
		case is.MTU == was.MTU && is.LinkMTU == was.LinkMTU:
		case e.LinkMTU > 0:
			out.say("%s: MTU %d, of which %d is used: memory was made for that when the engine started", name, is.LinkMTU, is.MTU)
		default:
			out.say("%s: MTU %d", name, is.MTU)
		}
		switch {
		case was.Up && !is.Up:
			out.say("%s: down, or no carrier", name)
		case is.Ups != was.Ups:
			out.say("%s: up again", name)
		}
		if first := !was.Up && is.Up && is.Ups == 0; !first { // at the start the kernel is heard of
			out.emit(e)
		}
		was = is
	}
}
