// Package tcp is the TCP of one core.
//
// In come segments whose checksum is good ([TCP.Input]), requests of programs and
// expired timers; out go segments, one at a time, when whoever has room for one asks
// ([TCP.Front], [TCP.Output], [TCP.Reply]). The bytes between stand in two
// [ring.Bytes] of each [Conn], and a program is woken through its [ring.Gate].
//
// The package knows no IP header, no neighbour, no device and no clock: addresses
// are arguments, and so is now. It starts no goroutine and takes no lock; all of a TCP but the few
// methods of a Conn that say otherwise belongs to whoever holds the core's lock.
// Nothing that a remote sends may make it panic, allocate without bound or answer without
// bound. The same calls with the same Config give the same segments.
//
// The way of a segment through the files, which is that of RFC 9293 §3.10.7:
//
//	input.go           finding the connection; the fast path
//	input_closed.go    §3.10.7.1 no connection, §3.10.7.2 LISTEN → listen.go, cookie.go
//	input_synsent.go   §3.10.7.3
//	input_check.go     §3.10.7.4 first (sequence, PAWS), second (RST), fourth (SYN)
//	input_ack.go       fifth (ACK) → scoreboard.go, recovery.go, undo.go, probe.go, rtt.go, cong*.go
//	input_text.go      seventh (text) → holes.go, eighth (FIN)
//	timewait.go        TIME-WAIT
//	window.go          what is offered to the peer
//	output.go          what to say next, pace.go when, train.go how much at once → segment.go
//	timers.go          what happens when nothing happens
//
// Read first: RFC 9293, RFC 7323, RFC 5681, RFC 6298, RFC 2018, RFC 2883,
// RFC 8985, RFC 9937, RFC 5682, RFC 9438, RFC 5961.
package tcp
