package ring

import "sync/atomic"

// A Word is a number that a core and a program share beside a queue: a pending
// error, a state that poll(2) asks for, how many wait to be accepted. Storing it
// publishes what was written before.
type Word struct{ v atomic.Uint64 }

func (w *Word) Load() uint64          { return w.v.Load() }
func (w *Word) Store(v uint64)        { w.v.Store(v) }
func (w *Word) Swap(v uint64) uint64  { return w.v.Swap(v) }
func (w *Word) Add(d int64) uint64    { return w.v.Add(uint64(d)) }
func (w *Word) Or(bits uint64) uint64 { return w.v.Or(bits) }
func (w *Word) Clear(bits uint64)     { w.v.And(^bits) }
func (w *Word) Has(bits uint64) bool  { return w.v.Load()&bits != 0 }

// CompareAndSwap stores to if the word is old, and says whether it was.
func (w *Word) CompareAndSwap(old, to uint64) bool { return w.v.CompareAndSwap(old, to) }
