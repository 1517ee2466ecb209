package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// The NICs are on one hub, with the hardware addresses that the host gave them.
const (
	nicA, nicB = "eth0", "eth1"
	macA       = "02:00:00:00:00:01"
)

// virtio runs the raw modes and a server between two virtio NICs, by the best that the kernel's driver has
// (which is held against its number), and by copying beside zero copy. A server's client is the kernel.
func (g *guest) virtio(v version) {
	far, err := netlab.NewNS()
	if err != nil {
		g.say(report.Event{Kind: report.Check, Name: "virtio", Failed: 1, Detail: err.Error()})
		return
	}
	defer far.Close()
	near, err := netlab.NewNS()
	if err != nil {
		g.say(report.Event{Kind: report.Check, Name: "virtio", Failed: 1, Detail: err.Error()})
		return
	}
	defer near.Close()
	for _, take := range []struct {
		name string
		end  netlab.End
	}{
		{nicA, netlab.End{NS: near, Name: nicA}},
		{nicB, netlab.End{NS: far, Name: nicB, Addrs: prefixes(kernel4+"/24", kernel6+"/64")}},
	} {
		loan, err := netlab.Borrow(nil, take.name, take.end)
		if err != nil {
			g.say(report.Event{Kind: report.Check, Name: "virtio", Failed: 1, Detail: err.Error()})
			return
		}
		defer loan.Return()
	}
	var modes []string
	g.check("info: virtio", func() error {
		_, got, err := info(near, nicA, "--probe")
		if err != nil {
			return err
		}
		g.gets("virtio", got)
		modes = append(modes, got.Gets.Mode)
		if v.before(6, 13) {
			return got.is("native", "zerocopy: operation not supported")
		}
		modes = append(modes, "native")
		return got.is("zerocopy", "")
	})
	for _, mode := range modes {
		g.check("virtio "+mode+": txonly to rxdrop", func() error {
			return g.raw(near, far, mode, "rxdrop")
		})
		g.check("virtio "+mode+": l2fwd", func() error {
			return g.raw(near, far, mode, "l2fwd")
		})
		g.check("virtio "+mode+": serve", func() error {
			s, err := start(near, append([]string{"-i", nicA, "--mode", mode}, services...)...)
			if err != nil {
				return err
			}
			return errors.Join(ask(far), s.stop())
		})
	}
}

// raw sends from the far NIC with txonly and has a raw mode receive at the near one.
func (g *guest) raw(near, far *netlab.NS, mode, receiver string) error {
	const seconds = "6"
	r := near.Command("/bin/xdpsock", receiver, "-i", nicA, "--mode", mode, "-d", seconds, "--json")
	var out, errs bytes.Buffer
	r.Stdout, r.Stderr = &out, &errs
	if err := r.Start(); err != nil {
		return err
	}
	sent := far.Command("/bin/xdpsock", "txonly", "-i", nicB, "--mode", mode, "-d", "4", "--json", "--dst-mac", macA)
	var sentErrs bytes.Buffer
	sent.Stderr = &sentErrs
	begun := time.Now()
	_, err := sent.Output()
	if err != nil {
		err = fmt.Errorf("txonly: %w: %s", err, tail(sentErrs.Bytes()))
	}
	took := time.Since(begun)
	if e := r.Wait(); e != nil {
		return errors.Join(err, fmt.Errorf("%s: %w: %s", receiver, e, tail(errs.Bytes())))
	}
	if err != nil {
		return err
	}
	var last struct {
		Sockets []struct {
			Rx uint64 `json:"rx_packets"`
			Tx uint64 `json:"tx_packets"`
		} `json:"sockets"`
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || len(last.Sockets) == 0 {
		return fmt.Errorf("%s says %s (%v)", receiver, lines[len(lines)-1], err)
	}
	n := last.Sockets[0].Rx
	if receiver == "l2fwd" {
		n = last.Sockets[0].Tx
	}
	if n == 0 {
		return fmt.Errorf("%s moved nothing", receiver)
	}
	g.say(report.Event{Kind: report.Figure, Name: fmt.Sprintf("virtio %s, %s", mode, receiver), Value: fmt.Sprintf("%.1f kpps", float64(n)/took.Seconds()/1e3)})
	return nil
}
