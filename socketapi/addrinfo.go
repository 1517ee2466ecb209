package socketapi

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/wire"
)

// Read first: RFC 3493 §6.1, §6.2, getaddrinfo(3), getnameinfo(3); sysdeps/posix/getaddrinfo.c of glibc.

// Flags of Addrinfo (netdb.h).
const (
	AI_PASSIVE     = 0x1   // for bind: no name is all addresses
	AI_CANONNAME   = 0x2   // say the name that the name stands for
	AI_NUMERICHOST = 0x4   // ask nobody
	AI_V4MAPPED    = 0x8   // of AF_INET6: IPv4 addresses where there are no others
	AI_ALL         = 0x10  // ... and where there are
	AI_ADDRCONFIG  = 0x20  // only families of which the host has an address
	AI_NUMERICSERV = 0x400 // the service is a number
)

// Flags of Getnameinfo (netdb.h).
const (
	NI_NUMERICHOST = 0x1
	NI_NUMERICSERV = 0x2
	NI_NOFQDN      = 0x4
	NI_NAMEREQD    = 0x8
	NI_DGRAM       = 0x10
)

// An AddrinfoError is why Getaddrinfo or Getnameinfo failed: EAI_NONAME and the like.
type AddrinfoError int

// The numbers of netdb.h.
const (
	EAI_BADFLAGS   AddrinfoError = -1
	EAI_NONAME     AddrinfoError = -2
	EAI_AGAIN      AddrinfoError = -3
	EAI_FAIL       AddrinfoError = -4
	EAI_NODATA     AddrinfoError = -5 // glibc's, as EAI_ADDRFAMILY is: RFC 3493 has EAI_NONAME for both
	EAI_FAMILY     AddrinfoError = -6
	EAI_SOCKTYPE   AddrinfoError = -7
	EAI_SERVICE    AddrinfoError = -8
	EAI_ADDRFAMILY AddrinfoError = -9
)

// Error is gai_strerror.
func (e AddrinfoError) Error() string {
	switch e {
	case EAI_BADFLAGS:
		return "bad value for the flags"
	case EAI_NONAME:
		return "name or service not known"
	case EAI_AGAIN:
		return "temporary failure in name resolution"
	case EAI_FAIL:
		return "non-recoverable failure in name resolution"
	case EAI_NODATA:
		return "no address for the name"
	case EAI_FAMILY:
		return "address family not supported"
	case EAI_SOCKTYPE:
		return "socket type not supported"
	case EAI_SERVICE:
		return "service not supported for the socket type"
	case EAI_ADDRFAMILY:
		return "no address of the family for the name"
	}
	return "error " + strconv.Itoa(int(e)) + " of name resolution"
}

// An Addrinfo is a hint of what is wanted, or what a socket can be opened and connected or bound with.
type Addrinfo struct {
	Flags     int
	Family    int // unix.AF_UNSPEC: any
	Socktype  int // 0: any
	Protocol  int // 0: any
	Addr      unix.Sockaddr
	Canonname string // of the first, with AI_CANONNAME
}

// A Resolver turns names into addresses and back as the functions of netdb.h do.
type Resolver struct {
	Stack *Stack
	DNS   *net.Resolver // who is asked; nil: the stack's own ([Stack.Resolver] without servers)
}

// use is one kind of socket that a service can be used with.
type use struct {
	socktype, protocol int
	name               string // of the protocol in /etc/services, "": it has no ports
}

var uses = []use{{unix.SOCK_STREAM, unix.IPPROTO_TCP, "tcp"}, {unix.SOCK_DGRAM, unix.IPPROTO_UDP, "udp"}, {unix.SOCK_RAW, 0, ""}}

// addrinfoFlags is every flag that there is.
const addrinfoFlags = AI_PASSIVE | AI_CANONNAME | AI_NUMERICHOST | AI_V4MAPPED | AI_ALL | AI_ADDRCONFIG | AI_NUMERICSERV

