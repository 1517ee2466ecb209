package socketapi

import (
	"slices"

	"golang.org/x/sys/unix"
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
	if v.text == "" {
		c.device = 0
		return 0
	}
	port := slices.Index(c.host.Interfaces(), v.text)
	if port < 0 {
		return unix.ENODEV
	}
	c.device = port + 1
	return 0
}

func getDeviceIndex(s socket, v *value) unix.Errno {
	if c := s.common(); c.device != 0 {
		v.n = c.host.Index(c.device - 1)
	}
	return 0
}

// setDeviceIndex is setDevice by an index; 0 is all of them.
func setDeviceIndex(s socket, v *value) unix.Errno {
	c := s.common()
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
