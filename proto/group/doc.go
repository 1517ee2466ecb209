// Package group is which multicast groups a host listens to: the host's side of
// IGMP and MLD, one state machine for both. In come what sockets have joined, as a
// filter of senders for each group, and the queries of routers; out go reports, whole
// but for their IP header, and the answer whether a datagram to a group is wanted, by
// the interface and by one socket. It never sees a datagram and never sends by itself.
//
//	sockets   Set.Join, Set.Block … → Table.Change → report of the change
//	routers   InputIGMP, InputMLD → random delay → report of the state
//
// Read first: RFC 3376 §3 (how filters merge), §5 (what a host says), §7.2 (older
// queriers); RFC 3810 for MLD; RFC 2236 §3 and RFC 2710 §4 for the older versions.
package group
