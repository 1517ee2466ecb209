// Package host is what is one for all cores of a program: the cores themselves, the
// interfaces they share, ports, addresses, routes, secrets, and with more than one core
// the directory that says which of them a connection lives on. It is the only place
// that sees both the engine and the protocols.
//
// In come interfaces, or devices of whoever wants to simulate them; out come cores
// whose stacks the sockets of package socketapi are made of. It never touches a
// stack without its core's lock, and never holds the locks of two cores.
package host
