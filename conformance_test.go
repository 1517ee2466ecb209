package xdpsock

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConformanceNamesTests: what docs/conformance-tcp.md names is there.
func TestConformanceNamesTests(t *testing.T) {
	text, err := os.ReadFile("docs/conformance-tcp.md")
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	for _, dir := range []string{"proto", "socketapi"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range function.FindAllSubmatch(source, -1) {
				there[string(m[1])] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllSubmatch(text, -1)
	for _, m := range named {
		if !there[string(m[1])] {
			t.Errorf("%s is named, and is not there", m[1])
		}
	}
	if len(named) < 100 {
		t.Errorf("%d tests are named", len(named))
	}
}
