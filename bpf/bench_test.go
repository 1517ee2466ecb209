package bpf

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// BenchmarkProgram tells what the program costs a frame, by test run: the
// program's own time, redirect decision and counter included, without what the
// driver does before it and the socket after it.
func BenchmarkProgram(b *testing.B) {
	r := newRig(b)
	r.allRules(b)
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	must(b, err)
	defer unix.Close(fd)
	must(b, r.p.SetSocket(0, fd))
	for _, c := range []row{
		{"UDP to our address", gopacketUDP(b, remote[0], own[0], 9, 9), RedirectAddress},
		{"UDP to our IPv6 address", gopacketUDP(b, remote[1], own[1], 9, 9), RedirectAddress},
		{"UDP to another address", gopacketUDP(b, remote[0], foreign[0], 9, 9), PassForeign},
		{"broadcast", to(macAll, gopacketUDP(b, remote[0], own[0], 9, 9)), PassGroup},
		{"TCP to a block", eth(ip4(remote[0], shared[0], 6, tcp(80, 32770))), RedirectBlock},
		{"UDP to a wildcard port", gopacketUDP(b, remote[0], shared[0], 9, 53), RedirectPort},
		{"TCP of a flow", eth(ip4(remote[0], flowing[0], 6, tcp(80, 5000))), RedirectFlow},
		{"TCP to a shared address, the kernel's", eth(ip4(remote[0], shared[0], 6, tcp(9, 22))), PassUnruled},
		{"IPv6 TCP behind two extension headers", eth(ip6(remote[1], shared[1], 0, join(ext(60, 0, 8), ext(6, 0, 8), tcp(9, 443)))), RedirectPort},
	} {
		b.Run(c.name, func(b *testing.B) {
			if got := r.judge(b, c.frame); got != c.want {
				b.Fatalf("%v, want %v", got, c.want)
			}
			var spent time.Duration
			for left := b.N; left > 0; left -= 1 << 20 {
				n := min(left, 1<<20)
				_, each, err := r.p.prog.Benchmark(c.frame, n, nil)
				must(b, err)
				spent += each * time.Duration(n)
			}
			b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N), "ns/op")
		})
	}
}
