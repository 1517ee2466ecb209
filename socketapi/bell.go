package socketapi

import (
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Read first: fcntl(2) on F_SETOWN_EX and F_SETSIG; send_sigio and sigio_perm in fs/fcntl.c.

// A bell is how a socket of the engine's signals its owner: a pair of the kernel's sockets, one of which has that owner and is
// O_ASYNC, and signals him when the other is written to. So it is the kernel who says whether there is such an owner, who knows
// him when another process has got his number, a thread as well as a group, and who looks whether the one who set him had the
// right to, which kill(2) would ask of the thread that happens to send.
type bell struct {
	hung atomic.Bool // there is a pair; false again once it is closed

	mu   sync.Mutex // guards what follows, and that the pair is open in a call
	gone bool       // it is closed for good
	pair [2]int     // the one with the owner, the one that is written to
}

// do makes a call with the descriptor that has the owner, and hangs the bell for the first: two descriptors of the kernel's,
// which has none for more (EMFILE, ENFILE).
func (b *bell) do(call func(fd int) error) unix.Errno {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.hung.Load() {
		if b.gone {
			return unix.EBADF
		}
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err.(unix.Errno)
		}
		if _, err := unix.FcntlInt(uintptr(pair[0]), unix.F_SETFL, unix.O_ASYNC|unix.O_NONBLOCK); err != nil {
			unix.Close(pair[0])
			unix.Close(pair[1])
			return err.(unix.Errno)
		}
		b.pair = pair
		b.hung.Store(true)
	}
	errno, _ := call(b.pair[0]).(unix.Errno)
	return errno
}

// ring signals the owner; 0 is SIGIO.
func (b *bell) ring(number unix.Signal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.hung.Load() {
		return
	}
	unix.FcntlInt(uintptr(b.pair[0]), unix.F_SETSIG, int(number))
	var stroke [1]byte
	unix.Write(b.pair[1], stroke[:])
	unix.Read(b.pair[0], stroke[:])
}

// close takes the bell down.
func (b *bell) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone = true
	if b.hung.Swap(false) {
		unix.Close(b.pair[0])
		unix.Close(b.pair[1])
	}
}
