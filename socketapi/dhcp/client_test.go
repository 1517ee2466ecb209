package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// open opens a client in a bubble, whose clock jumps.
func (l *fakeLink) openClient(t *testing.T) *Client {
	t.Helper()
	c, err := Open(t.Context(), Config{
		Link: l, Hostname: "host", random: middling,
		Notify: func(e Event) { l.events = append(l.events, string(e.What)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// middling is no chance: answers are waited for as long as RFC 2131 has it, and T1 is what it is.
func middling(d time.Duration) time.Duration {
	if d == answerSpread {
		return d / 2
	}
	return 0
}

// want compares what has happened since the last call.
func (l *fakeLink) want(lines ...string) {
	l.t.Helper()
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Equal(l.log, lines) {
		l.t.Errorf("happened:\n  %s\nwant:\n  %s", strings.Join(l.log, "\n  "), strings.Join(lines, "\n  "))
	}
	l.log = nil
}

func (l *fakeLink) serve(f func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server = f
}

func mute(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 { return nil }

// RFC 2131 §3.1, §4.4.5, §4.4.6: bound, renewed at T1, released.
func TestALeaseIsKeptAndGivenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		c := l.openClient(t)
		l.want("0 DISCOVER to all", "0 REQUEST to all", "6 take 192.0.2.50/24")
		lease := c.Lease()
		if lease.Addr != leased || lease.Server != serverA || len(lease.Routers) != 1 || lease.Routers[0] != serverA ||
			len(lease.DNS) != 1 || lease.Domain != "example.org" || lease.Expires.Sub(lease.From) != time.Hour {
			t.Errorf("lease %+v", lease)
		}
		time.Sleep(1800 * time.Second)
		l.want("1800 REQUEST to 192.0.2.1", "1800 update 192.0.2.50/24")
		time.Sleep(1800 * time.Second)
		l.want("3600 REQUEST to 192.0.2.1", "3600 update 192.0.2.50/24")
		c.Close()
		l.want("3606 RELEASE to 192.0.2.1", "3606 drop 192.0.2.50/24")
		if got := strings.Join(l.events, " "); got != "bound renewed renewed released" {
			t.Errorf("events: %s", got)
		}
		if len(l.conns) != 0 {
			t.Errorf("%d sockets are left", len(l.conns))
		}
	})
}

// RFC 2131 §4.4.5: half the time, then everybody, then the end.
func TestALeaseThatNobodyProlongsRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		c := l.openClient(t)
		l.want("0 DISCOVER to all", "0 REQUEST to all", "6 take 192.0.2.50/24")
		l.serve(mute)
		time.Sleep(3599*time.Second - time.Since(l.begun))
		synctest.Wait()
		l.mu.Lock()
		unicast, everybody, attempts := 0, 0, slices.Clone(l.log)
		for _, s := range attempts {
			switch {
			case strings.HasSuffix(s, "REQUEST to 192.0.2.1"):
				unicast++
			case strings.HasSuffix(s, "REQUEST to all"):
				everybody++
			default:
				t.Errorf("%s", s)
			}
		}
		l.log = nil
		l.mu.Unlock()
		// From T1 at 1800 to T2 at 3150 after each half but not within a minute, each sent twice.
		if unicast < 8 || unicast > 14 || everybody < 4 || everybody > 10 {
			t.Errorf("%d requests to the server, %d to all: %v", unicast, everybody, attempts)
		}
		l.serve(l.honest(serverB, netip.MustParsePrefix("192.0.2.60/24")))
		time.Sleep(10 * time.Second)
		l.want("3600 drop 192.0.2.50/24", "3601 DISCOVER to all", "3601 REQUEST to all", "3607 take 192.0.2.60/24")
		c.Close()
	})
}

