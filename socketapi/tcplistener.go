package socketapi

import (
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// A TCPListener waits for connections, on all cores of the host.
type TCPListener struct {
	netSocket
	l     *listener
	local netip.AddrPort
}

var _ net.Listener = (*TCPListener)(nil)

// ListenTCP waits for connections at a local address of the host; a port of 0 is chosen. [::]
// takes IPv4 too.
func (st *Stack) ListenTCP(local netip.AddrPort) (*TCPListener, error) {
	l, err := (&ListenConfig{Stack: st}).listenTCP("tcp", local, false)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: net.TCPAddrFromAddrPort(local), Err: err}
	}
	return l, nil
}

// ok is netSocket's, of no listener at all too.
func (l *TCPListener) ok() bool { return l != nil && l.netSocket.ok() }

// Accept implements net.Listener.
func (l *TCPListener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP waits for a connection.
func (l *TCPListener) AcceptTCP() (*TCPConn, error) {
	if !l.ok() {
		return nil, unix.EINVAL
	}
	sock, errno := l.file.socket.(*tcpSocket).acceptFrom(l.l, 0, mono.Never)
	if errno != 0 {
		return nil, l.fail("accept", "accept4", errno)
	}
	return newTCPConn(l.st, l.network, sock).connected(sock.conn.Load()), nil
}

// Close stops listening. Connections that nobody accepted are reset.
func (l *TCPListener) Close() error {
	if !l.ok() {
		return unix.EINVAL
	}
	if errno := l.shut(); errno != 0 {
		return l.fail("close", "close", errno)
	}
	return nil
}

// Addr implements net.Listener.
func (l *TCPListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.local) }

// SetDeadline sets when Accept gives up, those under way included.
func (l *TCPListener) SetDeadline(t time.Time) error {
	if !l.ok() {
		return unix.EINVAL
	}
	if errno := l.l.setDeadline(&l.l.read, t); errno != 0 {
		return net.ErrClosed // without an OpError, as package net has it
	}
	return nil
}

// RawConn gives access to the listener's options: see [TCPConn.RawConn]. There is nothing to read or write.
func (l *TCPListener) RawConn() syscall.RawConn {
	if !l.ok() {
		return &rawConn{s: new(netSocket), still: true}
	}
	return &rawConn{s: &l.netSocket, local: l.Addr(), still: true}
}

func (l *TCPListener) fail(op, call string, errno unix.Errno) error {
	return opError(op, l.network, call, nil, l.Addr(), errno)
}
