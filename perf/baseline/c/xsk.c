/*
 * xsk: the raw modes over AF_XDP in plain C, one socket, one queue, one thread,
 * spinning. It is what the Go engine's raw modes are held against, and the packet
 * source of every raw measurement. System calls alone: no libxdp, no libbpf.
 *
 *   xsk rxdrop|txonly|l2fwd -i IF [-q QUEUE] [-s BYTES] [-b BATCH] [-d SECONDS]
 *       [-S SRCMAC] [-D DSTMAC] [--skb]
 *
 * It says "ready" on standard output once frames would pass, and ends by -d,
 * SIGINT or SIGTERM with one line of JSON.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_xdp.h>
#include <net/if.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FRAMES     4096u /* in the UMEM: half may be received into while half is sent */
#define FRAME_SIZE 2048u /* bytes; enough for an MTU of 1500 */
#define RING       2048u /* entries of each ring, a power of two */
#define BATCH_MAX  256u

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static volatile sig_atomic_t stop;
static void on_signal(int sig) { (void)sig; stop = 1; }

static void die(const char *what)
{
	fprintf(stderr, "xsk: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* ---- rings ---- */

struct ring {
	uint32_t *producer, *consumer, *flags;
	void *entries;    /* struct xdp_desc or uint64_t */
	uint32_t head;    /* our own index: what we produced, or consumed */
	uint32_t cached;  /* the other side's index as last read */
};

static uint32_t load(uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
static void publish(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

/* room says how many entries we may produce, reading the kernel's index only if need be. */
static uint32_t room(struct ring *r, uint32_t want)
{
	uint32_t n = RING - (r->head - r->cached);
	if (n >= want)
		return n;
	r->cached = load(r->consumer);
	return RING - (r->head - r->cached);
}

/* avail says how many entries we may consume, at most want. */
static uint32_t avail(struct ring *r, uint32_t want)
{
	uint32_t n = r->cached - r->head;
	if (n == 0) {
		r->cached = load(r->producer);
		n = r->cached - r->head;
	}
	return n < want ? n : want;
}

static struct xdp_desc *desc(struct ring *r, uint32_t i)
{
	return &((struct xdp_desc *)r->entries)[i & (RING - 1)];
}

static uint64_t *addr(struct ring *r, uint32_t i)
{
	return &((uint64_t *)r->entries)[i & (RING - 1)];
}

static int wants_kick(struct ring *r)
{
	return load(r->flags) & XDP_RING_NEED_WAKEUP;
}

/* ---- socket ---- */

static int fd;
static uint8_t *umem;
static struct ring rx, tx, fill, comp;
static uint64_t free_frames[FRAMES]; /* a stack of those that no ring holds */
static uint32_t n_free;
static uint64_t rx_packets, tx_packets, tx_busy, kicks;

static void map_ring(struct ring *r, struct xdp_ring_offset *o, uint64_t offset, size_t entry)
{
	uint8_t *p = mmap(NULL, o->desc + RING * entry, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, fd, offset);
	if (p == MAP_FAILED)
		die("mmap of a ring");
	r->producer = (uint32_t *)(p + o->producer);
	r->consumer = (uint32_t *)(p + o->consumer);
	r->flags = (uint32_t *)(p + o->flags);
	r->entries = p + o->desc;
}

static void open_socket(int ifindex, uint32_t queue, int with_rx)
{
	struct xdp_umem_reg reg = { .len = (uint64_t)FRAMES * FRAME_SIZE, .chunk_size = FRAME_SIZE };
	struct sockaddr_xdp sa = {
		.sxdp_family = AF_XDP, .sxdp_ifindex = ifindex, .sxdp_queue_id = queue,
		.sxdp_flags = XDP_USE_NEED_WAKEUP | XDP_COPY,
	};
	struct xdp_mmap_offsets off;
	socklen_t len = sizeof(off);
	int size = RING, tries;

	fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket(AF_XDP)");
	umem = mmap(NULL, reg.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (umem == MAP_FAILED)
		die("mmap of the UMEM");
	reg.addr = (uintptr_t)umem;
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)))
		die("XDP_UMEM_REG");
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &size, sizeof(size)) ||
	    setsockopt(fd, SOL_XDP, XDP_TX_RING, &size, sizeof(size)) ||
	    (with_rx && setsockopt(fd, SOL_XDP, XDP_RX_RING, &size, sizeof(size))))
		die("ring size");
	if (getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &len))
		die("XDP_MMAP_OFFSETS");
	map_ring(&fill, &off.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t));
	map_ring(&comp, &off.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t));
	map_ring(&tx, &off.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	if (with_rx)
		map_ring(&rx, &off.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	for (n_free = 0; n_free < FRAMES; n_free++)
		free_frames[n_free] = (uint64_t)(FRAMES - 1 - n_free) * FRAME_SIZE;

	/* The queue stays busy for some 30 ms after its last owner closed it. */
	for (tries = 0; bind(fd, (struct sockaddr *)&sa, sizeof(sa)); tries++) {
		if (errno != EBUSY || tries == 100)
			die("bind");
		usleep(10000);
	}
}

static void give_frames(uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		*addr(&fill, fill.head++) = free_frames[--n_free];
	publish(fill.producer, fill.head);
}

/* ---- program: redirect all of the queue's frames to the socket, the rest to the kernel ---- */

static int sys_bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

static void attach(int ifindex, uint32_t queue, int skb)
{
	union bpf_attr a;
	char log[4096] = "";
	int map, prog;

	memset(&a, 0, sizeof(a));
	a.map_type = BPF_MAP_TYPE_XSKMAP;
	a.key_size = a.value_size = 4;
	a.max_entries = 64;
	if ((map = sys_bpf(BPF_MAP_CREATE, &a)) < 0)
		die("BPF_MAP_CREATE (needs CAP_BPF)");

	memset(&a, 0, sizeof(a));
	a.map_fd = map;
	a.key = (uintptr_t)&queue;
	a.value = (uintptr_t)&fd;
	if (sys_bpf(BPF_MAP_UPDATE_ELEM, &a))
		die("BPF_MAP_UPDATE_ELEM");

	struct bpf_insn code[] = {
		/* r2 = ctx->rx_queue_index */
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1, .off = 16 },
		/* r1 = map, an instruction of two words */
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_FD, .imm = map },
		{ 0 },
		/* r3 = XDP_PASS, what an empty slot gives */
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_XDP;
	a.insns = (uintptr_t)code;
	a.insn_cnt = sizeof(code) / sizeof(code[0]);
	a.license = (uintptr_t)"Dual BSD/GPL";
	a.log_buf = (uintptr_t)log;
	a.log_size = sizeof(log);
	a.log_level = 1;
	a.expected_attach_type = BPF_XDP;
	if ((prog = sys_bpf(BPF_PROG_LOAD, &a)) < 0) {
		fputs(log, stderr);
		die("BPF_PROG_LOAD");
	}

	/* A link, so that the program goes when the process does. */
	memset(&a, 0, sizeof(a));
	a.link_create.prog_fd = prog;
	a.link_create.target_ifindex = ifindex;
	a.link_create.attach_type = BPF_XDP;
	a.link_create.flags = skb ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
	if (sys_bpf(BPF_LINK_CREATE, &a) < 0)
		die("BPF_LINK_CREATE (is another program attached?)");
}

