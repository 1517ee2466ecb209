package engine

import (
	"time"

	"github.com/xdpsock/xdpsock/proto/mono"
)

// afxdpSleepMax bounds one sleep, so that a device whose interface was deleted is found
// out: poll(2) never tells.
const afxdpSleepMax = time.Second

// Wait sleeps until something has arrived, Wake is called or the clock reaches until; at most
// a second. It sleeps in ppoll(2) on its own thread: in Go's poller the socket would stay armed
// for good, and wake a thread for every packet. Polling a copy-mode socket makes the kernel
// look at the tx ring too and keep to itself what it dropped: whoever waits
// with frames unsent may miss a TxBusy.
func (d *AFXDP) Wait(until mono.Time) {
	if latest := d.clock.Now().Add(afxdpSleepMax); latest.Before(until) {
		until = latest
	}
	if d.sleep.wait(until, d.clock, d.ready) == 0 {
		d.Probe()
	}
}

// Wake ends a Wait, or the next one at once.
func (d *AFXDP) Wake() { d.sleep.wake() }
