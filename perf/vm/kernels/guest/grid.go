package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// The paths: slow enough for a processor under emulation not to be what is measured.
const (
	gridRate  = 4e6 / 8               // bytes a second
	gridDelay = 20 * time.Millisecond // each way
	gridQueue = 60                    // frames, those on their way included: BDP is 14
	gridBytes = 512 << 10             // of a transfer
	gridMax   = 100 * time.Second     // of a transfer
	gridTurns = 3                     // of each stack, in turn
)

// gridKernel is the kernel's own address at the near end.
const gridKernel = "10.99.0.3"

var gridLoss = []float32{0, 1, 3} // per cent, each way

// A station is a stack that serves HTTP at the near end of the path.
type station struct {
	name, addr string
	rates      []float64 // bit/s
}

// grid sends the same bytes by the engine's TCP and by the kernel's, from the same end of the same path, to the
// kernel at the other end and from it.
func (g *guest) grid() {
	ours, errO := netlab.NewNS()
	middle, errM := netlab.NewNS()
	peer, errP := netlab.NewNS()
	if err := errors.Join(errO, errM, errP); err != nil {
		g.say(report.Event{Kind: report.Check, Name: "grid", Failed: 1, Detail: err.Error()})
		return
	}
	defer ours.Close()
	defer middle.Close()
	defer peer.Close()
	var wires []int // of the middle, each towards an end
	var s *server
	g.check("TCP: a path", func() (err error) {
		if wires, err = bridged(ours, middle, peer); err != nil {
			return err
		}
		l, err := ours.Listen("tcp", gridKernel+":80")
		if err != nil {
			return err
		}
		go http.Serve(l, kernelStation())
		s, err = start(ours, "-i", "va", "-a", engine4+"/24", "--http", "80")
		return err
	})
	if s == nil {
		return
	}
	for _, loss := range gridLoss {
		g.check(fmt.Sprintf("TCP: %v %% lost", loss), func() error {
			if err := middle.Do(func() error { return impair(wires, loss) }); err != nil {
				return err
			}
			return errors.Join(g.cell(peer, "from", loss), g.cell(peer, "to", loss))
		})
	}
	g.check("TCP: the end", s.stop)
}

// cell is one path in one direction.
func (g *guest) cell(peer *netlab.NS, way string, loss float32) error {
	stations := []*station{{name: "engine", addr: engine4}, {name: "kernel", addr: gridKernel}}
	for range gridTurns {
		for _, s := range stations {
			begun := time.Now()
			if err := transfer(peer, way, s.addr); err != nil {
				return fmt.Errorf("%s the %s, %v %% lost: %w", way, s.name, loss, err)
			}
			s.rates = append(s.rates, gridBytes*8/time.Since(begun).Seconds())
		}
	}
	for _, s := range stations {
		slices.Sort(s.rates)
	}
	e, k := stations[0].rates[gridTurns/2], stations[1].rates[gridTurns/2]
	g.say(report.Event{Kind: report.Figure, Name: fmt.Sprintf("TCP %s the stack, %.0f Mbit/s, %v each way, %v %% lost", way, gridRate*8/1e6, gridDelay, loss),
		Value: fmt.Sprintf("%.2f Mbit/s, the kernel's own %.2f", e/1e6, k/1e6)})
	return nil
}

// transfer moves gridBytes over a connection of its own.
func transfer(peer *netlab.NS, way, addr string) error {
	client := http.Client{Timeout: gridMax, Transport: &http.Transport{DialContext: peer.DialContext, DisableKeepAlives: true}}
	if way == "from" {
		answer, err := client.Get(fmt.Sprintf("http://%s/blob/%d", addr, gridBytes))
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if n, err := io.Copy(io.Discard, answer.Body); err != nil || n != gridBytes {
			return fmt.Errorf("%d of %d bytes: %w", n, gridBytes, err)
		}
		return nil
	}
	blob := bytes.Repeat([]byte("loss"), gridBytes/4)
	answer, err := client.Post("http://"+addr+"/sum", "application/octet-stream", bytes.NewReader(blob))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if sum := sha256.Sum256(blob); err != nil || !strings.Contains(string(said), hex.EncodeToString(sum[:])) {
		return fmt.Errorf("the sum is %q: %w", said, err)
	}
	return nil
}

// kernelStation is what `xdpsock serve` gives by HTTP, for kernel sockets.
func kernelStation() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /blob/{n}", func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.PathValue("n"))
		w.Header().Set("Content-Length", strconv.Itoa(n))
		w.Write(make([]byte, n))
	})
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) {
		h := sha256.New()
		io.Copy(h, r.Body)
		fmt.Fprintf(w, "%x\n", h.Sum(nil))
	})
	return mux
}

// bridged puts a bridge between two namespaces, and returns its ports.
func bridged(ours, middle, peer *netlab.NS) (ports []int, err error) {
	var master int
	err = middle.Do(func() error {
		b := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "br"}}
		if err := errors.Join(netlink.LinkAdd(b), netlink.LinkSetUp(b)); err != nil {
			return fmt.Errorf("bridge: %w", err)
		}
		l, err := netlink.LinkByName("br")
		if err == nil {
			master = l.Attrs().Index
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, e := range []netlab.End{
		{NS: ours, Name: "va", Addrs: prefixes(gridKernel + "/24"), Off: netlab.OnWire},
		{NS: peer, Name: "vb", Addrs: prefixes(kernel4 + "/24"), Off: netlab.OnWire},
	} {
		v, err := netlab.VethPair(e, netlab.End{NS: middle, Name: "m" + e.Name, Off: netlab.OnWire})
		if err != nil {
			return nil, err
		}
		ports = append(ports, v.B.Index)
		err = middle.Do(func() error {
			l, err := netlink.LinkByIndex(v.B.Index)
			if err != nil {
				return err
			}
			return netlink.LinkSetMasterByIndex(l, master)
		})
		if err != nil {
			return nil, fmt.Errorf("bridge port: %w", err)
		}
	}
	return ports, nil
}

// impair makes the way out by each port slow, long and lossy.
func impair(ports []int, loss float32) error {
	for _, index := range ports {
		q := netlink.NewNetem(
			netlink.QdiscAttrs{LinkIndex: index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
			netlink.NetemQdiscAttrs{Latency: uint32(gridDelay.Microseconds()), Loss: loss, Limit: gridQueue, Rate64: gridRate})
		if err := netlink.QdiscReplace(q); err != nil {
			return fmt.Errorf("netem: %w", err)
		}
	}
	return nil
}
