package host

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/xdpsock/xdpsock/proto"
	"github.com/xdpsock/xdpsock/proto/sysctl"
	"github.com/xdpsock/xdpsock/proto/tcp"
)

// Read first: Documentation/networking/ip-sysctl.rst, Documentation/admin-guide/sysctl/net.rst.

//go:generate go test . -run TestSysctlsAreDocumented -update

// tunables are what the knobs of a host turn.
type tunables struct {
	ip                  proto.Params // of each core
	tcp                 tcp.Params   // likewise
	somaxconn           int
	rcvBufMax           int // bytes
	sndBufMax           int
	portFirst, portLast int
	portLow             int // below it a port needs a right
	portScarce          int // 1: see Ports.setRange
	portReserved        []sysctl.Range
}

// sysctls is a host's tunables.
type sysctls struct {
	mu  sync.Mutex // before a core's lock, and that of Ports
	now tunables
}

var tunable = append(hostKnobs, lifted()...)

var hostKnobs = []sysctl.Knob[tunables]{
	sysctl.Number("net.core.somaxconn", "", 0, 1<<31-1, "How many connections wait for accept at most, whatever listen asks for.",
		func(t *tunables) *int { return &t.somaxconn }),
	sysctl.Number("net.core.rmem_max", "bytes", 2304, 1<<31-1, "The largest size that SO_RCVBUF can ask for; the buffer is twice that.",
		func(t *tunables) *int { return &t.rcvBufMax }),
	sysctl.Number("net.core.wmem_max", "bytes", 4608, 1<<31-1, "The largest size that SO_SNDBUF can ask for; the buffer is twice that.",
		func(t *tunables) *int { return &t.sndBufMax }),
	portRange,
	sysctl.Ranges("net.ipv4.ip_local_reserved_ports", 0, 65535, "Ports that are never chosen for sockets which have none, 8080,9000-9100; bind to one of them gets it.",
		func(t *tunables) *[]sysctl.Range { return &t.portReserved }),
	sysctl.Number("net.ipv4.ip_unprivileged_port_start", "", 0, 65536, "The first port that needs no CAP_NET_BIND_SERVICE of the thread that binds a socket to it.",
		func(t *tunables) *int { return &t.portLow }),
	sysctl.Number("net.ipv4.ip_autobind_reuse", "", 0, 1, "Whether bind to port 0 gives a socket with SO_REUSEADDR a port that others like it have, when there is no other: then it can only connect.",
		func(t *tunables) *int { return &t.portScarce }),
}

var portRange = func() sysctl.Knob[tunables] {
	k := sysctl.Number("net.ipv4.ip_local_port_range", "", 1, 65535, "The first and the last of the ports that are chosen for sockets which have none.",
		func(t *tunables) *int { return &t.portFirst }, func(t *tunables) *int { return &t.portLast })
	k.Rising = true
	return k
}()

func lifted() (list []sysctl.Knob[tunables]) {
	for _, k := range proto.Knobs {
		list = append(list, sysctl.Within(k, func(t *tunables) *proto.Params { return &t.ip }))
	}
	for _, k := range tcp.Knobs {
		list = append(list, sysctl.Within(k, func(t *tunables) *tcp.Params { return &t.tcp }))
	}
	return list
}

// withoutMeaning are knobs of Linux that an operator may look for and that there is nothing to turn by, and why.
var withoutMeaning = map[string]string{
	"tcp_adv_win_scale":      "a buffer's size is of payload alone",
	"tcp_app_win":            "a buffer's size is of payload alone",
	"tcp_autocorking":        "output is pulled when there is room for it, so small writes gather by themselves",
	"tcp_early_demux":        "there is one table, and it is asked first",
	"tcp_limit_output_bytes": "no queue stands between a connection and the ring",
	"tcp_low_latency":        "Linux does nothing by it either",
	"tcp_min_tso_segs":       "one segment is the least that leaves at once",
	"tcp_no_metrics_save":    "nothing is remembered of a connection that has ended",
	"tcp_tso_win_divisor":    "what the windows allow leaves at once",
}

// A Sysctl is one knob of a host, as it is.
type Sysctl struct {
	Name  string // "net.ipv4.tcp_sack"
	Value string // numbers, with tabs between several; or a word
	Unit  string // "seconds", "bytes", ...; "" for a plain number or a word
	Range string // "0 to 1"
	Doc   string
}

