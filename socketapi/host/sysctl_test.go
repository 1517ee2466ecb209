package host

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/wire"
)

var update = flag.Bool("update", false, "write docs/sysctl.md instead of comparing with it")

const sysctlDoc = "../../docs/sysctl.md"

// documentation is docs/sysctl.md.
func documentation() []byte {
	h := tunedHost(nil)
	defer h.Close()
	var b bytes.Buffer
	b.WriteString(`# Sysctls

The knobs of a host have the names, units and ranges of Linux's sysctls. They are set when a host is opened,
by ` + "`host.Config.Sysctls`" + `, and while it runs, by ` + "`Host.SetSysctl`" + `; of the command, by
` + "`xdpsock serve --sysctl NAME=VALUE`" + ` and ` + "`xdpsock sysctl NAME=VALUE`" + `. A name may leave out what stands
before the last dot. A value counts from the moment in which it is set, where it is not said otherwise.

This file is made of the table in the code: ` + "`go generate ./socketapi/host`" + `.

| name | default | range | unit | what it is |
|---|---|---|---|---|
`)
	for _, s := range h.Sysctls() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", s.Name, strings.ReplaceAll(s.Value, "\t", " "), s.Range, s.Unit, s.Doc)
	}
	b.WriteString("\nThese of Linux have no meaning here:\n\n")
	for _, name := range slices.Sorted(maps.Keys(withoutMeaning)) {
		fmt.Fprintf(&b, "- %s: %s\n", name, withoutMeaning[name])
	}
	return b.Bytes()
}

// tunedHost is a host on no network.
func tunedHost(sysctls map[string]string) *Host {
	h, err := Open(Config{Manual: true, Sysctls: sysctls, Interfaces: []Interface{{
		Devices: []engine.Device{engine.NewLoop()},
	}}})
	if err != nil {
		panic(err)
	}
	return h
}

