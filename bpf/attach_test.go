package bpf

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// holdEnv makes the test binary a process that attaches to the interface of this
// index and waits to be killed.
const holdEnv = "XDPSOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if ifindex := os.Getenv(holdEnv); ifindex != "" {
		hold(ifindex)
	}
	os.Exit(m.Run())
}

func hold(ifindex string) {
	var index int
	fmt.Sscan(ifindex, &index)
	p, err := Load(Config{Queues: 1})
	if err == nil {
		_, err = p.Attach(index, Native)
	}
	fmt.Println("attached:", err)
	select {}
}

// namespace puts the test's goroutine into a network namespace of its own, which
// ends with the test.
func namespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	must(t, err)
	inside, err := netns.New()
	if errors.Is(err, unix.EPERM) {
		t.Skip("needs CAP_SYS_ADMIN to make a network namespace: go test -exec sudo")
	}
	must(t, err)
	t.Cleanup(func() {
		inside.Close()
		if err := netns.Set(before); err != nil {
			return // the thread stays locked and ends with the goroutine
		}
		before.Close()
		runtime.UnlockOSThread()
	})
}

// veth makes a pair with both ends in this namespace and returns the index of one.
func veth(t *testing.T) (ours, peer netlink.Link) {
	t.Helper()
	must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "ours"}, PeerName: "peer"}))
	return linkUp(t, "ours"), linkUp(t, "peer")
}

func linkUp(t *testing.T, name string) netlink.Link {
	t.Helper()
	l, err := netlink.LinkByName(name)
	must(t, err)
	must(t, netlink.LinkSetUp(l))
	return l
}

func attachments(t *testing.T, l netlink.Link) []Attachment {
	t.Helper()
	as, err := Attachments(l.Attrs().Index)
	must(t, err)
	return as
}

func TestAttachIsNativeWhereTheDriverCan(t *testing.T) {
	for _, frags := range []bool{false, true} {
		t.Run(fmt.Sprintf("frags=%v", frags), func(t *testing.T) {
			p := load(t, Config{Queues: 1, Frags: frags})
			namespace(t)
			ours, _ := veth(t)
			got, err := p.Attach(ours.Attrs().Index, Auto)
			must(t, err)
			if got.Mode != Native || got.Frags != frags || len(got.Refused) != 0 {
				t.Errorf("attached as %+v", got)
			}
			as := attachments(t, ours)
			name := steerProgXdpsockSteer
			if frags {
				name = steerProgXdpsockFrags
			}
			if len(as) != 1 || as[0].Mode != Native || as[0].ID != got.Program || as[0].Name != name || as[0].Link == 0 || len(as[0].Tag) != 16 {
				t.Errorf("the interface has %+v", as)
			}
			must(t, p.Close())
			if as := attachments(t, ours); len(as) != 0 {
				t.Errorf("after Close the interface has %+v", as)
			}
		})
	}
}

func TestAttachFallsBackToGenericAndSaysWhy(t *testing.T) {
	p := load(t, Config{Queues: 1})
	namespace(t)
	lo := linkUp(t, "lo")
	got, err := p.Attach(lo.Attrs().Index, Auto)
	must(t, err)
	if got.Mode != Generic || len(got.Refused) != 1 || got.Refused[0].Mode != Native || !errors.Is(got.Refused[0].Err, unix.EOPNOTSUPP) {
		t.Errorf("attached as %+v", got)
	}
	if as := attachments(t, lo); len(as) != 1 || as[0].Mode != Generic {
		t.Errorf("the interface has %+v", as)
	}
}

func TestAttachNativeDoesNotFallBack(t *testing.T) {
	p := load(t, Config{Queues: 1})
	namespace(t)
	lo := linkUp(t, "lo")
	_, err := p.Attach(lo.Attrs().Index, Native)
	var refused *AttachError
	if !errors.As(err, &refused) || len(refused.Refused) != 1 || !errors.Is(err, unix.EOPNOTSUPP) || refused.Interface != "lo" {
		t.Errorf("got %v", err)
	}
	if as := attachments(t, lo); len(as) != 0 {
		t.Errorf("the interface has %+v", as)
	}
	// A refusal leaves the program fit for another try.
	_, err = p.Attach(lo.Attrs().Index, Generic)
	must(t, err)
	if _, err := p.Attach(lo.Attrs().Index, Generic); err == nil {
		t.Error("attached twice")
	}
}

