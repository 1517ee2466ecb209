package socketapi

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A kernel without VLAN devices is a peer on a VLAN all the same: programs at its interface put the tag on all that leaves, and
// take it off what comes in, so that its own TCP, UDP, ICMP, ARP and neighbour discovery speak with the engine.

// runAt runs a program on what enters or leaves an interface, until the function that it returns is called.
func runAt(t *testing.T, ns *netlab.NS, name string, at ebpf.AttachType, program asm.Instructions) (end func()) {
	t.Helper()
	prog, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: program})
	fatal(t, err)
	defer prog.Close()
	var attached link.Link
	err = ns.Do(func() error {
		dev, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		attached, err = link.AttachTCX(link.TCXOptions{Interface: dev.Index, Program: prog, Attach: at})
		return err
	})
	if errors.Is(err, ebpf.ErrNotSupported) {
		t.Skip("TCX needs Linux 6.6:", err)
	}
	fatal(t, err)
	return func() { attached.Close() }
}

const (
	tcxNext = -1
	tcxDrop = 2
)

// tagging puts a tag on every frame.
func tagging(tci int32) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Imm(asm.R2, int32(networkOrder(unix.ETH_P_8021Q))),
		asm.Mov.Imm(asm.R3, tci),
		asm.FnSkbVlanPush.Call(),
		asm.Mov.Imm(asm.R0, tcxNext),
		asm.Return(),
	}
}

// untagging takes the tag off frames of a VLAN, and drops all others.
func untagging(vlan int32) asm.Instructions {
	const vlanPresent, vlanTCI = 20, 24 // in struct __sk_buff
	return asm.Instructions{
		asm.LoadMem(asm.R2, asm.R1, vlanPresent, asm.Word),
		asm.JEq.Imm(asm.R2, 0, "drop"),
		asm.LoadMem(asm.R2, asm.R1, vlanTCI, asm.Word),
		asm.And.Imm(asm.R2, 0xfff),
		asm.JNE.Imm(asm.R2, vlan, "drop"),
		asm.FnSkbVlanPop.Call(),
		asm.Mov.Imm(asm.R0, tcxNext),
		asm.Return(),
		asm.Mov.Imm(asm.R0, tcxDrop).WithSymbol("drop"),
		asm.Return(),
	}
}

// TestVLANWithAKernel: TCP, datagrams in one piece and in several, pings and the questions of neighbours, in both families, on a
// VLAN whose tag the kernel sends in the frame or beside it; frames of another VLAN are nobody's, and are counted.
func TestVLANWithAKernel(t *testing.T) {
	t.Parallel()
	const vlan, other = 100, 101
	for _, row := range []struct {
		mode   engine.Mode
		beside bool // the sending kernel leaves the tag to the device: AF_XDP in the driver sees none
		short  bool
	}{
		{engine.ModeNative, false, true}, {engine.ModeSKB, false, false}, {engine.ModePacket, false, false}, {engine.ModePacket, true, true},
	} {
		t.Run(fmt.Sprintf("%s, beside %v", row.mode, row.beside), func(t *testing.T) {
			t.Parallel()
			if testing.Short() && !row.short {
				t.Skip("short: one kind of device")
			}
			p := vlanProof(t, row.mode, row.beside, vlan)
			end := runAt(t, p.peer, "vb", ebpf.AttachTCXEgress, tagging(vlan|5<<13)) // with a priority
			defer runAt(t, p.peer, "vb", ebpf.AttachTCXIngress, untagging(vlan))()
			for _, f := range families {
				p.talk(t, f)
			}
			end()
			defer runAt(t, p.peer, "vb", ebpf.AttachTCXEgress, tagging(other))()
			before := p.st.Host().Stats()
			k, err := p.peer.Dial("udp", families[0].ours("7"))
			fatal(t, err)
			defer k.Close()
			eventually(t, "frames of another VLAN are counted", func() bool {
				k.Write([]byte("hello"))
				stats := p.st.Host().Stats()
				return stats[drop.VLANNotForUs] >= before[drop.VLANNotForUs]+3
			})
			k.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
			if n, err := k.Read(make([]byte, 10)); err == nil {
				t.Errorf("an answer of %d bytes to a frame of another VLAN", n)
			}
		})
	}
}

// TestPriorityTagsOfAKernel: frames with a tag of VLAN 0 are those of the interface itself.
func TestPriorityTagsOfAKernel(t *testing.T) {
	t.Parallel()
	p := vlanProof(t, engine.ModeNative, false, 0)
	defer runAt(t, p.peer, "vb", ebpf.AttachTCXEgress, tagging(5<<13))()
	for _, f := range families {
		p.talk(t, f)
	}
}

// vlanProof opens a stack on a VLAN of a veth pair.
func vlanProof(t *testing.T, mode engine.Mode, beside bool, vlan uint16) *proof {
	t.Helper()
	netlab.RequireRoot(t)
	ours := netlab.TestNS(t)
	p := &proof{peer: netlab.TestNS(t)}
	theirs := netlab.End{NS: p.peer, Name: "vb", Addrs: kernelPrefixes, Off: netlab.TxVLAN}
	if beside {
		theirs.Off = 0
	}
	p.veth = netlab.TestVeth(t, netlab.End{NS: ours, Name: "va"}, theirs)
	p.st = openAt(t, ours, host.Interface{Name: "va", Mode: mode, VLAN: vlan, Addrs: enginePrefixes, Detect: host.DetectNone})
	return p
}

// talk has the kernel and the engine speak with each other, each asking first, from neighbours that know nothing.
func (p *proof) talk(t *testing.T, f family) {
	t.Helper()
	p.serveEcho(t, f)
	buf := make([]byte, 1<<16)
	k, err := p.peer.Dial("udp", f.ours("7"))
	fatal(t, err)
	defer k.Close()
	e, err := p.st.Dial("udp", f.theirs("7"))
	fatal(t, err)
	defer e.Close()
	for _, size := range []int{0, 1, 1500 - f.header - 8, 1500 - f.header - 7, 20_000} {
		exchange(t, k, body(size), buf)
		exchange(t, e, body(size), buf)
	}
	ping := p.pingFromKernel(t, f)
	ping(1, body(56))
	ping(2, body(4000))
	c, err := p.peer.Dial("tcp", f.ours("7"))
	fatal(t, err)
	within(t, longest, "a stream of the kernel's", func() { bulkEcho(t, c, 300_000, 3) })
	carry(t, p.st, p.peer, f.kernel, 300_000)
	for _, n := range p.st.Host().Neighbours() {
		if n.Addr == netip.MustParseAddr(f.kernel) && n.MAC.String() == p.veth.B.MAC.String() {
			return
		}
	}
	t.Errorf("%s: the kernel is no neighbour: %+v", f.name, p.st.Host().Neighbours())
}
