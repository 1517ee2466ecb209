package simnet

import "github.com/xdpsock/xdpsock/proto/mono"

// A flying frame is one that has been sent and not been received.
type flying struct {
	data    []byte
	arrives mono.Time
	serial  uint64 // frames of one moment arrive in the order in which they were sent
}

func (a *flying) before(b *flying) bool {
	return a.arrives < b.arrives || a.arrives == b.arrives && a.serial < b.serial
}

// A flight is a heap of frames, the next to arrive first. (container/heap would
// allocate for every frame.)
type flight []flying

func (f *flight) push(x flying) {
	h := append(*f, x)
	*f = h
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if !h[i].before(&h[parent]) {
			break
		}
		h[i], h[parent] = h[parent], h[i]
		i = parent
	}
}

func (f *flight) pop() flying {
	h := *f
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], flying{}
	h = h[:last]
	*f = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if h[child].before(&h[least]) {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
