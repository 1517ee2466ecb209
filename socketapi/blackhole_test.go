package socketapi

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// narrowWay is the longest packet that the way of TestBlackHoleAsLinux lets pass, in bytes. Nobody is told.
const narrowWay = 1300

// A swallower carries frames between two TAPs, but for those that are too long, and counts how often it swallowed what the first
// of them began with: each time but the first was a timeout of its sender's.
type swallower struct {
	a, b  *netlab.Tap
	first wire.Seq
	count atomic.Uint32
}

// run carries until ctx ends.
func (s *swallower) run(ctx context.Context) {
	frame := make([]byte, 2048)
	polled := []unix.PollFd{{Fd: int32(s.a.FDs[0]), Events: unix.POLLIN}, {Fd: int32(s.b.FDs[0]), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		unix.Poll(polled, 100)
		for i, p := range polled {
			for {
				n, err := unix.Read(int(p.Fd), frame)
				if err != nil {
					break
				}
				if n <= narrowWay+wire.EthernetLen {
					unix.Write(int(polled[1-i].Fd), frame[:n])
					continue
				}
				s.swallow(frame[wire.EthernetLen:n])
			}
		}
	}
}

func (s *swallower) swallow(packet []byte) {
	ip, ok := wire.ParseIPv4(packet)
	if !ok {
		return
	}
	t, ok := wire.ParseTCP(ip.Payload())
	if !ok {
		return
	}
	if s.count.Load() == 0 {
		s.first = t.Seq()
	}
	if t.Seq() == s.first {
		s.count.Add(1)
	}
}

// searchOver is after how many writes that moved something, 10 ms or more apart, a size that stayed is the last: a
// probe that is lost is found lost in a few of them.
const searchOver = 60

// searched is what a sender made of such a way: the payload of its segments in the end, and how often its first one was lost
// before it arrived.
type searched struct {
	mss  int
	lost uint32
}

// search sends by a socket of me over a way to l until the size of its segments stays.
func search(t *testing.T, me berkeley, way *swallower, l net.Listener) (s searched) {
	t.Helper()
	fd, err := me.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	defer me.Close(fd)
	fatal(t, me.Connect(fd, at(l.Addr().String())))
	fatal(t, me.SetNonblock(fd, true))
	begin := time.Now()
	arrived := make(chan uint32, 1)
	go func() {
		r, err := l.Accept()
		if err != nil {
			return
		}
		defer r.Close()
		if _, err := r.Read(make([]byte, 1)); err == nil {
			arrived <- way.count.Load()
		}
		io.Copy(io.Discard, r)
	}()
	stays := 0 // writes that moved something since the size last changed, or data arrived first
	for p := make([]byte, 64<<10); stays < searchOver; time.Sleep(10 * time.Millisecond) {
		sent, err := me.SendmsgN(fd, p, nil, nil, 0)
		if err != nil && err != unix.EAGAIN || time.Since(begin) > longest {
			t.Errorf("segments of %d after %v: %v", s.mss, time.Since(begin), err)
			return s
		}
		n, err := me.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG)
		fatal(t, err)
		select {
		case s.lost = <-arrived:
			stays = 0
		default:
		}
		switch {
		case n != s.mss || s.lost == 0:
			s.mss, stays = n, 0
		case sent > 0:
			stays++
		}
	}
	return s
}

// TestBlackHoleAsLinux has both senders find out by tcp_mtu_probing what a way lets pass that swallows what is longer: both end
// at the same size, and after as many timeouts the first data arrives.
func TestBlackHoleAsLinux(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	way := func(t *testing.T, addrs []netip.Prefix) (sender *netlab.NS, w *swallower, l net.Listener) {
		sender = netlab.TestNS(t)
		receiver := netlab.TestNS(t)
		a, err := netlab.NewTap(netlab.End{NS: sender, Name: "va", Addrs: addrs})
		fatal(t, err)
		b, err := netlab.NewTap(netlab.End{NS: receiver, Name: "vb", Addrs: kernelPrefixes})
		fatal(t, err)
		ctx, stop := context.WithCancel(context.Background())
		over := make(chan struct{})
		w = &swallower{a: a, b: b}
		go func() { w.run(ctx); close(over) }()
		t.Cleanup(func() {
			stop()
			<-over
			a.Close()
			b.Close()
		})
		fatal(t, receiver.Do(func() (err error) {
			l, err = net.Listen("tcp4", kernelAddr+":7")
			return err
		}))
		t.Cleanup(func() { l.Close() })
		return sender, w, l
	}
	set := map[string]string{"tcp_mtu_probing": "1", "tcp_retries1": "1"} // after 600 ms
	var kernel, ours searched
	t.Run("senders", func(t *testing.T) {
		t.Run("linux", func(t *testing.T) {
			t.Parallel()
			ns, w, l := way(t, enginePrefixes)
			fatal(t, ns.Do(func() error {
				for name, value := range set {
					if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
						return err
					}
				}
				return nil
			}))
			kernel = search(t, linux{ns}, w, l)
		})
		t.Run("engine", func(t *testing.T) {
			t.Parallel()
			ns, w, l := way(t, nil)
			var st *Stack
			fatal(t, ns.Do(func() (err error) {
				st, err = Open(host.Config{Sysctls: set, Interfaces: []host.Interface{{Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone}}})
				return err
			}))
			t.Cleanup(func() { st.Close() })
			ours = search(t, st.Table(), w, l)
		})
	})
	t.Logf("linux %+v, engine %+v", kernel, ours)
	const threshold = 8 // tcp_probe_threshold: where a search ends; Linux, which looks again now and then, ends at 1236 or at 1248 of the 1248 that pass
	if d := ours.mss - kernel.mss; d < -2*threshold || d > 2*threshold {
		t.Errorf("segments of %d in the end, Linux's have %d", ours.mss, kernel.mss)
	}
	if d := int(ours.lost) - int(kernel.lost); d < -1 || d > 1 {
		t.Errorf("data arrived after it was lost %d times, Linux's after %d", ours.lost, kernel.lost)
	}
}
