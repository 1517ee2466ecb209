package netlab

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// nameDir is where ip(8) looks for names of namespaces.
const nameDir = "/run/netns"

// An NS is a network namespace. Its methods may be called by anyone at any time.
type NS struct {
	name string // "" for most
	ours bool   // made here, so Close takes its links away

	mu     sync.Mutex
	fd     int // -1 once closed
	closed bool
	cmds   map[*Cmd]struct{} // started and not yet waited for
}

// An Option is something that NewNS does differently.
type Option func(*options)

type options struct {
	name   string
	noIPv6 bool
	chatty bool
}

// Named gives the namespace a name below /run/netns, so that `ip netns exec`
// finds it. Close takes the name away; a process that is killed leaves it.
func Named(name string) Option { return func(o *options) { o.name = name } }

// NoIPv6 switches IPv6 off on every link of the namespace: the only way to have a
// kernel that says nothing at all unasked (multicast listener reports otherwise remain).
func NoIPv6() Option { return func(o *options) { o.noIPv6 = true } }

// Chatty leaves router solicitation, router advertisement and duplicate address
// detection as the kernel has them. Without it a link is usable at once and
// says little by itself.
func Chatty() Option { return func(o *options) { o.chatty = true } }

// NewNS makes an empty namespace whose loopback is up.
func NewNS(opts ...Option) (ns *NS, err error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.name != "" && (o.name != filepath.Base(o.name) || o.name == "." || o.name == "..") {
		return nil, fmt.Errorf("netlab: namespace name %q: want a plain file name", o.name)
	}
	ns = &NS{fd: -1, ours: true, cmds: map[*Cmd]struct{}{}}
	defer func() {
		if err != nil {
			ns.Close()
			ns = nil
		}
	}()
	err = onOwnThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("netlab: new network namespace (needs CAP_SYS_ADMIN): %w", err)
		}
		fd, err := threadNS()
		ns.fd = fd
		if err != nil {
			return err
		}
		if !o.chatty || o.noIPv6 {
			return quiet(o)
		}
		return nil
	})
	if err != nil {
		return ns, err
	}
	if o.name != "" {
		if err := bindName(ns.fd, o.name); err != nil {
			return ns, err
		}
		ns.name = o.name
	}
	err = ns.netlink(func(h *netlink.Handle) error {
		lo, err := h.LinkByName("lo")
		if err != nil {
			return err
		}
		return h.LinkSetUp(lo)
	})
	if err != nil {
		return ns, fmt.Errorf("netlab: lo up: %w", err)
	}
	return ns, nil
}

// Current is the namespace that the calling goroutine's thread is in: the
// process's own, unless inside [NS.Do]. Closing it only lets go of it.
func Current() (*NS, error) {
	fd, err := threadNS()
	if err != nil {
		return nil, err
	}
	return &NS{fd: fd, cmds: map[*Cmd]struct{}{}}, nil
}

// FD is the descriptor that holds the namespace, valid until Close and -1 after it.
func (ns *NS) FD() int {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	return ns.fd
}

// Name is what [Named] said, "" if nothing.
func (ns *NS) Name() string { return ns.name }

// Path names the namespace for other programs, while this process runs:
// nsenter --net=PATH.
func (ns *NS) Path() string { return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), ns.FD()) }

// Do runs f inside the namespace and returns what it returns. Only f itself is
// inside: it has a thread of its own for that long, and a goroutine that f
// starts runs on another thread, outside. A socket opened inside stays inside
// whoever uses it. A panic or runtime.Goexit (t.FailNow) in f reaches the caller.
func (ns *NS) Do(f func() error) error {
	return onOwnThread(func() error {
		if err := ns.enter(); err != nil {
			return fmt.Errorf("netlab: enter %v: %w", ns, err)
		}
		return f()
	})
}

// enter holds the lock, so that Close cannot give the descriptor's number to
// another file meanwhile.
func (ns *NS) enter() error {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.fd < 0 {
		return os.ErrClosed
	}
	return unix.Setns(ns.fd, unix.CLONE_NEWNET)
}

// Go starts f on a goroutine inside the namespace, and returns a function that
// waits for it and says what f returned. As with Do, goroutines that f starts are
// not inside.
func (ns *NS) Go(f func() error) (wait func() error) {
	done := make(chan struct{})
	err := errors.New("netlab: the function did not return")
	go func() {
		defer close(done)
		err = ns.Do(f)
	}()
	return func() error { <-done; return err }
}

func (ns *NS) String() string {
	if ns.name != "" {
		return "namespace " + ns.name
	}
	return fmt.Sprintf("namespace at fd %d", ns.FD())
}

