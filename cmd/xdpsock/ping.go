package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/wire"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

const (
	pingSize     = 56                    // bytes of payload, as ping(8)
	pingSizeMax4 = 65535 - 20 - 8        // what an IPv4 packet holds (RFC 791 §3.1)
	pingSizeMax6 = 65535 - 8             // what an IPv6 packet holds (RFC 8200 §3)
	pingLinger   = time.Second           // how long the last reply may take
	pingLeast    = 10 * time.Microsecond // between requests: no faster than a reply can come
)

type pingFlags struct {
	count    uint
	interval time.Duration
	size     int
	wait     time.Duration
	ttl      int
}

// check finds values that cannot be.
func (p *pingFlags) check(target netip.Addr) error {
	most := pingSizeMax4
	if !target.Is4() {
		most = pingSizeMax6
	}
	switch {
	case p.size < 0 || p.size > most:
		return usagef("--size %d is not between 0 and %d", p.size, most)
	case p.interval < pingLeast:
		return usagef("--interval %v is shorter than %v", p.interval, pingLeast)
	case p.wait <= 0:
		return usagef("--wait %v is no time", p.wait)
	case p.ttl < 1 || p.ttl > 255:
		return usagef("--ttl %d is not between 1 and 255", p.ttl)
	}
	return nil
}

// parseTarget reads the address of whom to ask.
func parseTarget(s string) (netip.Addr, error) {
	target, err := netip.ParseAddr(s)
	if err != nil {
		return target, usagef("target %q is not an address, such as 192.0.2.1 or 2001:db8::1", s)
	}
	return target.Unmap(), nil
}

func pingCommand() *cobra.Command {
	var (
		flags stackFlags
		ping  pingFlags
	)
	cmd := &cobra.Command{
		Use:   "ping -i IF -a CIDR [flags] TARGET",
		Short: "Ask a host whether it is there, from the engine's own address",
		Long: `Send ICMP echo requests from an address of the engine's own, which must not be the
kernel's, and print the replies, and the errors that routers send instead. A neighbour that
does not answer is one of them. Exit code 1 if there was no reply.`,
		Example: `  sudo xdpsock ping -i eth1 -a 192.0.2.7/24 192.0.2.1
  sudo xdpsock ping -i eth1 -a 2001:db8::7/64 2001:db8::1
  sudo xdpsock ping -i eth1 -a 192.0.2.7/24 --gateway 192.0.2.1 -c 10 -n 10ms 198.51.100.1`,
		Args: oneArg("TARGET"),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := parseTarget(args[0])
			if err != nil {
				return err
			}
			if err := ping.check(target); err != nil {
				return err
			}
			return runPing(cmd.Context(), outputOf(cmd), &flags, ping, target)
		},
	}
	flags.add(cmd)
	cmd.Flags().UintVarP(&ping.count, "count", "c", 0, "requests to send; 0: until Ctrl-C")
	cmd.Flags().DurationVarP(&ping.interval, "interval", "n", time.Second, "time between requests")
	cmd.Flags().IntVarP(&ping.size, "size", "s", pingSize, "bytes of payload")
	cmd.Flags().DurationVarP(&ping.wait, "wait", "W", pingLinger, "how long to wait for the last reply")
	cmd.Flags().IntVarP(&ping.ttl, "ttl", "t", 64, "time to live, or hop limit, of the requests")
	return cmd
}

// reply is one line of ping, for machines.
type reply struct {
	Event     string  `json:"event"` // "reply"
	From      string  `json:"from"`
	Bytes     int     `json:"bytes"` // of the ICMP message
	Seq       uint64  `json:"seq"`
	TTL       uint8   `json:"ttl"`
	RTT       float64 `json:"rtt_ms"`
	Duplicate bool    `json:"duplicate,omitempty"`
	Damaged   bool    `json:"damaged,omitempty"`
}

// unanswered is a line about a request that came to nothing, for machines.
type unanswered struct {
	Event  string `json:"event"` // "error"
	From   string `json:"from"`  // who says so
	Seq    uint64 `json:"seq"`
	Type   uint8  `json:"icmp_type"`
	Code   uint8  `json:"icmp_code"`
	Reason string `json:"reason"`
}

// pingSummary is the last object.
type pingSummary struct {
	Event       string           `json:"event"` // "summary"
	Target      string           `json:"target"`
	Transmitted uint64           `json:"transmitted"`
	Received    uint64           `json:"received"`
	Duplicates  uint64           `json:"duplicates"`
	Damaged     uint64           `json:"damaged"`
	Errors      uint64           `json:"errors"` // requests that came to nothing, and somebody said so
	Loss        float64          `json:"loss_percent"`
	Seconds     float64          `json:"seconds"`
	RTT         *rtt             `json:"rtt_ms,omitempty"`
	Traffic     *traffic.Summary `json:"traffic"`
}

