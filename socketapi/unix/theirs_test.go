package unix_test

import (
	"bytes"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Tests of golang.org/x/sys/unix that fail with our import, and those that do not compile, and why.
var (
	notWithOurs = map[string]string{
		"TestSCMCredentials": "makes an os.File of a socket's number (os.NewFile)",
		"TestPassFD":         "makes an os.File of a socket's number (os.NewFile)",
		"TestOpenByHandleAt": "makes an os.File of a file's number (os.NewFile)",
		"TestIoctlIfreq":     "asks a socket for the kernel's interfaces, and its own are the engine's",
	}
	notCompiled = map[string]string{
		"TestSockaddrALG":          "calls Syscall6",
		"TestIoctlFileDedupeRange": "calls IoctlFileDedupeRange",
		"ExampleExec":              "calls Exec",
	}
)

// TestTheirOwnTests runs the tests of golang.org/x/sys/unix with one import changed.
func TestTheirOwnTests(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles the tests of golang.org/x/sys/unix")
	}
	dir := t.TempDir()
	files := theirTests(t, dir)
	mine, err := os.ReadFile("testdata/theirs/main_test.go")
	fatal(t, err)
	main := filepath.Join(dir, "main_test.go")
	fatal(t, os.WriteFile(main, mine, 0o644))
	program := filepath.Join(dir, "theirs.test")
	compile := exec.Command("go", append([]string{"test", "-vet=off", "-c", "-o", program, main}, files...)...)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	run := exec.Command(program, "-test.v", "-test.timeout=120s", "-test.skip=Allocat") // how often a call for the kernel allocates
	run.Dir = dir                                                                       // one of them opens its own source
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // TestPidfd waits for a child to die of it: who ignores it (nohup) has its children do so
	defer signal.Stop(hangups)
	out, _ := run.CombinedOutput()
	passed := bytes.Count(out, []byte("\n--- PASS: "))
	if passed < 50 {
		t.Errorf("only %d tests have passed:\n%s", passed, out)
	}
	failed := regexp.MustCompile(`(?m)^--- FAIL: (\w+)`).FindAllSubmatch(out, -1)
	for _, m := range failed {
		if name := string(m[1]); notWithOurs[name] == "" && exec.Command("go", "test", "-run", "^"+name+"$", "golang.org/x/sys/unix").Run() == nil { // or it fails here anyway
			t.Errorf("%s fails:\n%s", m[1], out)
		}
	}
	t.Logf("%d tests passed, %d failed", passed, len(failed))
}

// theirTests writes the tests that are of another package, unix_test, with our import.
func theirTests(t *testing.T, dir string) (files []string) {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	fatal(t, err)
	p, err := build.ImportDir(filepath.Join(strings.TrimSpace(string(out)), "unix"), 0)
	fatal(t, err)
	for _, name := range p.XTestGoFiles {
		source, err := os.ReadFile(filepath.Join(p.Dir, name))
		fatal(t, err)
		if bytes.Contains(source, []byte("unix.Mremap")) && bytes.Contains(source, []byte("unix.MremapMaymove")) {
			continue // a name that its package has in tests alone
		}
		source = bytes.Replace(source, []byte(`"golang.org/x/sys/unix"`), []byte(`"github.com/xdpsock/xdpsock/socketapi/unix"`), 1)
		file := filepath.Join(dir, name)
		fatal(t, os.WriteFile(file, without(t, source), 0o644))
		files = append(files, file)
	}
	return files
}

// without is a file without the tests that do not compile, and without the imports that these alone have.
func without(t *testing.T, source []byte) []byte {
	t.Helper()
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, "", source, parser.SkipObjectResolution)
	fatal(t, err)
	for _, d := range slices.Backward(f.Decls) {
		if fn, ok := d.(*ast.FuncDecl); ok && notCompiled[fn.Name.Name] != "" {
			source = slices.Delete(source, set.Position(fn.Pos()).Offset, set.Position(fn.End()).Offset)
		}
	}
	for _, spec := range slices.Backward(f.Imports) {
		path := strings.Trim(spec.Path.Value, `"`)
		if spec.Name == nil && !bytes.Contains(source, []byte(path[strings.LastIndex(path, "/")+1:]+".")) {
			source = slices.Delete(source, set.Position(spec.Pos()).Offset, set.Position(spec.End()).Offset)
		}
	}
	return source
}
