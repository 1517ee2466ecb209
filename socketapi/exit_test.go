package socketapi

import (
	"bytes"
	"io"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// TestSendCloseExit is the program that sends one thing and ends: it arrives, though the first
// packet had to wait for ARP.
func TestSendCloseExit(t *testing.T) {
	for name, send := range map[string]func(s *Table) error{
		"datagram": func(s *Table) error {
			fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
			if err != nil {
				return err
			}
			if err := s.Sendto(fd, []byte("Hello World!"), 0, at(addrB+":7")); err != nil {
				return err
			}
			return s.Close(fd)
		},
		"stream": func(s *Table) error {
			fd, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			if err := s.Connect(fd, at(addrB+":7")); err != nil {
				return err
			}
			if _, err := s.Write(fd, bytes.Repeat([]byte("Hello World!"), 20000)); err != nil {
				return err
			}
			return s.Close(fd)
		},
	} {
		t.Run(name, func(t *testing.T) {
			pa, pb := newPipe()
			a, b := openOver(t, pa, addrA), openOver(t, pb, addrB)
			var got chan int
			if name == "datagram" {
				got = receiveOne(t, b)
			} else {
				got = receiveAll(t, b)
			}
			fatal(t, send(a.Table()))
			sent := pa.tx.Load() // all of it is on the wire when the last socket's Close has returned
			select {
			case n := <-got:
				if n%12 != 0 || n == 0 || name == "stream" && n != 240000 {
					t.Errorf("%d bytes arrived", n)
				}
			case <-time.After(longest):
				t.Error("nothing arrived")
			}
			fatal(t, b.Close()) // first: a acknowledges its FIN
			fatal(t, a.Close())
			if name == "datagram" && pa.tx.Load() != sent {
				t.Errorf("%d packets had been sent when Close returned, %d in the end", sent, pa.tx.Load())
			}
		})
	}
}

func receiveOne(t *testing.T, st *Stack) chan int {
	c, err := st.ListenUDP(netip.MustParseAddrPort(addrB + ":7"))
	fatal(t, err)
	got := make(chan int, 1)
	go func() {
		n, _, _ := c.ReadFromUDPAddrPort(make([]byte, 99))
		got <- n
		c.Close()
	}()
	return got
}

func receiveAll(t *testing.T, st *Stack) chan int {
	l, err := st.Listen("tcp", addrB+":7")
	fatal(t, err)
	t.Cleanup(func() { l.Close() })
	got := make(chan int, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		n, err := io.Copy(io.Discard, c)
		if err != nil {
			n = -1
		}
		c.Close()
		got <- int(n)
	}()
	return got
}

// TestLingerWaitsNoLongerThanItSays closes a stream whose peer does not read.
func TestLingerWaitsNoLongerThanItSays(t *testing.T) {
	t.Parallel()
	st, _, sink := silentStack(t, 1)
	s := st.Table()
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	fatal(t, err)
	fatal(t, s.Connect(fd, at(sink)))
	fatal(t, s.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 1}))
	fatal(t, s.SetNonblock(fd, true))
	eventually(t, "what the peer has no room for", func() bool {
		if _, err := s.Write(fd, make([]byte, 1<<20)); err != nil && err != unix.EAGAIN {
			t.Fatal(err)
		}
		i, err := s.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
		fatal(t, err)
		return i.Snd_wnd == 0 && i.Notsent_bytes > 0
	})
	start := time.Now()
	fatal(t, s.Close(fd))
	if took := time.Since(start); took < 900*time.Millisecond {
		t.Errorf("close took %v, not a second", took)
	}
}

func TestLingerIsOverWhenTheConnectionIsGone(t *testing.T) {
	l := &lingering{s: &stream{gone: true}, until: mono.Never}
	if !l.Done(0) {
		t.Error("a close waits for a connection that is not its own any more")
	}
}