// Getaddrinfo returns the addresses of a host and a service as hints ask for them (nil: any; AI_V4MAPPED and AI_ADDRCONFIG), the
// best first (RFC 6724). Either may be "", not both. Errors are of type [AddrinfoError]. The context ends the waiting
// for a server (EAI_AGAIN).
func (r *Resolver) Getaddrinfo(ctx context.Context, node, service string, hints *Addrinfo) ([]Addrinfo, error) {
	h := Addrinfo{Flags: AI_V4MAPPED | AI_ADDRCONFIG}
	if hints != nil {
		h = *hints
	}
	switch {
	case node == "" && service == "":
		return nil, EAI_NONAME
	case h.Flags&^addrinfoFlags != 0 || h.Flags&AI_CANONNAME != 0 && node == "":
		return nil, EAI_BADFLAGS
	case h.Family != unix.AF_UNSPEC && h.Family != unix.AF_INET && h.Family != unix.AF_INET6:
		return nil, EAI_FAMILY
	}
	ports, err := portsOf(service, &h)
	if err != nil {
		return nil, err
	}
	addrs, canonical, err := r.addrs(ctx, node, &h)
	if err != nil {
		return nil, err
	}
	var list []Addrinfo
	for _, a := range addrs {
		family := unix.AF_INET6
		if a.Is4() {
			family = unix.AF_INET
		}
		for _, p := range ports {
			list = append(list, Addrinfo{Flags: h.Flags, Family: family, Socktype: p.socktype, Protocol: p.protocol, Addr: sockaddr(netip.AddrPortFrom(a, p.port), family)})
		}
	}
	list[0].Canonname = canonical
	return list, nil
}

// served is a use with the port of the service.
type served struct {
	use
	port uint16
}

// portsOf finds the kinds of sockets that hints leave, and the port of the service with each.
func portsOf(service string, h *Addrinfo) (list []served, err error) {
	number, numeric := 0, service == ""
	if !numeric {
		n, err := strconv.ParseUint(service, 10, 16)
		if numeric = err == nil; numeric {
			number = int(n)
		} else if h.Flags&AI_NUMERICSERV != 0 {
			return nil, EAI_NONAME
		}
	}
	suits := false
	if h.Socktype == unix.SOCK_RAW && service != "" {
		return nil, EAI_SERVICE
	}
	for _, u := range uses {
		if h.Socktype != 0 && h.Socktype != u.socktype || h.Protocol != 0 && u.protocol != 0 && h.Protocol != u.protocol {
			continue
		}
		if u.protocol == 0 && h.Socktype == 0 && h.Protocol != 0 {
			continue // a protocol with no type is that of a type of its own
		}
		suits = true
		port := number
		if !numeric {
			s, ok := GetServByName(service, u.name)
			if !ok || u.name == "" {
				continue
			}
			port = s.Port
		}
		if u.protocol == 0 {
			u.protocol = h.Protocol
		}
		list = append(list, served{u, uint16(port)})
	}
	switch {
	case len(list) > 0:
		return list, nil
	case !suits && h.Socktype != 0:
		return nil, EAI_SOCKTYPE
	}
	return nil, EAI_SERVICE
}

// addrs finds the addresses of a host.
func (r *Resolver) addrs(ctx context.Context, node string, h *Addrinfo) (addrs []netip.Addr, canonical string, err error) {
	if node == "" {
		return nobody(h), "", nil
	}
	if h.Flags&AI_CANONNAME != 0 {
		canonical = node
	}
	if a, ok := r.numeric(node); ok {
		switch {
		case !a.IsValid():
			return nil, "", EAI_NONAME
		case h.Family == unix.AF_INET && a.Is4In6():
			a = a.Unmap()
		case h.Family == unix.AF_INET && !a.Is4():
			return nil, "", EAI_ADDRFAMILY
		case h.Family == unix.AF_INET6 && a.Is4():
			if h.Flags&AI_V4MAPPED == 0 {
				return nil, "", EAI_ADDRFAMILY
			}
			a = netip.AddrFrom16(a.As16())
		}
		return []netip.Addr{a}, canonical, nil
	}
	if h.Flags&AI_NUMERICHOST != 0 {
		return nil, "", EAI_NONAME
	}
	ctx, dns, said := r.noting(ctx)
	if addrs, err = r.resolve(ctx, dns, said, node, h); err != nil {
		return nil, "", err
	}
	if canonical != "" {
		canonical, _ = said.named(ctx, dns, node, addrs[0])
	}
	return addrs, canonical, nil
}

