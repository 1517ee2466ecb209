package ring

import "sync/atomic"

// Late is a queue of datagrams that is there once something is put in: for what most sockets never have. The producer
// makes it, both sides load it.
type Late struct{ q atomic.Pointer[Datagrams] }

// Load returns the queue, nil if nothing was ever put in.
func (l *Late) Load() *Datagrams { return l.q.Load() }

// Make returns the queue, and makes it if there is none: of at most limit charged bytes, in memory of its own.
func (l *Late) Make(limit int) *Datagrams {
	d := l.q.Load()
	if d == nil {
		d = new(Datagrams)
		d.Init(NewPool(limit), limit)
		l.q.Store(d)
	}
	return d
}
