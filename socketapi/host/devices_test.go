package host

import (
	"net/netip"
	"testing"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/proto/simnet"
)

// TestOpenLeavesTheCallersDevices checks that a configuration can be looked at after Open.
func TestOpenLeavesTheCallersDevices(t *testing.T) {
	var clock simnet.Clock
	q := &queue{clock: &clock}
	devices := []engine.Device{q}
	h, err := Open(Config{
		Interfaces: []Interface{{Devices: devices, Addrs: []netip.Prefix{netip.PrefixFrom(ourAddr, 24)}}},
		Clock:      &clock, Manual: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if devices[0] != engine.Device(q) {
		t.Errorf("the device in the caller's slice is %v now", devices[0])
	}
}
