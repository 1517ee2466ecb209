package xdpsock

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestProgramsInTheDocsCompile builds every block of the README and of docs that is
// marked as Go and is a whole program.
func TestProgramsInTheDocsCompile(t *testing.T) {
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	programs := 0
	for _, name := range append(files, "README.md") {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		blocks := strings.Split(string(text), "```")
		for i := 1; i < len(blocks); i += 2 {
			code, ok := strings.CutPrefix(blocks[i], "go\n")
			if !ok || !strings.HasPrefix(code, "package main\n") {
				continue
			}
			if strings.Contains(code, "\"gvisor.dev/") {
				continue // examples/libraries compiles it: that module requires gVisor, this one does not
			}
			programs++
			dir := t.TempDir()
			file := filepath.Join(dir, "main.go")
			if err := os.WriteFile(file, []byte(code), 0o644); err != nil {
				t.Fatal(err)
			}
			build := exec.Command("go", "build", "-o", filepath.Join(dir, "program"), file)
			if strings.Contains(code, "\"github.com/asavie/") {
				declaredAlone(t, dir)
				build.Args, build.Dir = build.Args[:len(build.Args)-1], dir
			}
			if out, err := build.CombinedOutput(); err != nil {
				t.Errorf("%s: a program does not compile: %v\n%s", name, err, out)
			}
			if out, err := exec.Command("gofmt", "-l", file).CombinedOutput(); err != nil || len(out) != 0 {
				t.Errorf("%s: gofmt would change a program: %v %s", name, err, out)
			}
		}
	}
	if programs == 0 {
		t.Error("no program found: is the README's example gone?")
	}
}

// TestOneImportChanges: the program that is ported from golang.org/x/sys/unix is the same one but for that.
func TestOneImportChanges(t *testing.T) {
	text, err := os.ReadFile("docs/porting.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## From golang.org/x/sys/unix\n")
	blocks := strings.SplitN(section, "```", 5)
	if len(blocks) < 5 {
		t.Fatal("no program before and after")
	}
	before, after := blocks[1], blocks[3]
	const its, ours = `"golang.org/x/sys/unix"`, `"github.com/xdpsock/xdpsock/socketapi/unix"`
	if strings.Count(before, its) != 1 || strings.Replace(before, its, ours, 1) != after {
		t.Errorf("more than one import changes:\n%s\n%s", before, after)
	}
}

// declaredAlone makes a folder a module for which the declarations in docs/testdata are github.com/asavie/xdp.
func declaredAlone(t *testing.T, dir string) {
	declared, err := filepath.Abs("docs/testdata/asavie-xdp")
	if err != nil {
		t.Fatal(err)
	}
	mod := "module program\n\ngo 1.26\n\nrequire github.com/asavie/xdp v0.0.0\n\nreplace github.com/asavie/xdp => " + declared + "\n"
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTestsInTheDocsExist: what docs says is shown by a test is shown by one that is there.
func TestTestsInTheDocsExist(t *testing.T) {
	there := map[string]bool{}
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w*)`").FindAllSubmatch(text, -1) {
			if named++; !there[string(m[1])] {
				t.Errorf("%s names %s, and there is none", name, m[1])
			}
		}
	}
	if named == 0 {
		t.Error("no test is named: is the table gone?")
	}
}
