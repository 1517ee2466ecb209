package socketapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

// passives is how many connections each core has accepted, and arrived how many frames.
func passives(st *Stack) (opened []uint64, arrived []uint64) {
	for _, c := range st.Host().Cores() {
		c.Lock()
		opened = append(opened, c.Stack.TCP.Stats().PassiveOpens)
		c.Unlock()
		arrived = append(arrived, c.Port(0).Stats().RxPackets)
	}
	return opened, arrived
}

// emptied waits until no core has a connection any more, TIME-WAIT excepted.
func emptied(t *testing.T, st *Stack) {
	t.Helper()
	var left []int
	for range 1000 {
		left = left[:0]
		sum := 0
		for _, c := range st.Host().Cores() {
			c.Lock()
			left = append(left, c.Stack.TCP.Len())
			sum += c.Stack.TCP.Len()
			c.Unlock()
		}
		if sum == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("connections are left: %v", left)
}

// TestManyFlowsOnManyQueues: kernel clients, as the kernel spreads them.
func TestManyFlowsOnManyQueues(t *testing.T) {
	flows, size := 64, 100_000
	for _, queues := range []int{2, 4} {
		t.Run(fmt.Sprint(queues), func(t *testing.T) {
			st, peer := lab(t, queues, engine.ModeAuto)
			l, err := st.Listen("tcp", engineAddr+":7")
			if err != nil {
				t.Fatal(err)
			}
			served := serveEcho(l)
			c, err := st.ListenUDP(netip.MustParseAddrPort(engineAddr + ":7"))
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan struct{})
			go func() { defer close(answered); echoUDP(c) }()
			within(t, 2*time.Minute, "all flows", func() {
				var all sync.WaitGroup
				for i := range flows {
					all.Go(func() {
						k, err := peer.Dial("tcp", engineAddr+":7")
						if err != nil {
							t.Error(err)
							return
						}
						bulkEcho(t, k, size, uint64(i))
					})
					all.Go(func() { askUDP(t, peer, i, 20) })
				}
				all.Wait()
			})
			l.Close()
			c.Close()
			within(t, longest, "servers end", func() { <-served; <-answered })
			opened, arrived := passives(st)
			sum, used := 0, 0
			for i := range opened {
				sum += int(opened[i])
				if opened[i] > 0 && arrived[i] > 0 {
					used++
				}
			}
			if sum != flows || used < 2 {
				t.Errorf("connections by core %v, frames %v", opened, arrived)
			}
			emptied(t, st)
		})
	}
}

// askUDP sends datagrams of all lengths one after the other and wants each back. One
// that is lost is asked for again: rings are finite, and the machine may be busy.
func askUDP(t *testing.T, peer *netlab.NS, flow, count int) {
	k, err := peer.Dial("udp", engineAddr+":7")
	if err != nil {
		t.Error(err)
		return
	}
	defer k.Close()
	buf := make([]byte, 2048)
	for i := range count {
		body := bytes.Repeat([]byte{byte(flow), byte(i)}, 1+(flow*31+i*67)%700)
		for attempt := 0; ; attempt++ {
			if attempt == 20 {
				t.Errorf("flow %d datagram %d: no answer", flow, i)
				return
			}
			k.Write(body)
			k.SetReadDeadline(time.Now().Add(time.Second))
			n, err := k.Read(buf)
			for err == nil && !bytes.Equal(buf[:n], body) && n > 1 && buf[0] == byte(flow) && buf[1] < byte(i) {
				n, err = k.Read(buf) // the answer to an attempt before
			}
			if err != nil {
				continue
			}
			if !bytes.Equal(buf[:n], body) {
				t.Errorf("flow %d datagram %d: %d other bytes", flow, i, n)
				return
			}
			break
		}
	}
}

// scatter gives every packet that leaves an interface a random hash, by which the kernel
// chooses the queue, when the sender has nothing on its way to the device.
func scatter(t *testing.T, ns *netlab.NS, name string) {
	t.Helper()
	t.Cleanup(runAt(t, ns, name, ebpf.AttachTCXEgress, asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.FnGetPrandomU32.Call(),
		asm.Mov.Reg(asm.R2, asm.R0),
		asm.Mov.Reg(asm.R1, asm.R6),
		asm.FnSetHash.Call(),
		asm.Mov.Imm(asm.R0, tcxNext),
		asm.Return(),
	}))
}

