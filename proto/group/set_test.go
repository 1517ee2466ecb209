package group

import (
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

func TestSet(t *testing.T) { // RFC 3678 §4.1, and the errnos of Linux
	g, g6 := ip("239.1.1.1"), ip("ff05::1")
	a, b := ip("10.0.0.1"), ip("10.0.0.2")
	type op struct {
		name string
		do   func(*Set) (*Set, unix.Errno)
		want unix.Errno
	}
	join := op{"join", func(s *Set) (*Set, unix.Errno) { return s.Join(0, g) }, 0}
	leave := op{"leave", func(s *Set) (*Set, unix.Errno) { return s.Leave(0, g) }, 0}
	joinSource := func(src netip.Addr, want unix.Errno) op {
		return op{"join source", func(s *Set) (*Set, unix.Errno) { return s.JoinSource(0, g, src) }, want}
	}
	leaveSource := func(src netip.Addr, want unix.Errno) op {
		return op{"leave source", func(s *Set) (*Set, unix.Errno) { return s.LeaveSource(0, g, src) }, want}
	}
	block := func(src netip.Addr, want unix.Errno) op {
		return op{"block", func(s *Set) (*Set, unix.Errno) { return s.Block(0, g, src) }, want}
	}
	unblock := func(src netip.Addr, want unix.Errno) op {
		return op{"unblock", func(s *Set) (*Set, unix.Errno) { return s.Unblock(0, g, src) }, want}
	}
	filter := func(f *Filter, want unix.Errno) op {
		return op{"filter", func(s *Set) (*Set, unix.Errno) { return s.SetFilter(0, g, *f) }, want}
	}
	fails := func(o op, want unix.Errno) op { o.want = want; return o }
	for _, c := range []struct {
		name   string
		ops    []op
		member bool
		want   Filter
	}{
		{"join", []op{join}, true, *exclude("")},
		{"join twice", []op{join, fails(join, unix.EADDRINUSE)}, true, *exclude("")},
		{"leave", []op{join, leave, fails(leave, unix.EADDRNOTAVAIL)}, false, Filter{}},
		{"sources", []op{joinSource(b, 0), joinSource(a, 0), joinSource(a, unix.EADDRNOTAVAIL)}, true, *include("10.0.0.1 10.0.0.2")},
		{"the last source leaves", []op{joinSource(a, 0), leaveSource(b, unix.EADDRNOTAVAIL), leaveSource(a, 0), leaveSource(a, unix.EINVAL)}, false, Filter{}},
		{"block", []op{join, block(a, 0), block(a, unix.EADDRNOTAVAIL), block(b, 0), unblock(a, 0), unblock(a, unix.EADDRNOTAVAIL)}, true, *exclude("10.0.0.2")},
		{"block without a join", []op{block(a, unix.EINVAL)}, false, Filter{}},
		{"a source of what is heard whole", []op{join, joinSource(a, 0)}, true, *include("10.0.0.1")},
		{"a source of what is blocked in part", []op{join, block(a, 0), joinSource(b, unix.EINVAL), unblock(a, 0), joinSource(b, unix.EINVAL)}, true, *exclude("")},
		{"leaving a source of what is heard whole", []op{join, leaveSource(a, unix.EADDRNOTAVAIL)}, true, *include("")},
		{"filter", []op{join, filter(include("10.0.0.1"), 0), filter(exclude("10.0.0.2"), 0), filter(exclude(""), 0), joinSource(a, 0)}, true, *include("10.0.0.1")},
		{"filter that hears none", []op{join, filter(include(""), 0), fails(leave, unix.EADDRNOTAVAIL)}, false, Filter{}},
		{"filter without a join", []op{filter(exclude("10.0.0.1"), unix.EINVAL), filter(include(""), unix.EADDRNOTAVAIL)}, false, Filter{}},
		{"filter of no mode", []op{join, filter(&Filter{Mode: 7, Sources: ips("10.0.0.1")}, unix.EINVAL)}, true, *exclude("")},
	} {
		var s *Set
		for i, o := range c.ops {
			before := slices.Clone(s.Members())
			old := s
			next, errno := o.do(s)
			if errno != o.want {
				t.Errorf("%s: %d, %s: %v, want %v", c.name, i, o.name, errno, o.want)
			}
			if !slices.EqualFunc(before, old.Members(), func(x, y Membership) bool { return slices.Equal(x.Sources, y.Sources) && x.Mode == y.Mode }) {
				t.Errorf("%s: %d, %s has changed the set in place", c.name, i, o.name)
			}
			s = next
		}
		f, ok := s.Filter(0, g)
		if ok != c.member || f.Mode != c.want.Mode || !slices.Equal(f.Sources, c.want.Sources) {
			t.Errorf("%s: %v %+v, want %v %+v", c.name, ok, f, c.member, c.want)
		}
	}

	var s *Set
	if _, errno := s.Join(0, ip("10.0.0.1")); errno != unix.EINVAL {
		t.Errorf("join of no group: %v", errno)
	}
	for i := range membershipsMax4 {
		s, _ = s.Join(0, netip.AddrFrom4([4]byte{239, 0, 0, byte(i)}))
	}
	if _, errno := s.Join(0, ip("239.1.0.0")); errno != unix.ENOBUFS {
		t.Errorf("one membership too many: %v", errno)
	}
	if _, errno := s.Join(0, g6); errno != 0 {
		t.Errorf("one of the other family: %v", errno)
	}
	for i, limit := range map[netip.Addr]int{g: sourcesMax4, g6: sourcesMax6} {
		var s *Set
		var errno unix.Errno
		for n := range limit + 1 {
			src := netip.AddrFrom4([4]byte{10, 0, 0, byte(n)})
			if !i.Is4() {
				src = netip.AddrFrom16([16]byte{0xfd, 15: byte(n)})
			}
			s, errno = s.JoinSource(0, i, src)
		}
		if f, _ := s.Filter(0, i); errno != unix.ENOBUFS || len(f.Sources) != limit {
			t.Errorf("%v: one source too many: %v, %d", i, errno, len(f.Sources))
		}
	}
}

func TestSetAllows(t *testing.T) { // Linux ip_mc_sf_allow
	g := ip("239.1.1.1")
	var s *Set
	if !s.Allows(0, g, ip("10.0.0.1"), true) || s.Allows(0, g, ip("10.0.0.1"), false) {
		t.Error("a group that was not joined: IP_MULTICAST_ALL decides")
	}
	s, _ = s.Join(1, g)
	s, _ = s.Block(1, g, ip("10.0.0.1"))
	if s.Allows(1, g, ip("10.0.0.1"), true) || !s.Allows(1, g, ip("10.0.0.2"), false) || s.Allows(0, g, ip("10.0.0.2"), false) {
		t.Error("the filter of the port that was joined on decides")
	}
}
