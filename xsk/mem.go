package xsk

import (
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// This is the package's only file that imports unsafe: views over memory that the
// kernel shares with us, and socket options whose values are structs.

// ringOver makes a ring of size entries out of mem, which the kernel laid out as off says.
func ringOver[T any](mem []byte, off unix.XDPRingOffset, size int) (ring[T], error) {
	var entry T
	end := off.Desc + uint64(size)*uint64(unsafe.Sizeof(entry))
	if end > uint64(len(mem)) || max(off.Producer, off.Consumer, off.Flags)+4 > uint64(len(mem)) {
		return ring[T]{}, fmt.Errorf("ring of %d entries does not fit into %d bytes", size, len(mem))
	}
	word := func(at uint64) *atomic.Uint32 { return (*atomic.Uint32)(unsafe.Pointer(&mem[at])) }
	return ring[T]{
		producer: word(off.Producer),
		consumer: word(off.Consumer),
		flags:    word(off.Flags),
		entries:  unsafe.Slice((*T)(unsafe.Pointer(&mem[off.Desc])), size),
		mask:     uint32(size - 1),
		mem:      mem,
	}, nil
}

// ringBytes is how much to map for a ring.
func ringBytes[T any](off unix.XDPRingOffset, size int) int {
	var entry T
	return int(off.Desc) + size*int(unsafe.Sizeof(entry))
}

// offsetIn returns where in mem the first byte of data lies.
func offsetIn(mem, data []byte) (off uint64, ok bool) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(data))) - uintptr(unsafe.Pointer(unsafe.SliceData(mem)))
	return uint64(at), at < uintptr(len(mem)) && cap(data) > 0
}

// getsockopt reads an option of any type and says how many bytes the kernel wrote: older
// kernels know shorter structs.
func getsockopt[T any](fd, level, option int) (value T, n int, err error) {
	size := uint32(unsafe.Sizeof(value))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(&value)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return value, 0, errno
	}
	return value, int(size), nil
}

// setsockopt writes a struct-valued option of level SOL_XDP.
func setsockopt[T any](fd, option int, value *T) error {
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_XDP, uintptr(option),
		uintptr(unsafe.Pointer(value)), unsafe.Sizeof(*value), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// umemAddr is the address under which the kernel is told of mem.
func umemAddr(mem []byte) uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) }
