package socketapi

import "sync/atomic"

// users counts the calls that are under way on a socket. What a socket gives back when it
// closes (a connection's slot, the memory of its queues) becomes another's, so whoever
// closes it wakes all that wait and then lets the last of them leave.
type users struct {
	n     atomic.Int64  // calls under way, and usersSealed once no more may begin
	empty chan struct{} // closed by the last to leave; made before n is sealed
}

const usersSealed = -1 << 62

// enter begins a call. It fails once the socket is being closed.
func (u *users) enter() bool {
	for {
		n := u.n.Load()
		if n < 0 {
			return false
		}
		if u.n.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave ends a call.
func (u *users) leave() {
	if u.n.Add(-1) == usersSealed {
		close(u.empty)
	}
}

// seal lets no more calls begin and returns when all have left. It is called once, not from
// a call that is counted.
func (u *users) seal() {
	u.empty = make(chan struct{})
	if u.n.Add(usersSealed) != usersSealed {
		<-u.empty
	}
}
