package engine

import (
	"net"
	"os"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/bpf"
	"github.com/xdpsock/xdpsock/engine/netlab"
)

// The device over drivers with zero-copy, which veth has not: two interfaces that are wired to each other and carry
// nothing else, named by XDPSOCK_ZEROCOPY=eth1,eth2. Both are up.
func TestAFXDPZeroCopy(t *testing.T) {
	names := strings.Split(os.Getenv("XDPSOCK_ZEROCOPY"), ",")
	if len(names) != 2 {
		t.Skip("needs two wired interfaces with zero-copy drivers in XDPSOCK_ZEROCOPY")
	}
	here, err := netlab.Current()
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	l := &xdpLink{t: t, ns: here}
	var ends [2]xdpEnd
	for i, name := range names {
		ifi, err := net.InterfaceByName(name)
		if err != nil {
			t.Fatal(err)
		}
		ends[i] = l.end(&netlab.Link{NS: here, Name: name, Index: ifi.Index, MAC: ifi.HardwareAddr}, 1, 1500, bpf.Native)
	}
	for range 2 {
		near, far := l.open(ends[0], 0, nil), l.open(ends[1], 0, nil)
		if near.Info().Mode != "zerocopy" || far.Info().Mode != "zerocopy" {
			t.Fatalf("%+v, refused: %v", near.Info(), near.Socket().Refused)
		}
		var scratch [2][batchMax]Frame
		const total = 5000
		sent, got := 0, 0
		comeTrue(t, "the answers", func() bool {
			if n := min(batchMax, total-sent, 128-(sent-got)); n > 0 {
				sent += writeFrames(near, uint32(sent), n, 60+got%1000)
			}
			near.Reserve(nil)
			near.Submit(nil, 0)
			echoBack(far, &scratch)
			if !near.Ready() && !far.Ready() {
				near.Wait(SystemClock.Now().Add(1e6))
			}
			readFrames(near, func(f *Frame) {
				if f.Data[12] == 0x88 && f.Data[13] == 0xb5 {
					got++
				}
			})
			return got >= total
		})
		t.Logf("near %+v", near.Stats())
		t.Logf("far %+v", far.Stats())
		closeDevice(t, near)
		closeDevice(t, far)
	}
}
