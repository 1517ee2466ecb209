package socketapi

import (
	"context"
	"errors"
	"net"
)

// Networks of package net whose sockets are the kernel's, as in a [Table] those of AF_UNIX are: no stack is asked.

func kernelNetwork(network string) bool {
	switch network {
	case "unix", "unixgram", "unixpacket":
		return true
	}
	return false
}

// kernels is the dialer for the kernel's networks. The descriptors that Control gets are the kernel's.
func (d *Dialer) kernels() *net.Dialer {
	return &net.Dialer{Timeout: d.Timeout, Deadline: d.Deadline, LocalAddr: d.LocalAddr, Control: d.Control, ControlContext: d.ControlContext}
}

// DialUnix connects to a socket of the kernel's: network is "unix", "unixgram" or "unixpacket".
func (d *Dialer) DialUnix(ctx context.Context, network string, local, remote *net.UnixAddr) (*net.UnixConn, error) {
	return d.kernels().DialUnix(ctx, network, local, remote)
}

// MultipathTCP is false: there is none here (RFC 8684).
func (d *Dialer) MultipathTCP() bool { return false }

// SetMultipathTCP wishes for multipath TCP, which here as on a kernel without it comes to TCP.
func (d *Dialer) SetMultipathTCP(bool) {}

func (lc *ListenConfig) kernels() *net.ListenConfig { return &net.ListenConfig{Control: lc.Control} }

// MultipathTCP is false: there is none here (RFC 8684).
func (lc *ListenConfig) MultipathTCP() bool { return false }

// SetMultipathTCP wishes for multipath TCP, which here as on a kernel without it comes to TCP.
func (lc *ListenConfig) SetMultipathTCP(bool) {}

// errNoStack is of a configuration without one.
var errNoStack = errors.New("the field Stack is not set")
