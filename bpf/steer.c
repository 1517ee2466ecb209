//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
//
// The steering program: for each frame it answers one question, "is this frame
// ours or the kernel's?", and redirects ours to the AF_XDP socket of the queue
// it came by. It never drops and never writes to a frame; whatever it cannot
// judge goes to the kernel.
//
// Read first: RFC 791 §3.1, RFC 826, RFC 792, RFC 8200 §4, RFC 4443 §2.4,
// RFC 4861 §4.3, IEEE 802.1Q §9.
//
// It reads bytes only between data and data_end, which is the linear part of a
// frame of several buffers, so one source serves both program types.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "formats.h"
#include "rules.h"

// Limits. Frames past them pass to the kernel and are counted as V_PASS_DEPTH.
#define VLAN_MAX 2 // IEEE 802.1ad: one service and one customer tag
#define EXT_MAX 6  // RFC 8200 §4.1: the recommended chain without ESP has six

// A datagram must be whole within this time, or its identification may have
// been used again. Linux keeps fragments for 30 s (net.ipv4.ipfrag_time).
#define FRAGMENT_TTL_NS (30ULL * 1000 * 1000 * 1000)

// Where the reading of a frame has come to: an offset rather than a pointer,
// since it is handed to walk, and the verifier lets no packet pointer pass there.
// left is what the enclosing IP header says is still there, so that no padding is
// taken for a header.
struct cursor {
	struct xdp_md *ctx;
	__u32 off;
	__u32 left;
};

// All that the limits above allow to be read ends before this offset; it is said
// again for the verifier.
#define OFF_MAX 0x7fff

// take steps over n bytes and returns where they begin, or NULL if the frame's
// linear part or the datagram ends before. The pointer may be moved by what a
// header says, for which the verifier wants CAP_PERFMON.
static __always_inline void *take(struct cursor *c, __u32 n)
{
	void *p, *end = (void *)(long)c->ctx->data_end;

	if (c->left < n || c->off > OFF_MAX)
		return 0;
	p = (void *)(long)c->ctx->data + c->off;
	if (p + n > end)
		return 0;
	c->left -= n;
	c->off += n;
	return p;
}

// What parsing has found of a packet that is judged by its ports.
struct packet {
	struct flow_key flow;     // local is the address that it was sent to
	struct fragment_key name; // of the datagram, if leads
	__u32 bits;               // of flow.local
	__u8 leads;               // the first of several fragments
	__u8 quoted;              // the flow is that of a packet in an ICMP error
};

// What parsing returns when it is left to judge_flow: no verdict yet.
#define PARSED VERDICTS

static __always_inline int redirects(__u32 v)
{
	return v < V_PASS_EMPTY;
}

static __always_inline void map4(struct addr *a, __be32 v4)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = v4;
}

static __always_inline int same(const struct addr *a, const struct addr *b)
{
	return a->w[0] == b->w[0] && a->w[1] == b->w[1] && a->w[2] == b->w[2] && a->w[3] == b->w[3];
}

static __always_inline int is6(const struct ip6_hdr *ip)
{
	return (ip->version_class_flow & bpf_htonl(0xf0000000)) == bpf_htonl(0x60000000);
}

static __always_inline __u32 address_bits(const struct addr *a)
{
	__u32 *bits = bpf_map_lookup_elem(&addrs, a);

	return bits ? *bits : 0;
}

static __always_inline int judge_arp(struct cursor *c)
{
	struct arp_hdr *arp = take(c, sizeof(*arp));
	struct addr target;

	if (!arp)
		return V_PASS_SHORT;
	if (arp->htype != bpf_htons(1) || arp->ptype != bpf_htons(ETH_P_IP) || arp->hlen != 6 || arp->plen != 4)
		return V_PASS_PROTOCOL;
	if (arp->oper != bpf_htons(1) && arp->oper != bpf_htons(2))
		return V_PASS_PROTOCOL;
	map4(&target, arp->tpa);
	return address_bits(&target) & ADDRESS_OWN ? V_ARP : V_PASS_FOREIGN;
}