func TestSysctlsAreDocumented(t *testing.T) {
	want := documentation()
	if *update {
		if err := os.WriteFile(sysctlDoc, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(sysctlDoc); err != nil || !bytes.Equal(got, want) {
		t.Errorf("docs/sysctl.md is not what the table says: go generate ./socketapi/host (%v)", err)
	}
}

func TestSysctlsAtOpenAndLive(t *testing.T) {
	h := tunedHost(map[string]string{"net.ipv4.tcp_sack": "0", "ip_local_port_range": "4000 4001"})
	defer h.Close()
	if p := h.cores[0].Stack.TCP.Params(); !p.NoSACK || p.NoTimestamps {
		t.Errorf("%+v", p)
	}
	for _, c := range []struct{ name, value, is, fails string }{
		{"net.ipv4.tcp_fin_timeout", "7", "7", ""},
		{"net/core/somaxconn", "12", "12", ""},
		{"icmp_ratelimit", "20", "20", ""},
		{"tcp_fin_timeout", "-1", "7", "-1 is not from 0 to"},
		{"tcp_rmem", "4096 8192 16384", "4096\t8192\t16384", ""},
		{"tcp_rmem", "4096 8192", "4096\t8192\t16384", "has 2 numbers, and takes 3"},
		{"ip_local_reserved_ports", "9000-9100,8080,9050-9101\n", "8080,9000-9101", ""},
		{"ip_local_reserved_ports", "9100-9000", "8080,9000-9101", "ends before it begins"},
		{"ip_local_reserved_ports", "65536", "8080,9000-9101", "65536 is not from 0 to 65535"},
		{"ip_local_reserved_ports", "", "", ""},
		{"ip_unprivileged_port_start", "4001", "1024", "begins with 4000, and ports below ip_unprivileged_port_start, 4001, want a right"},
		{"ip_unprivileged_port_start", "4000", "4000", ""},
		{"ip_local_port_range", "3999 4001", "4000\t4001", "begins with 3999"},
		{"ip_unprivileged_port_start", "1024", "1024", ""},
		{"tcp_congestion_control", "reno", "reno", ""},
		{"tcp_congestion_control", "fast", "reno", `"fast" is none of cubic, reno`},
	} {
		err := h.SetSysctl(c.name, c.value)
		is, _ := h.Sysctl(c.name)
		if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) || is.Value != c.is {
			t.Errorf("%s = %q: %v, and is %q", c.name, c.value, err, is.Value)
		}
	}
	if p := h.cores[0].Stack.TCP.Params(); p.FinTimeout.Seconds() != 7 || p.Rmem.Max != 16384 {
		t.Errorf("%+v", p)
	}
	if h.Backlog(100) != 12 || h.Backlog(-1) != 12 || h.Backlog(3) != 3 {
		t.Error("somaxconn does not count")
	}
	ports := map[uint16]bool{}
	for range 2 {
		hold := &Hold{Protocol: wire.ProtoTCP, Local: netip.MustParseAddrPort("0.0.0.0:0")}
		if errno := h.Ports.Take(hold); errno != 0 {
			t.Fatal(errno)
		}
		ports[hold.Local.Port()] = true
	}
	if !ports[4000] || !ports[4001] {
		t.Errorf("ports %v", ports)
	}
}

func TestSysctlsThatAreNot(t *testing.T) {
	h := tunedHost(nil)
	defer h.Close()
	for name, want := range map[string]string{
		"net.ipv4.tcp_autocorking": "has no meaning here: output is pulled",
		"net.ipv4.nonesuch":        `there is no "net.ipv4.nonesuch"`,
		"":                         `there is no ""`,
	} {
		if err := h.SetSysctl(name, "1"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("set %q: %v", name, err)
		}
		if _, err := h.Sysctl(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("get %q: %v", name, err)
		}
	}
	if _, err := Open(Config{Manual: true, Sysctls: map[string]string{"tcp_sack": "2"}, Interfaces: []Interface{{Devices: []engine.Device{engine.NewLoop()}}}}); err == nil {
		t.Error("opened with a value that cannot be")
	}
}

// A port that is reserved is chosen by nobody, neither by bind nor by connect, nor out of a range of the socket's own; who asks for it
// has it.
func TestReservedPorts(t *testing.T) {
	h := tunedHost(map[string]string{"ip_local_port_range": "4000 4007", "ip_local_reserved_ports": "4000-4002,4004-4007"})
	defer h.Close()
	for _, protocol := range []wire.Protocol{wire.ProtoTCP, wire.ProtoUDP} {
		any := netip.MustParseAddrPort("0.0.0.0:0")
		hold := &Hold{Protocol: protocol, Local: any}
		if errno := h.Ports.Take(hold); errno != 0 || hold.Local.Port() != 4003 {
			t.Fatalf("%v: %v, %v", protocol, hold.Local, errno)
		}
		if errno := h.Ports.Take(&Hold{Protocol: protocol, Local: any}); errno != unix.EADDRINUSE {
			t.Errorf("%v: a second: %v", protocol, errno)
		}
		if errno := h.Ports.Take(&Hold{Protocol: protocol, Local: any, Range: PortRange{4004, 4007}}); errno != unix.EADDRINUSE {
			t.Errorf("%v: of a range that is reserved: %v", protocol, errno)
		}
		if errno := h.Ports.Take(&Hold{Protocol: protocol, Local: netip.MustParseAddrPort("0.0.0.0:4001")}); errno != 0 {
			t.Errorf("%v: who asks for one: %v", protocol, errno)
		}
	}
	for _, own := range []PortRange{{}, {4002, 4005}} {
		walk := h.Ports.Candidates(own)
		if got := slices.Collect(walk.Ports); !slices.Equal(got, []uint16{4003}) {
			t.Errorf("connect chooses among %v", got)
		}
	}
	if err := h.SetSysctl("ip_local_reserved_ports", ""); err != nil {
		t.Fatal(err)
	}
	walk := h.Ports.Candidates(PortRange{})
	if got := slices.Collect(walk.Ports); len(got) != 8 {
		t.Errorf("with none reserved connect chooses among %v", got)
	}
}
