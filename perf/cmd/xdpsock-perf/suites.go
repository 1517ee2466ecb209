package main

import "github.com/xdpsock/xdpsock/perf/load"

// to is a goal: the ratio to a base.
func to(base string, r float64) map[string]float64 { return map[string]float64{base: r} }

// replies are the metrics of asking and waiting; the goals are for the rate.
func replies(rate float64, latency float64, more ...metric) []metric {
	m := []metric{
		{Name: "rate", Unit: "requests/s", Better: "more", goals: to("kernel", rate)},
		{Name: "median", Unit: "µs", Better: "less"},
		{Name: "p99", Unit: "µs", Better: "less"},
		{Name: "cpu", Unit: "µs/request", Better: "less"},
	}
	if latency != 0 {
		m[1].goals, m[2].goals = to("kernel", latency), to("kernel", latency)
	}
	return append(m, more...)
}

var lost = metric{Name: "lost", Unit: "requests"}

func streaming() []metric {
	return []metric{{Name: "rate", Unit: "Gbit/s", Better: "more"}, {Name: "cpu", Unit: "µs/MiB", Better: "less"}}
}

func forwarding(more ...metric) []metric {
	return append([]metric{
		{Name: "rate", Unit: "frames/s", Better: "more", goals: map[string]float64{"testpmd": 1, "c": 0.95}},
		{Name: "cpu", Unit: "ns/frame"},
	}, more...)
}

var loss = metric{Name: "loss", Unit: "%"}

// request is bytes of a request and of its answer.
const request = 64

// suites are all there are, in the order in which they run.
var suites = append([]*suite{
	{
		name: "udp-rr", group: "services", about: "UDP echo, 64 B, one at a time",
		metrics:    replies(1.5, 1, lost),
		candidates: serving(asking(load.UDPEcho, echoPort, load.Config{Size: request}, requests)),
	},
	{
		name: "udp-inflight", group: "services", about: "UDP echo, 64 B, one flow with 256 on their way",
		metrics:    replies(1.4, 0, lost),
		candidates: serving(asking(load.UDPWindow, echoPort, load.Config{Size: request, InFlight: 256}, requests)),
	},
	{
		name: "tcp-rr-1", group: "tcp-rr", about: "TCP echo, 64 B, one connection, one at a time",
		metrics:    replies(1.3, 0),
		candidates: serving(asking(load.TCPEcho, echoPort, load.Config{Size: request, Conns: 1}, requests)),
	},
	{
		name: "tcp-rr-64", group: "tcp-rr", about: "TCP echo, 64 B, 64 connections, one at a time on each",
		metrics:    replies(1.1, 0),
		candidates: serving(asking(load.TCPEcho, echoPort, load.Config{Size: request, Conns: 64}, requests)),
	},
	{
		name: "tcp-crr-1", group: "tcp-crr", about: "a TCP connection for each echo of 64 B, one at a time",
		metrics:    replies(1, 0),
		candidates: serving(asking(load.TCPConnect, echoPort, load.Config{Size: request, Conns: 1}, requests)),
	},
	{
		name: "tcp-crr-64", group: "tcp-crr", about: "a TCP connection for each echo of 64 B, 64 at once",
		metrics:    replies(1, 0),
		candidates: serving(asking(load.TCPConnect, echoPort, load.Config{Size: request, Conns: 64}, requests)),
	},
	{
		name: "http", group: "services", about: "net/http under wrk, 64 connections, 2 threads",
		metrics:    replies(1, 0),
		candidates: needsWrk(serving(web)),
	},
	{
		name: "bulk-to", group: "bulk", about: "one TCP stream to discard, until the server has closed",
		metrics:    streaming(),
		candidates: serving(asking(load.StreamTo, discardPort, load.Config{}, stream)),
	},
	{
		name: "bulk-from", group: "bulk", about: "one TCP stream from chargen, every byte compared",
		metrics:    streaming(),
		candidates: serving(asking(load.StreamFrom, chargenPort, load.Config{}, stream)),
	},
	{
		name: "bulk-through", group: "bulk", about: "one TCP stream through echo, every byte compared",
		metrics:    streaming(),
		candidates: serving(asking(load.StreamThrough, echoPort, load.Config{}, stream)),
	},
	{
		name: "idle", group: "services", about: "processor time of a server with one idle connection",
		metrics:    []metric{{Name: "cpu", Unit: "ms/s"}},
		candidates: serving(idle),
	},
	{
		name: "rxdrop", group: "raw", about: "receive 64 B frames and drop them", raw: true,
		metrics:    forwarding(loss),
		candidates: raw(rxdrop),
	},
	{
		name: "txonly", group: "raw", about: "send 64 B frames, counted at the other end", raw: true,
		metrics:    forwarding(),
		candidates: raw(txonly),
	},
	{
		name: "l2fwd", group: "raw", about: "send 64 B frames back with swapped addresses, counted at the other end", raw: true,
		metrics:    forwarding(loss),
		candidates: raw(l2fwd),
	},
}, paths()...)

func needsWrk(next func(*env) ([]candidate, []string)) func(*env) ([]candidate, []string) {
	return func(e *env) ([]candidate, []string) {
		if _, err := e.Wrk(); err != nil {
			return nil, []string{err.Error()}
		}
		return next(e)
	}
}