// rtt is what ping(8) says of round trips, in milliseconds.
type rtt struct {
	Min    float64 `json:"min"`
	Avg    float64 `json:"avg"`
	Max    float64 `json:"max"`
	Mdev   float64 `json:"mdev"`
	Median float64 `json:"median"`
}

var errNoReply = errors.New("no reply")

func runPing(ctx context.Context, out *output, flags *stackFlags, p pingFlags, target netip.Addr) (err error) {
	if err := flags.echoes(); err != nil {
		return err
	}
	stack, end, err := flags.open(ctx, out)
	if err != nil {
		return err
	}
	defer func() {
		if e := end(); err == nil {
			err = e
		}
	}()
	if target, err = scoped(stack.Host(), target); err != nil {
		return err
	}
	conn, err := stack.ListenPing(unspecified(target))
	if err != nil {
		return err
	}
	if err := conn.SetTTL(p.ttl); err != nil {
		return err
	}
	l := linkOf(stack.Host().NICs()[0], own(stack))
	l.say(out)
	out.say("PING %s %d(%d) bytes of data.", shown(stack.Host(), target), p.size, p.size+headersOf(target))

	x := newPinger(conn, target, p, out)
	x.name = func(a netip.Addr) string { return shown(stack.Host(), a) }
	began := time.Now()
	err = flags.noRoute(x.run(ctx), stack.Host(), target)
	conn.Close()
	t := traffic.Of(stack.Host())
	s := x.summary(time.Since(began))
	s.Traffic = &t
	s.say(out)
	out.emit(s)
	if err == nil && s.Received == 0 {
		return silentError{errNoReply}
	}
	return err
}

// say prints the summary as ping(8) does.
func (s *pingSummary) say(out *output) {
	out.say("\n--- %s ping statistics ---", s.Target)
	more := ""
	if s.Duplicates > 0 {
		more += fmt.Sprintf(", +%d duplicates", s.Duplicates)
	}
	if s.Damaged > 0 {
		more += fmt.Sprintf(", +%d damaged", s.Damaged)
	}
	if s.Errors > 0 {
		more += fmt.Sprintf(", +%d errors", s.Errors)
	}
	out.say("%d packets transmitted, %d received%s, %.4g%% packet loss, time %.0fms",
		s.Transmitted, s.Received, more, s.Loss, s.Seconds*1000)
	if s.RTT != nil {
		out.say("rtt min/avg/max/mdev = %.3f/%.3f/%.3f/%.3f ms", s.RTT.Min, s.RTT.Avg, s.RTT.Max, s.RTT.Mdev)
	}
	for _, d := range s.Traffic.Drops {
		out.say("%d dropped, %s: %s", d.Packets, d.Reason, d.Explain)
	}
}

// pingWindow is how many requests are remembered: a reply to an older one comes too
// late. It divides the range of sequence numbers.
const pingWindow = 1 << 12

// A pinger sends requests and judges replies, both from one goroutine: between two
// requests it reads.
type pinger struct {
	conn   *socketapi.PingConn
	target netip.Addr
	pingFlags
	out  *output
	name func(netip.Addr) string // what people call an address

	payload []byte
	buf     []byte
	sent    uint64 // requests so far; their sequence numbers begin with 1
	asked   [pingWindow]mono.Time
	heard   [pingWindow]bool

	received, duplicates, damaged, errors uint64
	rtts                                  []float64 // ms
}

func newPinger(conn *socketapi.PingConn, target netip.Addr, p pingFlags, out *output) *pinger {
	x := &pinger{conn: conn, target: target, pingFlags: p, out: out, name: netip.Addr.String}
	x.payload = make([]byte, p.size)
	for i := range x.payload {
		x.payload[i] = byte(i)
	}
	x.buf = make([]byte, socketapi.EchoHeaderLen+p.size+1) // one more: too long a reply shows
	return x
}

// run asks until the count is reached or the context ends.
func (x *pinger) run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { x.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	next := time.Now()
	for x.count == 0 || x.sent < uint64(x.count) {
		if ctx.Err() != nil {
			return nil
		}
		if err := x.ask(); err != nil {
			return err
		}
		next = next.Add(x.interval)
		until := next
		if x.count != 0 && x.sent == uint64(x.count) {
			until = time.Now().Add(x.wait)
		}
		if err := x.listen(ctx, until); err != nil {
			return err
		}
	}
	return nil
}

func (x *pinger) ask() error {
	x.sent++
	i := x.sent % pingWindow
	x.heard[i] = false
	x.asked[i] = x.conn.Now()
	err := x.conn.WriteEcho(x.target, uint16(x.sent), x.payload)
	if err != nil {
		x.sent-- // nothing was
	}
	if errors.Is(err, unix.EMSGSIZE) {
		return fmt.Errorf("%w: %d bytes do not fit into a packet: take a smaller -s", err, len(x.payload))
	}
	return err
}

