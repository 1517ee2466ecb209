// Package unix is golang.org/x/sys/unix over the engine: a program that is written for that package imports this one instead, and
// nothing else in it changes.
//
// All types are those of that package, all constants and errors too. In come its calls: those for sockets, and all that is read,
// written or waited for like one, go to package socketapi; those that have nothing to do with descriptors go through. A descriptor is a
// number of the stack's table, from 512 on, whatever it is of: files, pipes, timers and eventfds that a call here opens live in it beside
// the sockets, for one poll or epoll to wait for both; numbers below are the kernel's, as os.File.Fd returns them. What cannot be done so is left out, so that the compiler says it:
// docs/unix.md lists it, and which errno a call for files has of a socket.
//
// Where the stack is from: the command that starts the program says it ('xdpsock run -i eth1 -a 192.0.2.7/24 PROGRAM'), by the environment
// variable XDPSOCK_HOST (see package socketapi), or the program does, by socketapi.Use before its first call.
//
// The package must never pass a number of the table to the kernel, nor one of the kernel's to the program. It is generated, but for what
// stands in descriptor.go: 'go generate' after an upgrade of golang.org/x/sys.
package unix

//go:generate go test -run ^TestTheWholePackage$ ./internal/generate -write
