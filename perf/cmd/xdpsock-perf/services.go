package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/xdpsock/xdpsock/perf/load"
)

// The ports of the services, those of their RFCs.
const (
	echoPort    = 7
	discardPort = 9
	chargenPort = 19
	httpPort    = 80
)

// burn is what the server that is slow on purpose wastes on each request: about as
// much as a request costs a kernel-socket server, so its ratio is far from 1.
const burn = 20 * time.Microsecond

// A service is a server program and where it answers.
type service struct {
	name   string
	argv   []string
	addr   netip.Addr
	beside bool
}

// services are the measured server and the kernel's sockets, which on a long path have the same congestion control.
func (e *env) services(path *cell) (able []service, missing []string) {
	ports := func(dash string) []string {
		return []string{
			dash + "echo", strconv.Itoa(echoPort), dash + "discard", strconv.Itoa(discardPort),
			dash + "chargen", strconv.Itoa(chargenPort), dash + "http", strconv.Itoa(httpPort),
		}
	}
	netserver, err := e.Netserver()
	if err != nil {
		return nil, []string{err.Error()}
	}
	kernel := service{name: "kernel", argv: append([]string{netserver}, ports("-")...), addr: kernelAddr.Addr()}
	if path != nil {
		kernel.argv = append(kernel.argv, "-cc", pathCongestion)
	}
	switch e.opt.subject {
	case "kernel":
		again := kernel
		again.name = "kernel-again"
		return []service{again, kernel}, nil
	case "slow":
		slow := service{name: "slow", argv: append([]string{netserver, "-burn", burn.String()}, ports("-")...), addr: kernelAddr.Addr()}
		return []service{slow, kernel}, nil
	}
	xdpsock, err := e.Xdpsock()
	if err != nil {
		return nil, []string{err.Error()}
	}
	for _, b := range append([]build{{"xdpsock", xdpsock}}, e.opt.beside...) {
		argv := append([]string{b.path, "serve", "-i", "server", "-a", engineAddr.String()}, ports("--")...)
		if e.opt.policy != "" {
			argv = append(argv, "--policy", e.opt.policy)
		}
		able = append(able, service{b.name, argv, engineAddr.Addr(), b.name != "xdpsock"})
	}
	return append(able, kernel), nil
}

// serving makes candidates of services: each time the server is started anew, so that
// none has an XDP program or a socket beside the other's run.
func serving(work func(*env, *lab, service, *child) (sample, error)) func(*env) ([]candidate, []string) {
	return servingOver(nil, work)
}

// servingOver is serving at the end of a long path.
func servingOver(path *cell, work func(*env, *lab, service, *child) (sample, error)) func(*env) ([]candidate, []string) {
	return func(e *env) (able []candidate, missing []string) {
		services, missing := e.services(path)
		for _, s := range services {
			able = append(able, candidate{name: s.name, run: func(l *lab) (sample, error) { return s.measure(e, l, work) }, beside: s.beside})
		}
		return able, missing
	}
}

func (s service) measure(e *env, l *lab, work func(*env, *lab, service, *child) (sample, error)) (sample, error) {
	c, err := start(l.server, s.argv...)
	if err != nil {
		return nil, err
	}
	defer c.kill()
	var got sample
	err = l.client.Do(func() error { return s.await(c) })
	if err == nil {
		got, err = work(e, l, s, c)
	}
	if err != nil {
		// That the server died is worth more than how its client noticed.
		if dead := c.alive(); dead != nil {
			return nil, fmt.Errorf("%w (%v; %s)", dead, err, c.keep(e.opt.out))
		}
		return nil, err
	}
	if _, err := c.stop(c.terminate); err != nil {
		return nil, fmt.Errorf("%w (%s)", err, c.keep(e.opt.out))
	}
	return got, nil
}

// await waits until every service answers, in at most ten seconds.
func (s service) await(c *child) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := load.Await(s.at(echoPort), s.at(echoPort), 100*time.Millisecond)
		for _, port := range []uint16{discardPort, chargenPort, httpPort} {
			if err == nil {
				err = load.Await(netip.AddrPort{}, s.at(port), 100*time.Millisecond)
			}
		}
		if err == nil {
			return nil
		}
		if dead := c.alive(); dead != nil {
			return dead
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%w%s", err, c.tail())
		}
	}
}

func (s service) at(port uint16) netip.AddrPort { return netip.AddrPortFrom(s.addr, port) }

