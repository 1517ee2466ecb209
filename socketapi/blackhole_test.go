package socketapi

import (
	"context"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// narrowWay is the longest packet that the way of TestBlackHoleAsLinux lets pass, in bytes. Nobody is told.
const narrowWay = 1300

// swallow carries frames between two TAPs until ctx ends, but for those that are too long.
func swallow(ctx context.Context, a, b *netlab.Tap) {
	frame := make([]byte, 2048)
	polled := []unix.PollFd{{Fd: int32(a.FDs[0]), Events: unix.POLLIN}, {Fd: int32(b.FDs[0]), Events: unix.POLLIN}}
	for ctx.Err() == nil {
		unix.Poll(polled, 100)
		for i, p := range polled {
			for {
				n, err := unix.Read(int(p.Fd), frame)
				if err != nil {
					break
				}
				if n <= narrowWay+14 {
					unix.Write(int(polled[1-i].Fd), frame[:n])
				}
			}
		}
	}
}

// searchOver is after how many writes that moved something, 10 ms or more apart, a size that stayed is the last: a
// probe that is lost is found lost in a few of them.
const searchOver = 60

// searched is what a sender made of such a way: the payload of its segments in the end, and when the first data arrived.
type searched struct {
	mss   int
	after time.Duration
}

// search sends by a socket of me to l until the size of its segments stays.
func search(t *testing.T, me berkeley, l net.Listener) (s searched) {
	t.Helper()
	fd, err := me.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	defer me.Close(fd)
	fatal(t, me.Connect(fd, at(l.Addr().String())))
	fatal(t, me.SetNonblock(fd, true))
	begin := time.Now()
	arrived := make(chan time.Duration, 1)
	go func() {
		r, err := l.Accept()
		if err != nil {
			return
		}
		defer r.Close()
		if _, err := r.Read(make([]byte, 1)); err == nil {
			arrived <- time.Since(begin)
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
		case s.after = <-arrived:
			stays = 0
		default:
		}
		switch {
		case n != s.mss || s.after == 0:
			s.mss, stays = n, 0
		case sent > 0:
			stays++
		}
	}
	return s
}

// TestBlackHoleAsLinux has both senders find out by tcp_mtu_probing what a way lets pass that swallows what is longer: both end
// at the same size, and need as long until the first data arrives.
func TestBlackHoleAsLinux(t *testing.T) {
	t.Parallel()
	netlab.RequireRoot(t)
	way := func(t *testing.T, addrs []netip.Prefix) (sender *netlab.NS, l net.Listener) {
		sender = netlab.TestNS(t)
		receiver := netlab.TestNS(t)
		a, err := netlab.NewTap(netlab.End{NS: sender, Name: "va", Addrs: addrs})
		fatal(t, err)
		b, err := netlab.NewTap(netlab.End{NS: receiver, Name: "vb", Addrs: kernelPrefixes})
		fatal(t, err)
		ctx, stop := context.WithCancel(context.Background())
		over := make(chan struct{})
		go func() { swallow(ctx, a, b); close(over) }()
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
		return sender, l
	}
	set := map[string]string{"tcp_mtu_probing": "1", "tcp_retries1": "1"} // after 600 ms
	var kernel, ours searched
	t.Run("senders", func(t *testing.T) {
		t.Run("linux", func(t *testing.T) {
			t.Parallel()
			ns, l := way(t, enginePrefixes)
			fatal(t, ns.Do(func() error {
				for name, value := range set {
					if err := os.WriteFile("/proc/sys/net/ipv4/"+name, []byte(value), 0); err != nil {
						return err
					}
				}
				return nil
			}))
			kernel = search(t, linux{ns}, l)
		})
		t.Run("engine", func(t *testing.T) {
			t.Parallel()
			ns, l := way(t, nil)
			var st *Stack
			fatal(t, ns.Do(func() (err error) {
				st, err = Open(host.Config{Sysctls: set, Interfaces: []host.Interface{{Name: "va", Addrs: enginePrefixes, Detect: host.DetectNone}}})
				return err
			}))
			t.Cleanup(func() { st.Close() })
			ours = search(t, st.Table(), l)
		})
	})
	t.Logf("linux %+v, engine %+v", kernel, ours)
	const threshold = 8 // tcp_probe_threshold: where a search ends
	if d := ours.mss - kernel.mss; d < -threshold || d > threshold {
		t.Errorf("segments of %d in the end, Linux's have %d", ours.mss, kernel.mss)
	}
	if ours.after > 4*kernel.after || kernel.after > 4*ours.after { // one timeout more, on a busy machine, is twice as long
		t.Errorf("data arrived after %v, Linux's after %v", ours.after, kernel.after)
	}
}
