package socketapi

import (
	"testing"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/xsk"
)

// A joint is what two hosts of a test are joined by. Whatever of it outlives them is there before open is called.
type joint struct {
	open  func() (a, b *Stack)
	whole func() // fails the test if a frame is missing once both are closed
}

// eachJoint runs a test over a pipe, and over AF_XDP on a veth pair.
func eachJoint(t *testing.T, test func(t *testing.T, j joint)) {
	t.Run("pipe", func(t *testing.T) {
		pa, pb := newPipe()
		test(t, joint{
			open:  func() (a, b *Stack) { return openOver(t, pa, addrA), openOver(t, pb, addrB) },
			whole: func() { pa.isWhole(t); pb.isWhole(t) },
		})
	})
	t.Run("AF_XDP", func(t *testing.T) { test(t, queueJoint(t)) })
}

// An xdpQueue is an AF_XDP device that remembers whether it was closed; its frames stay the test's.
type xdpQueue struct {
	*engine.AFXDP
	closed bool
}

func (q *xdpQueue) Close() error {
	q.closed = true
	return q.AFXDP.Close()
}

func (q *xdpQueue) isClosed() bool { return q.closed }

// queueJoint is a veth pair all of whose frames go to AF_XDP, and the memory of a queue at either end.
func queueJoint(t *testing.T) joint {
	t.Helper()
	netlab.RequireRoot(t)
	ns := netlab.TestNS(t, netlab.NoIPv6())
	veth := netlab.TestVeth(t, netlab.End{NS: ns}, netlab.End{NS: ns})
	links := [2]*netlab.Link{veth.A, veth.B}
	var programs [2]*bpf.Program
	var memory [2]*xsk.UMEM
	for i, link := range links {
		p, err := bpf.Load(bpf.Config{Queues: 1})
		fatal(t, err)
		t.Cleanup(func() { p.Close() })
		fatal(t, ns.Do(func() error { _, err := p.Attach(link.Index, bpf.Native); return err }))
		fatal(t, p.Everything(true))
		programs[i] = p
		cfg, _ := engine.UMEMFor(1500, 1)
		memory[i], err = xsk.OpenUMEM(cfg)
		fatal(t, err)
		t.Cleanup(func() {
			if err := memory[i].Close(); err != nil {
				t.Error(err)
			}
		})
	}
	open := func(i int, addr string) *Stack {
		var d *engine.AFXDP
		fatal(t, ns.Do(func() (err error) {
			d, err = engine.OpenAFXDP(engine.AFXDPConfig{
				UMEM: memory[i], Interface: links[i].Name, Index: links[i].Index, Driver: "veth", Addr: links[i].MAC, MTU: 1500,
				Virtual: true, Steer: programs[i].SetSocket,
			})
			return err
		}))
		return openOver(t, &xdpQueue{AFXDP: d}, addr)
	}
	return joint{
		open: func() (a, b *Stack) { return open(0, addrA), open(1, addrB) },
		whole: func() {
			t.Helper()
			for _, u := range memory {
				if c := u.Census(); c.Free != c.Frames || u.Misused() != 0 {
					t.Errorf("frames are missing: %v; %d misused", c, u.Misused())
				}
			}
		},
	}
}
