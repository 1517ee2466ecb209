// Package proto is what happens: the protocol stack of one core. In come frames and
// the time; out go frames, pulled one at a time into memory that the caller lends,
// and news at the gates of sockets. It is single-threaded code that whoever holds the
// core's lock runs: no goroutine, no lock, no clock, no system call.
//
// It is the one place that knows all protocols. udp and tcp do not know what
// carries them, neigh and route do not know what they are for:
//
//	data up    Input → input4, input6 → inputUDP, tcp.Input → queue of the socket → gate
//	data down  Offer, Kick → ready lists → Output ← outbox, parked datagrams
//
// The files follow a packet: input.go, arp.go, ip4.go, icmp4.go, ip6.go, icmp6.go, ndp.go, fragment.go,
// udp.go, tcp.go, and error4.go, error6.go, quote.go for what routers report, on the way up; path.go,
// mtu.go, header.go, send.go, output.go on the way down.
package proto
