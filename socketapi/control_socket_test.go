package socketapi

import (
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	questions "github.com/xdpsock/xdpsock/socketapi/control"
	"github.com/xdpsock/xdpsock/socketapi/host"
)

// TestConfigControl: a stack whose configuration says so can be asked from its opening to its end.
func TestConfigControl(t *testing.T) {
	config := func(dir string) host.Config {
		return host.Config{Control: dir, Interfaces: []host.Interface{{
			Devices: []engine.Device{engine.NewLoop()}, Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}, Detect: host.DetectNone,
		}}}
	}
	dir := filepath.Join(t.TempDir(), "c")
	st, err := Open(config(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.Table().Socket(unix.AF_INET, unix.SOCK_STREAM, 0); err != nil {
		t.Fatal(err)
	}
	found, err := questions.Choose(dir, "", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if a, err := found.Ask(questions.AskAddrs); err != nil || len(a.Addrs) == 0 {
		t.Error(a, err)
	}
	if err := st.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Error(left, err)
	}

	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(dir)); err == nil {
		t.Error("a directory that others may enter was taken")
	}
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, fs.ModePerm); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(config(filepath.Join(dir, "file"))); err == nil {
		t.Error("a file was taken for a directory")
	}
}