// nobody is the addresses of no host: all of ours to be bound to, or ours to be connected to.
func nobody(h *Addrinfo) (list []netip.Addr) {
	four, six := netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()
	if h.Flags&AI_PASSIVE != 0 {
		four, six = netip.IPv4Unspecified(), netip.IPv6Unspecified()
	}
	switch {
	case h.Family == unix.AF_INET:
		return []netip.Addr{four}
	case h.Family == unix.AF_INET6:
		return []netip.Addr{six}
	case h.Flags&AI_PASSIVE != 0:
		return []netip.Addr{four, six}
	}
	return []netip.Addr{six, four}
}

// numeric reads an address, of IPv4 in any of the ways of inet_aton, of IPv6 with the number of an interface behind it or, if
// it is one of a link, the name. It is not valid where there is no such interface.
func (r *Resolver) numeric(node string) (a netip.Addr, ok bool) {
	if a, ok := exactly(node); ok {
		return netip.AddrFrom4(a), true
	}
	a, err := netip.ParseAddr(node)
	if err != nil || a.Is4() {
		return a, false
	}
	if a.Zone() == "" || wire.Scope(a) != 0 {
		return a, true
	}
	if !a.IsLinkLocalUnicast() && !a.IsLinkLocalMulticast() {
		return netip.Addr{}, true
	}
	if a, err = r.Stack.zoned(a); err != nil {
		return netip.Addr{}, true
	}
	return a, true
}

func (r *Resolver) dns() *net.Resolver {
	if r.DNS != nil {
		return r.DNS
	}
	return r.Stack.names
}

// noting is for a lookup of which the replies are to be known. Nobody else shares its resolver, and so its lookups.
func (r *Resolver) noting(ctx context.Context) (context.Context, *net.Resolver, *replies) {
	dns, said := r.dns(), new(replies)
	own := &net.Resolver{PreferGo: dns.PreferGo, StrictErrors: dns.StrictErrors}
	if said.elsewhere.Store(dns.Dial == nil); dns.Dial != nil {
		own.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			said.elsewhere.Store(true)
			return dns.Dial(ctx, network, address)
		}
	}
	return context.WithValue(ctx, repliesKey{}, said), own, said
}

// named is the name of the host of a lookup that has found an address, and its other names.
func (r *replies) named(ctx context.Context, dns *net.Resolver, node string, found netip.Addr) (name string, aliases []string) {
	if name, aliases = r.host(); name != "" {
		return name, aliases
	}
	if !r.elsewhere.Load() {
		if names, err := dns.LookupAddr(ctx, found.Unmap().WithZone("").String()); err == nil && len(names) > 0 {
			return strings.TrimSuffix(names[0], "."), names[1:]
		}
	} else if name, err := dns.LookupCNAME(ctx, node); err == nil {
		return strings.TrimSuffix(name, "."), nil
	}
	return node, nil
}

// resolve asks for the addresses of a name.
func (r *Resolver) resolve(ctx context.Context, dns *net.Resolver, said *replies, node string, h *Addrinfo) ([]netip.Addr, error) {
	four, six := true, true
	if h.Flags&AI_ADDRCONFIG != 0 {
		four, six = r.configured()
	}
	var network string
	mapped := h.Family == unix.AF_INET6 && h.Flags&AI_V4MAPPED != 0 && four
	switch {
	case h.Family == unix.AF_INET && four, h.Family == unix.AF_UNSPEC && four && !six:
		network = "ip4"
	case h.Family == unix.AF_UNSPEC && four && six, mapped && h.Flags&AI_ALL != 0 && six:
		network = "ip"
	case h.Family != unix.AF_INET && six:
		network = "ip6"
	default:
		return nil, EAI_NONAME
	}
	addrs, err := r.Stack.lookup(ctx, dns, network, node)
	if network == "ip6" && mapped {
		if e := said.error(err); e == EAI_NONAME || e == EAI_NODATA {
			addrs, err = r.Stack.lookup(ctx, dns, "ip4", node)
		}
	}
	switch e := said.error(err); {
	case e == EAI_FAIL && said.malformed.Load():
		return nil, EAI_NONAME // as glibc has it: a question that is none is about no name
	case e != 0:
		return nil, e
	}
	if h.Family == unix.AF_INET6 {
		for i, a := range addrs {
			addrs[i] = netip.AddrFrom16(a.As16()).WithZone(a.Zone())
		}
	}
	return addrs, nil
}

