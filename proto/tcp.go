package proto

import (
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/drop"
	"github.com/xdpsock/xdpsock/proto/mono"
	"github.com/xdpsock/xdpsock/proto/neigh"
	"github.com/xdpsock/xdpsock/proto/wire"
)

func (s *Stack) inputTCP(b []byte, pseudo wire.Sum) drop.Reason { return drop.TCPNoListener }
func (s *Stack) errorTCP(local, remote netip.AddrPort, seq wire.Seq, errno unix.Errno, hard bool, mtu int) drop.Reason {
	return drop.ICMP4QuoteUnknown
}
func (s *Stack) unparkTCP(e *neigh.Entry)                         {}
func (s *Stack) failTCP(e *neigh.Entry)                           {}
func (s *Stack) outputTCP(p *port, buf []byte, now mono.Time) int { return 0 }

func (s *Stack) busyTCP() bool { return false }
