//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The headers that the program reads, and the numbers in them.

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88a8
#define ETH_P_IPV6 0x86dd

#define PROTO_HOPOPTS 0
#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ROUTING 43
#define PROTO_FRAGMENT 44
#define PROTO_AH 51
#define PROTO_ICMP6 58
#define PROTO_DSTOPTS 60

// An IPv6 address, or an IPv4 one mapped into it (RFC 4291 §2.5.5.2).
struct addr {
	__be32 w[4];
};

struct eth_hdr {
	__u8 dst[6];
	__u8 src[6];
	__be16 proto;
} __attribute__((packed));

struct vlan_hdr {
	__be16 tci;
	__be16 proto;
};

struct arp_hdr { // RFC 826, Ethernet and IPv4
	__be16 htype;
	__be16 ptype;
	__u8 hlen;
	__u8 plen;
	__be16 oper;
	__u8 sha[6];
	__be32 spa;
	__u8 tha[6];
	__be32 tpa;
} __attribute__((packed));

struct ip4_hdr {
	__u8 version_ihl;
	__u8 tos;
	__be16 len;
	__be16 id;
	__be16 frag;
	__u8 ttl;
	__u8 proto;
	__be16 sum;
	__be32 src;
	__be32 dst;
};

struct ip6_hdr {
	__be32 version_class_flow;
	__be16 len;
	__u8 next;
	__u8 hops;
	struct addr src;
	struct addr dst;
};

struct ext_hdr { // the first eight bytes of any extension header
	__u8 next;
	__u8 len;
	__be16 frag; // fragment header: offset and the M bit; routing header: type and segments left
	__be32 id;   // fragment header: identification
};

struct icmp_hdr {
	__u8 type;
	__u8 code;
	__be16 sum;
	__be32 rest;
};

struct port_pair {
	__be16 src;
	__be16 dst;
};
