// Package ip is what IPv4 and IPv6 have in common between the link and the transport: it puts
// fragments together and cuts datagrams up, remembers the MTUs of paths, chooses identifications
// and limits the rate of ICMP errors. In come fragments and facts that have been judged, with the
// time; out go whole packets, numbers and permission. It holds no sockets, reads no routes and
// sends nothing, and all that a remote can make it hold is bounded.
package ip