func TestAttachRefusesAnOccupiedInterface(t *testing.T) {
	p, other := load(t, Config{Queues: 1}), load(t, Config{Queues: 1})
	namespace(t)
	ours, _ := veth(t)
	for _, theirs := range []Mode{Native, Generic} {
		first, err := other.Attach(ours.Attrs().Index, theirs)
		must(t, err)
		for _, mode := range []Mode{Auto, Native, Generic} {
			_, err := p.Attach(ours.Attrs().Index, mode)
			var occupied *OccupiedError
			if !errors.As(err, &occupied) {
				t.Fatalf("%v over %v: %v", mode, theirs, err)
			}
			if as := occupied.Programs; len(as) != 1 || as[0].ID != first.Program || as[0].Mode != theirs || as[0].Link == 0 {
				t.Errorf("%v over %v: the error names %+v", mode, theirs, as)
			}
			for _, word := range []string{"ours", fmt.Sprint(first.Program), steerProgXdpsockSteer, "bpftool link show"} {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%v over %v: %q does not say %q", mode, theirs, err, word)
				}
			}
		}
		if as := attachments(t, ours); len(as) != 1 || as[0].ID != first.Program {
			t.Errorf("now the interface has %+v", as)
		}
		must(t, other.Close())
		other = load(t, Config{Queues: 1})
	}
}

func TestAttachNamesTheCommandThatFreesTheInterface(t *testing.T) {
	p := load(t, Config{Queues: 1})
	namespace(t)
	ours, _ := veth(t)
	for _, c := range []struct {
		program, want string
		flags         int
	}{
		{"someone", "`ip link set dev ours xdp off`", unix.XDP_FLAGS_DRV_MODE},
		{"someone", "`ip link set dev ours xdpgeneric off`", unix.XDP_FLAGS_SKB_MODE},
		{"xdp_dispatcher", "`xdp-loader unload ours --all`", unix.XDP_FLAGS_DRV_MODE},
	} {
		prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Name: c.program, Type: ebpf.XDP, License: "GPL",
			Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 2), asm.Return()}})
		must(t, err)
		must(t, netlink.LinkSetXdpFdWithFlags(ours, prog.FD(), c.flags))
		_, err = p.Attach(ours.Attrs().Index, Auto)
		var occupied *OccupiedError
		if !errors.As(err, &occupied) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.program) {
			t.Errorf("%s: got %v, which should say %s", c.program, err, c.want)
		}
		must(t, netlink.LinkSetXdpFdWithFlags(ours, -1, c.flags))
		prog.Close()
	}
	_, err := p.Attach(ours.Attrs().Index, Native)
	must(t, err)
}

func TestAttachNamesTheLargestMTU(t *testing.T) {
	namespace(t)
	ours, peer := veth(t)
	must(t, netlink.LinkSetMTU(ours, pageMTU()+1))
	must(t, netlink.LinkSetMTU(peer, pageMTU()+1))

	p := load(t, Config{Queues: 1})
	_, err := p.Attach(ours.Attrs().Index, Native)
	var mtu *MTUError
	if !errors.As(err, &mtu) || mtu.Max != pageMTU() || mtu.MTU != pageMTU()+1 || !strings.Contains(err.Error(), "Config.Frags") {
		t.Fatalf("got %v", err)
	}
	got, err := p.Attach(ours.Attrs().Index, Auto)
	must(t, err)
	if got.Mode != Generic || len(got.Refused) != 1 || !errors.As(got.Refused[0].Err, &mtu) {
		t.Errorf("auto attached as %+v", got)
	}
	must(t, p.Close())

	frags := load(t, Config{Queues: 1, Frags: true})
	_, err = frags.Attach(ours.Attrs().Index, Native)
	must(t, err)
	must(t, frags.Close())

	must(t, netlink.LinkSetMTU(peer, pageMTU()))
	fits := load(t, Config{Queues: 1})
	if _, err := fits.Attach(ours.Attrs().Index, Native); err != nil {
		t.Errorf("the largest MTU is refused: %v", err)
	}
}