// startSysctls takes what the cores have begun with, and the configuration's changes.
func (h *Host) startSysctls(set map[string]string) error {
	h.sysctls.now = tunables{
		ip:        h.cores[0].Stack.Params(),
		tcp:       h.cores[0].Stack.TCP.Params(),
		somaxconn: 4096, rcvBufMax: 4 << 20, sndBufMax: 4 << 20,
		portFirst: ephemeralFirst, portLast: ephemeralLast, portLow: unprivilegedFirst,
	}
	if len(set) == 0 {
		return nil
	}
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	t := h.sysctls.now
	for _, name := range slices.Sorted(maps.Keys(set)) {
		if err := t.set(name, set[name]); err != nil {
			return err
		}
	}
	return h.tune(t)
}

// Sysctls lists the host's knobs by name.
func (h *Host) Sysctls() (list []Sysctl) {
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	for i := range tunable {
		list = append(list, shown(&tunable[i], &h.sysctls.now))
	}
	slices.SortFunc(list, func(a, b Sysctl) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

func shown(k *sysctl.Knob[tunables], t *tunables) Sysctl {
	return Sysctl{Name: k.Name, Value: k.Get(t), Unit: k.Unit, Range: k.Range(), Doc: k.Doc}
}

// Sysctl returns one knob. Its name may leave out what is before the last dot, "tcp_sack", and may have slashes for dots.
func (h *Host) Sysctl(name string) (Sysctl, error) {
	k, err := findKnob(name)
	if err != nil {
		return Sysctl{}, err
	}
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	return shown(k, &h.sysctls.now), nil
}

// SetSysctl turns one, on all cores. The error of a value that cannot be says what can.
func (h *Host) SetSysctl(name, value string) error {
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	t := h.sysctls.now
	if err := t.set(name, value); err != nil {
		return err
	}
	return h.tune(t)
}

// set turns one knob of t alone.
func (t *tunables) set(name, value string) error {
	k, err := findKnob(name)
	if err != nil {
		return err
	}
	if err := k.Set(t, value); err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	return nil
}

// tune puts changed tunables into effect. The lock of sysctls is held.
func (h *Host) tune(t tunables) error {
	if t.portFirst < t.portLow { // Linux: ipv4_local_port_range, ipv4_privileged_ports
		return fmt.Errorf("sysctl: net.ipv4.ip_local_port_range begins with %d, and ports below ip_unprivileged_port_start, %d, want a right", t.portFirst, t.portLow)
	}
	h.sysctls.now = t
	h.Ports.setRange(t.portFirst, t.portLast, t.portLow, t.portScarce != 0)
	h.Ports.reserve(t.portReserved)
	h.reports.mu.Lock()
	h.reports.limit.SetParams(t.ip.ICMP)
	h.reports.mu.Unlock()
	for _, c := range h.cores {
		c.Lock()
		c.Stack.SetParams(t.ip)
		c.Stack.TCP.SetParams(t.tcp)
		c.Unlock()
	}
	return nil
}

func findKnob(name string) (*sysctl.Knob[tunables], error) {
	if k := sysctl.Find(tunable, name); k != nil {
		return k, nil
	}
	if why := withoutMeaning[name[strings.LastIndexAny(name, "./")+1:]]; why != "" {
		return nil, fmt.Errorf("sysctl: %s has no meaning here: %s", name, why)
	}
	return nil, fmt.Errorf("sysctl: there is no %q; docs/sysctl.md lists what there is", name)
}

// Backlog returns what a listen(2) with a backlog gets: Linux takes it as unsigned, and at most somaxconn.
func (h *Host) Backlog(asked int) int {
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	return int(min(uint32(asked), uint32(h.sysctls.now.somaxconn)))
}

// TCPParams returns the parameters of TCP as they are.
func (h *Host) TCPParams() tcp.Params {
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	return h.sysctls.now.tcp
}

// BufferMax returns the largest sizes that SO_RCVBUF and SO_SNDBUF can ask for, in bytes.
func (h *Host) BufferMax() (rcv, snd int) {
	h.sysctls.mu.Lock()
	defer h.sysctls.mu.Unlock()
	return h.sysctls.now.rcvBufMax, h.sysctls.now.sndBufMax
}
