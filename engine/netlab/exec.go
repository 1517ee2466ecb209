package netlab

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"sync"
)

// A Cmd is a program that runs inside a namespace. Use it as an exec.Cmd, but
// only by the methods below.
//
// The program sees the files of the process it came from: /sys/class/net shows
// links of the namespace in which /sys was mounted, not of this one.
type Cmd struct {
	*exec.Cmd
	ns *NS

	wait sync.Once
	err  error
}

// Command prepares a program; see exec.Command. Close of the namespace kills it if
// it still runs.
func (ns *NS) Command(name string, args ...string) *Cmd {
	return &Cmd{Cmd: exec.Command(name, args...), ns: ns}
}

// Start starts the program inside the namespace.
func (c *Cmd) Start() error {
	// A child has the namespace of the thread that forks it.
	if err := c.ns.Do(c.Cmd.Start); err != nil {
		return err
	}
	c.ns.mu.Lock()
	late := c.ns.closed
	if !late {
		c.ns.cmds[c] = struct{}{}
	}
	c.ns.mu.Unlock()
	if late { // Close has not seen it
		c.Process.Kill()
		c.Wait()
		return fmt.Errorf("netlab: start %s: %w", c.Path, os.ErrClosed)
	}
	return nil
}

// Wait waits for the program's end. It may be called by several goroutines, and
// more than once.
func (c *Cmd) Wait() error {
	c.wait.Do(func() {
		c.err = c.Cmd.Wait()
		c.ns.mu.Lock()
		delete(c.ns.cmds, c)
		c.ns.mu.Unlock()
	})
	return c.err
}

// Run is Start and Wait.
func (c *Cmd) Run() error {
	if err := c.Start(); err != nil {
		return err
	}
	return c.Wait()
}

// Output runs the program and returns what it wrote to standard output.
func (c *Cmd) Output() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout = &out
	err := c.Run()
	return out.Bytes(), err
}

// CombinedOutput runs the program and returns what it wrote to standard output and error.
func (c *Cmd) CombinedOutput() ([]byte, error) {
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.Bytes(), err
}
