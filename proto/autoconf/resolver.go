package autoconf

import (
	"net/netip"
	"slices"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 8106 §5.3.1 (lifetimes), §6.1 (a full list), §7.1 (names come from anybody).

// Server is a recursive DNS server that a router has told of. A link-local one is on
// the interface that told of it.
type Server struct {
	Addr  netip.Addr
	Until mono.Time
}

// Domain is a DNS search domain that a router has told of, without a dot at its end.
type Domain struct {
	Name  string
	Until mono.Time
}

// Servers returns the DNS servers, in the order in which they were told of.
func (i *Interface6) Servers() []Server { return slices.Clone(i.servers) }

// Domains returns the DNS search domains, in the order in which they were told of.
func (i *Interface6) Domains() []Domain { return slices.Clone(i.domains) }

// setResolver takes in DNS servers and domains. It is false if there are too many.
func (i *Interface6) setResolver(o *wire.NDPOptions, now mono.Time) bool {
	fits := true
	for _, s := range o.Servers[:o.ServerCount] {
		if s.Addr.IsMulticast() || s.Addr.IsUnspecified() || s.Addr.IsLoopback() {
			continue
		}
		n := slices.IndexFunc(i.servers, func(x Server) bool { return x.Addr == s.Addr })
		switch {
		case n >= 0:
			i.servers[n].Until = now.Add(s.Lifetime)
		case s.Lifetime > 0:
			fits = i.changes(put(&i.servers, serversMax, Server{s.Addr, now.Add(s.Lifetime)})) && fits
		}
	}
	for _, list := range o.Domains[:o.DomainsCount] {
		until := now.Add(list.Lifetime)
		for name, rest, ok := wire.NextNDPDomain(list.Names); ok; name, rest, ok = wire.NextNDPDomain(rest) {
			n := slices.IndexFunc(i.domains, func(x Domain) bool { return sameDomain(x.Name, name) })
			switch {
			case n >= 0:
				i.domains[n].Until = until
			case list.Lifetime > 0 && plainDomain(name):
				fits = i.changes(put(&i.domains, domainsMax, Domain{domainString(name), until})) && fits
			}
		}
	}
	i.runResolver(now) // a lifetime of 0 ends them
	return fits
}

// changes notes that something changes if yes, and returns yes.
func (i *Interface6) changes(yes bool) bool {
	i.changed = i.changed || yes
	return yes
}

// runResolver forgets servers and domains whose time is over.
func (i *Interface6) runResolver(now mono.Time) {
	before := len(i.servers) + len(i.domains)
	i.servers = slices.DeleteFunc(i.servers, func(s Server) bool { return s.Until.Due(now) })
	i.domains = slices.DeleteFunc(i.domains, func(d Domain) bool { return d.Until.Due(now) })
	i.changed = i.changed || len(i.servers)+len(i.domains) != before
}

// plainDomain says whether a name consists of letters, digits, '-' and '_': it ends up in
// files and logs of programs, and whoever is on the link can choose it.
func plainDomain(labels []byte) bool {
	for len(labels) > 1 {
		n := int(labels[0])
		for _, c := range labels[1 : 1+n] {
			switch {
			case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
			default:
				return false
			}
		}
		labels = labels[1+n:]
	}
	return true
}

// domainString is labels with dots between them.
func domainString(labels []byte) string {
	var b []byte
	for len(labels) > 1 {
		n := int(labels[0])
		if len(b) > 0 {
			b = append(b, '.')
		}
		b = append(b, labels[1:1+n]...)
		labels = labels[1+n:]
	}
	return string(b)
}

// sameDomain says whether labels spell name. Nothing is allocated for a name that is known.
func sameDomain(name string, labels []byte) bool {
	for len(labels) > 1 {
		n := int(labels[0])
		if len(name) < n || name[:n] != string(labels[1:1+n]) {
			return false
		}
		name, labels = name[n:], labels[1+n:]
		if len(labels) > 1 {
			if name == "" || name[0] != '.' {
				return false
			}
			name = name[1:]
		}
	}
	return name == ""
}
