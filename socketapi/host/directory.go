package host

import (
	"hash/maphash"
	"net/netip"
	"sync"
)

// directory says which core a connection lives on. A core asks it only about a
// segment whose connection it does not have itself, so it is asked rarely: for new
// connections, and for flows that the kernel has moved to another queue.
type directory struct {
	seed   maphash.Seed
	shards [directoryShards]shard
}

// directoryShards keeps cores that open connections at the same time from each other.
const directoryShards = 64

type shard struct {
	mu    sync.RWMutex
	cores map[flow]int
	_     [32]byte // two shards do not share a cache line
}

type flow struct{ local, remote netip.AddrPort }

func newDirectory() *directory {
	d := &directory{seed: maphash.MakeSeed()}
	for i := range d.shards {
		d.shards[i].cores = make(map[flow]int)
	}
	return d
}

func (d *directory) shard(f flow) *shard {
	return &d.shards[maphash.Comparable(d.seed, f)%directoryShards]
}

func (d *directory) owner(local, remote netip.AddrPort) (core int, ok bool) {
	f := flow{local, remote}
	s := d.shard(f)
	s.mu.RLock()
	core, ok = s.cores[f]
	s.mu.RUnlock()
	return core, ok
}

// claim says whether core is the owner now; it is not if another was faster.
func (d *directory) claim(local, remote netip.AddrPort, core int) bool {
	f := flow{local, remote}
	s := d.shard(f)
	s.mu.Lock()
	defer s.mu.Unlock()
	if owner, ok := s.cores[f]; ok {
		return owner == core
	}
	s.cores[f] = core
	return true
}

func (d *directory) disclaim(local, remote netip.AddrPort) {
	f := flow{local, remote}
	s := d.shard(f)
	s.mu.Lock()
	delete(s.cores, f)
	s.mu.Unlock()
}