// Close kills the processes that Command started and which still run, removes
// the links of the namespace, its name, and lets go of it. Links are gone when Close
// returns, their peers too. The namespace itself goes with the last socket in
// it. Closing twice is harmless.
func (ns *NS) Close() error {
	ns.mu.Lock()
	if ns.closed {
		ns.mu.Unlock()
		return nil
	}
	ns.closed = true
	cmds := maps.Clone(ns.cmds)
	ns.mu.Unlock()

	for c := range cmds {
		c.Process.Kill()
		c.Wait()
	}
	var errs []error
	if ns.ours && ns.FD() >= 0 {
		errs = append(errs, ns.netlink(removeLinks))
	}
	if ns.name != "" {
		path := filepath.Join(nameDir, ns.name)
		errs = append(errs, unix.Unmount(path, unix.MNT_DETACH), os.Remove(path))
	}
	ns.mu.Lock()
	defer ns.mu.Unlock()
	if ns.fd >= 0 {
		errs = append(errs, unix.Close(ns.fd))
		ns.fd = -1
	}
	return errors.Join(errs...)
}

// removeLinks deletes what can be deleted: lo cannot, and a link that vanishes
// with its peer meanwhile is as good as deleted.
func removeLinks(h *netlink.Handle) error {
	links, err := h.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("netlab: list links: %w", err)
	}
	var errs []error
	for _, l := range links {
		if l.Attrs().Name == "lo" {
			continue
		}
		err := h.LinkDel(l)
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EOPNOTSUPP) {
			errs = append(errs, fmt.Errorf("netlab: delete %s: %w", l.Attrs().Name, err))
		}
	}
	return errors.Join(errs...)
}

// netlink runs f with a route netlink socket of the namespace.
func (ns *NS) netlink(f func(*netlink.Handle) error) error {
	return ns.Do(func() error {
		h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
		if err != nil {
			return fmt.Errorf("netlab: netlink socket: %w", err)
		}
		defer h.Close()
		return f(h)
	})
}

// onOwnThread runs f on a locked thread and gives the thread back in the
// namespace it came from, or, where that fails, ends the thread.
func onOwnThread(f func() error) (err error) {
	var (
		done     = make(chan struct{})
		returned bool
		panicked any
	)
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		runtime.LockOSThread()
		home, nerr := threadNS()
		if nerr != nil {
			runtime.UnlockOSThread()
			err, returned = nerr, true
			return
		}
		defer func() {
			// A thread whose goroutine ends locked ends with it.
			if unix.Setns(home, unix.CLONE_NEWNET) == nil {
				runtime.UnlockOSThread()
			}
			unix.Close(home)
		}()
		err = f()
		returned = true
	}()
	<-done
	if panicked != nil {
		panic(panicked)
	}
	if !returned {
		runtime.Goexit()
	}
	return err
}

// threadNS opens the namespace of the calling thread.
func threadNS() (int, error) {
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("netlab: open this thread's namespace: %w", err)
	}
	return fd, nil
}

// quiet is called inside a new namespace, before it has links: what is written
// to "default" holds for each link made later.
func quiet(o options) error {
	set := map[string]string{
		"accept_ra": "0", "accept_dad": "0", "dad_transmits": "0", "router_solicitations": "0", "autoconf": "0",
	}
	if o.noIPv6 {
		set = map[string]string{"disable_ipv6": "1"}
	}
	for _, scope := range []string{"all", "default"} {
		for key, value := range set {
			path := filepath.Join("/proc/sys/net/ipv6/conf", scope, key)
			err := os.WriteFile(path, []byte(value), 0)
			if errors.Is(err, os.ErrNotExist) {
				return nil // a kernel without IPv6 is quiet enough
			}
			if err != nil {
				return fmt.Errorf("netlab: sysctl: %w", err)
			}
		}
	}
	return nil
}

// bindName gives the namespace at fd a name, as ip-netns(8) does it.
func bindName(fd int, name string) error {
	if err := os.MkdirAll(nameDir, 0o755); err != nil {
		return fmt.Errorf("netlab: name %q: %w", name, err)
	}
	path := filepath.Join(nameDir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("netlab: name %q (a leftover goes with `ip netns del %s`): %w", name, name, err)
	}
	f.Close()
	// /proc/self is the process; the descriptor table is one for all its threads.
	if err := unix.Mount(fmt.Sprintf("/proc/self/fd/%d", fd), path, "", unix.MS_BIND, ""); err != nil {
		os.Remove(path)
		return fmt.Errorf("netlab: name %q: mount: %w", name, err)
	}
	return nil
}
