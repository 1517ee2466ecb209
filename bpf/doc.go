// Package bpf steers frames: an XDP program on an interface decides, frame by
// frame, what goes to the AF_XDP socket of the queue it came by and what goes on
// into the kernel.
//
// What comes in is rules (addresses, ports, flows), socket descriptors and an
// interface index; what goes out is the attached program and counts of its
// verdicts. The package opens no sockets, knows no packets beyond their headers'
// place in the C program, and must never drop a frame, replace another's
// program, or leave its own behind: the program is attached by a bpf_link, which
// ends with the process, however it ends.
//
// A [Program] is one interface's: it has maps of its own. Its rules come in two
// ways to live on a NIC. An own address (AddAddr) belongs to the program with
// every unicast frame, ARP and neighbour discovery for it included. A shared
// address (ShareAddr) stays with the kernel, and only ports, port blocks and
// flows of it are taken, with the ICMP errors that quote them. Other broadcast
// and multicast frames always pass to the kernel, since XDP cannot give a frame
// to two. Rules hold on every VLAN of the interface, up to two tags deep; a NIC
// that strips tags would hide them from the program anyway.
//
// Rules are counted: the second Add of a rule changes nothing in the kernel, nor
// does the first Remove of it.
package bpf
