//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// What the program is told and what it tells: its maps, and the words in them. The
// Go side has the same in rules.go and verdict.go.

// Sizes of the rule maps, of which each element is memory only while it is used,
// but for the fragments, which take about 0.5 MB. FLOWS_MAX is what a program may
// have of connections that neither a port rule nor a block carries; FRAGMENTS_MAX
// what a fragmenting peer can send of us within FRAGMENT_TTL_NS before the oldest
// are forgotten.
#define ADDRS_MAX 1024
#define PORTS_MAX 65536
#define FLOWS_MAX 65536
#define FRAGMENTS_MAX 4096

// What became of a frame: why it was redirected, or why it passed. The order is
// part of the interface with verdict.go, which has the meaning of each.
enum verdict {
	V_EVERYTHING,
	V_ADDRESS,
	V_ARP,
	V_SOLICIT,
	V_BLOCK,
	V_PORT,
	V_FLOW,
	V_ICMP,
	V_FRAGMENT,
	V_PASS_EMPTY, // the first that passes
	V_PASS_GROUP,
	V_PASS_FOREIGN,
	V_PASS_UNRULED,
	V_PASS_PROTOCOL,
	V_PASS_FRAGMENT,
	V_PASS_SHORT,
	V_PASS_MALFORMED,
	V_PASS_DEPTH,
	VERDICTS,
};

// Bits of the one word in rules_in_force: which kinds of rule that are not
// bound to an address exist.
enum rule {
	RULE_EVERYTHING = 1, // redirect every frame
	RULE_WILD = 2,       // some port rule holds at all shared addresses
	RULE_ANY = 4,        // some port rule holds at any unicast address
};

// Bits of an address: what may be found for it.
enum address {
	ADDRESS_OWN = 1,    // every unicast frame, ARP and NDP included
	ADDRESS_SHARED = 2, // the port blocks and the RULE_WILD port rules hold
	ADDRESS_PORTS = 4,  // some port rule names this address
	ADDRESS_FLOWS = 8,  // some flow rule names this local address
};

// Keys have no padding but what is named, and are in network order, so that Go
// writes them without knowing the byte order of the machine.
struct port_key {
	struct addr local;
	__be16 port;
	__u8 proto;
	__u8 zero;
};

struct flow_key {
	struct addr local;
	struct addr remote;
	__be16 local_port;
	__be16 remote_port;
	__u8 proto;
	__u8 zero[3];
};

// RFC 791 §3.2 names a datagram by source, destination, protocol and
// identification, RFC 8200 §4.5 without the protocol (which is 0 here).
struct fragment_key {
	struct addr src;
	struct addr dst;
	__u32 id;
	__u32 proto;
};

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 64); // the loader sets it to the number of queues
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} rules_in_force SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ADDRS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, __u32);
} addrs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PORTS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct port_key);
	__type(value, __u32);
} ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct flow_key);
	__type(value, __u32);
} flows SEC(".maps");

// The port blocks: one bit a port, 64 ports a word; TCP has the first 1024
// words and UDP the rest.
#define BLOCK_WORDS 1024

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * BLOCK_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} blocks SEC(".maps");

// Datagrams whose first fragment was redirected, and when.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, FRAGMENTS_MAX);
	__type(key, struct fragment_key);
	__type(value, __u64);
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} verdicts SEC(".maps");
