// Package netlab makes small networks for tests and demonstrations: network
// namespaces, veth pairs and TAP devices, over netlink and ioctl alone, with no
// ip(8), ethtool(8) or file left behind.
//
// In go addresses, queue counts and names; out come namespaces, links, and
// kernel sockets and processes that live inside them. A namespace is held by a
// descriptor of this process, so whatever ends the process, SIGKILL included,
// ends the network with it. Only a namespace that was given a name ([Named])
// outlives a kill, as its name is a mount.
//
// It needs CAP_NET_ADMIN and CAP_SYS_ADMIN; [RequireRoot] skips a test that has
// not got them. It must never touch a link that it did not make, and never
// leaves a goroutine's thread in another namespace than it came from.
package netlab