// follow judges a fragment that has no ports by its datagram's first one.
static __always_inline int follow(const struct fragment_key *name)
{
	__u64 *seen = bpf_map_lookup_elem(&fragments, name);

	if (!seen || bpf_ktime_get_ns() - *seen > FRAGMENT_TTL_NS)
		return V_PASS_FRAGMENT;
	return V_FRAGMENT;
}

// lead notes the verdict on a first fragment for those that follow. One that
// passes takes away what an earlier datagram of the same name may have left.
static __always_inline void lead(const struct fragment_key *name, int v)
{
	if (redirects(v)) {
		__u64 now = bpf_ktime_get_ns();

		bpf_map_update_elem(&fragments, name, &now, BPF_ANY);
	} else {
		bpf_map_delete_elem(&fragments, name);
	}
}

// parse_ports reads the ports. In a packet that we sent, which an ICMP error
// quotes, source and destination have changed places.
static __always_inline int parse_ports(struct cursor *c, struct packet *pk)
{
	struct port_pair *p;

	if (pk->flow.proto != PROTO_TCP && pk->flow.proto != PROTO_UDP)
		return V_PASS_PROTOCOL;
	p = take(c, sizeof(*p));
	if (!p)
		return V_PASS_SHORT;
	pk->flow.local_port = pk->quoted ? p->src : p->dst;
	pk->flow.remote_port = pk->quoted ? p->dst : p->src;
	return PARSED;
}

// parse_icmp4 goes on to the quoted packet of the errors that concern one flow;
// echo, redirects and the rest belong to whoever has the address.
static __always_inline int parse_icmp4(struct cursor *c, struct packet *pk)
{
	struct icmp_hdr *icmp = take(c, sizeof(*icmp));
	struct ip4_hdr *ip;
	__u32 ihl;

	if (!icmp)
		return V_PASS_SHORT;
	if (icmp->type != 3 && icmp->type != 11 && icmp->type != 12)
		return V_PASS_PROTOCOL;
	ip = take(c, sizeof(*ip));
	if (!ip)
		return V_PASS_SHORT;
	ihl = (ip->version_ihl & 15) * 4;
	if (ip->version_ihl >> 4 != 4 || ihl < sizeof(*ip))
		return V_PASS_MALFORMED;
	if (ip->src != pk->flow.local.w[3])
		return V_PASS_FOREIGN;
	if (ip->frag & bpf_htons(0x1fff))
		return V_PASS_FRAGMENT;
	map4(&pk->flow.remote, ip->dst);
	pk->flow.proto = ip->proto;
	pk->quoted = 1;
	return take(c, ihl - sizeof(*ip)) ? PARSED : V_PASS_SHORT;
}

static __always_inline int parse_ip4(struct cursor *c, __u32 rules, int group, struct packet *pk)
{
	struct ip4_hdr *ip;
	__u32 ihl, len, frag;
	int v = PARSED;

	if (group)
		return V_PASS_GROUP;
	ip = take(c, sizeof(*ip));
	if (!ip)
		return V_PASS_SHORT;
	ihl = (ip->version_ihl & 15) * 4;
	len = bpf_ntohs(ip->len);
	if (ip->version_ihl >> 4 != 4 || ihl < sizeof(*ip) || len < ihl)
		return V_PASS_MALFORMED;
	map4(&pk->flow.local, ip->dst);
	pk->bits = address_bits(&pk->flow.local);
	if (pk->bits & ADDRESS_OWN)
		return V_ADDRESS;
	if (!pk->bits && !(rules & RULE_ANY))
		return V_PASS_FOREIGN;

	map4(&pk->flow.remote, ip->src);
	pk->flow.proto = ip->proto;
	frag = bpf_ntohs(ip->frag);
	if (frag & 0x3fff) { // more fragments, or an offset
		pk->name.src = pk->flow.remote;
		pk->name.dst = pk->flow.local;
		pk->name.id = ip->id;
		pk->name.proto = ip->proto;
		if (frag & 0x1fff)
			return follow(&pk->name);
		pk->leads = 1;
	}
	c->left = len - sizeof(*ip);
	if (!take(c, ihl - sizeof(*ip)))
		return V_PASS_SHORT;
	if (pk->flow.proto == PROTO_ICMP)
		v = parse_icmp4(c, pk);
	return v == PARSED ? parse_ports(c, pk) : v;
}

