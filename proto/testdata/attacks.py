#!/usr/bin/env python3
"""Makes attacks.pcap and attacks.txt: the classic attacks on a host, crafted by scapy (Debian: python3-scapy).

The attacked host is b of the tests, 10.9.0.2 and fd09::2 at 02:00:00:00:00:02, whose neighbour is a. Frames are in the order
of attacks.txt, which names the set that each belongs to and its family. TestScapyAttacks plays them.
"""
from pathlib import Path
from scapy.all import (
    Ether, IP, IPv6, UDP, TCP, ICMP, Raw, fragment, wrpcap,
    IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, IPv6ExtHdrFragment, PadN,
    ICMPv6EchoRequest, ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6ND_RA, ICMPv6ND_Redirect, ICMPv6PacketTooBig,
    ICMPv6NDOptSrcLLAddr, ICMPv6NDOptDstLLAddr, ICMPv6NDOptPrefixInfo,
)

A, B, EVIL = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:06:06:06:06:06"
a, b, all4 = "10.9.0.1", "10.9.0.2", "10.9.0.255"
a6, b6, far6, router6 = "fd09::1", "fd09::2", "2001:db8::1", "fe80::66"
eth = Ether(src=A, dst=B)
eth6 = Ether(src=A, dst=B, type=0x86DD)
everyone = Ether(src=A, dst="ff:ff:ff:ff:ff:ff")
group6 = Ether(src=A, dst="33:33:00:00:00:01")


def piece(offset, length, more, proto=17, ident=7):
    return eth / IP(src=a, dst=b, id=ident, proto=proto, frag=offset // 8, flags="MF" if more else 0) / Raw(b"x" * length)


def piece6(offset, length, more, nh=17, ident=7):
    return eth6 / IPv6(src=a6, dst=b6) / IPv6ExtHdrFragment(offset=offset // 8, m=int(more), id=ident, nh=nh) / Raw(b"x" * length)


udp = bytes(UDP(sport=9, dport=7, chksum=0) / Raw(b"x" * 1000))
sets = {
    ("teardrop", 4): [piece(0, 40, True), piece(24, 4, False)],
    ("teardrop", 6): [piece6(0, 40, True), piece6(24, 4, False)],
    ("overlapping fragments, the later rewrites", 4): [piece(0, 64, True), piece(32, 64, True), piece(64, 64, False)],
    ("overlapping fragments, the later rewrites", 6): [piece6(0, 64, True), piece6(32, 64, True), piece6(64, 64, False)],
    ("tiny fragments", 4): [piece(0, 8, True, 6), piece(8, 32, False, 6)],
    ("tiny fragments", 6): [piece6(0, 8, True, 6), piece6(8, 32, False, 6)],
    ("ping of death", 4): fragment(eth / IP(src=a, dst=b, id=9) / ICMP() / Raw(b"x" * 65507), fragsize=1480)
    + [piece(65528, 1480, False, 1, 9)],
    ("land", 4): [eth / IP(src=b, dst=b) / TCP(sport=80, dport=80, flags="S"), eth / IP(src=b, dst=b) / UDP(sport=7, dport=7) / Raw(b"x")],
    ("land", 6): [eth6 / IPv6(src=b6, dst=b6) / TCP(sport=80, dport=80, flags="S"), eth6 / IPv6(src=b6, dst=b6) / UDP(sport=7, dport=7) / Raw(b"x")],
    ("smurf", 4): [everyone / IP(src=a, dst=all4) / ICMP(), everyone / IP(src=a, dst="255.255.255.255") / ICMP()],
    ("smurf", 6): [group6 / IPv6(src=a6, dst="ff02::1") / UDP(sport=9, dport=19) / Raw(b"x")],
    ("fraggle", 4): [everyone / IP(src=a, dst=all4) / UDP(sport=7, dport=19) / Raw(b"x")],
    ("christmas trees", 4): [eth / IP(src=a, dst=b) / TCP(sport=4000 + i, dport=80, flags=f) for i, f in enumerate(["FPU", "SF", "SR", "FSRPAU", 0])],
    ("NDP from off-link", 6): [
        eth6 / IPv6(src=a6, dst=b6, hlim=64) / ICMPv6ND_NS(tgt=b6) / ICMPv6NDOptSrcLLAddr(lladdr=EVIL),
        eth6 / IPv6(src=a6, dst=b6, hlim=254) / ICMPv6ND_NA(tgt=a6, S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=EVIL),
        group6 / IPv6(src=router6, dst="ff02::1", hlim=64) / ICMPv6ND_RA() / ICMPv6NDOptPrefixInfo(prefix="fd66::", prefixlen=64),
        eth6 / IPv6(src=router6, dst=b6, hlim=64) / ICMPv6ND_Redirect(tgt=router6, dst=a6) / ICMPv6NDOptDstLLAddr(lladdr=EVIL),
    ],
    ("NDP that nobody asked for", 6): [
        eth6 / IPv6(src="fd09::50", dst=b6, hlim=255) / ICMPv6ND_NA(tgt="fd09::50", S=1, O=1) / ICMPv6NDOptDstLLAddr(lladdr=EVIL),
        eth6 / IPv6(src=router6, dst=b6, hlim=255) / ICMPv6ND_Redirect(tgt=router6, dst=a6) / ICMPv6NDOptDstLLAddr(lladdr=EVIL),
        group6 / IPv6(src=a6, dst="ff02::1", hlim=255) / ICMPv6ND_RA(),
    ],
    ("forged packet too big", 4): [
        eth / IP(src="192.0.2.1", dst=b) / ICMP(type=3, code=4, nexthopmtu=mtu) / IP(src=b, dst=a) / TCP(sport=80, dport=4000, seq=1) for mtu in (0, 68, 576)
    ],
    ("forged packet too big", 6): [
        eth6 / IPv6(src=far6, dst=b6) / ICMPv6PacketTooBig(mtu=mtu) / IPv6(src=b6, dst=a6) / TCP(sport=80, dport=4000, seq=1) for mtu in (0, 1279, 1280)
    ],
    ("extension header chains", 6): [
        eth6 / IPv6(src=a6, dst=b6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrHopByHop() / UDP(sport=9, dport=7) / Raw(b"x"),
        eth6 / IPv6(src=a6, dst=b6) / IPv6ExtHdrRouting(type=0, addresses=[far6] * 4, segleft=4) / UDP(sport=9, dport=7) / Raw(b"x"),
    ],
}
chain = IPv6(src=a6, dst=b6)
for _ in range(100):
    chain = chain / IPv6ExtHdrDestOpt(options=[PadN(optdata=b"\0" * 4)])
sets[("extension header chains", 6)].append(eth6 / chain / UDP(sport=9, dport=7) / Raw(b"x"))

here = Path(__file__).parent
frames, lines = [], []
for (name, family), packets in sets.items():
    for p in packets:
        frames.append(Ether(bytes(p)))
        lines.append(f"{family} {name}\n")
for p in frames:
    p.time = 0
wrpcap(str(here / "attacks.pcap"), frames)
(here / "attacks.txt").write_text("".join(lines))
