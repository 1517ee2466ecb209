package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine/netlab"
	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

const (
	patience = 30 * time.Second // of anything that emulation slows down

	engine4, engine6 = "10.99.0.2", "fd99::2"
	kernel4, kernel6 = "10.99.0.1", "fd99::1"
)

func prefixes(list ...string) (p []netip.Prefix) {
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// pair is the engine's namespace and the kernel's peer.
func pair() (peer *netlab.NS, v *netlab.Veth, err error) {
	ours, err := netlab.NewNS()
	if err != nil {
		return nil, nil, err
	}
	if peer, err = netlab.NewNS(); err != nil {
		return nil, nil, err
	}
	v, err = netlab.VethPair(
		netlab.End{NS: ours, Name: "va", Addrs: prefixes("10.99.1.2/24")},
		netlab.End{NS: peer, Name: "vb", Addrs: prefixes(kernel4+"/24", kernel6+"/64", "10.99.1.1/24")})
	return peer, v, err
}

// A server is `xdpsock serve`.
type server struct {
	cmd  *netlab.Cmd
	errs bytes.Buffer
}

// start returns when the server is ready.
func start(ns *netlab.NS, args ...string) (*server, error) {
	s := &server{cmd: ns.Command("/bin/xdpsock", append([]string{"serve", "--json"}, args...)...)}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.cmd.Stderr = &s.errs
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan bool, 1)
	go func() {
		lines := bufio.NewReader(out)
		first, err := lines.ReadString('\n')
		ready <- err == nil && strings.Contains(first, `"ready"`)
		io.Copy(io.Discard, lines)
	}()
	select {
	case ok := <-ready:
		if ok {
			return s, nil
		}
	case <-time.After(patience):
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	return nil, fmt.Errorf("serve does not come up: %s", tail(s.errs.Bytes()))
}

// kill is the end that no program can prepare for.
func (s *server) kill() {
	s.cmd.Process.Signal(unix.SIGKILL)
	s.cmd.Wait()
}

// stop ends it as an operator does.
func (s *server) stop() error {
	s.cmd.Process.Signal(unix.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		return fmt.Errorf("serve: %w: %s", err, tail(s.errs.Bytes()))
	}
	return nil
}

// ask has the kernel's sockets in a namespace ask every service.
func ask(from *netlab.NS) error {
	for _, ip := range []string{engine4, engine6} {
		if err := errors.Join(echo(from, "udp", ip), echo(from, "tcp", ip), get(from, ip)); err != nil {
			return err
		}
	}
	return nil
}

func echo(from *netlab.NS, network, ip string) error {
	at := net.JoinHostPort(ip, "7")
	c, err := from.Dial(network, at)
	if err != nil {
		return err
	}
	defer c.Close()
	said, heard := bytes.Repeat([]byte("0123456789"), 400), make([]byte, 4000)
	c.SetDeadline(time.Now().Add(patience))
	for range 20 {
		if _, err := c.Write(said); err != nil {
			return fmt.Errorf("%s echo at %s: %w", network, at, err)
		}
		if _, err := io.ReadFull(c, heard); err != nil {
			return fmt.Errorf("%s echo at %s: %w", network, at, err)
		}
		if !bytes.Equal(said, heard) {
			return fmt.Errorf("%s echo at %s says something else", network, at)
		}
	}
	return nil
}

func get(from *netlab.NS, ip string) error {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DialContext: from.DialContext, DisableKeepAlives: true,
	}}
	answer, err := client.Get("http://" + net.JoinHostPort(ip, "80") + "/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil || answer.StatusCode != http.StatusOK {
		return fmt.Errorf("GET: %s, %w", answer.Status, err)
	}
	return nil
}

var services = []string{"-a", engine4 + "/24", "-a", engine6 + "/64", "--echo", "7", "--http", "80"}

// serve runs the engine on a veth pair with a kernel peer: served, killed, served again.
func (g *guest) serve() {
	peer, v, err := pair()
	if err != nil {
		g.say(report.Event{Kind: report.Check, Name: "serve", Failed: 1, Detail: err.Error()})
		return
	}
	defer v.A.NS.Close()
	defer peer.Close()
	args := append([]string{"-i", "va"}, services...)
	var s *server
	g.check("serve", func() error {
		if s, err = start(v.A.NS, args...); err != nil {
			return err
		}
		return ask(peer)
	})
	if s == nil {
		return
	}
	g.check("crash", func() error {
		s.kill()
		// What is not the engine's is the kernel's again, at once.
		l, err := v.A.NS.Listen("tcp", "10.99.1.2:9")
		if err != nil {
			return err
		}
		defer l.Close()
		c, err := peer.Dial("tcp", "10.99.1.2:9")
		if err != nil {
			return err
		}
		return c.Close()
	})
	g.check("restart", func() error {
		if s, err = start(v.A.NS, args...); err != nil {
			return err
		}
		return errors.Join(ask(peer), s.stop())
	})
}