// What walk found, in one word, for it can return no more. How much is left of the
// datagram follows from the offset.
#define CHAIN(id, reason, flags, proto, off) \
	((__u64)(id) << 32 | (__u64)(reason) << 27 | (__u64)(flags) << 24 | (__u64)(proto) << 16 | (off))
#define CHAIN_OFF(ch) ((ch) & 0xffff)         // where what comes after the chain begins
#define CHAIN_PROTO(ch) ((ch) >> 16 & 0xff)   // what it is
#define CHAIN_FLAGS(ch) ((ch) >> 24 & 7)      // FRAG_*
#define CHAIN_REASON(ch) ((ch) >> 27 & 31)    // why the chain cannot be walked, or 0
#define CHAIN_ID(ch) ((ch) >> 32)             // of the fragment header
#define FRAG_SEEN 1  // a fragment header was met
#define FRAG_MORE 2  // which says that others follow
#define FRAG_LATER 4 // and that this is not the first: there is no transport here

_Static_assert(VERDICTS <= 32, "a verdict must fit into CHAIN_REASON");

// walk steps over extension headers until a transport's or a later fragment's
// bytes begin. It is a function of its own to the verifier too, which would
// otherwise follow each of its ways through all that calls it (600,000
// instructions, of the million that it allows).
__attribute__((noinline)) __u64 walk(struct xdp_md *ctx, __u32 off, __u32 left, __u32 next)
{
	struct cursor c = { .ctx = ctx, .off = off, .left = left };
	__u32 flags = 0, id = 0;

	// Unrolled: before Linux 5.15 or so only a jump may close a loop, and compilers lay loops out
	// so that one falls through to its head ("back-edge from insn", seen on 5.10).
#pragma unroll
	for (int i = 0; i <= EXT_MAX; i++) {
		struct ext_hdr *h;

		if (next != PROTO_HOPOPTS && next != PROTO_ROUTING && next != PROTO_FRAGMENT && next != PROTO_AH &&
		    next != PROTO_DSTOPTS)
			return CHAIN(id, 0, flags, next & 0xff, c.off & 0xffff);
		if (i == EXT_MAX)
			break;
		h = take(&c, sizeof(*h));
		if (!h)
			return CHAIN(0, V_PASS_SHORT, 0, 0, 0);
		if (next == PROTO_FRAGMENT) {
			if (flags)
				return CHAIN(0, V_PASS_MALFORMED, 0, 0, 0);
			flags = FRAG_SEEN | (h->frag & bpf_htons(1) ? FRAG_MORE : 0);
			id = h->id;
			if (h->frag & bpf_htons(0xfff8))
				return CHAIN(id, 0, flags | FRAG_LATER, 0, 0);
		} else {
			// A routing header with segments left: the transport is
			// meant for another address (RFC 8200 §4.4).
			if (next == PROTO_ROUTING && h->frag & bpf_htons(0x00ff))
				return CHAIN(0, V_PASS_PROTOCOL, 0, 0, 0);
			// RFC 8200 §4.2 counts eight bytes, RFC 4302 §2.2 four.
			if (!take(&c, next == PROTO_AH ? h->len * 4 : h->len * 8))
				return CHAIN(0, V_PASS_SHORT, 0, 0, 0);
		}
		next = h->next;
	}
	return CHAIN(0, V_PASS_DEPTH, 0, 0, 0);
}

// skip walks c over the chain that begins with next.
static __always_inline __u64 skip(struct cursor *c, __u8 next)
{
	__u64 ch = walk(c->ctx, c->off, c->left, next);

	c->left -= CHAIN_OFF(ch) - c->off;
	c->off = CHAIN_OFF(ch);
	return ch;
}

