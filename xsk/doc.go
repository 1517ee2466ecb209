// Package xsk speaks to the kernel's AF_XDP sockets: the memory both sides share
// (a [UMEM], cut into frames), the four rings through which frames change hands,
// and the system calls that wake the other side.
//
// In come an interface index, a queue and sizes; out go descriptors: a frame's
// address, a length. A frame is at every moment in exactly one place, and the
// UMEM keeps book of it: free, in the kernel's hands for receiving (fill ring,
// driver, rx ring), in its hands for sending (tx ring, driver, completion ring),
// or lent to the caller.
//
//	Alloc ──► lent ──Submit──► tx ring ──► kernel ──► completion ring ──Complete──► free
//	                ──Fill───► fill ring ─► kernel ──► rx ring ──Peek, Release──► lent ──Free──► free
//
// A UMEM and the sockets on it belong to one goroutine at a time; nothing here
// takes a lock. Only [Socket.Ready], [Socket.Unsent], [Socket.Stats] and
// [Socket.FD] may be called by others while it works.
//
// The package never looks into a packet, never attaches a program (put
// [Socket.FD] into an XSKMAP for that), never starts a goroutine, never
// allocates after Open, and never panics on anything the kernel answers.
//
// Linux 5.10 or later.
//
// Read first: Documentation/networking/af_xdp.rst, include/uapi/linux/if_xdp.h.
package xsk
