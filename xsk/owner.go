package xsk

import "fmt"

// Every frame has one byte that says where it is: free, lent, or with the kernel
// by way of one queue's rings. Each hand-over checks and rewrites it (measured: below a
// nanosecond a frame, the table stays in the first-level cache), so that a frame that is
// given away twice is found where it happens, and so that Close knows which frames a
// queue had, although the kernel never says.
//
// The byte is id<<2 | side. A queue's id lies in 1..MaxSockets; 0 is the UMEM itself.
const (
	free uint8 = 0 // on the free stack
	lent uint8 = 1 // the caller's

	sideFill uint8 = 1 // fill ring, kernel, rx ring
	sideTx   uint8 = 2 // tx ring, kernel, completion ring

	parked uint8 = 3 // had by a zero-copy queue that was closed; the driver may still write to it
)

// MaxSockets is how many queues one UMEM can serve: what fits beside the side in a byte.
const MaxSockets = 63

// move changes the owner of the frame that addr lies in, if it is the expected one.
func (u *UMEM) move(addr uint64, from, to uint8) bool {
	i := addr >> u.shift
	if i >= uint64(len(u.owner)) || u.owner[i] != from {
		return false
	}
	u.owner[i] = to
	return true
}

// misuse notes that a frame was given to an operation that it could not be given
// to: freed or sent twice, or never lent. The frame stays where it was. Built with the
// tag xdpdebug it panics, which names the culprit.
func (u *UMEM) misuse(op string, addr uint64, want uint8) {
	u.misused.Add(1)
	if debug {
		state := "outside the umem"
		if i := addr >> u.shift; i < uint64(len(u.owner)) {
			state = fmt.Sprintf("with owner %#x", u.owner[i])
		}
		panic(fmt.Sprintf("xsk: %s of frame %#x, which is %s instead of %#x", op, addr, state, want))
	}
}

// Misused counts frames that were given to an operation while they belonged to somebody
// else: each is a bug of the caller, and was refused. Anyone may ask.
func (u *UMEM) Misused() uint64 { return u.misused.Load() }

// A Census says where the frames of a UMEM are.
type Census struct {
	Frames int // all
	Free   int // on the free stack
	Lent   int // with the caller
	Fill   int // in a fill ring, the kernel or an rx ring
	Tx     int // in a tx ring, the kernel or a completion ring
	Parked int // of closed zero-copy queues, until the kernel lets the queue go
}

func (c Census) String() string {
	return fmt.Sprintf("%d frames: %d free, %d lent, %d fill and rx, %d tx and completion, %d parked",
		c.Frames, c.Free, c.Lent, c.Fill, c.Tx, c.Parked)
}

// Census counts the frames by place. It reads the whole table: not for the data path.
func (u *UMEM) Census() Census {
	c := Census{Frames: len(u.owner)}
	for _, o := range u.owner {
		switch {
		case o == free:
			c.Free++
		case o == lent:
			c.Lent++
		case o == parked:
			c.Parked++
		case o&3 == sideFill:
			c.Fill++
		case o&3 == sideTx:
			c.Tx++
		}
	}
	return c
}

// audit compares the table with what the stacks and the queues' own counts say.
func (u *UMEM) audit() error {
	c := u.Census()
	fill, tx := 0, 0
	for _, s := range u.sockets {
		if s.lead {
			fill += s.queue.inFill
			tx += s.queue.inTx
		}
	}
	seen := make([]bool, len(u.owner))
	twice := 0
	for _, addr := range u.free {
		i := addr >> u.shift
		if seen[i] || u.owner[i] != free {
			twice++
		}
		seen[i] = true
	}
	sum := c.Free + c.Lent + c.Fill + c.Tx + c.Parked
	if twice > 0 || len(u.free) != c.Free || fill != c.Fill || tx != c.Tx || sum != c.Frames {
		return fmt.Errorf("umem: the frames do not add up: %v (sum %d); the free stack has %d, %d of them wrongly, the queues say %d fill and rx, %d tx and completion",
			c, sum, len(u.free), twice, fill, tx)
	}
	return nil
}

// reclaim takes all frames of a queue whose socket is closed: to the free stack, or, when a
// driver may still write to them, to where they wait for the queue's next socket.
func (u *UMEM) reclaim(q *queue, park bool) {
	for i, o := range u.owner {
		if o>>2 != q.id {
			continue
		}
		addr := uint64(i) << u.shift
		if park {
			u.owner[i] = parked
			u.limbo[q.place] = append(u.limbo[q.place], addr)
			continue
		}
		u.owner[i] = free
		u.push(addr)
	}
	q.inFill, q.inTx = 0, 0
}

// unpark frees what a closed socket of the place had. It is called when a new socket has been
// bound there: the kernel allows that only after the driver gave the old one's frames up.
func (u *UMEM) unpark(p place) {
	for _, addr := range u.limbo[p] {
		if u.move(addr, parked, free) {
			u.push(addr)
		}
	}
	delete(u.limbo, p)
}