// configured says of which families the host has an address that is not its loopback's; of neither is of both, as in glibc.
func (r *Resolver) configured() (four, six bool) {
	for _, a := range r.Stack.host.Addrs() {
		if a.Usable() && !a.Prefix.Addr().IsLoopback() {
			four, six = four || a.Prefix.Addr().Is4(), six || !a.Prefix.Addr().Is4()
		}
	}
	return four || !six, six || !four
}

// addrinfoError is an error of net.Resolver in the words of netdb.h; 0 is none.
func addrinfoError(err error) AddrinfoError {
	var dns *net.DNSError
	var unsuitable *net.AddrError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &unsuitable), // the addresses that /etc/hosts has are of another family
		errors.As(err, &dns) && dns.IsNotFound:
		return EAI_NONAME
	case errors.As(err, &dns) && (dns.IsTimeout || dns.IsTemporary), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return EAI_AGAIN
	}
	return EAI_FAIL
}

// Getnameinfo returns the name of a host and of a service. Without one, and with NI_NUMERICHOST and NI_NUMERICSERV, they are
// numbers; NI_NAMEREQD wants a name (EAI_NONAME), NI_NOFQDN its first part if the rest is this host's domain, NI_DGRAM the service of UDP.
func (r *Resolver) Getnameinfo(ctx context.Context, sa unix.Sockaddr, flags int) (node, service string, err error) {
	if flags&^(NI_NUMERICHOST|NI_NUMERICSERV|NI_NOFQDN|NI_NAMEREQD|NI_DGRAM) != 0 {
		return "", "", EAI_BADFLAGS
	}
	a, port, ok := nameable(sa)
	if !ok {
		return "", "", EAI_FAMILY
	}
	service = strconv.Itoa(port)
	if flags&NI_NUMERICSERV == 0 {
		proto := "tcp"
		if flags&NI_DGRAM != 0 {
			proto = "udp"
		}
		if s, ok := GetServByPort(port, proto); ok {
			service = s.Name
		}
	}
	if flags&NI_NUMERICHOST == 0 {
		names, err := r.dns().LookupAddr(ctx, a.Unmap().WithZone("").String())
		switch {
		case len(names) > 0:
			node = strings.TrimSuffix(names[0], ".")
			if flags&NI_NOFQDN != 0 {
				node = r.withoutDomain(ctx, node)
			}
			return node, service, nil
		case addrinfoError(err) == EAI_AGAIN:
			return "", "", EAI_AGAIN
		}
	}
	if flags&NI_NAMEREQD != 0 {
		return "", "", EAI_NONAME
	}
	if linkScope(a) {
		a = r.Stack.host.Named(a)
	}
	return a.String(), service, nil
}

// nameable is an address as Getnameinfo says it: with a zone wherever it has one.
func nameable(sa unix.Sockaddr) (a netip.Addr, port int, ok bool) {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		if ok = sa != nil; ok {
			a, port = netip.AddrFrom4(sa.Addr), sa.Port
		}
	case *unix.SockaddrInet6:
		if ok = sa != nil; ok {
			a, port = netip.AddrFrom16(sa.Addr), sa.Port
			if sa.ZoneId != 0 {
				a = a.WithZone(strconv.FormatUint(uint64(sa.ZoneId), 10))
			}
		}
	}
	return a, port, ok && port >= 0 && port <= 0xffff
}

// withoutDomain is the name of a host without the domain, if that is the domain of this one.
func (r *Resolver) withoutDomain(ctx context.Context, node string) string {
	own, err := os.Hostname()
	if err != nil {
		return node
	}
	if !strings.Contains(own, ".") {
		if h, err := r.GetHostByName(ctx, own); err == nil {
			own = h.Name
		}
	}
	_, domain, _ := strings.Cut(own, ".")
	if first, rest, _ := strings.Cut(node, "."); domain != "" && strings.EqualFold(rest, domain) {
		return first
	}
	return node
}