func TestAttachWithoutInterface(t *testing.T) {
	p := load(t, Config{Queues: 1})
	namespace(t)
	for _, ifindex := range []int{1 << 20, 0, -1} {
		if _, err := p.Attach(ifindex, Auto); !errors.Is(err, ErrNoInterface) {
			t.Errorf("interface %d: %v", ifindex, err)
		}
	}
	if _, err := Attachments(1 << 20); !errors.Is(err, ErrNoInterface) {
		t.Errorf("attachments: %v", err)
	}
}

func TestAttachToAnInterfaceThatIsDown(t *testing.T) {
	p := load(t, Config{Queues: 1})
	namespace(t)
	ours, _ := veth(t)
	must(t, netlink.LinkSetDown(ours))
	got, err := p.Attach(ours.Attrs().Index, Auto)
	must(t, err)
	must(t, netlink.LinkSetUp(ours))
	if as := attachments(t, ours); len(as) != 1 || as[0].ID != got.Program {
		t.Errorf("up again, the interface has %+v", as)
	}
}

func TestAttachRefusesALinkWithoutEthernet(t *testing.T) {
	p := load(t, Config{Queues: 1})
	namespace(t)
	must(t, netlink.LinkAdd(&netlink.Tuntap{LinkAttrs: netlink.LinkAttrs{Name: "tun"}, Mode: netlink.TUNTAP_MODE_TUN}))
	tun := linkUp(t, "tun")
	if _, err := p.Attach(tun.Attrs().Index, Auto); err == nil || !strings.Contains(err.Error(), "Ethernet") {
		t.Errorf("got %v", err)
	}
}

func TestProgramGoesWithItsProcess(t *testing.T) {
	load(t, Config{Queues: 1})
	namespace(t)
	ours, _ := veth(t)
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), fmt.Sprintf("%s=%d", holdEnv, ours.Attrs().Index))
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: unix.SIGKILL} // of this thread, which is locked
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start()) // in this thread's namespace
	defer child.Process.Kill()
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "attached: <nil>\n" {
		t.Fatalf("the child says %q, %v", line, err)
	}
	if as := attachments(t, ours); len(as) != 1 {
		t.Fatalf("while the child lives the interface has %+v", as)
	}
	must(t, child.Process.Kill()) // SIGKILL
	child.Wait()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		as := attachments(t, ours)
		if len(as) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("20 s after SIGKILL the interface has %+v", as)
		}
	}
}

// The program counts what really comes in: here, what the kernel of the other end
// sends, to an address of ours and to others.
func TestAttachedProgramCounts(t *testing.T) {
	p := load(t, Config{Queues: 64})
	r := &rig{p, newModel()}
	r.allRules(t)
	namespace(t)
	ours, peer := veth(t)
	_, err := p.Attach(ours.Attrs().Index, Native)
	must(t, err)
	before, err := p.Counters()
	must(t, err)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	const each = 10
	var want Counters
	for range each {
		for _, row := range rows(t) {
			must(t, unix.Sendto(fd, row.frame, 0, &unix.SockaddrLinklayer{Ifindex: peer.Attrs().Index}))
			if row.want.Redirects() {
				want[PassEmpty]++ // no socket is set
			} else {
				want[row.want]++
			}
		}
	}
	// The kernel adds frames of its own, of neighbour discovery.
	want[PassGroup], before[PassGroup] = 0, 0
	var got Counters
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		got, err = p.Counters()
		must(t, err)
		for v := range got {
			got[v] -= before[v]
		}
		got[PassGroup] = 0
		if got == want {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("counted %v\nwant    %v", got.String(), want.String())
		}
	}
}
