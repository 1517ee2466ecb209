package ring

import "sync/atomic"

// Events is a set of things that can happen to a socket, as poll(2) names them.
type Events uint32

const (
	In     Events = 1 << iota // data, a connection to accept, or the end of the stream
	Out                       // room to send
	Err                       // an error waits in SO_ERROR or on the error queue
	Hup                       // both directions have ended
	Pri                       // urgent data
	RdHup                     // the stream has ended, or nothing is read of it any more
	Change                    // it is in another state: everyone looks, and nobody is signalled (Linux: sk_state_change)
)

// A Watcher hears of what happened at a gate. Notify runs on a core, with its
// lock held, and says how many goroutines became runnable by it.
type Watcher interface {
	Notify(Events) (woken int)
}

// A Gate is where programs wait for one socket. A gate costs the core one atomic
// load per event while nobody watches.
//
// Whoever is about to sleep calls Watch first and looks at the queues once more
// after it; a core publishes what it has to the queues first and opens the gate
// after it. So one of the two sees the other.
type Gate struct {
	watching atomic.Int32  // written by watchers, read by cores
	pending  atomic.Uint32 // Events since the last flush; set by cores, taken by the core that listed the gate
	watcher  Watcher       // immutable after Init
}

// Init says who hears of this gate's events. It is called once, before any core
// knows the gate.
func (g *Gate) Init(w Watcher) { g.watcher = w }

// Watch counts one more who wants the watcher to be notified.
func (g *Gate) Watch() { g.watching.Add(1) }

// Unwatch takes back one Watch.
func (g *Gate) Unwatch() { g.watching.Add(-1) }

// Wakes is a core's list of gates with news, kept until the end of its turn so
// that a batch wakes a program once.
type Wakes struct {
	gates []*Gate // those whose pending this core made non-zero
}

// Open notes that ev happened at g. Whatever a program will see of it has been
// published before.
func (w *Wakes) Open(g *Gate, ev Events) {
	if g.watching.Load() == 0 {
		return
	}
	if g.pending.Or(uint32(ev)) == 0 {
		w.gates = append(w.gates, g)
	}
}

// Flush notifies the watchers of all gates that were opened and says how many
// goroutines became runnable.
func (w *Wakes) Flush() (woken int) {
	for i, g := range w.gates {
		w.gates[i] = nil
		if g != nil {
			woken += g.watcher.Notify(Events(g.pending.Swap(0)))
		}
	}
	w.gates = w.gates[:0]
	return woken
}

// Forget takes a gate off the list, telling its watcher what happened, because the
// memory it stands in is about to become something else.
func (w *Wakes) Forget(g *Gate) {
	if g.pending.Load() == 0 {
		return
	}
	for i := range w.gates {
		if w.gates[i] == g {
			w.gates[i] = nil
			g.watcher.Notify(Events(g.pending.Swap(0)))
		}
	}
}

// Empty says whether Flush would have nothing to do.
func (w *Wakes) Empty() bool { return len(w.gates) == 0 }

// Errno is the error that waits for a program at a socket (SO_ERROR): set by a
// core, taken by the program. The last one wins.
type Errno struct{ n atomic.Uint32 }

// Set leaves an error.
func (e *Errno) Set(errno uint32) { e.n.Store(errno) }

// Take returns the error and clears it; 0 is none.
func (e *Errno) Take() uint32 {
	if e.n.Load() == 0 {
		return 0
	}
	return e.n.Swap(0)
}

// Peek returns the error and leaves it.
func (e *Errno) Peek() uint32 { return e.n.Load() }
