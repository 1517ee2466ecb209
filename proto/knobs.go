package proto

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/ip"
	"github.com/xdpsock/xdpsock/proto/sysctl"
)

// Read first: Documentation/networking/ip-sysctl.rst.

// Params are what an operator can turn below the transports: see Knobs.
type Params struct {
	AcceptRedirects4 bool
	AcceptRedirects6 bool
	SecureRedirects  bool
	SharedMedia      bool
	ICMP             ip.LimitParams
}

// defaultParams are those of Linux.
var defaultParams = Params{
	AcceptRedirects4: true, AcceptRedirects6: true, SecureRedirects: true, SharedMedia: true, ICMP: ip.DefaultLimit,
}

// Knobs are the names that an operator knows them by.
var Knobs = []sysctl.Knob[Params]{
	sysctl.Flag("net.ipv4.conf.all.accept_redirects", "Whether ICMP redirects of the gateway in use are followed, if they quote a packet of a socket (RFC 1122 §3.3.1.2).",
		func(p *Params) *bool { return &p.AcceptRedirects4 }),
	sysctl.Flag("net.ipv4.conf.all.secure_redirects", "Whether they may name default gateways alone. It counts where shared_media is 0.",
		func(p *Params) *bool { return &p.SecureRedirects }),
	sysctl.Flag("net.ipv4.conf.all.shared_media", "Whether they may name any station (RFC 1620), and not only one on our link (RFC 1122 §3.2.2.2).",
		func(p *Params) *bool { return &p.SharedMedia }),
	sysctl.Flag("net.ipv6.conf.all.accept_redirects", "Whether redirects of the router in use are followed (RFC 4861 §8).",
		func(p *Params) *bool { return &p.AcceptRedirects6 }),
	sysctl.Number("net.ipv4.icmp_msgs_per_sec", "", 1, 1_000_000, "How many ICMP errors the host sends in a second to all, over both families.",
		func(p *Params) *int { return &p.ICMP.PerSecond }),
	sysctl.Number("net.ipv4.icmp_msgs_burst", "", 1, 1_000_000, "How many of them may be sent at once.",
		func(p *Params) *int { return &p.ICMP.Burst }),
	sysctl.Time("net.ipv4.icmp_ratelimit", time.Millisecond, 0, 60_000, "The least time between two ICMP errors to one address over IPv4, beyond the first six. 0: no limit of its own.",
		func(p *Params) *time.Duration { return &p.ICMP.Interval4 }),
	sysctl.Time("net.ipv6.icmp.ratelimit", time.Millisecond, 0, 60_000, "The same over IPv6.",
		func(p *Params) *time.Duration { return &p.ICMP.Interval6 }),
}

// Params returns the parameters as they are.
func (s *Stack) Params() Params { return s.params }

// SetParams changes them, from the next packet on.
func (s *Stack) SetParams(p Params) {
	s.params = p
	s.icmp.SetParams(p.ICMP)
}
