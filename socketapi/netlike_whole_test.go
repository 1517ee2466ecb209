package socketapi

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

const (
	noDescriptor = "a socket has no descriptor of the kernel's: RawConn, and docs/porting.md"
	deprecated   = "deprecated there"
	noIPConn     = "raw sockets are opened in the Table: socket(AF_INET, SOCK_RAW)"
)

// wholeNet is the types of package net that are ours, and what of them is left out on purpose.
var wholeNet = []struct {
	theirs, ours any
	leftOut      map[string]string // by name; with the reason
}{
	{(*net.TCPConn)(nil), (*TCPConn)(nil), map[string]string{"File": noDescriptor, "SyscallConn": noDescriptor}},
	{(*net.UDPConn)(nil), (*UDPConn)(nil), map[string]string{"File": noDescriptor, "SyscallConn": noDescriptor}},
	{(*net.TCPListener)(nil), (*TCPListener)(nil), map[string]string{"File": noDescriptor, "SyscallConn": noDescriptor}},
	{(*net.Dialer)(nil), (*Dialer)(nil), map[string]string{"Cancel": deprecated, "DualStack": deprecated, "DialIP": noIPConn}},
	{(*net.ListenConfig)(nil), (*ListenConfig)(nil), nil},
}

// TestWholePackageNet holds every exported method and field of package net's types against ours: it is there with the
// same arguments and results, or left out with a reason that still holds.
func TestWholePackageNet(t *testing.T) {
	known := strings.HasPrefix(runtime.Version(), "go1.26")
	for _, w := range wholeNet {
		theirs, ours := reflect.TypeOf(w.theirs), reflect.TypeOf(w.ours)
		left := 0
		compare := func(name, want, got string) {
			_, without := w.leftOut[name]
			switch {
			case without && got != "":
				t.Errorf("%v.%s is there, and said to be left out", ours, name)
			case without:
				left++
			case got == "" && !known: // of a Go that is younger than this table
				t.Logf("%v has %s, %v does not", theirs, name, ours)
			case got != want:
				t.Errorf("%v.%s is %q, want %q", ours, name, got, want)
			}
		}
		for i := range theirs.NumMethod() {
			m, got := theirs.Method(i), ""
			if o, ok := ours.MethodByName(m.Name); ok {
				got = signature(o.Type)
			}
			compare(m.Name, ourTypes.Replace(signature(m.Type)), got)
		}
		for _, f := range reflect.VisibleFields(theirs.Elem()) {
			if !f.IsExported() {
				continue
			}
			got := ""
			if o, ok := ours.Elem().FieldByName(f.Name); ok {
				got = o.Type.String()
			}
			compare(f.Name, f.Type.String(), got)
		}
		if left != len(w.leftOut) {
			t.Errorf("of %v %d are left out, and %d are named", theirs, left, len(w.leftOut))
		}
	}
}

// ourTypes turns types of package net into ours.
var ourTypes = strings.NewReplacer("*net.TCPConn", "*socketapi.TCPConn", "*net.UDPConn", "*socketapi.UDPConn")

// signature is what a method takes and gives.
func signature(f reflect.Type) string {
	var s strings.Builder
	for i := 1; i < f.NumIn(); i++ {
		s.WriteString(f.In(i).String() + ", ")
	}
	s.WriteString("gives ")
	for i := range f.NumOut() {
		s.WriteString(f.Out(i).String() + ", ")
	}
	return s.String()
}

// TestWithoutStack: who forgets the field is told so, but for networks that need none.
func TestWithoutStack(t *testing.T) {
	var d Dialer
	var lc ListenConfig
	_, tcp := d.Dial("tcp", "192.0.2.1:9")
	_, addr := d.DialUDP(context.Background(), "udp", netip.AddrPort{}, netip.MustParseAddrPort("192.0.2.1:9"))
	_, listen := lc.Listen(context.Background(), "tcp", ":0")
	_, packet := lc.ListenPacket(context.Background(), "udp", ":0")
	for i, err := range []error{tcp, addr, listen, packet} {
		var op *net.OpError
		if !errors.As(err, &op) || op.Err != errNoStack {
			t.Errorf("%d: %v, want %v", i, err, errNoStack)
		}
	}
	if _, err := d.Dial("unix", "/nonexistent/x"); !errors.Is(err, unix.ENOENT) {
		t.Errorf("unix: %v, want ENOENT", err)
	}
	local, remote := &net.UnixAddr{Name: "", Net: "unix"}, &net.UnixAddr{Name: "/nonexistent/x", Net: "unix"}
	if _, err := d.DialUnix(context.Background(), "unix", local, remote); !errors.Is(err, unix.ENOENT) {
		t.Errorf("DialUnix: %v, want ENOENT", err)
	}
}
