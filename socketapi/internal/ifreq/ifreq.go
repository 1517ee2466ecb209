// Package ifreq shows the bytes of a unix.Ifreq, which package unix keeps to itself but for a few of its forms. In comes what a program
// asks an ioctl(2) about an interface with, out go its bytes to be read and written. It must never keep them.
package ifreq

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Bytes is the structure as the kernel is given it: struct ifreq of netdevice(7).
func Bytes(r *unix.Ifreq) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(r)), unsafe.Sizeof(*r))
}
