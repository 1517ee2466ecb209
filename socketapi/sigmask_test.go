package socketapi

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The calls with a signal mask wait on a thread that has it, as that of package unix does: a signal that it blocks and that is
// sent to the thread is heard of when the call is over, and the thread has its own mask again.
func TestSignalMask(t *testing.T) {
	a, _ := twoHosts(t)
	s := a.Table()
	fd, err := s.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	fatal(t, err)
	defer s.Close(fd)
	fatal(t, s.Bind(fd, at("127.0.0.1:7")))
	ep, err := s.EpollCreate1(0)
	fatal(t, err)
	defer s.Close(ep)
	fatal(t, s.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN}))
	var pipe [2]int
	fatal(t, unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	defer unix.Close(pipe[0])
	defer unix.Close(pipe[1])
	heard := make(chan os.Signal, 1)
	signal.Notify(heard, unix.SIGUSR2)
	defer signal.Stop(heard)

	forever := &unix.Timespec{Sec: 600}
	poll := func(fd int) []unix.PollFd { return []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} }
	for name, wait := range map[string]func(mask *unix.Sigset_t) (int, error){
		"pselect of package unix": func(m *unix.Sigset_t) (int, error) { // whose Ppoll says no size of the mask, which is EINVAL
			var r unix.FdSet
			r.Set(pipe[0])
			return unix.Pselect(pipe[0]+1, &r, nil, nil, forever, m)
		},
		"ppoll": func(m *unix.Sigset_t) (int, error) { return s.Ppoll(poll(fd), forever, m) },
		"pselect": func(m *unix.Sigset_t) (int, error) {
			var r unix.FdSet
			r.Set(fd)
			return s.Pselect(fd+1, &r, nil, nil, forever, m)
		},
		"epoll_pwait":  func(m *unix.Sigset_t) (int, error) { return s.EpollPwait(ep, make([]unix.EpollEvent, 1), 600000, m) },
		"epoll_pwait2": func(m *unix.Sigset_t) (int, error) { return s.EpollPwait2(ep, make([]unix.EpollEvent, 1), forever, m) },
	} {
		t.Run(name, func(t *testing.T) {
			thread := make(chan int)
			over := make(chan string)
			go func() {
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
				thread <- unix.Gettid()
				var mask unix.Sigset_t
				mask.Val[0] = 1 << (unix.SIGUSR2 - 1)
				n, err := wait(&mask)
				over <- fmt.Sprint(n, " ", err)
				<-thread // it has been looked at
			}()
			tid := <-thread
			blocks := func() bool { return blockedSignals(t, tid)&(1<<(unix.SIGUSR2-1)) != 0 }
			for start := time.Now(); !blocks(); time.Sleep(time.Millisecond) {
				if time.Since(start) > longest {
					t.Fatal("the thread has never had the mask")
				}
			}
			fatal(t, unix.Tgkill(os.Getpid(), tid, unix.SIGUSR2))
			select {
			case <-heard:
				t.Error("a blocked signal was heard of")
			case <-time.After(20 * time.Millisecond):
			}
			unix.Write(pipe[1], []byte("x"))
			fatal(t, s.Sendto(fd, []byte("x"), 0, at("127.0.0.1:7")))
			if got := <-over; got != "1 <nil>" {
				t.Error(got)
			}
			select {
			case <-heard:
			case <-time.After(longest):
				t.Error("the signal was lost")
			}
			if blocks() {
				t.Error("the thread still has the mask")
			}
			thread <- 0
			unix.Read(pipe[0], make([]byte, 1))
			s.Read(fd, make([]byte, 1))
		})
	}
}

// blockedSignals is a thread's mask.
func blockedSignals(t *testing.T, tid int) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", tid))
	fatal(t, err)
	_, rest, _ := strings.Cut(string(status), "SigBlk:")
	mask, err := strconv.ParseUint(strings.Fields(rest)[0], 16, 64)
	fatal(t, err)
	return mask
}
