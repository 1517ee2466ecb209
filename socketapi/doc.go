// Package socketapi is how a program asks for it: Berkeley sockets over a [host.Host],
// and the types of package net on top of them.
//
// In come the calls of a program, from any goroutine; out come bytes, addresses and
// unix.Errno values. It has no protocol logic: it moves data between the program
// and the queues of a core, waits at gates, and touches a stack under its core's lock.
//
// A [Table] has the calls of golang.org/x/sys/unix ([Table.Socket], [Table.Bind],
// [Table.Recvfrom], ...) with their names, arguments and results, and the package's functions
// of these names act on the stack that [Use] names. Package socketapi/unix has these with all the rest of that package, for a program
// to change one import. The methods of a [Stack] are those of
// package net ([Stack.Dial], [Stack.Listen], [Stack.ListenPacket], ...), and [Dialer] and [ListenConfig] have
// the fields of its own. What they say, errors included, is what package net says.
package socketapi
