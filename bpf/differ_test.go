package bpf

import (
	"math/rand/v2"
	"net/netip"
	"testing"
)

// The program and the model must agree on whatever comes. Frames are built at
// random, of addresses, ports and headers that rules are about, and then often
// cut, padded or damaged.

func pick[T any](r *rand.Rand, from ...T) T { return from[r.IntN(len(from))] }

func randomPort(r *rand.Rand) int {
	return pick(r, 53, 80, 443, 5000, 9, 68, 32769, 32770, 33000, 33001, 40000, 40064, r.IntN(1<<16))
}

// randomFlow makes a transport header; half of them are of a rule's ports.
func randomFlow(r *rand.Rand) (proto byte, src, dst int) {
	proto, src, dst = pick[byte](r, 6, 17), randomPort(r), randomPort(r)
	if r.IntN(2) == 0 {
		src, dst = 80, pick(r, 53, 443, 80, 5000, 32770, 40000)
	}
	if r.IntN(8) == 0 {
		proto = byte(r.IntN(256))
	}
	return proto, src, dst
}

func randomAddr(r *rand.Rand, v int) string {
	return pick(r, own[v], shared[v], shared[v], named[v], flowing[v], flowing[v], foreign[v], remote[v])
}

// randomPacket is a packet to us, or one of ours if it is quoted in another.
func randomPacket(r *rand.Rand, v int, quoted bool) []byte {
	src, dst := remote[v], randomAddr(r, v)
	if r.IntN(8) == 0 {
		src = randomAddr(r, v)
	}
	proto, sport, dport := randomFlow(r)
	payload := udp(sport, dport)
	if quoted {
		src, dst, payload = dst, src, udp(dport, sport)
	} else if r.IntN(4) == 0 {
		proto = []byte{1, 58}[v]
		inner := randomPacket(r, v, true)
		if r.IntN(2) == 0 { // most errors come to whom they are about
			if v == 0 {
				dst = netip.AddrFrom4([4]byte(inner[12:])).String()
			} else {
				dst = netip.AddrFrom16([16]byte(inner[8:])).String()
			}
		}
		payload = icmp(pick[byte](r, 1, 2, 3, 3, 3, 4, 5, 8, 11, 12, 128, 135), byte(r.IntN(8)), inner)
	}
	if v == 0 {
		edits := []func([]byte){}
		if r.IntN(4) == 0 {
			edits = append(edits, fragment(r.IntN(3), r.IntN(2) == 0, pick(r, 0, 0, 8, 65528)))
		}
		packet := ip4(src, dst, proto, payload, edits...)
		if r.IntN(3) == 0 {
			packet = withOptions(5+r.IntN(11), packet)
		}
		return packet
	}
	for range pick(r, 0, 0, 0, 1, 1, 2, 3, 6, 7) {
		kind := pick[byte](r, 0, 43, 44, 51, 60)
		switch kind {
		case 44:
			payload = join(fragment6(proto, uint32(r.IntN(3)), r.IntN(2) == 0, pick(r, 0, 0, 8, 65528)), payload)
		case 51:
			payload = join(ext(proto, r.IntN(4), 4), payload)
		default:
			payload = join(ext(proto, r.IntN(3), 8), payload)
		}
		proto = kind
	}
	if r.IntN(8) == 0 {
		dst = pick(r, "ff02::1", "ff02::1:ff00:1")
	}
	return ip6(src, dst, proto, payload)
}

func randomFrame(t testing.TB, r *rand.Rand) []byte {
	var frame []byte
	switch r.IntN(10) {
	case 0:
		frame = arp(t, uint16(r.IntN(4)), randomAddr(r, 0))
	case 1:
		frame = solicit(t, randomAddr(r, 1))
	default:
		frame = eth(randomPacket(r, r.IntN(2), false))
		if r.IntN(8) == 0 {
			frame = to(pick(r, macAll, macGroup), frame)
		}
	}
	for r.IntN(4) == 0 {
		frame = tagged(frame, pick(r, 0x8100, 0x88a8))
	}
	if r.IntN(4) == 0 {
		frame = join(frame, make([]byte, r.IntN(64)))
	}
	for r.IntN(4) == 0 {
		frame = edit(frame, r.IntN(len(frame)), byte(r.IntN(256)))
	}
	if r.IntN(8) == 0 {
		frame = frame[:frameMin+r.IntN(len(frame)-frameMin+1)]
	}
	return frame
}

// agree judges a frame by both and returns their verdict.
func (r *rig) agree(t testing.TB, frame []byte) Verdict {
	t.Helper()
	got, want := r.judge(t, frame), r.m.judge(frame)
	if got != want {
		t.Fatalf("the program says %v, the model %v, of frame %x", got, want, frame)
	}
	return got
}

func TestProgramAgreesWithTheModel(t *testing.T) {
	frames := 20000
	if testing.Short() {
		frames = 4000 // enough to meet every verdict
	}
	for _, set := range []struct {
		name  string
		rules func(*rig)
	}{
		{"no rules", nil},
		{"rules of every kind by address", func(r *rig) { r.allRules(t) }},
		{"and a port at any address", func(r *rig) { r.allRules(t); r.port(t, UDP, ":68"); r.port(t, TCP, ":9") }},
	} {
		t.Run(set.name, func(t *testing.T) {
			r := newRig(t)
			if set.rules != nil {
				set.rules(r)
			}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			var met Counters
			// A generator that misses a verdict tests less than it seems to. The rarest comes once in 1000 frames.
			missing := func() (list []Verdict) {
				for v := range Verdict(verdictCount) {
					if met[v] == 0 && v != RedirectEverything && v != PassEmpty && (v != PassForeign || met[PassUnruled] == 0) {
						list = append(list, v)
					}
				}
				return list
			}
			for i := 0; i < frames || i < 10*frames && len(missing()) > 0 && set.rules != nil; i++ {
				met[r.agree(t, randomFrame(t, random))]++
				if i%1024 == 1023 {
					r.forget(t)
				}
			}
			t.Log(met.String())
			if v := missing(); len(v) > 0 && set.rules != nil {
				t.Errorf("no frame of %d met %v", 10*frames, v)
			}
		})
	}
}

// FuzzVerdicts gives two frames in a row, since a fragment is judged by what came
// before.
func FuzzVerdicts(f *testing.F) {
	for _, row := range rows(f) {
		f.Add(row.frame, row.frame)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		f.Add(randomFrame(f, random), randomFrame(f, random))
	}
	r := newRig(f)
	r.allRules(f)
	f.Fuzz(func(t *testing.T, first, second []byte) {
		for _, frame := range [][]byte{first, second} {
			if len(frame) >= frameMin && len(frame) <= 3000 {
				r.agree(t, frame)
			}
		}
		r.forget(t)
	})
}