// noRoute says what helps where there is no route.
func (f *stackFlags) noRoute(err error, h *host.Host, target netip.Addr) error {
	if !errors.Is(err, unix.ENETUNREACH) {
		return err
	}
	help := "give a router with --gateway"
	switch {
	case !slices.ContainsFunc(h.Addrs(), func(a host.Addr) bool {
		own := a.Prefix.Addr()
		return own.Is4() == target.Is4() && !own.IsLoopback() && (!own.IsLinkLocalUnicast() || own.Is4())
	}):
		help = fmt.Sprintf("the engine has no address of its family on %s", f.iface)
	case f.share:
		help = fmt.Sprintf("the kernel's routes are used, see 'ip route get %s oif %s'", target, f.iface)
	}
	return fmt.Errorf("%w: no route to %s: %s", err, target, help)
}

// listen judges replies until the time, or until nothing is missing at the end.
func (x *pinger) listen(ctx context.Context, until time.Time) error {
	x.conn.SetReadDeadline(until)
	if ctx.Err() != nil { // and what it set may just have been undone
		return nil
	}
	for {
		e, err := x.conn.ReadEcho(x.buf)
		var report *socketapi.PacketError
		switch {
		case errors.As(err, &report):
			x.mourn(report)
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return err
		default:
			x.judge(e)
		}
		if x.count != 0 && x.sent == uint64(x.count) && x.received+x.errors >= x.sent {
			return nil
		}
	}
}

// request is the one with a sequence number that was sent last; ok is false if that is too long ago.
func (x *pinger) request(number uint16) (seq uint64, ok bool) {
	seq = x.sent - uint64(uint16(x.sent)-number)
	return seq, seq != 0 && seq <= x.sent && x.sent-seq < pingWindow
}

// mourn counts and prints an error about a request.
func (x *pinger) mourn(e *socketapi.PacketError) {
	seq, ok := x.request(e.Seq)
	if !ok {
		return
	}
	x.errors++
	x.out.say("From %s icmp_seq=%d %s", x.name(e.From), seq, e.Reason())
	x.out.emit(unanswered{"error", x.name(e.From), seq, e.Type, e.Code, e.Reason()})
}

// judge counts and prints a reply.
func (x *pinger) judge(e socketapi.Echo) {
	seq, ok := x.request(e.Seq)
	if !ok || e.From != x.target {
		return
	}
	i := seq % pingWindow
	r := reply{
		Event: "reply", From: x.name(e.From), Bytes: wire.ICMP4Len + len(e.Payload), Seq: seq, TTL: e.TTL,
		RTT: float64(e.Time.Sub(x.asked[i])) / float64(time.Millisecond),
	}
	note := ""
	switch {
	case !bytes.Equal(e.Payload, x.payload):
		r.Damaged = true
		x.damaged++
		note = " (damaged)"
	case x.heard[i]:
		r.Duplicate = true
		x.duplicates++
		note = " (duplicate)"
	default:
		x.heard[i] = true
		x.received++
		x.remember(r.RTT)
	}
	x.out.say("%d bytes from %s: icmp_seq=%d ttl=%d time=%.3f ms%s", r.Bytes, r.From, r.Seq, r.TTL, r.RTT, note)
	x.out.emit(r)
}

// rttsMax is how many round trips are kept for the summary, the last ones: at one a
// millisecond those of a quarter of an hour.
const rttsMax = 1 << 20

func (x *pinger) remember(ms float64) {
	if len(x.rtts) < rttsMax {
		x.rtts = append(x.rtts, ms)
		return
	}
	x.rtts[x.received%rttsMax] = ms
}

func (x *pinger) summary(took time.Duration) *pingSummary {
	s := &pingSummary{
		Event: "summary", Target: x.name(x.target), Transmitted: x.sent, Received: x.received,
		Duplicates: x.duplicates, Damaged: x.damaged, Errors: x.errors, Seconds: took.Seconds(),
	}
	if x.sent > 0 {
		s.Loss = 100 * float64(x.sent-x.received) / float64(x.sent)
	}
	if len(x.rtts) > 0 {
		s.RTT = rttOf(x.rtts)
	}
	return s
}

func rttOf(ms []float64) *rtt {
	var sum, squares float64
	for _, v := range ms {
		sum += v
		squares += v * v
	}
	n := float64(len(ms))
	avg := sum / n
	return &rtt{
		Min: slices.Min(ms), Avg: avg, Max: slices.Max(ms), Median: median(ms),
		Mdev: math.Sqrt(max(squares/n-avg*avg, 0)), // ping(8): not from the differences, but so
	}
}

// median of at least one value.
func median(values []float64) float64 {
	v := slices.Sorted(slices.Values(values))
	if n := len(v); n%2 == 0 {
		return (v[n/2-1] + v[n/2]) / 2
	}
	return v[len(v)/2]
}
