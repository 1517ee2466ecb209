package tcp

// reno is congestion avoidance of RFC 5681 §3.1, counting bytes.
type reno struct {
	count uint32 // acknowledged bytes that have not made the window grow
}

func (r *reno) acked(g *congestion, n, mss int) {
	r.count += uint32(n)
	if r.count >= g.cwnd {
		r.count -= g.cwnd
		g.grow(mss)
	}
}

func (r *reno) reduced(g *congestion) int {
	r.count = 0
	return int(g.cwnd / 2)
}