// RFC 2131 §4.1: the waits are doubled, and each is a second more or less; §4.4.5: T1 comes somewhat earlier.
func TestTimesAreSpread(t *testing.T) {
	for _, row := range []struct {
		random func(time.Duration) time.Duration
		at     string
	}{
		{func(time.Duration) time.Duration { return 0 }, "0 3 10 25"},
		{func(d time.Duration) time.Duration { return d }, "0 5 14 31"},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLink(t)
			l.server = mute
			if _, err := Open(t.Context(), Config{Link: l, random: row.random}); !errors.Is(err, ErrNoServer) {
				t.Fatal(err)
			}
			var want []string
			for _, at := range strings.Fields(row.at) {
				want = append(want, at+" DISCOVER to all")
			}
			l.want(want...)
		})
	}
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		c, err := Open(t.Context(), Config{Link: l, random: func(d time.Duration) time.Duration { return d }})
		if err != nil {
			t.Fatal(err)
		}
		if l := c.Lease(); l.Rebind.Sub(l.From) != 3150*time.Second || l.Renew.Sub(l.From) != 1800*time.Second*15/16 {
			t.Errorf("%+v", l)
		}
		c.Close()
	})
}

// RFC 2131 §3.2, §4.3.2: when the cable is back the lease is asked for again: it is prolonged, or refused, or kept
// if nobody answers.
func TestALeaseIsAskedForAgainWhenTheCableIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		c := l.openClient(t)
		l.want("0 DISCOVER to all", "0 REQUEST to all", "6 take 192.0.2.50/24")
		l.serve(func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 {
			if a, _ := netip.AddrFromSlice(m.RequestedIPAddress()); a != leased.Addr() || m.ServerIdentifier() != nil || !m.ClientIPAddr.IsUnspecified() || !m.IsBroadcast() {
				t.Errorf("not the request of INIT-REBOOT: %v", m.Summary())
			}
			return l.honest(serverB, leased)(m, unicast)
		})
		time.Sleep(94 * time.Second)
		l.comesUp()
		l.want("100 REQUEST to all", "100 update 192.0.2.50/24")
		if b := c.Lease(); b.Server != serverB || b.From.Sub(l.begun) != 100*time.Second || b.Addr != leased || len(b.Routers) != 1 || len(b.DNS) != 1 {
			t.Errorf("lease %+v", b)
		}
		l.serve(mute) // it is kept, and T1 is where it was
		l.comesUp()
		time.Sleep(100 * time.Second)
		l.want("100 REQUEST to all", "104 REQUEST to all", "112 REQUEST to all", "128 REQUEST to all")
		l.serve(l.honest(serverB, leased))
		time.Sleep(1700 * time.Second)
		l.want("1900 REQUEST to 192.0.2.9", "1900 update 192.0.2.50/24")
		good := l.honest(serverA, netip.MustParsePrefix("192.0.2.60/24"))
		l.serve(func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 {
			if a, _ := netip.AddrFromSlice(m.RequestedIPAddress()); a == leased.Addr() {
				return reply(m, dhcpv4.MessageTypeNak, serverA, netip.Prefix{})
			}
			return good(m, unicast)
		})
		l.comesUp() // another network
		time.Sleep(10 * time.Second)
		l.want("1900 REQUEST to all", "1900 drop 192.0.2.50/24", "1901 DISCOVER to all", "1901 REQUEST to all", "1907 take 192.0.2.60/24")
		c.Close()
	})
}

func TestRebindingTakesAnyServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		c := l.openClient(t)
		l.serve(func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 {
			if unicast {
				return nil
			}
			return l.honest(serverB, leased)(m, unicast)
		})
		time.Sleep(3300 * time.Second)
		synctest.Wait()
		if got := c.Lease().Server; got != serverB {
			t.Errorf("after T2 the lease is %v's", got)
		}
		c.Close()
	})
}

func TestARefusalEndsTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		c := l.openClient(t)
		l.want("0 DISCOVER to all", "0 REQUEST to all", "6 take 192.0.2.50/24")
		good := l.honest(serverA, netip.MustParsePrefix("192.0.2.60/24"))
		l.serve(func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 {
			if unicast {
				return reply(m, dhcpv4.MessageTypeNak, serverA, netip.Prefix{})
			}
			return good(m, unicast)
		})
		time.Sleep(1830 * time.Second)
		l.want("1800 REQUEST to 192.0.2.1", "1800 drop 192.0.2.50/24",
			"1801 DISCOVER to all", "1801 REQUEST to all", "1807 take 192.0.2.60/24")
		c.Close()
	})
}

