// Package simnet is a network without a network: wires that delay, lose, repeat,
// reorder, damage and queue frames, on a clock that only they and their owner
// move.
//
// In go frames at one [End] of a [Wire]; at the other come out those that the
// wire's [Impairment] let through, when they are due. A [Net] joins [Node]s by
// wires and runs them, from event to event, until they are idle, a time has come
// or a condition holds.
//
// A run is a function of its seeds and of what the nodes do: the same run twice
// is the same bit for bit. So there is no goroutine here, no lock, no real clock
// and no map to range over, and all of it belongs to one goroutine.
package simnet
