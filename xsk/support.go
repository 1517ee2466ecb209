package xsk

import (
	"errors"
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// Support is the running kernel's answer to what it may be too old for, or built without: nil where
// it has it.
type Support struct {
	MultiBuffer error // Config.MultiBuffer: XDP_USE_SG, Linux 6.6
	BusyPoll    error // Config.BusyPoll: SO_PREFER_BUSY_POLL, Linux 5.11
	TxBudget    error // Config.TxBudget: XDP_MAX_TX_SKB_BUDGET, Linux 6.17
}

// Ask asks the kernel, by a socket that is bound to no interface. It returns an error where the process
// may not open one, or the kernel has no AF_XDP.
func Ask() (Support, error) {
	fd, err := unix.Socket(unix.AF_XDP, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return Support{}, fmt.Errorf("af_xdp: socket: %w%s", err, hint(err))
	}
	defer unix.Close(fd)
	_, busy := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL)
	// Of a socket without a tx ring no budget is right: EACCES from who knows the option.
	budget := unix.SetsockoptInt(fd, unix.SOL_XDP, unix.XDP_MAX_TX_SKB_BUDGET, 0)
	// Flags are looked at before the interface, of which there is none: ENODEV from who knows the flag.
	sg := unix.Bind(fd, &unix.SockaddrXDP{Flags: unix.XDP_USE_SG, Ifindex: math.MaxInt32})
	return Support{
		MultiBuffer: unless(sg, unix.ENODEV, "bind with XDP_USE_SG"),
		BusyPoll:    unless(busy, 0, "SO_PREFER_BUSY_POLL"),
		TxBudget:    unless(budget, unix.EACCES, "XDP_MAX_TX_SKB_BUDGET"),
	}, nil
}

// unless is an answer as an error, but for the one that says yes.
func unless(err error, yes unix.Errno, what string) error {
	if err == nil || errors.Is(err, yes) {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
