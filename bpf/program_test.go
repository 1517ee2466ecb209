package bpf

import (
	"errors"
	"math"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

func TestLoadRefusesImpossibleQueues(t *testing.T) {
	for _, n := range []int{-1, 0, queuesMax + 1, math.MaxInt} {
		if p, err := Load(Config{Queues: n}); err == nil {
			p.Close()
			t.Errorf("%d queues were accepted", n)
		}
	}
	load(t, Config{Queues: queuesMax})
}

func TestClosedProgramRefuses(t *testing.T) {
	p := load(t, Config{Queues: 1})
	must(t, p.Close())
	a := netip.MustParseAddr("10.0.0.1")
	_, attachErr := p.Attach(1, Auto)
	_, testErr := p.Test(make([]byte, 60))
	for _, err := range []error{p.Close(), p.AddAddr(a), p.RemoveAddr(a), p.Everything(true), attachErr, testErr} {
		if !errors.Is(err, os.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	if err := p.SetSocket(0, 0); err == nil {
		t.Error("SetSocket did not fail")
	}
	if _, err := p.Counters(); err == nil {
		t.Error("Counters did not fail")
	}
}

// A queue with a socket redirects, one without passes, and so does one whose
// socket was cleared or closed.
func TestRedirectFollowsTheSocket(t *testing.T) {
	for _, frags := range []bool{false, true} {
		p := load(t, Config{Queues: 1, Frags: frags})
		must(t, p.AddAddr(netip.MustParseAddr(own[0])))
		fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		must(t, unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_RX_RING, 64)) // Linux 7.x takes no socket without one
		run := func(when string, frame []byte, want uint32) {
			t.Helper()
			if got, _, err := p.prog.Test(frame); err != nil || got != want {
				t.Errorf("%s, frags=%v: action %d, want %d, %v", when, frags, got, want, err)
			}
		}
		const pass, redirect = 2, 4 // enum xdp_action
		ours, theirs := gopacketUDP(t, remote[0], own[0], 1, 2), gopacketUDP(t, remote[0], foreign[0], 1, 2)
		run("no socket", ours, pass)
		must(t, p.SetSocket(0, fd))
		run("with a socket", ours, redirect)
		run("with a socket, another's frame", theirs, pass)
		if frags {
			run("with a socket, a frame of several buffers", join(ours, make([]byte, 9000)), redirect)
		}
		must(t, p.ClearSocket(0))
		must(t, p.ClearSocket(0))
		run("cleared", ours, pass)
		must(t, p.SetSocket(0, fd))
		run("set again", ours, redirect)
		must(t, unix.Close(fd))
		run("closed", ours, pass)

		got, err := p.Counters()
		must(t, err)
		want := Counters{RedirectAddress: 2, PassEmpty: 3, PassForeign: 1}
		if frags {
			want[RedirectAddress]++
		}
		if got != want || got.Redirected() != want[RedirectAddress] || got.Passed() != 4 {
			t.Errorf("counted %v, want %v", got.String(), want.String())
		}
	}
}

func TestSetSocketRefuses(t *testing.T) {
	p := load(t, Config{Queues: 2})
	udp, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(udp)
	for _, c := range []struct {
		queue, fd int
		want      string
	}{{2, udp, "queues 0 to 1"}, {-1, udp, "queues 0 to 1"}, {0, udp, "not an AF_XDP socket"}, {0, -1, "bad file descriptor"}} {
		if err := p.SetSocket(c.queue, c.fd); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("queue %d, descriptor %d: %v, which should say %q", c.queue, c.fd, err, c.want)
		}
	}
	for _, q := range []int{-1, 2} {
		if err := p.ClearSocket(q); err == nil {
			t.Errorf("queue %d was cleared", q)
		}
	}
}

func TestTestRefusesAFrameWithoutEthernet(t *testing.T) {
	p := load(t, Config{Queues: 1})
	if _, err := p.Test(make([]byte, frameMin-1)); err == nil {
		t.Error("13 bytes were accepted")
	}
}

// withCapabilities runs do in a thread of the caller's network namespace that has
// only the capabilities given, and ends the thread.
func withCapabilities(t *testing.T, keep []uint, do func() error) error {
	t.Helper()
	inside, err := netns.Get()
	must(t, err)
	defer inside.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends here
		err := netns.Set(inside)
		var data [2]unix.CapUserData
		for _, c := range keep {
			data[c/32].Effective |= 1 << (c % 32)
			data[c/32].Permitted |= 1 << (c % 32)
		}
		if err == nil {
			err = unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
		}
		if err == nil {
			err = do()
		}
		done <- err
	}()
	return <-done
}

func TestLoadNamesTheMissingPrivilege(t *testing.T) {
	load(t, Config{Queues: 1})
	for _, keep := range [][]uint{nil, {unix.CAP_NET_ADMIN}, {unix.CAP_BPF, unix.CAP_PERFMON}, {unix.CAP_BPF, unix.CAP_NET_ADMIN}} {
		err := withCapabilities(t, keep, func() error {
			_, err := Load(Config{Queues: 1})
			return err
		})
		if !errors.Is(err, os.ErrPermission) || !strings.Contains(err.Error(), "CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN") {
			t.Errorf("with capabilities %v: %v", keep, err)
		}
	}
}

// The three capabilities that the error names are enough.
func TestThreeCapabilitiesAreEnough(t *testing.T) {
	load(t, Config{Queues: 1})
	namespace(t)
	ours, _ := veth(t)
	for _, frags := range []bool{false, true} {
		err := withCapabilities(t, []uint{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN}, func() error {
			p, err := Load(Config{Queues: 1, Frags: frags})
			if err != nil {
				return err
			}
			_, attachErr := p.Attach(ours.Attrs().Index, Native)
			_, testErr := p.Test(make([]byte, 60))
			_, countErr := p.Counters()
			return errors.Join(p.AddAddr(netip.MustParseAddr(own[0])), attachErr, testErr, countErr, p.Close())
		})
		if errors.Is(err, ErrFrags) && !linux(t, 5, 18) {
			continue
		}
		if err != nil {
			t.Errorf("frags=%v: %v", frags, err)
		}
	}
}
