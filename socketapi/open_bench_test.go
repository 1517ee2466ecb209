package socketapi

import (
	"testing"

	"golang.org/x/sys/unix"
)

// BenchmarkConnectAcceptReset opens a connection of a host with itself, takes it from its listener and resets it: all that
// sockets, ports and connections cost that carry nothing.
func BenchmarkConnectAcceptReset(b *testing.B) {
	st, _ := twoHosts(b)
	table := st.Table()
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	at := &unix.SockaddrInet4{Port: 7, Addr: [4]byte{127, 0, 0, 1}}
	l, err := table.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(err)
	must(table.Bind(l, at))
	must(table.Listen(l, 128))
	b.ReportAllocs()
	for b.Loop() {
		c, err := table.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
		must(err)
		must(table.SetsockoptLinger(c, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		must(table.Connect(c, at))
		s, _, err := table.Accept(l)
		must(err)
		must(table.Close(c))
		must(table.Close(s))
	}
	must(table.Close(l))
}