// parse_group6 takes neighbour solicitations for our own addresses and leaves the
// other groups to the kernel. A fragmented one is nobody's (RFC 6980 §5).
static __always_inline int parse_group6(struct cursor *c, __u8 next)
{
	__u64 ch = skip(c, next);
	struct icmp_hdr *icmp;
	struct addr *target, a;

	if (CHAIN_REASON(ch))
		return CHAIN_REASON(ch);
	if (CHAIN_PROTO(ch) != PROTO_ICMP6 || CHAIN_FLAGS(ch))
		return V_PASS_GROUP;
	icmp = take(c, sizeof(*icmp));
	if (!icmp)
		return V_PASS_SHORT;
	if (icmp->type != 135)
		return V_PASS_GROUP;
	target = take(c, sizeof(*target));
	if (!target)
		return V_PASS_SHORT;
	a = *target;
	return address_bits(&a) & ADDRESS_OWN ? V_SOLICIT : V_PASS_GROUP;
}

// parse_icmp6 goes on to the quoted packet of the errors, which are types 1 to 4
// (RFC 4443 §3).
static __always_inline int parse_icmp6(struct cursor *c, struct packet *pk)
{
	struct icmp_hdr *icmp = take(c, sizeof(*icmp));
	struct ip6_hdr *ip;
	__u64 ch;

	if (!icmp)
		return V_PASS_SHORT;
	if (icmp->type < 1 || icmp->type > 4)
		return V_PASS_PROTOCOL;
	ip = take(c, sizeof(*ip));
	if (!ip)
		return V_PASS_SHORT;
	if (!is6(ip))
		return V_PASS_MALFORMED;
	if (!same(&ip->src, &pk->flow.local))
		return V_PASS_FOREIGN;
	pk->flow.remote = ip->dst;
	ch = skip(c, ip->next);
	if (CHAIN_REASON(ch))
		return CHAIN_REASON(ch);
	if (CHAIN_FLAGS(ch) & FRAG_LATER)
		return V_PASS_FRAGMENT;
	pk->flow.proto = CHAIN_PROTO(ch);
	pk->quoted = 1;
	return PARSED;
}