// A meter reads the server's processor time when counting begins and ends.
type meter struct {
	c    *child
	from time.Duration
	used time.Duration
	err  error
}

func (m *meter) begin() { m.from, m.err = m.c.cpu() }

func (m *meter) end() {
	now, err := m.c.cpu()
	m.used = now - m.from
	if m.err == nil {
		m.err = err
	}
}

// asking makes a suite's work of a load generator.
func asking(generate func(load.Config) (*load.Result, error), port uint16, c load.Config,
	report func(r *load.Result, cpu time.Duration) sample) func(*env, *lab, service, *child) (sample, error) {
	return func(e *env, l *lab, s service, server *child) (sample, error) {
		m := meter{c: server}
		c := c
		c.Server, c.Warm, c.Run, c.Begin, c.End = s.at(port), e.opt.warm, e.opt.run, m.begin, m.end
		var r *load.Result
		err := l.client.Do(func() (err error) {
			r, err = generate(c)
			return err
		})
		if err != nil {
			return nil, err
		}
		if m.err != nil {
			return nil, m.err
		}
		return report(r, m.used), nil
	}
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func requests(r *load.Result, cpu time.Duration) sample {
	return sample{
		"rate":   r.Rate(),
		"median": micros(r.Latency.Quantile(0.5)),
		"p99":    micros(r.Latency.Quantile(0.99)),
		"cpu":    micros(cpu) / float64(max(r.Ops, 1)),
		"lost":   float64(r.Lost),
	}
}

func stream(r *load.Result, cpu time.Duration) sample {
	mib := float64(max(r.Bytes, 1)) / (1 << 20)
	return sample{"rate": r.BytesPerSecond() * 8 / 1e9, "cpu": micros(cpu) / mib}
}

// web runs wrk, after one request whose answer is compared with the other server's.
func web(e *env, l *lab, s service, server *child) (sample, error) {
	wrk, err := e.Wrk()
	if err != nil {
		return nil, err
	}
	if err := l.sameBody(s); err != nil {
		return nil, err
	}
	url := "http://" + s.at(httpPort).String() + "/"
	run := func(d time.Duration) (*load.Wrk, error) {
		seconds := max(1, int((d+time.Second/2)/time.Second)) // wrk knows whole ones only
		c, err := start(l.client, wrk, "-c", "64", "-t", "2", "-d", strconv.Itoa(seconds)+"s", "--latency", url)
		if err != nil {
			return nil, err
		}
		select {
		case <-c.done:
		case <-time.After(time.Duration(seconds)*time.Second + stopMax):
			c.kill()
			return nil, fmt.Errorf("wrk did not end%s", c.tail())
		}
		if c.err != nil {
			return nil, c.ended()
		}
		return load.ParseWrk(c.stdout.String())
	}
	if e.opt.warm > 0 {
		if _, err := run(e.opt.warm); err != nil {
			return nil, err
		}
	}
	m := meter{c: server}
	m.begin()
	w, err := run(e.opt.run)
	m.end()
	if err != nil {
		return nil, err
	}
	if m.err != nil {
		return nil, m.err
	}
	return sample{
		"rate": w.Rate, "median": micros(w.Median), "p99": micros(w.P99),
		"cpu": micros(m.used) / float64(max(w.Requests, 1)),
	}, nil
}

// sameBody gets the page once. Two servers that answer differently are not compared.
func (l *lab) sameBody(s service) error {
	conn, err := l.client.Dial("tcp", s.at(httpPort).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(stopMax))
	if _, err := fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %v\r\nConnection: close\r\n\r\n", s.addr); err != nil {
		return err
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: GET / answers %s", s.name, resp.Status)
	}
	if l.body == nil {
		l.body = body
	} else if !bytes.Equal(l.body, body) {
		return fmt.Errorf("%s: GET / answers %q, the other server %q: not the same work", s.name, body, l.body)
	}
	l.note("%s answers GET / with %d bytes, %d of them body", s.name, len(raw), len(body))
	return nil
}

// idle reads what a server costs that has one idle connection and nothing to do.
func idle(e *env, l *lab, s service, server *child) (sample, error) {
	conn, err := l.client.Dial("tcp", s.at(echoPort).String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	time.Sleep(time.Second) // what a policy keeps warm has gone to sleep by then
	m := meter{c: server}
	m.begin()
	began := time.Now()
	time.Sleep(max(e.opt.run, time.Second))
	m.end()
	return sample{"cpu": micros(m.used) / 1000 / time.Since(began).Seconds()}, m.err
}
