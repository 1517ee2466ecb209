package host

import (
	"bytes"
	"net/netip"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/proto/tcp"
)

// TestDrainHasOneDeadline closes the last socket while two cores have data that nobody
// acknowledges: the wait is for both together. A socket that was abandoned is not waited for.
func TestDrainHasOneDeadline(t *testing.T) {
	r := newRig(t, 2)
	r.mirrorAtPeer(7)
	var conns []*tcp.Conn
	for i, c := range r.h.Cores() {
		port := uint16(1000 + i)
		r.steer = func([]byte) int { return i }
		conn, errno := c.Stack.TCP.Connect(netip.AddrPortFrom(ourAddr, port), netip.AddrPortFrom(peerAddr, 7), tcp.Options{}, r.clock.Now())
		if errno != 0 {
			t.Fatal(errno)
		}
		r.until(time.Minute, "connected", conn.Connected)
		conns = append(conns, conn)
	}
	for _, conn := range conns { // from here on the peer hears nothing
		if n, errno, _ := conn.Write(bytes.Repeat([]byte("x"), 1000)); n != 1000 || errno != 0 {
			t.Fatal(n, errno)
		}
		conn.Kick(r.clock.Now())
		conn.Close(r.clock.Now())
	}
	for _, c := range r.h.Cores() {
		if !c.Stack.Busy() {
			t.Fatal("a core has nothing left to send")
		}
	}
	for range 2 {
		if errno := r.h.SocketOpened(); errno != 0 {
			t.Fatal(errno)
		}
	}
	r.h.SocketClosed()
	before := r.clock.Now()
	r.h.SocketAbandoned()
	if took := r.clock.Now().Sub(before); took != 0 {
		t.Errorf("an abandoned socket was waited for, %v", took)
	}
	if errno := r.h.SocketOpened(); errno != 0 {
		t.Fatal(errno)
	}
	r.h.SocketClosed()
	if took := r.clock.Now().Sub(before); took < drainMax || took > drainMax+100*time.Millisecond {
		t.Errorf("the last close took %v of the clock, want %v", took, drainMax)
	}
	for limit, want := range map[time.Duration]time.Duration{-1: 0, 300 * time.Millisecond: 300 * time.Millisecond} {
		r.h.drainMax = limit
		if errno := r.h.SocketOpened(); errno != 0 {
			t.Fatal(errno)
		}
		before = r.clock.Now()
		r.h.SocketClosed()
		if took := r.clock.Now().Sub(before); took < want || took > want+100*time.Millisecond {
			t.Errorf("with a Drain of %v the last close took %v of the clock", limit, took)
		}
	}
}
