// Package engine is when and where: it turns cores. A [Core] takes batches of
// frames from its ports, hands them to a [Handler] and sends what the handler
// writes, on a goroutine that the program lends or on one of its own. It knows
// batches, clocks, locks, queues and links.
//
// In come devices ([Device]: one queue of an AF_XDP, AF_PACKET, TAP, TUN or
// simulated link) and a handler; out go frames. It never looks into a packet and
// never imports the protocols.
package engine
