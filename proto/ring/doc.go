// Package ring is where a core and a program meet: byte and datagram queues with
// one producer and one consumer, the memory they are made of, and the [Gate] that
// a program waits at until its queue changes.
//
// Of the two sides of a queue one is the core, serialised by its lock, and the
// other is the program, serialised by a lock for each direction that belongs to
// the socket. Neither side ever takes the other's lock: what they share is atomic
// and lives in this package alone.
package ring
