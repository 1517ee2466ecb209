package socketapi

import (
	"context"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Read first: gethostbyname(3).

// A HostError is why GetHostByName or GetHostByAddr failed (h_errno).
type HostError int

// The numbers of netdb.h.
const (
	HOST_NOT_FOUND HostError = 1
	TRY_AGAIN      HostError = 2
	NO_RECOVERY    HostError = 3
	NO_DATA        HostError = 4
)

// Error is hstrerror.
func (e HostError) Error() string {
	switch e {
	case HOST_NOT_FOUND:
		return "unknown host"
	case TRY_AGAIN:
		return "host name lookup failure"
	case NO_DATA:
		return "no address associated with name"
	}
	return "unknown server error"
}

// hostError is an error of Getaddrinfo in the words of gethostbyname.
func hostError(e AddrinfoError) error {
	switch e {
	case 0:
		return nil
	case EAI_NONAME:
		return HOST_NOT_FOUND
	case EAI_NODATA:
		return NO_DATA
	case EAI_AGAIN:
		return TRY_AGAIN
	}
	return NO_RECOVERY
}

// A Hostent is what is known of a host.
type Hostent struct {
	Name     string
	Aliases  []string
	Addrtype int // unix.AF_INET, AF_INET6
	Addrs    []netip.Addr
}

// GetHostByName returns the IPv4 addresses of a host. Errors are of type [HostError].
func (r *Resolver) GetHostByName(ctx context.Context, name string) (*Hostent, error) {
	h := &Hostent{Name: name, Addrtype: unix.AF_INET}
	if a, ok := exactly(name); ok {
		h.Addrs = []netip.Addr{netip.AddrFrom4(a)}
		return h, nil
	}
	ctx, dns, said := r.noting(ctx)
	addrs, err := r.Stack.lookup(ctx, dns, "ip4", name)
	if err != nil {
		return nil, hostError(said.error(err))
	}
	h.Addrs = addrs
	h.Name, h.Aliases = said.named(ctx, dns, name, addrs[0])
	return h, nil
}

// GetHostByAddr returns the names of a host, of an IPv4 address also where it is mapped into IPv6.
func (r *Resolver) GetHostByAddr(ctx context.Context, addr netip.Addr) (*Hostent, error) {
	addr = addr.Unmap()
	ctx, dns, said := r.noting(ctx)
	names, err := dns.LookupAddr(ctx, addr.WithZone("").String())
	if err != nil {
		return nil, hostError(said.error(err))
	}
	if len(names) == 0 {
		return nil, HOST_NOT_FOUND
	}
	h := &Hostent{Addrtype: familyOf(addr), Addrs: []netip.Addr{addr}}
	for i, name := range names {
		if name = strings.TrimSuffix(name, "."); i == 0 {
			h.Name = name
		} else {
			h.Aliases = append(h.Aliases, name)
		}
	}
	return h, nil
}
