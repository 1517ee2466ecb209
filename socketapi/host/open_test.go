package host

import (
	"testing"

	"github.com/xdpsock/xdpsock/engine"
)

// closing is a device that only counts how often it is closed.
type closing struct {
	engine.Device
	closed int
}

func (c *closing) Info() engine.Info { return engine.Info{Name: "closing", MTU: 1500, FrameLen: 1514} }
func (c *closing) Close() error      { c.closed++; return nil }

func TestFailedOpenClosesAllDevicesOnce(t *testing.T) {
	before, after := &closing{}, &closing{}
	given := []engine.Device{after}
	_, err := Open(Config{Interfaces: []Interface{
		{Devices: []engine.Device{before}},
		{Name: "no-such-link"},
		{Devices: given},
	}})
	if err == nil {
		t.Fatal("opened an interface that does not exist")
	}
	if before.closed != 1 || after.closed != 1 {
		t.Errorf("closed %d and %d times, want once each", before.closed, after.closed)
	}
	if given[0] == nil {
		t.Error("the caller's slice was changed")
	}
	both := &closing{}
	if _, err := Open(Config{Interfaces: []Interface{{Name: "x", Devices: []engine.Device{both}}}}); err == nil || both.closed != 1 {
		t.Errorf("name and devices: error %v, closed %d times", err, both.closed)
	}
	other := &closing{}
	if _, err := Open(Config{Interfaces: []Interface{{Devices: []engine.Device{other}}, {Name: "x", VLAN: 4095}}}); err == nil || other.closed != 1 {
		t.Errorf("a VLAN that there is not: error %v, closed %d times", err, other.closed)
	}
	own := &closing{}
	if _, err := Open(Config{Interfaces: []Interface{{Name: "x", VLAN: 7, Devices: []engine.Device{own}}}}); err == nil || own.closed != 1 {
		t.Errorf("a VLAN with devices: error %v, closed %d times", err, own.closed)
	}
}

// The memory of an interface is made for the longest packets of all that it carries.
func TestMTUMaxOfTheCarrier(t *testing.T) {
	for _, list := range [][]Interface{
		{{Name: "x", VLAN: 7, MTUMax: 9000}, {Name: "x", VLAN: 8}},
		{{Name: "x", MTUMax: 2000}, {Name: "x", VLAN: 7, MTUMax: 9000}},
		{{Name: "x", VLAN: 7}, {Name: "x", MTUMax: 9000}},
	} {
		all, over, err := trunks(list)
		if err != nil {
			t.Fatal(err)
		}
		if carrier := all[over[0]]; carrier.VLAN != 0 || carrier.MTUMax != 9000 {
			t.Errorf("%+v is carried by %+v", list, carrier)
		}
	}
}

// A host whose sockets could queue nothing is refused, instead of a program's first send.
func TestNegativeMemory(t *testing.T) {
	h, err := Open(Config{Memory: -1, Interfaces: []Interface{{Devices: []engine.Device{engine.NewLoop()}}}})
	if err == nil {
		h.Close()
		t.Error("a host without memory is opened")
	}
}
