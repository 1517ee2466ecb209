package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var rawModes = []string{"rxdrop", "txonly", "l2fwd"}

func TestRawWrongUse(t *testing.T) {
	for _, mode := range rawModes {
		for _, test := range []struct {
			args []string
			says []string
		}{
			{nil, []string{"interface", "-i"}},
			{[]string{"-i", "eth9", "--mode", "dpdk"}, []string{"dpdk", "zerocopy", "native", "skb"}},
			{[]string{"-i", "eth9", "-q", "-1"}, []string{"--queue -1"}},
			{[]string{"-i", "eth9", "-q", "x"}, []string{"--help"}},
			{[]string{"-i", "eth9", "-b", "0"}, []string{"--batch 0", "1 and 64"}},
			{[]string{"-i", "eth9", "-b", "65"}, []string{"--batch 65"}},
			{[]string{"-i", "eth9", "--coalesce", "-1us"}, []string{"--coalesce -1µs", "0 and 1ms"}},
			{[]string{"-i", "eth9", "--coalesce", "2ms"}, []string{"--coalesce 2ms"}},
			{[]string{"-i", "eth9", "-d", "0"}, []string{"--duration 0"}},
			{[]string{"-i", "eth9", "-d", "-1"}, []string{"--duration -1"}},
			{[]string{"-i", "eth9", "-n", "NaN"}, []string{"--interval NaN"}},
			{[]string{"-i", "eth9", "-n", "1e300"}, []string{"--interval 1e+300"}},
			{[]string{"-i", "eth9", "extra"}, []string{"extra", "--help"}},
			{[]string{"-i", "eth9", "--nope"}, []string{"nope", "--help"}},
		} {
			args := append([]string{mode}, test.args...)
			code, stdout, stderr := ran(t, nil, args...)
			if code != exitUsage {
				t.Errorf("%v: exit code %d, want %d", args, code, exitUsage)
			}
			oneLine(t, args, stdout, stderr, test.says...)
		}
	}
	for _, args := range [][]string{
		{"txonly", "-i", "eth9", "-s", "59"},
		{"txonly", "-i", "eth9", "--dst-mac", "02:00"},
		{"txonly", "-i", "eth9", "--dst-mac", "02:00:00:00:00:00:00:01"},
		{"l2fwd", "-i", "eth9", "--dst-mac", "everybody"},
		{"info", "a", "b"},
		{"info", "--probe"},
	} {
		code, stdout, stderr := ran(t, nil, args...)
		if code != exitUsage {
			t.Errorf("%v: exit code %d, want %d", args, code, exitUsage)
		}
		oneLine(t, args, stdout, stderr)
	}
}

