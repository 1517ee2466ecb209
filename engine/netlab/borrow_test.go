package netlab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// What is borrowed is set up as asked, and comes back as it was.
func TestBorrow(t *testing.T) {
	home, _, v := pair(t, 1)
	away := TestNS(t)
	if err := v.A.SetMTU(1400); err != nil {
		t.Fatal(err)
	}
	addr := netip.MustParsePrefix("10.66.0.1/24")

	if _, err := Borrow(home, v.A.Name, End{NS: away, Name: "lent"}); err == nil || !strings.Contains(err.Error(), "has the address") {
		t.Fatalf("an interface with an address was borrowed: %v", err)
	}
	flush(t, home, v.A.Name)
	loan, err := Borrow(home, v.A.Name, End{NS: away, Name: "lent", Addrs: []netip.Prefix{addr}, MTU: 1300})
	if err != nil {
		t.Fatal(err)
	}
	k := find(t, away, "lent")
	if k == nil || k.Attrs().MTU != 1300 || k.Attrs().RawFlags&unix.IFF_UP == 0 || loan.Index != k.Attrs().Index {
		t.Errorf("borrowed: %+v", k)
	}
	if find(t, home, v.A.Name) != nil {
		t.Error("it is still at home")
	}
	if err := loan.change("promiscuous", func(h *netlink.Handle, k netlink.Link) error { return h.SetPromiscOn(k) }); err != nil {
		t.Fatal(err)
	}
	if err := loan.Return(); err != nil {
		t.Fatal(err)
	}
	k = find(t, home, v.A.Name)
	if k == nil || k.Attrs().MTU != 1400 || k.Attrs().RawFlags&(unix.IFF_UP|unix.IFF_PROMISC) != unix.IFF_UP {
		t.Errorf("returned: %+v", k)
	}
	if find(t, away, "lent") != nil {
		t.Error("it is still away")
	}
	if _, err := Borrow(home, "nosuch", End{NS: away}); err == nil {
		t.Error("an interface that does not exist was borrowed")
	}
}

// find returns a link of a namespace, nil if it is not there.
func find(t *testing.T, ns *NS, name string) (k netlink.Link) {
	t.Helper()
	err := ns.netlink(func(h *netlink.Handle) error {
		k, _ = h.LinkByName(name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// flush takes the addresses from a link.
func flush(t *testing.T, ns *NS, name string) {
	t.Helper()
	err := ns.netlink(func(h *netlink.Handle) error {
		k, err := h.LinkByName(name)
		if err != nil {
			return err
		}
		addrs, err := h.AddrList(k, netlink.FAMILY_ALL)
		for i := 0; err == nil && i < len(addrs); i++ {
			err = h.AddrDel(k, &addrs[i])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
