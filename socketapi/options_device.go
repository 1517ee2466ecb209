package socketapi

import (
	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi/host"
)

// Read first: socket(7) on SO_BINDTODEVICE; sock_bindtoindex in net/core/sock.c.

func getDevice(s socket, v *value) unix.Errno {
	if c := s.common(); c.device != 0 {
		v.text = c.host.Name(c.device - 1)
	}
	return 0
}

// setDevice binds a socket to an interface by its name; none is all of them.
func setDevice(s socket, v *value) unix.Errno {
	c := s.common()
	port := -1
	if v.text != "" {
		index, ok := c.host.IndexOf(v.text)
		if !ok {
			return unix.ENODEV
		}
		port, _ = c.host.PortOf(index)
	}
	if !mayLeaveDevice(c) {
		return unix.EPERM
	}
	c.device = port + 1
	return 0
}

// mayLeaveDevice says whether the calling thread may bind a socket to an interface, or to none, where it may be bound to one
// already: that wants CAP_NET_RAW.
func mayLeaveDevice(c *settings) bool { return c.device == 0 || host.Capable(unix.CAP_NET_RAW) }

func getDeviceIndex(s socket, v *value) unix.Errno {
	if c := s.common(); c.device != 0 {
		v.n = c.host.Index(c.device - 1)
	}
	return 0
}

// setDeviceIndex is setDevice by an index; 0 is all of them.
func setDeviceIndex(s socket, v *value) unix.Errno {
	c := s.common()
	if !mayLeaveDevice(c) {
		return unix.EPERM
	}
	if v.n == 0 {
		c.device = 0
		return 0
	}
	port, ok := c.host.PortOf(v.n)
	switch {
	case v.n < 0:
		return unix.EINVAL
	case !ok:
		return unix.ENODEV
	}
	c.device = port + 1
	return 0
}
