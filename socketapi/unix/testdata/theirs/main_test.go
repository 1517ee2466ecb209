package unix_test

import (
	"os"
	"testing"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// TestMain gives the tests of golang.org/x/sys/unix a stack that has no wire but itself.
func TestMain(m *testing.M) {
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Devices: []engine.Device{engine.NewLoop()}}}})
	if err != nil {
		panic(err)
	}
	socketapi.Use(st)
	os.Exit(m.Run())
}