// What is wrong with the interface is one line that names the fix, and nothing stays
// attached.
func TestRawRefused(t *testing.T) {
	l := newLab(t)
	for _, mode := range rawModes {
		for _, test := range []struct {
			args []string
			set  func() error
			code int
			says []string
		}{
			{[]string{"-i", "nosuch0"}, nil, exitFailed, []string{"nosuch0", "there are", "server"}},
			{[]string{"-i", "server", "-q", "7"}, nil, exitFailed, []string{"no queue 7", "ethtool -L server"}},
			{[]string{"-i", "server", "--mode", "zerocopy"}, nil, exitFailed, []string{"zero-copy"}},
			{[]string{"-i", "server"}, l.veth.B.SetDown, exitFailed, []string{"down", "ip link set server up"}},
		} {
			if test.set != nil {
				if err := test.set(); err != nil {
					t.Fatal(err)
				}
			}
			args := append([]string{mode}, test.args...)
			code, stdout, stderr := ran(t, l.server, args...)
			if code != test.code {
				t.Errorf("%v: exit code %d, want %d", args, code, test.code)
			}
			oneLine(t, args, stdout, stderr, test.says...)
			if id := l.program(t); id != 0 {
				t.Errorf("%v: program %d is left attached", args, id)
			}
			if test.set != nil {
				if err := l.veth.B.SetUp(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	args := []string{"txonly", "-i", "server", "-s", "1515"}
	code, stdout, stderr := ran(t, l.server, args...)
	if code != exitUsage {
		t.Errorf("%v: exit code %d, want %d", args, code, exitUsage)
	}
	oneLine(t, args, stdout, stderr, "1514", "mtu 1501")
	if id := l.program(t); id != 0 {
		t.Errorf("%v: program %d is left attached", args, id)
	}
}

// A second program is refused in every mode, and the first one goes on.
func TestRawOccupied(t *testing.T) {
	l := newLab(t)
	first := start(t, l.server, "serve", "-i", "server", "-a", engineAddr.String())
	first.says("Ctrl-C")
	id := l.program(t)
	for _, mode := range []string{"auto", "native", "skb"} {
		args := []string{"rxdrop", "-i", "server", "--mode", mode}
		code, stdout, stderr := ran(t, l.server, args...)
		if code != exitFailed {
			t.Errorf("%v: exit code %d", args, code)
		}
		oneLine(t, args, stdout, stderr, "another XDP program", fmt.Sprint("program ", id))
	}
	if now := l.program(t); now != id {
		t.Errorf("program %d is attached, before it was %d", now, id)
	}
}

// Capabilities that are missing are named, one by one.
func TestRawUnprivileged(t *testing.T) {
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		t.Skip("needs setpriv (util-linux)")
	}
	l := newLab(t)
	if err := os.Chmod(filepath.Dir(executable), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, drop := range []string{"-all", "-bpf,-sys_admin", "-net_admin,-sys_admin"} {
		for _, mode := range rawModes {
			cmd := l.server.Command(setpriv, "--bounding-set", drop, "--inh-caps", drop, executable, mode, "-i", "server")
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			err := cmd.Run()
			if code := cmd.ProcessState.ExitCode(); code != exitUsage {
				t.Errorf("%s without %s: %v, want exit code %d", mode, drop, err, exitUsage)
			}
			oneLine(t, []string{mode, drop}, stdout.String(), stderr.String(), "CAP_NET_ADMIN", "CAP_BPF")
			if id := l.program(t); id != 0 {
				t.Errorf("%s: program %d is left attached", mode, id)
			}
		}
	}
}

// flood sends n datagrams from the client to a host that is not there: only the engine can
// see them.
func (l *lab) flood(t *testing.T, n int) {
	t.Helper()
	if err := l.veth.A.AddNeigh(engineAddr.Addr(), l.veth.B.MAC); err != nil {
		t.Fatal(err)
	}
	c, err := l.client.Dial("udp", netip.AddrPortFrom(engineAddr.Addr(), 9).String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range n {
		if _, err := c.Write([]byte("packet")); err != nil {
			t.Fatal(err)
		}
		if i%32 == 0 {
			time.Sleep(time.Millisecond)
		}
	}
}

// capture reads frames that arrive at the client's end, until want says that it has seen enough.
func (l *lab) capture(t *testing.T, what string, want func(frame []byte) (enough bool)) {
	t.Helper()
	var fd int
	if err := l.client.Do(func() (err error) {
		fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(bigEndian(unix.ETH_P_ALL)))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	buf := make([]byte, 2048)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		if n, _ := unix.Poll(fds, 100); n <= 0 {
			continue
		}
		n, from, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			t.Fatal(err)
		}
		if ll, ok := from.(*unix.SockaddrLinklayer); ok && ll.Pkttype == unix.PACKET_OUTGOING {
			continue
		}
		if want(buf[:n]) {
			return
		}
	}
	t.Fatalf("no %s", what)
}

func bigEndian(v uint16) uint16 { return v<<8 | v>>8 }

func TestRxdrop(t *testing.T) {
	for _, args := range [][]string{
		{"--mode", "native"},
		{"--mode", "native", "-p"},
		{"--mode", "skb", "-q", "0", "-b", "8"},
		{"--mode", "packet", "-p"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			l := newLab(t)
			p := start(t, l.server, append([]string{"rxdrop", "-i", "server", "--json", "-n", "0.05"}, args...)...)
			p.says(`"ready"`)
			const sent = 1000
			l.flood(t, sent)
			p.counts(func(s *rawSocketStats) bool { return s.RxPackets+s.RxDropped >= sent })
			p.signal(unix.SIGTERM)
			if code := p.ends(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &p.stderr)
			}
			sum := object[rawEvent](t, p.stdout.String(), "summary")
			if s := sum.Sockets[0]; len(sum.Sockets) != 1 || s.RxPackets < sent/2 || s.TxPackets != 0 || s.RxBytes < 48*s.RxPackets || sum.Mode != "rxdrop" {
				t.Errorf("%+v", sum)
			}
			l.clean(t)
		})
	}
}

// counts waits for an interval in which the first queue has counted enough.
func (p *process) counts(enough func(s *rawSocketStats) bool) {
	p.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		for line := range strings.Lines(p.stdout.String()) {
			var e rawEvent
			if json.Unmarshal([]byte(line), &e) == nil && len(e.Sockets) > 0 && enough(&e.Sockets[0]) {
				return
			}
		}
		if time.Now().After(end) {
			p.t.Fatalf("it did not count enough:\n%s%s", &p.stdout, &p.stderr)
		}
	}
}

func TestTxonly(t *testing.T) {
	for _, args := range [][]string{{"--mode", "native"}, {"--mode", "skb", "-p"}, {"--mode", "packet"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			l := newLab(t)
			p := start(t, l.server, append([]string{"txonly", "-i", "server", "--json", "-n", "0.05", "-s", "333", "--dst-mac", "02:00:00:00:00:42"}, args...)...)
			p.says(`"ready"`)
			l.capture(t, "frame of txonly", func(f []byte) bool {
				if len(f) != 333 || !bytes.Equal(f[:6], []byte{2, 0, 0, 0, 0, 0x42}) || !bytes.Equal(f[6:12], l.veth.B.MAC) {
					return false
				}
				ip, ok := wire.ParseIPv4(f[wire.EthernetLen:])
				if !ok || ip.Dst() != txonlyDst || ip.Src() != txonlySrc {
					t.Fatalf("a frame of txonly that is none: %x", f)
				}
				udp := wire.UDP(f[wire.EthernetLen+wire.IPv4Len:])
				if state := udp.Check(wire.PseudoSum(txonlySrc, txonlyDst, wire.ProtoUDP, len(udp))); state != wire.ChecksumGood {
					t.Fatalf("its checksum is %v", state)
				}
				return true
			})
			p.counts(func(s *rawSocketStats) bool { return s.TxPackets > 500 })
			p.signal(unix.SIGINT)
			if code := p.ends(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &p.stderr)
			}
			if s := object[rawEvent](t, p.stdout.String(), "summary").Sockets[0]; s.TxPackets < 500 || s.TxBytes < 333*s.TxPackets {
				t.Errorf("%+v", s)
			}
			l.clean(t)
		})
	}
}

