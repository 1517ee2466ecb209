package main

import (
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
)

// program is the XDP program on the server's end, 0 if there is none.
func (l *lab) program(t *testing.T) (id uint32) {
	t.Helper()
	err := l.server.Do(func() error {
		link, err := netlink.LinkByName(l.veth.B.Name)
		if err == nil && link.Attrs().Xdp != nil && link.Attrs().Xdp.Attached {
			id = link.Attrs().Xdp.ProgId
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// nobody is a user without capabilities.
func nobody() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
}