static __always_inline int parse_ip6(struct cursor *c, __u32 rules, int group, struct packet *pk)
{
	struct ip6_hdr *ip = take(c, sizeof(*ip));
	int v = PARSED;
	__u64 ch;

	if (!ip)
		return V_PASS_SHORT;
	if (!is6(ip))
		return V_PASS_MALFORMED;
	c->left = bpf_ntohs(ip->len);
	if ((ip->dst.w[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000))
		return parse_group6(c, ip->next);
	if (group)
		return V_PASS_GROUP;
	pk->flow.local = ip->dst;
	pk->bits = address_bits(&pk->flow.local);
	if (pk->bits & ADDRESS_OWN)
		return V_ADDRESS;
	if (!pk->bits && !(rules & RULE_ANY))
		return V_PASS_FOREIGN;

	pk->flow.remote = ip->src;
	ch = skip(c, ip->next);
	if (CHAIN_REASON(ch))
		return CHAIN_REASON(ch);
	if (CHAIN_FLAGS(ch) & (FRAG_MORE | FRAG_LATER)) {
		pk->name.src = pk->flow.remote;
		pk->name.dst = pk->flow.local;
		pk->name.id = CHAIN_ID(ch);
		if (CHAIN_FLAGS(ch) & FRAG_LATER)
			return follow(&pk->name);
		pk->leads = 1;
	}
	pk->flow.proto = CHAIN_PROTO(ch);
	if (pk->flow.proto == PROTO_ICMP6)
		v = parse_icmp6(c, pk);
	return v == PARSED ? parse_ports(c, pk) : v;
}

static __always_inline int parse(struct cursor *c, __u32 rules, struct packet *pk)
{
	struct eth_hdr *eth = take(c, sizeof(*eth));
	__be16 proto;
	int group;

	if (!eth)
		return V_PASS_SHORT;
	group = eth->dst[0] & 1;
	proto = eth->proto;
#pragma unroll
	for (int i = 0; i <= VLAN_MAX; i++) {
		struct vlan_hdr *tag;

		if (proto != bpf_htons(ETH_P_8021Q) && proto != bpf_htons(ETH_P_8021AD))
			break;
		if (i == VLAN_MAX)
			return V_PASS_DEPTH;
		tag = take(c, sizeof(*tag));
		if (!tag)
			return V_PASS_SHORT;
		proto = tag->proto;
	}
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ip4(c, rules, group, pk);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ip6(c, rules, group, pk);
	if (proto == bpf_htons(ETH_P_ARP))
		return judge_arp(c);
	return V_PASS_PROTOCOL;
}

static __always_inline int in_block(const struct flow_key *f)
{
	__u32 port = bpf_ntohs(f->local_port);
	__u32 word = (f->proto == PROTO_TCP ? 0 : BLOCK_WORDS) + (port >> 6);
	__u64 *bits = bpf_map_lookup_elem(&blocks, &word);

	return bits && (*bits >> (port & 63) & 1);
}

// judge_flow decides by what the ports say. bits are those of f->local; the cheap
// and the frequent come first.
static __always_inline int judge_flow(__u32 rules, __u32 bits, const struct flow_key *f)
{
	struct port_key k = { .port = f->local_port, .proto = f->proto };

	if (bits & ADDRESS_SHARED) {
		if (in_block(f))
			return V_BLOCK;
		if (rules & RULE_WILD) {
			// The unspecified address of f's family.
			if (!f->local.w[0] && !f->local.w[1] && f->local.w[2] == bpf_htonl(0xffff))
				k.local.w[2] = bpf_htonl(0xffff);
			if (bpf_map_lookup_elem(&ports, &k))
				return V_PORT;
		}
	}
	if (bits & ADDRESS_PORTS) {
		k.local = f->local;
		if (bpf_map_lookup_elem(&ports, &k))
			return V_PORT;
	}
	if (bits & ADDRESS_FLOWS && bpf_map_lookup_elem(&flows, f))
		return V_FLOW;
	if (rules & RULE_ANY) {
		// All ones is a multicast address, so no rule has it as its own.
		k.local.w[0] = k.local.w[1] = k.local.w[2] = k.local.w[3] = 0xffffffff;
		if (bpf_map_lookup_elem(&ports, &k))
			return V_PORT;
	}
	return V_PASS_UNRULED;
}

static __always_inline int judge(struct xdp_md *ctx)
{
	__u32 zero = 0, *rules = bpf_map_lookup_elem(&rules_in_force, &zero);
	struct cursor c = { .ctx = ctx, .left = 0xffffffff };
	struct packet pk = {};
	int v;

	if (!rules)
		return V_PASS_UNRULED; // cannot be: an array has its elements
	if (*rules & RULE_EVERYTHING)
		return V_EVERYTHING;
	v = parse(&c, *rules, &pk);
	if (v == PARSED) {
		v = judge_flow(*rules, pk.bits, &pk.flow);
		if (pk.quoted && redirects(v))
			v = V_ICMP;
	}
	if (pk.leads)
		lead(&pk.name, v);
	return v;
}

// steer acts on the verdict. A queue without a socket passes its frames: the
// flags of bpf_redirect_map are what it returns then.
static __always_inline int steer(struct xdp_md *ctx)
{
	__u32 v = judge(ctx);
	int action = XDP_PASS;
	__u64 *count;

	if (redirects(v)) {
		action = bpf_redirect_map(&xsks, ctx->rx_queue_index, XDP_PASS);
		if (action != XDP_REDIRECT)
			v = V_PASS_EMPTY;
	}
	count = bpf_map_lookup_elem(&verdicts, &v);
	if (count)
		(*count)++;
	return action;
}

SEC("xdp")
int xdpsock_steer(struct xdp_md *ctx)
{
	return steer(ctx);
}

SEC("xdp.frags")
int xdpsock_frags(struct xdp_md *ctx)
{
	return steer(ctx);
}

// xdpsock_judge is never attached: run by BPF_PROG_TEST_RUN it returns the
// verdict itself.
SEC("xdp")
int xdpsock_judge(struct xdp_md *ctx)
{
	return judge(ctx);
}

char _license[] SEC("license") = "Dual BSD/GPL";
