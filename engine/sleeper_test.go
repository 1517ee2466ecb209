package engine

import (
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

func openSleeper(t *testing.T) (s *sleeper, write int) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	s = &sleeper{}
	if err := s.open(p[0]); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if err := s.close(); err != nil {
			t.Errorf("closed twice: %v", err)
		}
		unix.Close(p[0])
		unix.Close(p[1])
	})
	return s, p[1]
}

func TestSleeperWakeBeforeWait(t *testing.T) {
	s, _ := openSleeper(t)
	s.wake()
	s.wake()
	s.wait(mono.Never, SystemClock, nil) // or it hangs
	if s.slept.Load() != 0 {
		t.Error("it slept though it had been woken")
	}
	start := SystemClock.Now()
	s.wait(start.Add(20*time.Millisecond), SystemClock, nil)
	if took := SystemClock.Now().Sub(start); took < 20*time.Millisecond || s.slept.Load() != 1 {
		t.Errorf("slept %v: one wake ended two waits", took)
	}
}

func TestSleeperReasons(t *testing.T) {
	s, write := openSleeper(t)
	if got := s.wait(SystemClock.Now(), SystemClock, nil); got != 0 || s.slept.Load() != 0 {
		t.Errorf("a time that has come: %x", got)
	}
	if s.wait(mono.Never, SystemClock, func() bool { return true }); s.slept.Load() != 0 {
		t.Error("it slept though it was ready")
	}
	unix.Write(write, []byte{1})
	if got := s.wait(mono.Never, SystemClock, nil); got&unix.POLLIN == 0 {
		t.Errorf("readable: %x", got)
	}
}

// TestSleeperLosesNoWake has one goroutine wait for each wake of another, both as
// fast as they can: a single wake lost is a test that does not end.
func TestSleeperLosesNoWake(t *testing.T) {
	const rounds = 20_000
	a, _ := openSleeper(t)
	b, _ := openSleeper(t)
	var wg sync.WaitGroup
	var balls [2]struct {
		sync.Mutex
		n int
	}
	take := func(i, want int) bool {
		balls[i].Lock()
		defer balls[i].Unlock()
		return balls[i].n >= want
	}
	give := func(i int) {
		balls[i].Lock()
		balls[i].n++
		balls[i].Unlock()
	}
	wg.Add(2)
	go func() {
		defer wg.Done()
		for i := range rounds {
			give(1)
			b.wake()
			for !take(0, i+1) {
				a.wait(mono.Never, SystemClock, nil)
			}
		}
	}()
	go func() {
		defer wg.Done()
		for i := range rounds {
			for !take(1, i+1) {
				b.wait(mono.Never, SystemClock, nil)
			}
			give(0)
			a.wake()
		}
	}()
	wg.Wait()
}

func TestSleeperAllocatesNothing(t *testing.T) {
	s, _ := openSleeper(t)
	if n := testing.AllocsPerRun(100, func() {
		s.wait(SystemClock.Now().Add(time.Microsecond), SystemClock, nil)
		s.wake()
		s.wait(mono.Never, SystemClock, nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
