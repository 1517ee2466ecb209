// Package xdpsock is the root of the module. It holds no code, only the tests of
// how the house is built.
package xdpsock

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/xdpsock/xdpsock/"

// rooms is which packages of the module a folder may import. It is a statement of
// policy, not a record of what happens to be so: a change here is a change of design.
// Data flows xsk → engine → proto → socketapi; what stands to the left in that may be
// imported by what drives it, never the other way.
var rooms = map[string][]string{
	"xsk":           {},
	"bpf":           {},
	"engine":        {"xsk", "bpf", "proto/mono", "proto/simnet"},
	"engine/netlab": {},

	"proto":         {"proto/wire", "proto/mono", "proto/drop", "proto/ring", "proto/timer", "proto/neigh", "proto/route", "proto/autoconf", "proto/group", "proto/udp", "proto/tcp", "proto/ip", "proto/siphash", "proto/sysctl"},
	"proto/mono":    {},
	"proto/drop":    {},
	"proto/wire":    {},
	"proto/ring":    {"proto/mono", "proto/wire"},
	"proto/timer":   {"proto/mono"},
	"proto/neigh":   {"proto/wire", "proto/mono", "proto/ring", "proto/timer"},
	"proto/route":   {"proto/wire", "proto/mono"},
	"proto/group":   {"proto/wire", "proto/mono", "proto/drop", "proto/timer"},
	"proto/udp":     {"proto/wire", "proto/mono", "proto/drop", "proto/ring", "proto/timer", "proto/group"},
	"proto/tcp":     {"proto/wire", "proto/mono", "proto/drop", "proto/ring", "proto/timer", "proto/siphash", "proto/sysctl"},
	"proto/ip":      {"proto/wire", "proto/mono", "proto/drop", "proto/timer", "proto/siphash"},
	"proto/siphash": {},
	"proto/sysctl":  {},
	"proto/simnet":  {"proto/mono"},

	"proto/autoconf": {"proto/wire", "proto/mono", "proto/drop", "proto/timer", "proto/route"},

	"socketapi/host": {"engine", "proto", "proto/..."},
	"socketapi":      {"engine", "socketapi/host", "socketapi/control", "socketapi/internal/ifreq", "proto", "proto/..."},
	"socketapi/dhcp": {"socketapi", "socketapi/host", "proto", "proto/..."},
	"socketapi/unix": {"socketapi"},

	"socketapi/traffic": {"socketapi/host", "proto/drop"},
	"socketapi/control": {"socketapi/host", "socketapi/traffic", "proto/..."},

	"socketapi/unix/internal/generate": {},
	"socketapi/internal/ifreq":         {},

	"cmd/...":      {"..."},
	"examples/...": {"socketapi", "socketapi/host", "socketapi/unix", "examples/certificate"},
}

// outside is which modules besides the standard library a folder may import.
var outside = map[string][]string{
	"xsk":           {"golang.org/x/sys/unix"},
	"bpf":           {"github.com/cilium/ebpf", "github.com/cilium/ebpf/...", "golang.org/x/sys/unix"},
	"engine":        {"golang.org/x/sys/unix", "github.com/vishvananda/netlink", "github.com/vishvananda/netlink/...", "github.com/vishvananda/netns"},
	"engine/netlab": {"golang.org/x/sys/unix", "github.com/vishvananda/netlink", "github.com/vishvananda/netlink/...", "github.com/vishvananda/netns"},
	"proto":         {"golang.org/x/sys/unix"}, // for errno values
	"proto/group":   {"golang.org/x/sys/unix"},
	"proto/udp":     {"golang.org/x/sys/unix"},
	"proto/tcp":     {"golang.org/x/sys/unix"},
	"socketapi":     {"golang.org/x/sys/unix", "golang.org/x/net/dns/dnsmessage"},
	"socketapi/host": {
		"golang.org/x/sys/unix"},

	"socketapi/dhcp": {"github.com/insomniacslk/dhcp/..."},
	"socketapi/unix": {"golang.org/x/sys/unix"},

	"socketapi/internal/ifreq": {"golang.org/x/sys/unix"},
	"socketapi/control":        {"golang.org/x/sys/unix"},

	"cmd/...":      {"..."},
	"examples/...": {"golang.org/x/sys/unix"},
}

// Where these may stand. The protocols are single-threaded code that belongs to
// whoever holds the core's lock; only ring, where core and program meet, is not.
var (
	maySync   = []string{"xsk", "bpf", "engine", "engine/...", "proto/ring", "socketapi", "socketapi/...", "cmd/..."}
	mayAtomic = []string{"xsk", "engine", "engine/...", "proto/ring", "socketapi", "socketapi/...", "cmd/..."}
	mayUnsafe = []string{"xsk", "bpf", "engine", "engine/...", "socketapi/unix", "socketapi/internal/ifreq"} // the last two for the signatures of package unix alone
	mayGo     = []string{"engine", "engine/...", "socketapi", "socketapi/...", "cmd/...", "examples/..."}
)