// TestFlowsThatChangeTheirQueue: every flow of the kernel's is on all queues in turn.
func TestFlowsThatChangeTheirQueue(t *testing.T) {
	st, peer := lab(t, 2, engine.ModeAuto)
	scatter(t, peer, "vb")
	l, err := st.Listen("tcp", engineAddr+":7")
	if err != nil {
		t.Fatal(err)
	}
	served := serveEcho(l)
	// One connection first, so that what arrives at the other core is certainly its.
	for round, flows := range []int{1, 8} {
		within(t, 2*time.Minute, "all flows", func() {
			var all sync.WaitGroup
			for i := range flows {
				all.Go(func() { converse(t, peer, uint64(round*100+i)) })
			}
			all.Wait()
		})
		if _, arrived := passives(st); round == 0 && (arrived[0] < 20 || arrived[1] < 20) {
			t.Errorf("the one flow was not on both queues: frames %v", arrived)
		}
	}
	// And connections of ours, whose answers come anywhere.
	theirs, err := peer.Listen("tcp", kernelAddr+":7")
	if err != nil {
		t.Fatal(err)
	}
	mirrored := serveEcho(theirs)
	within(t, 2*time.Minute, "our connections", func() {
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				c, err := st.Dial("tcp", kernelAddr+":7")
				if err != nil {
					t.Error(err)
					return
				}
				bulkEcho(t, c, 100_000, uint64(i))
			})
		}
		all.Wait()
	})
	l.Close()
	theirs.Close()
	within(t, longest, "servers end", func() { <-served; <-mirrored })
	emptied(t, st)
}

// converse is a kernel client that asks and waits for each answer.
func converse(t *testing.T, peer *netlab.NS, seed uint64) {
	k, err := peer.Dial("tcp", engineAddr+":7")
	if err != nil {
		t.Error(err)
		return
	}
	defer k.Close()
	k.SetDeadline(time.Now().Add(time.Minute))
	random := rand.New(rand.NewPCG(seed, 1))
	body, got := make([]byte, 8192), make([]byte, 8192)
	for i := range 100 {
		n := 1 + random.IntN(len(body))
		for j := range n {
			body[j] = byte(random.Uint32())
		}
		if _, err := k.Write(body[:n]); err != nil {
			t.Errorf("round %d: %v", i, err)
			return
		}
		if _, err := io.ReadFull(k, got[:n]); err != nil || !bytes.Equal(body[:n], got[:n]) {
			t.Errorf("round %d of %d bytes: wrong, %v", i, n, err)
			return
		}
	}
}

// TestCloseUnderFireOfAllQueues: while datagrams arrive at every core, a socket is closed and
// its port is bound again; what the closed one had not read is nobody's.
func TestCloseUnderFireOfAllQueues(t *testing.T) {
	st, peer := lab(t, 2, engine.ModeAuto)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	for i := range 4 {
		k, err := peer.Dial("udp", engineAddr+":7")
		if err != nil {
			t.Fatal(err)
		}
		senders.Go(func() {
			defer k.Close()
			body := bytes.Repeat([]byte{byte(i)}, 100)
			for {
				select {
				case <-stop:
					return
				default:
					k.Write(body) // refused while nobody has the port
					time.Sleep(50 * time.Microsecond)
				}
			}
		})
	}
	rounds := 30
	if testing.Short() {
		rounds = 8
	}
	buf := make([]byte, 2048)
	for round := range rounds {
		c, err := st.ListenUDP(netip.MustParseAddrPort(engineAddr + ":7"))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		c.SetReadDeadline(time.Now().Add(longest))
		for range 5 {
			n, _, err := c.ReadFromUDPAddrPort(buf)
			if err != nil || n != 100 || !bytes.Equal(buf[:n], bytes.Repeat(buf[:1], 100)) {
				t.Errorf("round %d: %d bytes, %v", round, n, err)
			}
		}
		blocked := make(chan error)
		go func() {
			for {
				if _, _, err := c.ReadFromUDPAddrPort(make([]byte, 2048)); err != nil {
					blocked <- err
					return
				}
			}
		}()
		if round%2 == 0 {
			time.Sleep(time.Millisecond)
		}
		within(t, longest, "close", func() { c.Close() })
		if err := <-blocked; !errors.Is(err, net.ErrClosed) {
			t.Errorf("round %d: the reader got %v", round, err)
		}
	}
	close(stop)
	senders.Wait()
	for i, c := range st.Host().Cores() {
		c.Lock()
		if n := c.Stack.UDP.Len(); n != 0 {
			t.Errorf("core %d still has %d sockets", i, n)
		}
		c.Unlock()
	}
}