// RFC 2131 §3.1 (5): an address that is in use is declined, and ten seconds later there is a new attempt.
func TestAnAddressInUseIsDeclined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		l.conflict = func(a netip.Addr) bool {
			l.server = l.honest(serverA, netip.MustParsePrefix("192.0.2.60/24"))
			return a == leased.Addr()
		}
		c := l.openClient(t)
		l.want("0 DISCOVER to all", "0 REQUEST to all", "6 conflict 192.0.2.50/24", "6 DECLINE to all",
			"16 DISCOVER to all", "16 REQUEST to all", "22 take 192.0.2.60/24")
		// And one that another station takes later.
		close(l.lost)
		time.Sleep(20 * time.Second)
		l.want("22 DECLINE to all", "22 drop 192.0.2.60/24", "23 DISCOVER to all", "23 REQUEST to all", "29 take 192.0.2.60/24")
		c.Close()
	})
}

func TestErrorsOfOpenSayWhatToDo(t *testing.T) {
	for name, c := range map[string]struct {
		server  func(l *fakeLink) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4
		taken   bool
		want    string
		is      error
		seconds float64
	}{
		"no server": {
			func(l *fakeLink) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 { return mute }, false,
			"is the cable in, and is there a server on this link? Otherwise give an address by hand", ErrNoServer, 60,
		},
		"all in use": {
			func(l *fakeLink) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 { return l.honest(serverA, leased) }, true,
			"its pool overlaps", ErrConflict, 38,
		},
		"always refused": {
			func(l *fakeLink) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 {
				good := l.honest(serverA, leased)
				return func(m *dhcpv4.DHCPv4, u bool) *dhcpv4.DHCPv4 {
					if m.MessageType() == dhcpv4.MessageTypeRequest {
						return reply(m, dhcpv4.MessageTypeNak, serverA, netip.Prefix{}, dhcpv4.WithOption(dhcpv4.OptMessage("not on this link")))
					}
					return good(m, u)
				}
			}, false, `the server refused: "not on this link"`, nil, 2,
		},
		"an address for nobody": {
			func(l *fakeLink) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 {
				return l.honest(serverA, netip.MustParsePrefix("224.0.0.5/24"))
			}, false, "which is no address for a host", nil, 60,
		},
		"a lease too short": {
			func(l *fakeLink) func(*dhcpv4.DHCPv4, bool) *dhcpv4.DHCPv4 {
				return l.honest(serverA, leased, dhcpv4.WithLeaseTime(1))
			}, false, "lasts 1s, which is too short", nil, 60,
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := newFakeLink(t)
			l.server = c.server(l)
			l.conflict = func(netip.Addr) bool { return c.taken }
			_, err := Open(t.Context(), Config{Link: l, random: middling})
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "dhcp: fake0: ") || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(l.begun).Seconds(); took != c.seconds {
				t.Errorf("%s: after %v s, want %v", name, took, c.seconds)
			}
			if len(l.conns) != 0 || l.held.IsValid() {
				t.Errorf("%s: %d sockets, %v held", name, len(l.conns), l.held)
			}
		})
	}
}

// RFC 2131 §4.4.1: who offers nonsense first does not keep the client from a server's offer.
func TestAnOfferThatCannotBeUsedIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		good, rogue := l.honest(serverA, leased), l.honest(serverB, netip.MustParsePrefix("224.0.0.5/24"))
		l.serve(func(m *dhcpv4.DHCPv4, unicast bool) *dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeDiscover {
				for c := range l.conns {
					c.in <- rogue(m, unicast).ToBytes()
				}
			}
			return good(m, unicast)
		})
		c := l.openClient(t)
		l.want("0 DISCOVER to all", "0 REQUEST to all", "6 take 192.0.2.50/24")
		if s := c.Lease().Server; s != serverA {
			t.Errorf("the lease is %v's", s)
		}
		c.Close()
	})
}

func TestOpenCanBeGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newFakeLink(t)
		l.server = mute
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if _, err := Open(ctx, Config{Link: l}); !errors.Is(err, context.DeadlineExceeded) || time.Since(l.begun) != 5*time.Second {
			t.Errorf("%v after %v", err, time.Since(l.begun))
		}
	})
}

func TestParseLease(t *testing.T) {
	now := time.Unix(1000, 0)
	parse := func(mods ...dhcpv4.Modifier) Lease {
		t.Helper()
		m, _ := dhcpv4.New(append([]dhcpv4.Modifier{
			dhcpv4.WithYourIP(leased.Addr().AsSlice()), dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverA.AsSlice())),
			dhcpv4.WithLeaseTime(800), dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
		}, mods...)...)
		l, err := parseLease(m, now)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	seconds := func(code dhcpv4.OptionCode, s byte) dhcpv4.Modifier {
		return dhcpv4.WithGeneric(code, []byte{0, 0, 0, s})
	}
	for name, c := range map[string]struct {
		l      Lease
		t1, t2 time.Duration
	}{
		"by the rule":            {parse(), 400 * time.Second, 700 * time.Second},
		"as told":                {parse(seconds(dhcpv4.OptionRenewTimeValue, 100), seconds(dhcpv4.OptionRebindingTimeValue, 200)), 100 * time.Second, 200 * time.Second},
		"T1 after T2":            {parse(seconds(dhcpv4.OptionRenewTimeValue, 250), seconds(dhcpv4.OptionRebindingTimeValue, 200)), 150 * time.Second, 200 * time.Second},
		"T2 after the end":       {parse(dhcpv4.WithGeneric(dhcpv4.OptionRebindingTimeValue, []byte{0, 0, 9, 9})), 400 * time.Second, 700 * time.Second},
		"T1 and T2 of no length": {parse(dhcpv4.WithGeneric(dhcpv4.OptionRenewTimeValue, nil), dhcpv4.WithGeneric(dhcpv4.OptionRebindingTimeValue, []byte{1})), 400 * time.Second, 700 * time.Second},
	} {
		if got1, got2 := c.l.Renew.Sub(now), c.l.Rebind.Sub(now); got1 != c.t1 || got2 != c.t2 || c.l.Expires.Sub(now) != 800*time.Second {
			t.Errorf("%s: %v, %v", name, got1, got2)
		}
	}
	if l := parse(dhcpv4.WithLeaseTime(1<<32 - 1)); !l.Forever() {
		t.Error("a lease without end has one")
	}
	if l := parse(dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{5, 120})); l.MTU != 1400 {
		t.Errorf("MTU %d", l.MTU)
	}
	if l := parse(dhcpv4.WithGeneric(dhcpv4.OptionInterfaceMTU, []byte{0, 68})); l.MTU != 0 {
		t.Errorf("MTU %d", l.MTU)
	}
	if l := parse(dhcpv4.WithRouter(net.IP{198, 51, 100, 1}, net.IP{192, 0, 2, 1}, net.IP{192, 0, 2, 50})); len(l.Routers) != 1 {
		t.Errorf("routers %v", l.Routers)
	}
	if l := parse(dhcpv4.WithOption(dhcpv4.OptDomainName("bad\nname"))); l.Domain != "" {
		t.Errorf("domain %q", l.Domain)
	}
	_, all, _ := net.ParseCIDR("0.0.0.0/0")
	_, ten, _ := net.ParseCIDR("10.0.0.0/8")
	l := parse(dhcpv4.WithRouter(net.IP{192, 0, 2, 1}), dhcpv4.WithOption(dhcpv4.OptClasslessStaticRoute(
		&dhcpv4.Route{Dest: all, Router: net.IP{192, 0, 2, 7}}, &dhcpv4.Route{Dest: ten, Router: net.IP{198, 51, 100, 1}})))
	if len(l.Routers) != 0 || len(l.Routes) != 1 || l.Routes[0].Gateway.String() != "192.0.2.7" {
		t.Errorf("classless routes: %+v, %v", l.Routes, l.Routers) // RFC 3442
	}
}
