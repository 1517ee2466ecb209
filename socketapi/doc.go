// Package socketapi is how a program asks for it: Berkeley sockets over a [host.Host],
// and the types of package net on top of them.
//
// In come the calls of a program, from any goroutine; out come bytes, addresses and
// unix.Errno values. It has no protocol logic: it moves data between the program
// and the queues of a core, waits at gates, and touches a stack under its core's lock.
//
// A [Stack] is a table of descriptors over one host. Its methods have the names,
// arguments and results of golang.org/x/sys/unix ([Stack.Socket], [Stack.Bind],
// [Stack.Recvfrom], ...); Dial, Listen and ListenPacket have those of package net.
package socketapi
