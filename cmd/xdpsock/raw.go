package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/mono"
)

// rawBatchMax is how many frames a turn of a core takes, at most.
const rawBatchMax = 64

// rawFlags are the flags of rxdrop, txonly and l2fwd.
type rawFlags struct {
	iface    string
	queue    int
	mode     string
	busyPoll bool
	poll     bool
	batch    int
	coalesce time.Duration
	seconds  float64
	interval float64
}

func (f *rawFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.iface, "interface", "i", "", "interface to open")
	flags.IntVarP(&f.queue, "queue", "q", -1, "only this queue, from 0 on; the others stay with the kernel")
	flags.StringVar(&f.mode, "mode", string(engine.ModeAuto), "how packets get here: auto, zerocopy, native, skb or packet")
	flags.BoolVar(&f.busyPoll, "busy-poll", false, "run the driver from our own system calls (SO_PREFER_BUSY_POLL)")
	flags.BoolVarP(&f.poll, "poll", "p", false, "sleep in poll(2) when there is nothing to do, instead of looking again")
	flags.IntVarP(&f.batch, "batch", "b", rawBatchMax, "packets a turn, 1 to 64")
	flags.DurationVar(&f.coalesce, "coalesce", 10*time.Microsecond, "how long to let frames gather after a turn of less than half a batch; 0: not at all")
	flags.Float64VarP(&f.seconds, "duration", "d", 0, "seconds to run")
	flags.Float64VarP(&f.interval, "interval", "n", 1, "seconds between two tables; 0: only the summary")
	flags.Lookup("queue").DefValue, flags.Lookup("duration").DefValue = "all", "until Ctrl-C"
}

// config checks the flags and says what to open.
func (f *rawFlags) config(cmd *cobra.Command) (cfg engine.NICConfig, err error) {
	if f.iface == "" {
		return cfg, usagef("no interface: say with -i which one to open")
	}
	cfg = engine.NICConfig{Interface: f.iface, BusyPoll: f.busyPoll}
	if cfg.Mode, err = parseMode(f.mode); err != nil {
		return cfg, err
	}
	if cmd.Flags().Changed("queue") {
		if f.queue < 0 {
			return cfg, usagef("--queue %d: queues are counted from 0 on", f.queue)
		}
		cfg.Queues = []int{f.queue}
	}
	if f.batch < 1 || f.batch > rawBatchMax {
		return cfg, usagef("--batch %d is not between 1 and %d", f.batch, rawBatchMax)
	}
	if f.coalesce < 0 || f.coalesce > engine.CoalesceMax {
		return cfg, usagef("--coalesce %v is not between 0 and %v", f.coalesce, engine.CoalesceMax)
	}
	for name, v := range map[string]float64{"duration": f.seconds, "interval": f.interval} {
		if math.IsNaN(v) || v < 0 || v > secondsMax || v == 0 && name == "duration" && cmd.Flags().Changed(name) {
			return cfg, usagef("--%s %v is not a number of seconds to wait", name, v)
		}
	}
	return cfg, nil
}

// secondsMax is what a time.Duration holds, a century short of it.
const secondsMax = 6e9

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// A rawMode is what distinguishes the raw modes.
type rawMode struct {
	name     string
	receives bool // it takes every frame of the interface
	// handler makes the handler of one core. dropped, which may be nil, counts what it
	// threw away.
	handler func(nic engine.NICInfo, ports []engine.Device) (h engine.Handler, dropped *atomic.Uint64, err error)
}

// run opens the interface, runs the mode on it until it is to end, and says what
// passed.
func (f *rawFlags) run(cmd *cobra.Command, mode rawMode) (err error) {
	cfg, err := f.config(cmd)
	if err != nil {
		return err
	}
	nic, err := engine.OpenNIC(cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nic.Close()) }()
	r := &rawRun{name: mode.name, nic: nic.Info(), out: outputOf(cmd)}
	if err := r.open(f, mode, nic); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if mode.receives {
		if err := nic.Everything(true); err != nil {
			return err
		}
	}
	ctx := cmd.Context()
	if f.seconds > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds(f.seconds))
		defer cancel()
	}
	return r.drive(ctx, seconds(f.interval))
}

// A rawRun is an open raw mode: cores that share the queues of an interface.
type rawRun struct {
	name    string
	nic     engine.NICInfo
	out     *output
	cores   []*engine.Core
	sockets []rawSocket
	dropped []*atomic.Uint64
	failed  chan error // the interface has come to its end
	stop    atomic.Bool
}

// rawSocket is one queue and what it had counted when it was last looked at.
type rawSocket struct {
	queue  int
	device engine.Device
	last   engine.DeviceStats
}

