package socketapi

import (
	"errors"
	"net"

	questions "github.com/xdpsock/xdpsock/socketapi/control"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A Stack is the sockets of a program over one host.
type Stack struct {
	host  *host.Host
	table *Table
	names *net.Resolver // of everyone who has none of his own
}

// New returns a stack without sockets over h, which stays the caller's to close.
func New(h *host.Host) *Stack {
	s := &Stack{host: h, table: newTable(h)}
	s.names = s.Resolver()
	return s
}

// Open opens a host and returns a stack over it. Close closes both.
func Open(cfg host.Config) (*Stack, error) {
	h, err := host.Open(cfg)
	if err != nil {
		return nil, err
	}
	s := New(h)
	if cfg.Control != "" {
		server, err := questions.Open(cfg.Control, h)
		if err != nil {
			return nil, errors.Join(err, h.Close())
		}
		s.table.asked = server
	}
	return s, nil
}

// Host returns what the stack is over.
func (s *Stack) Host() *host.Host { return s.host }

// Table returns the stack's descriptors: Berkeley sockets with the calls of
// golang.org/x/sys/unix.
func (s *Stack) Table() *Table { return s.table }

// Close closes the host: it sends what was accepted from programs, and ends what is
// still open.
func (s *Stack) Close() error { return s.table.closeHost() }

func (t *Table) closeHost() (err error) {
	if t.asked != nil {
		err = t.asked.Close()
	}
	return errors.Join(err, t.host.Close())
}