func TestL2fwd(t *testing.T) {
	to := net.HardwareAddr{2, 0, 0, 0, 0, 0x99}
	for _, args := range [][]string{
		{"--mode", "native"},
		{"--mode", "skb", "-p"},
		{"--mode", "packet", "-p"},
		{"--mode", "native", "--dst-mac", to.String()},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			l := newLab(t)
			p := start(t, l.server, append([]string{"l2fwd", "-i", "server", "--json", "-n", "0.05"}, args...)...)
			p.says(`"ready"`)
			back := l.veth.A.MAC
			if slices.Contains(args, "--dst-mac") {
				back = to
			}
			done := make(chan struct{})
			go func() {
				defer close(done)
				l.capture(t, "frame sent back", func(f []byte) bool {
					return bytes.Equal(f[:6], back) && bytes.Equal(f[6:12], l.veth.B.MAC) && bytes.Contains(f, []byte("packet"))
				})
			}()
			for range 20 {
				l.flood(t, 50)
				select {
				case <-done:
				case <-time.After(50 * time.Millisecond):
					continue
				}
				break
			}
			<-done
			p.counts(func(s *rawSocketStats) bool { return s.TxPackets >= 20 && s.RxPackets >= s.TxPackets })
			p.signal(unix.SIGINT)
			if code := p.ends(); code != exitOK {
				t.Errorf("exit code %d: %s", code, &p.stderr)
			}
			l.clean(t)
		})
	}
}

