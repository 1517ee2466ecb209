package socketapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// TestLyingServer asks a server that lies, by the stack and by the kernel, with the same resolver of package net: the answer is the
// same, an error with all that it says. Getaddrinfo says what glibc says, or the lie has the reason. Nothing is left of it.
func TestLyingServer(t *testing.T) {
	if what, c := isAlone(t); what != "" {
		askLiar(t, c, what == "waits")
		return
	}
	netlab.RequireRoot(t)
	t.Parallel() // most of the time it waits
	c := newLibc(t)
	for what, timeout := range map[string]int{"answers": 10, "waits": 1} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			alone(t, what, c, map[string]string{"resolv.conf": fmt.Sprintf("nameserver %s\noptions timeout:%d attempts:1\n", addrB, timeout), "hosts": "", "nsswitch.conf": "hosts: files dns\n"}, true)
		})
	}
}

func askLiar(t *testing.T, c *libc, waits bool) {
	a, b := besideKernel(t)
	bystander(t, a)
	lies := allLies()
	newLiar(t, lies, net.ListenPacket, net.Listen)
	newLiar(t, lies, b.ListenPacket, b.Listen)
	kernel, ours := &net.Resolver{PreferGo: true}, a.Resolver()
	ask := func(r *net.Resolver, network, name string) string {
		addrs, err := r.LookupNetIP(context.Background(), network, name)
		slices.SortFunc(addrs, netip.Addr.Compare) // those of a family come when they come
		return fmt.Sprint(len(addrs), " ", shorten(addrs), " ", wordDNS(err))
	}
	ask(kernel, "ip", "truth"+byDatagram)
	ask(ours, "ip", "truth"+byStream)
	goroutines, descriptors := runtime.NumGoroutine(), openFiles(t)

	names := liesToAsk(lies, waits)
	if len(names) < 20 {
		t.Fatalf("%d lies", len(names))
	}
	gate, all := make(chan bool, 24), sync.WaitGroup{}
	if waits {
		gate = make(chan bool, 500)
	}
	// both asks two at once, and again if they differ: the time of a machine that stalls may be over somewhere else.
	both := func(want, got func() string, same func(want, got string) bool) (w, g string) {
		for range 3 {
			var one sync.WaitGroup
			one.Go(func() { w = want() })
			g = got()
			if one.Wait(); same(w, g) {
				break
			}
		}
		return w, g
	}
	for _, name := range names {
		label, _, _ := strings.Cut(name, ".")
		gate <- true
		all.Go(func() {
			defer func() { <-gate }()
			var each sync.WaitGroup
			begin := time.Now()
			for _, network := range []string{"ip4", "ip"} {
				each.Go(func() {
					want, got := both(func() string { return ask(kernel, network, name) }, func() string { return ask(ours, network, name) },
						func(want, got string) bool { return want == got })
					if want != got {
						t.Errorf("%s %s: package net says\n\t%s, and we\n\t%s", network, name, want, got)
					}
					if timeout := strings.Contains(got, "timeout true"); timeout != waits {
						t.Errorf("%s %s: timeout is %v, want %v: %s", network, name, timeout, waits, got)
					}
					t.Logf("%s %s: %s", network, name, got)
				})
			}
			if c != nil {
				words := question("addrinfo", name, "", fmt.Sprint(unix.AF_INET), fmt.Sprint(unix.SOCK_STREAM), "0", "0")
				want, got := both(func() string { return c.ask(t, nil, []string{words}, "RES_OPTIONS=timeout:1 attempts:1")[0] }, func() string { return addrinfo(a, unix.AF_INET, name) },
					func(want, got string) bool { return isGlibcs(label, want, got) })
				if !isGlibcs(label, want, got) {
					t.Errorf("%s: we say %s, glibc says %s", name, got, want)
				}
			}
			if each.Wait(); time.Since(begin) > longest {
				t.Errorf("%s: it took %v", name, time.Since(begin))
			}
		})
	}
	if waits {
		all.Go(func() { contextsOfLookups(t, kernel, ours) })
	}
	all.Wait()
	nothingIsAsked(t, a)
	for start := time.Now(); runtime.NumGoroutine() > goroutines || openFiles(t) > descriptors; time.Sleep(time.Millisecond) {
		if time.Since(start) > longest {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines were %d, %d files were %d\n%s", runtime.NumGoroutine(), goroutines, openFiles(t), descriptors, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// contextsOfLookups ends the waiting for a server that is silent: before, in the midst of it, by a deadline.
func contextsOfLookups(t *testing.T, kernel, ours *net.Resolver) {
	const soon = 50 * time.Millisecond
	for _, name := range []string{"silence" + byDatagram, "silence" + byStream} {
		for how, with := range map[string]func() (context.Context, context.CancelFunc){
			"before": func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				cancel()
				return ctx, cancel
			},
			"cancelled": func() (context.Context, context.CancelFunc) {
				ctx, cancel := context.WithCancel(context.Background())
				time.AfterFunc(soon, cancel)
				return ctx, cancel
			},
			"deadline": func() (context.Context, context.CancelFunc) {
				return context.WithTimeout(context.Background(), soon)
			},
		} {
			var said [2]string
			for i, r := range []*net.Resolver{kernel, ours} {
				ctx, cancel := with()
				_, err := r.LookupNetIP(ctx, "ip", name)
				_, mx := r.LookupMX(ctx, name) // asked by the caller itself
				said[i] = wordDNS(err) + "; " + wordDNS(mx)
				cancel()
			}
			if said[0] != said[1] {
				t.Errorf("%s, %s: package net says\n\t%s, and we\n\t%s", name, how, said[0], said[1])
			}
		}
	}
}

// addrinfo is what Getaddrinfo says of a name.
func addrinfo(st *Stack, family int, name string) string {
	hints := tcpOf(family, 0)
	list, err := (&Resolver{Stack: st}).Getaddrinfo(context.Background(), name, "", &hints)
	if err != nil {
		return eaiName(err)
	}
	return fmt.Sprint(showAddrinfo(list))
}

// unlikeGlibc is of which lies glibc says something else than Getaddrinfo, and why.
var unlikeGlibc = []struct {
	lies        *regexp.Regexp
	ours, glibc string // how it begins
	why         string
}{
	{regexp.MustCompile(`^(cut-.*|answers-none|badvers|beyond|dots-in-label|garbage-body|label-.*|lame|length-too-short|long-name|loop.*|no-question|pointer-cut|questions-65535|two-questions)$`),
		"EAI_AGAIN", "EAI_NODATA", "a message that cannot be read does not say that there is no address"},
	{regexp.MustCompile(`^(closes|resets|half|half-silence|silence|trickle|length-.*|cut-.*|garbage|garbage-id|id|rcode-.*)$`),
		"EAI_AGAIN", "EAI_NONAME", "a server that fails over TCP, or with a code that glibc does not know, does not say that there is no such name"},
	{regexp.MustCompile(`^(aliases-.*|pointers-100)$`),
		"EAI_AGAIN", "[", "package net follows ten pointers, and reads the 1232 bytes of a datagram that it has asked for"},
	{regexp.MustCompile(`^(four-kilo|most)$`),
		"[", "[", "package net reads the 1232 bytes of a datagram that it has asked for"},
	{regexp.MustCompile(`^(no-reply|other-.*|lie-then-truth)$`),
		"EAI_AGAIN", "[", "package net takes replies alone for a reply, and over TCP too looks whether it is to the question"},
	{regexp.MustCompile(`^(alias-.*|answers-one|one-more|class-.*|into-head|of-.*|ahead|data-.*)$`),
		"[", "", "package net takes the addresses of an answer, whosever they are said to be, as far as it can read them"},
}

// isGlibcs says whether what glibc says of a lie is what we say, or what is known of it.
func isGlibcs(label, glibc, ours string) bool {
	if glibc == ours {
		return true
	}
	for _, u := range unlikeGlibc {
		if u.lies.MatchString(label) && strings.HasPrefix(ours, u.ours) && strings.HasPrefix(glibc, u.glibc) {
			return true
		}
	}
	return false
}

// shorten is the first few of a list.
func shorten[T any](list []T) []T { return list[:min(len(list), 3)] }

// wordDNS is an error of a lookup with all that it says, but where the question came from.
func wordDNS(err error) string {
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return fmt.Sprint(err)
	}
	text := fromWhere.ReplaceAllString(dns.Err, "HERE->")
	return fmt.Sprintf("%q of %s at %q, timeout %v, temporary %v, not found %v, canceled %v, late %v", text, dns.Name, dns.Server,
		dns.IsTimeout, dns.IsTemporary, dns.IsNotFound, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded))
}

// fromWhere is the local address in the text of an error.
var fromWhere = regexp.MustCompile(`\S+->`)

// openFiles is how many descriptors the process has.
func openFiles(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	fatal(t, err)
	return len(list)
}

// nothingIsAsked waits until a host has no socket that asks a server; that of a bystander is bound to no port of a server.
func nothingIsAsked(t *testing.T, st *Stack) {
	t.Helper()
	nothingDials(t, st, 0)
	var asking int
	for start := time.Now(); time.Since(start) < longest; time.Sleep(time.Millisecond) {
		asking = 0
		list, _ := st.Host().Sockets(1000)
		for _, s := range list {
			if s.Kind == host.Datagram && s.Remote.IsValid() {
				asking++
			}
		}
		if asking == 0 {
			return
		}
	}
	t.Errorf("%d sockets still ask", asking)
}
