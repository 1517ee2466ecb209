package host

import (
	"fmt"
	"slices"

	"github.com/xdpsock/xdpsock/engine"
)

// vlanMax is the highest 802.1Q VLAN: 4095 is reserved (IEEE 802.1Q, table 9-2).
const vlanMax = 4094

// portsMax is how many interfaces a host has, VLANs included: a connection's port is a byte.
const portsMax = 250

// trunks finds the interface whose devices each one has: itself, and for a VLAN the one of the same name
// without. Where that is not in the list, it is appended, with no address.
func trunks(list []Interface) (all []Interface, over []int, err error) {
	all = slices.Clone(list)
	for i := range list {
		in := &list[i]
		switch {
		case in.VLAN == 0:
		case in.VLAN > vlanMax:
			return nil, nil, fmt.Errorf("host: %s: VLAN %d is not between 1 and %d; two tags in one frame (802.1ad) are not supported", in.Name, in.VLAN, vlanMax)
		case in.Name == "":
			return nil, nil, fmt.Errorf("host: interface %d: a VLAN needs the name of the interface that carries it", i)
		case in.Devices != nil:
			return nil, nil, fmt.Errorf("host: %s: a VLAN is on the devices of %s, and has none of its own", vlanName(in.Name, in.VLAN), in.Name)
		case in.Mirror != 0, in.Share:
			return nil, nil, fmt.Errorf("host: %s: the kernel's addresses and routes are mirrored without a VLAN only", vlanName(in.Name, in.VLAN))
		}
		if in.Name != "" && slices.ContainsFunc(list[:i], func(o Interface) bool { return o.Name == in.Name && o.VLAN == in.VLAN }) {
			return nil, nil, fmt.Errorf("host: interface %s is there twice: give all of its addresses in one", vlanName(in.Name, in.VLAN))
		}
	}
	for i := range list {
		own := func(o Interface) bool { return o.Name == all[i].Name && o.VLAN == 0 }
		if all[i].VLAN != 0 && !slices.ContainsFunc(all, own) {
			all = append(all, Interface{Name: all[i].Name, Mode: all[i].Mode, Queues: all[i].Queues, BusyPoll: all[i].BusyPoll, Checksums: all[i].Checksums})
		}
	}
	if len(all) > portsMax {
		return nil, nil, fmt.Errorf("host: %d interfaces, VLANs included, are more than %d", len(all), portsMax)
	}
	for i := range all {
		carrier := i
		if all[i].VLAN != 0 {
			carrier = slices.IndexFunc(all, func(o Interface) bool { return o.Name == all[i].Name && o.VLAN == 0 })
			all[carrier].MTUMax = max(all[carrier].MTUMax, all[i].MTUMax)
		}
		over = append(over, carrier)
	}
	return all, over, nil
}

// checkVLAN finds what keeps tags from being seen. AF_PACKET tells of tags that the NIC took out; AF_XDP does not.
func checkVLAN(in *Interface, info engine.Info) error {
	if in.VLAN != 0 && info.Mode != string(engine.ModePacket) && !info.Virtual && engine.StripsVLAN(in.Name) {
		return fmt.Errorf("host: %s: %s takes VLAN tags out of what it receives before AF_XDP sees them: switch that off with 'ethtool -K %s rxvlan off'",
			vlanName(in.Name, in.VLAN), in.Name, in.Name)
	}
	return nil
}

// vlanName is what people are shown a VLAN of an interface as, and what the kernel's tools call one.
func vlanName(name string, vlan uint16) string {
	if vlan == 0 {
		return name
	}
	return fmt.Sprintf("%s.%d", name, vlan)
}

// setDevices says which device of a core is which port's, and names the ports. A core has the devices of the
// interfaces in order, VLANs left out, and then its loop.
func (h *Host) setDevices(cfg *Config, devices [][]engine.Device) {
	h.deviceOf = make([]int, h.ports+1)
	for port := range h.ports {
		if h.over[port] == port {
			h.deviceOf[port] = len(h.portOf)
			h.portOf = append(h.portOf, port)
		}
		h.names = append(h.names, vlanName(devices[h.over[port]][0].Info().Name, cfg.Interfaces[port].VLAN))
	}
	for port := range h.ports {
		h.deviceOf[port] = h.deviceOf[h.over[port]]
	}
	h.deviceOf[h.ports] = len(h.portOf)
	h.portOf = append(h.portOf, h.ports)
	h.names = append(h.names, loopName)
}

// carried calls f for a port and the VLANs that it carries.
func (h *Host) carried(port int, f func(port int)) {
	for i, over := range h.over {
		if over == port {
			f(i)
		}
	}
}
