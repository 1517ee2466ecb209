package proto

import (
	"net/netip"
	"slices"
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/route"
)

// Read first: RFC 1122 §3.3.1.4-5 (dead gateways); RFC 4861 §6.3.6 (which router), §7.3.3; RFC 4191 §3.2; RFC 7048 §3.

// silentMax is how many next hops a core remembers not to answer. One more than that pushes out the one that has
// been silent longest, which is then tried again: a host with more gateways than this, all dead, has no way anyhow.
const silentMax = 8

// silentInterval is how often a gateway that another one stands in for is asked whether it is back (RFC 4191 §3.2:
// no more than once a minute), while there is traffic that would go by it.
const silentInterval = time.Minute

// hop is a next hop that routes name and that does not answer.
type hop struct {
	port int
	addr netip.Addr // with its zone
	ask  mono.Time  // when it is to be asked again
}

// fallSilent notes that a neighbour does not answer, if routes name it as a next hop: what has another way takes it.
func (s *Stack) fallSilent(e *neigh.Entry, now mono.Time) {
	if !s.named(e.Port, e.Addr) {
		return
	}
	s.silent = slices.DeleteFunc(s.silent, func(h hop) bool { return h.port == e.Port && h.addr == e.Addr })
	if len(s.silent) == silentMax {
		s.silent = slices.Delete(s.silent, 0, 1)
	}
	s.silent = append(s.silent, hop{e.Port, e.Addr, now.Add(silentInterval)})
	s.reroute()
}

// speaks notes that a neighbour has answered.
func (s *Stack) speaks(e *neigh.Entry) {
	if s.unknown(e) {
		s.reroute()
	}
}

// unknown notes that nothing is known of a neighbour any more, and says whether that was its silence.
func (s *Stack) unknown(e *neigh.Entry) bool {
	i := s.silence(e.Port, e.Addr)
	if i >= 0 {
		s.silent = slices.Delete(s.silent, i, i+1)
	}
	return i >= 0
}

// silence is the place of a next hop among those that do not answer, of which the first has been silent longest; below 0:
// it is none.
func (s *Stack) silence(port int, a netip.Addr) int {
	for i := range s.silent {
		if h := &s.silent[i]; h.port == port && h.addr == a {
			return i
		}
	}
	return -1
}

// named says whether a route has a as its gateway, or leads to it by redirection.
func (s *Stack) named(port int, a netip.Addr) bool {
	for _, r := range s.Routes.Routes() {
		if r.Port == port && (r.Gateway.IsValid() || r.Redirected) && s.ports[port].scoped(r.Hop(r.Prefix.Addr())) == a {
			return true
		}
	}
	return false
}

// forgetSilent forgets the next hops that routes name no more.
func (s *Stack) forgetSilent() {
	s.silent = slices.DeleteFunc(s.silent, func(h hop) bool { return !s.named(h.port, h.addr) })
}

// askSilent asks for those that it is time for, as if there were something to send to them.
func (s *Stack) askSilent(now mono.Time) {
	for i := 0; i < len(s.silent); i++ { // to ask for one may push another one out of the table, and of this list
		if h := &s.silent[i]; h.ask.Due(now) {
			h.ask = now.Add(silentInterval)
			if e := s.Neigh.Want(h.port, h.addr, now); e != nil {
				e.Use(now)
			}
		}
	}
}

// answeringRoute returns the route that packets to dst take instead of r if its next hop does not answer: the next one with
// the prefix whose hop does; of a redirected destination, the one that it was redirected from. If there is none it is the
// one whose hop has been silent longest, so that they are tried in turns. port is the one that it has to leave by; -1: any.
func (s *Stack) answeringRoute(r *route.Route, dst netip.Addr, port int) *route.Route {
	if len(s.silent) == 0 || r.Kind != route.Unicast || r.Port < 0 || r.Port >= len(s.ports) {
		return r
	}
	best, first := r, s.silence(r.Port, s.ports[r.Port].scoped(r.Hop(dst)))
	if first < 0 {
		return r
	}
	for o := range s.Routes.All(dst) {
		switch {
		case port >= 0 && o.Port != port, o.Kind == route.Unicast && (o.Port < 0 || o.Port >= len(s.ports)):
			continue
		case o.Prefix != best.Prefix && !best.Redirected:
			return best
		}
		i := -1
		if o.Kind == route.Unicast {
			i = s.silence(o.Port, s.ports[o.Port].scoped(o.Hop(dst)))
		}
		if i < 0 {
			return o
		}
		if i < first || best.Redirected {
			best, first = o, i
		}
	}
	return best
}

// routeOver is the route to dst that leads by a port. Where there is none, dst is taken to be on its link (Linux:
// ip_route_output_key_hash_rcu with an output interface).
func (s *Stack) routeOver(port int, dst netip.Addr) *route.Route {
	r, ok := s.Routes.LookupPort(dst, port)
	if !ok {
		return &route.Route{Port: port}
	}
	return s.answeringRoute(r, dst, port)
}

// detour says whether what waits for e, which does not answer, has another way to dst. by is the port that it has to leave
// by, counted from 1; 0: any.
func (s *Stack) detour(e *neigh.Entry, dst netip.Addr, by uint32) bool {
	if s.silence(e.Port, e.Addr) < 0 {
		return false // no route names it
	}
	r, ok := s.route(dst)
	if by != 0 && (!ok || r.Port != int(by-1)) {
		r, ok = *s.routeOver(int(by-1), dst), true
	}
	if !ok || r.Kind != route.Unicast {
		return ok
	}
	return s.silence(r.Port, s.ports[r.Port].scoped(r.Hop(dst))) < 0
}
