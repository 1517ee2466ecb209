package tcp

import (
	"os"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/proto/ring"
	"github.com/xdpsock/xdpsock/proto/sysctl"
)

// Every knob can be set to what it is, has a text, is a name that Linux has, and begins with Linux's value but for
// those that say why not.
func TestKnobs(t *testing.T) {
	tp := New(Config{Pool: ring.NewPool(256 << 20), Params: Params{}})
	ours := map[string]string{
		"tcp_rfc1337":             "resets do not end TIME-WAIT",
		"tcp_rmem":                "the size of this machine",
		"tcp_wmem":                "there is no overhead of packets",
		"tcp_mem":                 "the size of this machine",
		"tcp_max_syn_backlog":     "the size of this machine",
		"tcp_max_tw_buckets":      "the size of this machine",
		"tcp_challenge_ack_limit": "Linux counts for each connection",
		"tcp_max_orphans":         "half of its table of connections in Linux",
		"tcp_orphan_retries":      "0 is 8 in Linux",
		"tcp_congestion_control":  "CUBIC where the kernel may be told another",
	}
	_, err := os.Stat("/proc/sys/net/ipv4/tcp_sack")
	haveProc := err == nil
	newer := map[string]bool{"tcp_syn_linear_timeouts": true, "tcp_tw_reuse_delay": true, "tcp_rto_min_us": true, "tcp_rto_max_ms": true} // than Linux 6.1
	seen := map[string]bool{}
	for i := range Knobs {
		k := &Knobs[i]
		p := tp.Params()
		is := k.Get(&p)
		if err := k.Set(&p, is); err != nil {
			t.Errorf("%s cannot be what it is: %v", k.Name, err)
		}
		if p != tp.Params() {
			t.Errorf("%s = %q changes something", k.Name, is)
		}
		if len(k.Doc) < 20 || !strings.HasSuffix(k.Doc, ".") || seen[k.Name] {
			t.Errorf("%s: what is it? %q", k.Name, k.Doc)
		}
		seen[k.Name] = true
		b, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(k.Name, ".", "/"))
		short := strings.TrimPrefix(k.Name, "net.ipv4.")
		switch linux := strings.TrimSpace(string(b)); {
		case os.IsNotExist(err) && !newer[short] && haveProc:
			t.Errorf("Linux has no %s", k.Name)
		case err == nil && linux != is && ours[short] == "":
			t.Errorf("%s is %q here and %q in this kernel", k.Name, is, linux)
		}
	}
}

func TestSetParamsMovesThePoolsLimit(t *testing.T) {
	pool := ring.NewPool(1 << 20)
	tp := New(Config{Pool: pool})
	p := tp.Params()
	if p.Mem != (Memory{128, 170, 256}) {
		t.Fatalf("%+v", p.Mem)
	}
	if err := sysctl.Find(Knobs, "tcp_mem").Set(&p, "10 20 30"); err != nil {
		t.Fatal(err)
	}
	tp.SetParams(p)
	if pool.Limit() != 30*4096 {
		t.Fatal(pool.Limit())
	}
}