// Two queues are two sockets, and -q is one of them: the other stays with the kernel.
func TestRawQueues(t *testing.T) {
	l := &lab{client: netlab.TestNS(t, netlab.NoIPv6()), server: netlab.TestNS(t, netlab.NoIPv6())}
	l.veth = netlab.TestVeth(t,
		netlab.End{NS: l.client, Name: "client", Queues: 2, Addrs: []netip.Prefix{clientAddr}},
		netlab.End{NS: l.server, Name: "server", Queues: 2, Addrs: []netip.Prefix{serverAddr}})
	for _, test := range []struct {
		args []string
		want []int
	}{{nil, []int{0, 1}}, {[]string{"-q", "1"}, []int{1}}} {
		p := start(t, l.server, append([]string{"txonly", "-i", "server", "--json", "-n", "0", "-d", "0.3"}, test.args...)...)
		if code := p.ends(); code != exitOK {
			t.Fatalf("exit code %d: %s", code, &p.stderr)
		}
		var queues []int
		for _, s := range object[rawEvent](t, p.stdout.String(), "summary").Sockets {
			queues = append(queues, s.Queue)
			if s.TxPackets == 0 {
				t.Errorf("%v: queue %d sent nothing", test.args, s.Queue)
			}
		}
		if !slices.Equal(queues, test.want) {
			t.Errorf("%v: queues %v, want %v", test.args, queues, test.want)
		}
	}
}

// For people the tables are those of the kernel's sample program, and Ctrl-C gives a
// summary.
func TestRawForPeople(t *testing.T) {
	l := newLab(t)
	p := start(t, l.server, "txonly", "-i", "server", "--mode", "native", "-n", "0.1")
	p.says("running...")
	p.says("pkts")
	p.signal(unix.SIGINT)
	if code := p.ends(); code != exitOK {
		t.Errorf("exit code %d: %s", code, &p.stderr)
	}
	out := p.stdout.String()
	for _, want := range []string{
		"\n sock0@server:0 txonly xdp-drv\n",
		"                   pps            pkts           0.1",
		"\nrx                 0              0             \ntx                 ",
		" of txonly:\n", "\nsent ",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in:\n%s", want, out)
		}
	}
	l.clean(t)
}

// A mode that is killed leaves the interface working for the kernel at once.
func TestRawKilled(t *testing.T) {
	l := newLab(t)
	for _, mode := range rawModes {
		p := start(t, l.server, mode, "-i", "server", "--mode", "native")
		p.says("running...")
		if l.program(t) == 0 {
			t.Error("no program is attached")
		}
		p.signal(unix.SIGKILL)
		<-p.done
		l.clean(t)
	}
}

// An interface that is deleted under it ends a mode, spinning or asleep, with a reason.
func TestRawInterfaceDeleted(t *testing.T) {
	for _, args := range [][]string{{"rxdrop", "-p"}, {"rxdrop"}, {"l2fwd"}, {"txonly"}} {
		l := newLab(t)
		p := start(t, l.server, append(args, "-i", "server", "--mode", "native")...)
		p.says("running...")
		if err := l.veth.B.Delete(); err != nil {
			t.Fatal(err)
		}
		if code := p.ends(); code != exitFailed {
			t.Errorf("%v: exit code %d", args, code)
		}
		if s := p.stderr.String(); strings.Count(s, "\n") != 1 || !strings.Contains(s, "deleted") {
			t.Errorf("%v: %q", args, s)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[uint64]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567890: "1,234,567,890"} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestTxonlyFrame(t *testing.T) {
	nic := engine.NICInfo{Interface: "eth9", MTU: 1500, Addr: net.HardwareAddr{2, 0, 0, 0, 0, 9}}
	for _, size := range []int{60, 61, 64, 1514} {
		f, err := txonlyFrame(nic, nil, wire.MAC{2, 0, 0, 0, 0, 1}, size)
		if err != nil || len(f) != size {
			t.Fatalf("size %d: %d bytes, %v", size, len(f), err)
		}
		ip, ok := wire.ParseIPv4(f[wire.EthernetLen:])
		if !ok || int(ip.TotalLen()) != size-wire.EthernetLen {
			t.Errorf("size %d: no IPv4 packet", size)
		}
	}
	if _, err := txonlyFrame(nic, nil, wire.MAC{}, 1515); exitCode(err) != exitUsage {
		t.Errorf("1515 bytes with MTU 1500: %v", err)
	}
}