// source is one file that is part of the program.
type source struct {
	path, folder string
	file         *ast.File
}

func sources(t *testing.T) (all []source, fset *token.FileSet) {
	t.Helper()
	fset = token.NewFileSet()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			// A folder with a go.mod is another module; hidden ones are not Go's.
			if _, err := os.Stat(filepath.Join(path, "go.mod")); path != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		all = append(all, source{path, filepath.ToSlash(filepath.Dir(path)), file})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all, fset
}

// matches says whether name is one of patterns, of which "x/..." is all below x.
func matches(name string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		below, ok := strings.CutSuffix(p, "...")
		return p == name || ok && strings.HasPrefix(name, below)
	})
}

// policy finds the entry for a folder.
func policy(m map[string][]string, folder string) (allowed []string, ok bool) {
	if allowed, ok = m[folder]; ok {
		return allowed, true
	}
	for pattern, allowed := range m {
		if strings.HasSuffix(pattern, "...") && matches(folder, []string{pattern}) {
			return allowed, true
		}
	}
	return nil, false
}

func TestImportsFlowOneWay(t *testing.T) {
	all, _ := sources(t)
	for _, s := range all {
		inside, ok := policy(rooms, s.folder)
		if !ok {
			t.Errorf("%s: no policy says what %s may import", s.path, s.folder)
			continue
		}
		others, _ := policy(outside, s.folder)
		for _, spec := range s.file.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if ours, ok := strings.CutPrefix(name, module); ok {
				if !matches(ours, inside) {
					t.Errorf("%s imports %s, which %s must not", s.path, ours, s.folder)
				}
				continue
			}
			switch first, _, _ := strings.Cut(name, "/"); {
			case name == "sync" && !matches(s.folder, maySync),
				name == "sync/atomic" && !matches(s.folder, mayAtomic),
				name == "unsafe" && !matches(s.folder, mayUnsafe):
				t.Errorf("%s imports %s, which has no place in %s", s.path, name, s.folder)
			case strings.Contains(first, ".") && !matches(name, others):
				t.Errorf("%s imports %s, which %s must not", s.path, name, s.folder)
			}
		}
	}
}

func TestGoroutinesStartWhereTheyMay(t *testing.T) {
	all, fset := sources(t)
	for _, s := range all {
		if matches(s.folder, mayGo) {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if g, ok := n.(*ast.GoStmt); ok {
				t.Errorf("%s: a goroutine is started in %s", fset.Position(g.Pos()), s.folder)
			}
			return true
		})
	}
}

func TestProtocolsDoNotAskTheTime(t *testing.T) {
	all, fset := sources(t)
	for _, s := range all {
		if s.folder != "proto" && !strings.HasPrefix(s.folder, "proto/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick"}, sel.Sel.Name) {
					t.Errorf("%s: time.%s under proto, where time is an argument", fset.Position(sel.Pos()), sel.Sel.Name)
				}
			}
			return true
		})
	}
}

// A reason that nothing counts is a promise to whoever reads the counters.
func TestEveryReasonOfADropIsCounted(t *testing.T) {
	all, _ := sources(t)
	counted := map[string]bool{}
	named := []string{}
	for _, s := range all {
		if s.path == filepath.Join("proto", "drop", "reason.go") {
			for _, d := range s.file.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
					for _, spec := range g.Specs {
						named = append(named, spec.(*ast.ValueSpec).Names[0].Name)
					}
				}
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok {
				if x, ok := sel.X.(*ast.Ident); ok && x.Name == "drop" {
					counted[sel.Sel.Name] = true
				}
			}
			return true
		})
	}
	if len(named) < 100 {
		t.Fatalf("%d reasons were found", len(named))
	}
	for _, name := range named {
		if ast.IsExported(name) && name != "Reasons" && !counted[name] {
			t.Errorf("nothing counts drop.%s", name)
		}
	}
}

func TestEveryFolderHasOnePackageComment(t *testing.T) {
	all, _ := sources(t)
	comments := map[string]int{}
	for _, s := range all {
		if s.file.Doc != nil && !ast.IsGenerated(s.file) {
			comments[s.folder]++
		} else {
			comments[s.folder] += 0
		}
	}
	for folder, n := range comments {
		if n != 1 {
			t.Errorf("%s has %d package comments, want 1", folder, n)
		}
	}
}
