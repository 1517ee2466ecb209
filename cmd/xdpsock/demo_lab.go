package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// The network of the demonstration, seen by nobody else:
//
//	namespace of the client            namespace of the servers
//	10.99.0.1 kernel, client ═══ veth ═══ server, 10.99.0.2 kernel
//	                                              10.99.0.3 engine
var (
	demoClient = netip.MustParsePrefix("10.99.0.1/24")
	demoKernel = netip.MustParsePrefix("10.99.0.2/24")
	demoEngine = netip.MustParsePrefix("10.99.0.3/24")
)

const (
	// readyMax is how long a server may take until it answers.
	readyMax = 15 * time.Second
	// stopMax is how long a server may take to end: the engine drains for 5 s at most.
	stopMax = 10 * time.Second
)

// demoLab is two namespaces and a veth pair. All of it vanishes with the process.
type demoLab struct {
	client, server *netlab.NS
	veth           *netlab.Veth // A at the client, B at the server
}

// newDemoLab makes the network, with the offloads given switched off at both ends.
func newDemoLab(off netlab.Offload) (l *demoLab, err error) {
	l = &demoLab{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	if l.client, err = netlab.NewNS(netlab.NoIPv6()); err != nil {
		return nil, err
	}
	if l.server, err = netlab.NewNS(netlab.NoIPv6()); err != nil {
		return nil, err
	}
	l.veth, err = netlab.VethPair(
		netlab.End{NS: l.client, Name: "client", Addrs: []netip.Prefix{demoClient}, Off: off},
		netlab.End{NS: l.server, Name: "server", Addrs: []netip.Prefix{demoKernel}, Off: off})
	return l, err
}

// close kills what runs in the namespaces and takes them down.
func (l *demoLab) close() error {
	var errs []error
	for _, ns := range []*netlab.NS{l.server, l.client} {
		if ns != nil {
			errs = append(errs, ns.Close())
		}
	}
	return errors.Join(errs...)
}

// offloads says what both ends leave to the device, as the kernel has it now.
func (l *demoLab) offloads() string {
	var ends []string
	for _, link := range []*netlab.Link{l.veth.A, l.veth.B} {
		on, err := link.Offloads()
		if err != nil {
			return err.Error()
		}
		var names []string
		for _, o := range []struct {
			bit  netlab.Offload
			name string
		}{{netlab.TxChecksum, "tx-checksum"}, {netlab.TSO, "tso"}, {netlab.GSO, "gso"}, {netlab.GRO, "gro"}} {
			if on&o.bit != 0 {
				names = append(names, o.name)
			}
		}
		if names == nil {
			names = []string{"none"}
		}
		ends = append(ends, link.Name+"'s end "+strings.Join(names, " "))
	}
	return strings.Join(ends, ", ")
}

// checksumErrors is how many packets the client's kernel has refused for a wrong
// checksum (/proc/net/snmp).
func (l *demoLab) checksumErrors() (n uint64, err error) {
	err = l.client.Do(func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		n, err = snmpChecksumErrors(string(b))
		return err
	})
	return n, err
}

// snmpChecksumErrors adds up InCsumErrors of all protocols. Names and values come in
// pairs of lines.
func snmpChecksumErrors(snmp string) (total uint64, err error) {
	lines := strings.Split(snmp, "\n")
	found := false
	for i := 0; i+1 < len(lines); i += 2 {
		names, values := strings.Fields(lines[i]), strings.Fields(lines[i+1])
		for j, name := range names {
			if name != "InCsumErrors" || j >= len(values) {
				continue
			}
			n, err := strconv.ParseUint(values[j], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("/proc/net/snmp: %w", err)
			}
			found = true
			total += n
		}
	}
	if !found {
		return 0, errors.New("/proc/net/snmp does not count InCsumErrors")
	}
	return total, nil
}

// A demoServer is a process that gives the services.
type demoServer struct {
	name string
	cmd  *netlab.Cmd
	out  capture
	err  capture
	done chan struct{}
}

// startServer runs this very program inside the server's namespace.
func (l *demoLab) startServer(name string, args ...string) (*demoServer, error) {
	s := &demoServer{name: name, cmd: l.server.Command("/proc/self/exe", args...), done: make(chan struct{})}
	s.cmd.Args[0] = os.Args[0]
	s.cmd.Stdout, s.cmd.Stderr = &s.out, &s.err
	s.cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true,            // Ctrl-C is ours to hand on
		Pdeathsig: syscall.SIGKILL, // whatever ends us
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	go func() {
		s.cmd.Wait()
		close(s.done)
	}()
	return s, nil
}

// await waits for the object with which a server says that it is ready.
func (s *demoServer) await(ctx context.Context) (r ready, err error) {
	deadline := time.NewTimer(readyMax)
	defer deadline.Stop()
	for {
		found, err := s.object("ready", &r)
		if found || err != nil {
			return r, err
		}
		select {
		case <-s.done:
			return r, s.ended()
		case <-ctx.Done():
			return r, ctx.Err()
		case <-deadline.C:
			return r, fmt.Errorf("%s: not ready within %v", s.name, readyMax)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// object looks for an object in what the server has said.
func (s *demoServer) object(event string, v any) (found bool, err error) {
	for line := range strings.Lines(s.out.String()) {
		if !strings.HasPrefix(line, `{"event":"`+event+`"`) || !strings.HasSuffix(line, "\n") {
			continue
		}
		if err := json.Unmarshal([]byte(line), v); err != nil {
			return false, fmt.Errorf("%s: %w", s.name, err)
		}
		return true, nil
	}
	return false, nil
}

// ended is the error of a server that ended by itself.
func (s *demoServer) ended() error {
	last := strings.TrimSpace(s.err.String())
	if _, tail, ok := strings.Cut(last, ": "); ok {
		last = tail
	}
	if last == "" {
		last = s.cmd.ProcessState.String()
	}
	return fmt.Errorf("%s ended: %s", s.name, last)
}

// stop asks the server to end, and returns its summary.
func (s *demoServer) stop() (sum summary, err error) {
	select {
	case <-s.done:
		return sum, s.ended()
	default:
	}
	s.cmd.Process.Signal(unix.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(stopMax):
		s.kill()
		return sum, fmt.Errorf("%s did not end within %v", s.name, stopMax)
	}
	if code := s.cmd.ProcessState.ExitCode(); code != exitOK {
		return sum, s.ended()
	}
	found, err := s.object("summary", &sum)
	if err == nil && !found {
		err = fmt.Errorf("%s ended without a summary", s.name)
	}
	return sum, err
}

func (s *demoServer) kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// captureMax is as much as is kept of what a server says, in bytes.
const captureMax = 256 << 10

// A capture keeps the beginning of what is written to it. It may be read meanwhile.
type capture struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf.Write(p[:min(len(p), captureMax-c.buf.Len())])
	return len(p), nil
}

func (c *capture) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.buf.String()
}
