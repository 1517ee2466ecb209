package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// stopMax is how long a program may take to end before it is killed.
const stopMax = 5 * time.Second

// A child is a program that runs inside a namespace.
type child struct {
	name   string
	cmd    *netlab.Cmd
	stdin  io.WriteCloser
	stdout output
	stderr output
	done   chan struct{} // closed when it has ended
	err    error         // how; after done
}

// start runs argv inside ns. It is killed with this process, whatever ends it.
func start(ns *netlab.NS, argv ...string) (*child, error) {
	c := &child{name: filepath.Base(argv[0]), cmd: ns.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	c.cmd.Stdout, c.cmd.Stderr = &c.stdout, &c.stderr
	// A group of its own: Ctrl-C is ours to hand on.
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	go func() {
		c.err = c.cmd.Wait()
		close(c.done)
	}()
	return c, nil
}

func (c *child) pid() int { return c.cmd.Process.Pid }

// cpu is the processor time that all its threads have used.
func (c *child) cpu() (time.Duration, error) {
	// CPUCLOCK_SCHED of a process, as clock_getcpuclockid(3) makes it.
	clock := int32(^c.pid()<<3 | 2)
	var ts unix.Timespec
	if err := unix.ClockGettime(clock, &ts); err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", c.name, err)
	}
	return time.Duration(ts.Nano()), nil
}

// await waits until ready says so, the program ends, or d is over.
func (c *child) await(what string, d time.Duration, ready func() (bool, error)) error {
	for deadline := time.Now().Add(d); ; {
		if ok, err := ready(); ok || err != nil {
			return err
		}
		select {
		case <-c.done:
			return c.ended()
		case <-time.After(5 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: no %s within %v%s", c.name, what, d, c.tail())
		}
	}
}

// says is for await: standard output has text in it.
func (c *child) says(text string) func() (bool, error) {
	return func() (bool, error) { return strings.Contains(c.stdout.String(), text), nil }
}

// alive is an error where the program has ended by itself.
func (c *child) alive() error {
	select {
	case <-c.done:
		return c.ended()
	default:
		return nil
	}
}

func (c *child) ended() error {
	return fmt.Errorf("%s ended (%v)%s", c.name, c.err, c.tail())
}

// tailMax is as much of a program's words as an error carries, in bytes.
const tailMax = 400

// tail is what it said at the end, for an error: why a Go program died, or its last words.
func (c *child) tail() string {
	for _, o := range []*output{&c.stderr, &c.stdout} {
		s := strings.TrimSpace(o.String())
		if s == "" {
			continue
		}
		for _, why := range []string{"panic: ", "fatal error: "} {
			if i := strings.Index(s, why); i >= 0 {
				return ": " + s[i:min(len(s), i+tailMax)]
			}
		}
		return ": " + s[max(0, len(s)-tailMax):]
	}
	return ""
}

// keep writes all it said to a file beside the report and says where, for an error.
func (c *child) keep(report string) string {
	path := strings.TrimSuffix(report, ".json") + "-" + c.name + ".txt"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err.Error()
	}
	if err := os.WriteFile(path, []byte(c.stdout.String()+c.stderr.String()), 0o644); err != nil {
		return err.Error()
	}
	return "all it said is in " + path
}

// stop asks the program to end and returns what it wrote to standard output.
// A program that does not end in time is killed, which is an error.
func (c *child) stop(ask func() error) (string, error) {
	if err := c.alive(); err != nil {
		return "", err
	}
	if err := ask(); err != nil {
		c.kill()
		return "", fmt.Errorf("stop %s: %w", c.name, err)
	}
	select {
	case <-c.done:
	case <-time.After(stopMax):
		err := fmt.Errorf("%s did not end within %v%s", c.name, stopMax, c.tail())
		// A Go program says where its goroutines are.
		c.cmd.Process.Signal(syscall.SIGQUIT)
		select {
		case <-c.done:
		case <-time.After(time.Second):
		}
		c.kill()
		return "", err
	}
	if c.err != nil {
		return "", c.ended()
	}
	return c.stdout.String(), nil
}

// terminate and interrupt are for stop.
func (c *child) terminate() error { return c.cmd.Process.Signal(syscall.SIGTERM) }
func (c *child) interrupt() error { return c.cmd.Process.Signal(syscall.SIGINT) }

// kill ends it at once. After the end it does nothing.
func (c *child) kill() {
	c.cmd.Process.Kill()
	<-c.done
}

// outputMax is as much as is kept of what a program says.
const outputMax = 256 << 10

// An output keeps the end of what is written to it. It may be read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.buf.Write(p)
	if over := o.buf.Len() - outputMax; over > 0 {
		o.buf.Next(over)
	}
	return len(p), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