// open makes the cores: one for each processor that Go has, or queue if there are fewer, since
// each keeps one busy.
func (r *rawRun) open(f *rawFlags, mode rawMode, nic *engine.NIC) (err error) {
	r.failed = make(chan error, 1)
	devices := nic.Devices() // ours to close from here on
	defer func() {
		if err != nil {
			r.close()
			for _, d := range devices {
				if d != nil {
					d.Close()
				}
			}
		}
	}()
	policy, coalesce := engine.Latency, f.coalesce
	if f.poll {
		policy, coalesce = engine.Efficient, 0 // a sleep gathers more
	}
	if !mode.receives {
		coalesce = 0 // what comes are completions: few at a time, and the sooner the better
	}
	for i, d := range devices {
		r.sockets = append(r.sockets, rawSocket{queue: r.nic.Queues[i], device: d})
	}
	count := min(len(devices), runtime.GOMAXPROCS(0))
	for first := range count {
		var ports []engine.Device
		for i := first; i < len(devices); i += count {
			ports = append(ports, devices[i])
		}
		h, dropped, err := mode.handler(r.nic, ports)
		if err != nil {
			return err
		}
		if dropped != nil {
			r.dropped = append(r.dropped, dropped)
		}
		c, err := engine.Open(engine.Config{
			Devices: ports, Handler: &watched{h, r.failed}, Policy: policy, Batch: f.batch, Coalesce: coalesce, Manual: true,
		})
		if err != nil {
			return err
		}
		r.cores = append(r.cores, c)
		for i := first; i < len(devices); i += count {
			devices[i] = nil // the core's
		}
	}
	return nil
}

// watched is a handler whose ports are reported when they fail.
type watched struct {
	engine.Handler
	failed chan error
}

func (w *watched) PortFailed(_ int, err error) {
	select {
	case w.failed <- err:
	default: // one is enough
	}
}

func (r *rawRun) close() error {
	var errs []error
	for _, c := range r.cores {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// drive turns the cores until ctx ends or the interface does, and prints.
func (r *rawRun) drive(ctx context.Context, interval time.Duration) (err error) {
	links, err := engine.WatchLinks(func(ev engine.LinkEvent) {
		if ev.Deleted && ev.Link.Index == r.nic.Index {
			for _, c := range r.cores {
				c.CheckPorts()
			}
		}
	})
	if err != nil {
		return err
	}
	defer links.Close()

	began := time.Now()
	r.begin()
	var (
		drivers sync.WaitGroup
		ends    []*ending
	)
	for _, c := range r.cores {
		e := &ending{stop: &r.stop}
		ends = append(ends, e)
		drivers.Go(func() { c.Wait(engine.NewWaiter(), e) })
	}
	var tick <-chan time.Time
	if interval > 0 {
		ticker := time.NewTicker(interval)
		defer ticker.Stop()
		tick = ticker.C
	}
	for last, ended := began, false; !ended; {
		select {
		case <-ctx.Done():
			ended = true
		case err = <-r.failed:
			ended = true
		case <-tick:
			now := time.Now()
			r.table(now.Sub(last))
			last = now
		}
	}
	r.stop.Store(true)
	for _, e := range ends {
		e.wake()
	}
	drivers.Wait()
	r.summary(time.Since(began))
	return err
}

// ending is what the drivers of a raw mode wait for: that it is over.
type ending struct {
	stop *atomic.Bool
	mu   sync.Mutex
	w    *engine.Waiter // guarded by mu
}

func (e *ending) Done(mono.Time) bool { return e.stop.Load() }
func (e *ending) Deadline() mono.Time { return mono.Never }

func (e *ending) Arm(w *engine.Waiter) {
	e.mu.Lock()
	e.w = w
	e.mu.Unlock()
}

func (e *ending) Disarm(*engine.Waiter) {
	e.mu.Lock()
	e.w = nil
	e.mu.Unlock()
}

// wake makes the driver look at stop. One that is not armed will look by itself.
func (e *ending) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.w != nil {
		e.w.Wake()
	}
}

// modeWord is a mode as the kernel's sample program has it.
func modeWord(mode string) string {
	switch mode {
	case "native copy":
		return "xdp-drv"
	case "zerocopy":
		return "xdp-drv zero-copy"
	case "skb":
		return "xdp-skb"
	}
	return mode
}

func (r *rawRun) head(i int) string {
	return fmt.Sprintf("sock%d@%s:%d %s %s", i, r.nic.Interface, r.sockets[i].queue, r.name, modeWord(r.nic.Mode))
}
