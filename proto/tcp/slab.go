package tcp

import (
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/ring"
)

// conn returns the connection at an index.
func (t *TCP) conn(index uint32) *Conn {
	return &t.slabs[index/slabConns][index%slabConns]
}

// alloc takes a connection from the slabs, nil if there are as many as may be. It is in state
// CLOSED, in no list, and all zero but for what newConn sets.
func (t *TCP) alloc() *Conn {
	if t.conns >= t.params.MaxConns {
		return nil
	}
	if t.free == 0 {
		base := uint32(len(t.slabs) * slabConns)
		slab := new([slabConns]Conn)
		t.slabs = append(t.slabs, slab)
		for i := slabConns - 1; i >= 0; i-- {
			slab[i].index = base + uint32(i)
			slab[i].next = t.free
			t.free = base + uint32(i) + 1
		}
	}
	c := t.conn(t.free - 1)
	t.free = c.next
	*c = Conn{t: t, index: c.index, epoch: c.epoch + 1, lane: t.newcomer, sorted: t.sorting}
	t.conns++
	t.states[Closed]++
	c.tm.Init(c)
	for i := range c.due {
		c.due[i] = mono.Never
	}
	c.stuckSince = mono.Never
	return c
}

// release gives c's slot back once nobody is inside its buffers; until then it is asked again.
//
// It is called by c's timer, so never while a method of c is under way. Its gate may yet be on the
// list of wakes: the turn that ended c and the one that frees it can be the same.
func (t *TCP) release(c *Conn, now mono.Time) {
	rx, tx := c.rx.Drop(), c.tx.Drop()
	if !rx || !tx {
		c.arm(timerFree, now.Add(memoryRetry))
		return
	}
	t.states[c.state]--
	t.conns--
	t.wheel.Stop(&c.tm)
	t.wakes.Forget(&c.Gate)
	c.Gate, c.rare = ring.Gate{}, nil
	c.next = t.free
	t.free = c.index + 1
}