/* ---- the loops ---- */

/* kick asks the kernel to send. EAGAIN leaves frames in the ring, EBUSY drops one. */
static void kick(void)
{
	kicks++;
	if (sendto(fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0 || errno == EAGAIN || errno == ENOBUFS)
		return;
	if (errno == EBUSY)
		tx_busy++;
	else if (errno != ENETDOWN && errno != EINTR)
		die("sendto");
}

/* reclaim takes back what has been sent. */
static void reclaim(uint32_t batch)
{
	uint32_t i, n = avail(&comp, batch);

	if (n == 0)
		return;
	for (i = 0; i < n; i++)
		free_frames[n_free++] = *addr(&comp, comp.head++);
	publish(comp.consumer, comp.head);
	tx_packets += n;
}

/* refill lends to the kernel what it needs to receive into, in batches. */
static void refill(uint32_t batch)
{
	uint32_t n = room(&fill, batch);

	if (n > batch)
		n = batch;
	if (n > n_free)
		n = n_free;
	if (n)
		give_frames(n);
}

static void rxdrop(uint32_t batch)
{
	uint32_t i, n;

	while (!stop) {
		n = avail(&rx, batch);
		if (n == 0) {
			if (wants_kick(&fill))
				recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
			continue;
		}
		for (i = 0; i < n; i++)
			free_frames[n_free++] = desc(&rx, rx.head++)->addr & ~(uint64_t)(FRAME_SIZE - 1);
		publish(rx.consumer, rx.head);
		rx_packets += n;
		refill(n);
	}
}

static void txonly(uint32_t batch, uint32_t size)
{
	uint32_t i, n;

	while (!stop) {
		n = room(&tx, batch);
		if (n > batch)
			n = batch;
		if (n > n_free)
			n = n_free;
		for (i = 0; i < n; i++) {
			struct xdp_desc *d = desc(&tx, tx.head++);
			*d = (struct xdp_desc){ .addr = free_frames[--n_free], .len = size };
		}
		if (n)
			publish(tx.producer, tx.head);
		if (wants_kick(&tx))
			kick();
		reclaim(2 * batch);
	}
}

static void swap_macs(uint8_t *frame)
{
	uint8_t t[ETH_ALEN];

	memcpy(t, frame, ETH_ALEN);
	memcpy(frame, frame + ETH_ALEN, ETH_ALEN);
	memcpy(frame + ETH_ALEN, t, ETH_ALEN);
}

static void l2fwd(uint32_t batch)
{
	uint32_t i, n, sent = 0; /* sent: descriptors put into the TX ring */

	while (!stop) {
		reclaim(2 * batch);
		refill(batch);
		n = avail(&rx, batch);
		if (n > room(&tx, n))
			n = 0; /* leave them where they are until there is room */
		for (i = 0; i < n; i++) {
			struct xdp_desc *from = desc(&rx, rx.head++);
			swap_macs(umem + from->addr);
			*desc(&tx, tx.head++) = (struct xdp_desc){ .addr = from->addr, .len = from->len };
		}
		if (n) {
			publish(rx.consumer, rx.head);
			publish(tx.producer, tx.head);
			rx_packets += n;
			sent += n;
		}
		if (sent != (uint32_t)tx_packets && wants_kick(&tx))
			kick();
		if (n == 0 && wants_kick(&fill))
			recvfrom(fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
	}
}

/* ---- frames ---- */

static uint16_t ip_checksum(const uint8_t *p)
{
	uint32_t sum = 0;
	int i;

	for (i = 0; i < 20; i += 2)
		sum += p[i] << 8 | p[i + 1];
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A UDP datagram from 198.18.0.1 to 198.18.0.2 port 9 (RFC 2544 C.2.2), no UDP checksum. */
static void write_frames(const uint8_t *src, const uint8_t *dst, uint32_t size)
{
	uint8_t f[FRAME_SIZE] = { 0 };
	uint8_t *ip = f + ETH_HLEN, *udp = ip + 20;
	uint32_t i, ip_len = size - ETH_HLEN, udp_len = ip_len - 20;
	uint16_t sum;

	memcpy(f, dst, ETH_ALEN);
	memcpy(f + ETH_ALEN, src, ETH_ALEN);
	f[12] = 0x08;
	ip[0] = 0x45;
	ip[2] = ip_len >> 8, ip[3] = ip_len;
	ip[8] = 64, ip[9] = 17;
	memcpy(ip + 12, (uint8_t[]){ 198, 18, 0, 1, 198, 18, 0, 2 }, 8);
	sum = ip_checksum(ip);
	ip[10] = sum >> 8, ip[11] = sum;
	udp[1] = udp[3] = 9;
	udp[4] = udp_len >> 8, udp[5] = udp_len;
	for (i = 0; i < FRAMES; i++)
		memcpy(umem + (size_t)i * FRAME_SIZE, f, size);
}

static int parse_mac(const char *s, uint8_t *mac)
{
	return sscanf(s, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", mac, mac + 1, mac + 2, mac + 3, mac + 4, mac + 5) == 6;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "skb", no_argument, NULL, 'k' }, { 0 } };
	const char *usage = "usage: xsk rxdrop|txonly|l2fwd -i IF [-q N] [-s BYTES] [-b N] [-d SECS] [-S MAC] [-D MAC] [--skb]\n";
	/* Neither address is anybody's, so that the kernel at the other end drops what it gets early. */
	uint8_t src[ETH_ALEN] = { 2, 0, 0, 0, 0, 1 }, dst[ETH_ALEN] = { 2, 0, 0, 0, 0, 0 };
	uint32_t queue = 0, size = 64, batch = 64, seconds = 0;
	struct sigaction sa = { .sa_handler = on_signal };
	const char *mode = argc > 1 ? argv[1] : "";
	struct xdp_statistics st = { 0 };
	socklen_t len = sizeof(st);
	int c, ifindex = 0, skb = 0;
	double began, elapsed;

	while ((c = getopt_long(argc - 1, argv + 1, "i:q:s:b:d:S:D:", longs, NULL)) != -1) {
		switch (c) {
		case 'i': ifindex = if_nametoindex(optarg); break;
		case 'q': queue = strtoul(optarg, NULL, 10); break;
		case 's': size = strtoul(optarg, NULL, 10); break;
		case 'b': batch = strtoul(optarg, NULL, 10); break;
		case 'd': seconds = strtoul(optarg, NULL, 10); break;
		case 'S': if (!parse_mac(optarg, src)) goto bad; break;
		case 'D': if (!parse_mac(optarg, dst)) goto bad; break;
		case 'k': skb = 1; break;
		default: goto bad;
		}
	}
	int receives = !strcmp(mode, "rxdrop") || !strcmp(mode, "l2fwd");
	if (!ifindex || size < 60 || size > 1514 || batch < 1 || batch > BATCH_MAX || queue >= 64 ||
	    (!receives && strcmp(mode, "txonly")))
		goto bad;

	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGALRM, &sa, NULL);
	open_socket(ifindex, queue, receives);
	write_frames(src, dst, size);
	if (receives) {
		give_frames(FRAMES / 2);
		attach(ifindex, queue, skb);
	}
	puts("ready");
	fflush(stdout);

	alarm(seconds);
	began = now();
	if (!strcmp(mode, "rxdrop"))
		rxdrop(batch);
	else if (!strcmp(mode, "txonly"))
		txonly(batch, size);
	else
		l2fwd(batch);
	elapsed = now() - began;
	getsockopt(fd, SOL_XDP, XDP_STATISTICS, &st, &len);
	printf("{\"mode\":\"%s\",\"elapsed_s\":%.6f,\"rx_packets\":%llu,\"tx_packets\":%llu,\"tx_busy\":%llu,"
	       "\"kicks\":%llu,\"rx_dropped\":%llu,\"rx_ring_full\":%llu,\"rx_fill_empty\":%llu}\n",
	       mode, elapsed, (unsigned long long)rx_packets, (unsigned long long)tx_packets,
	       (unsigned long long)tx_busy, (unsigned long long)kicks, (unsigned long long)st.rx_dropped,
	       (unsigned long long)st.rx_ring_full, (unsigned long long)st.rx_fill_ring_empty_descs);
	return 0;
bad:
	fputs(usage, stderr);
	return 2;
}
