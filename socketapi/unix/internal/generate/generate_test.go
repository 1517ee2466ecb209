package generate

import (
	"bytes"
	"cmp"
	commandline "flag"
	"fmt"
	"go/ast"
	"go/build"
	"go/format"
	"go/parser"
	"go/printer"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var write = commandline.Bool("write", false, "write the generated files and docs/unix.md")

// machines are what the package is generated for: what the project runs on. other.go and descriptor.go name them too.
var machines = []string{"amd64", "arm64", "riscv64"}

// Where files go, and where package socketapi is.
const (
	target    = "../.."
	sockets   = "../../.."
	documents = "../../../../docs"
)

// exported is what a package has for one machine.
type exported struct {
	types, constants, variables map[string]bool
	functions                   map[string]*ast.FuncDecl // without receivers
}

// read parses a package. With a machine it is for Linux there, else all its files are.
func read(t *testing.T, dir, machine string) exported {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if machine != "" {
		var p *build.Package
		linux := build.Default
		linux.GOOS, linux.GOARCH, linux.CgoEnabled = "linux", machine, false
		if p, err = linux.ImportDir(dir, 0); err == nil {
			files = nil
			for _, name := range p.GoFiles {
				files = append(files, filepath.Join(dir, name))
			}
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	e := exported{map[string]bool{}, map[string]bool{}, map[string]bool{}, map[string]*ast.FuncDecl{}}
	for _, name := range files {
		if base := filepath.Base(name); strings.HasSuffix(base, "_test.go") || machine == "" && strings.HasPrefix(base, "z") {
			continue // of this package, what is generated
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			e.add(d)
		}
	}
	return e
}

func (e *exported) add(d ast.Decl) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil && d.Name.IsExported() {
			e.functions[d.Name.Name] = d
		}
	case *ast.GenDecl:
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				if s.Name.IsExported() {
					e.types[s.Name.Name] = true
				}
			case *ast.ValueSpec:
				of := e.variables
				if d.Tok == token.CONST {
					of = e.constants
				}
				for _, n := range s.Names {
					if n.IsExported() {
						of[n.Name] = true
					}
				}
			}
		}
	}
}

// text is an expression of a type.
func text(x ast.Expr) string {
	var b bytes.Buffer
	printer.Fprint(&b, token.NewFileSet(), x)
	return b.String()
}

// A parameter has a name and a type.
type parameter struct{ name, is string }

func list(fields *ast.FieldList) (all []parameter) {
	if fields == nil {
		return nil
	}
	for _, f := range fields.List {
		if len(f.Names) == 0 {
			all = append(all, parameter{"", text(f.Type)})
		}
		for _, n := range f.Names {
			all = append(all, parameter{n.Name, text(f.Type)})
		}
	}
	return all
}

// signature is the types of a function, however its parameters are called.
func signature(f *ast.FuncDecl) string {
	types := func(fields *ast.FieldList) string {
		var s []string
		for _, p := range list(fields) {
			s = append(s, strings.ReplaceAll(p.is, "unix.", ""))
		}
		return "(" + strings.Join(s, ", ") + ")"
	}
	return types(f.Type.Params) + types(f.Type.Results)
}

// A function of the package, and how it is written.
type function struct {
	*ast.FuncDecl
	params, results []parameter
}

func newFunction(f *ast.FuncDecl) *function {
	fn := &function{f, list(f.Type.Params), list(f.Type.Results)}
	for i := range fn.results {
		r := &fn.results[i]
		switch {
		case r.name != "":
		case r.is == "error":
			r.name = "err"
		default:
			r.name = fmt.Sprint("r", i)
		}
	}
	return fn
}

// head is the declaration's first line, with the results named if with says so.
func (f *function) head(with bool) string {
	of := func(list []parameter) string {
		var s []string
		for _, p := range list {
			s = append(s, p.name+" "+p.is)
		}
		return "(" + strings.Join(s, ", ") + ")"
	}
	results := ""
	switch given := list(f.Type.Results); {
	case len(given) == 0:
	case with || given[0].name != "":
		results = of(f.results)
	case len(given) == 1:
		results = given[0].is
	default:
		results = of(given)
	}
	return "func " + f.Name.Name + of(f.params) + " " + results + " {\n"
}

// call is a call of the function with its own parameters, but for those that instead has something else for.
func (f *function) call(of string, instead map[string]string) string {
	var s []string
	for _, p := range f.params {
		arg := cmp.Or(instead[p.name], p.name)
		if strings.HasPrefix(p.is, "...") {
			arg += "..."
		}
		s = append(s, arg)
	}
	return of + "." + f.Name.Name + "(" + strings.Join(s, ", ") + ")"
}

// through is the function as another package has it.
func (f *function) through(of string) string {
	ret := "return "
	if len(f.results) == 0 {
		ret = ""
	}
	return f.head(false) + ret + f.call(of, nil) + "\n}\n"
}

// is returns the type of a parameter, "" if there is none of the name.
func (f *function) is(name string) string {
	for _, p := range f.params {
		if p.name == name {
			return p.is
		}
	}
	return ""
}

// lends is the function for descriptors of the kernel's. instead is what else is put in a parameter's place.
func (f *function) lends(t *testing.T, errno string, fds []string, instead map[string]string) (assignment string) {
	var results, numbers []string
	for _, r := range f.results {
		results = append(results, r.name)
	}
	instead = maps.Clone(instead)
	if instead == nil {
		instead = map[string]string{}
	}
	fds = slices.Clone(fds)
	for i, fd := range fds {
		for other := range strings.SplitSeq(fd, "|") { // as another machine calls it
			if f.is(other) != "" {
				fd, fds[i] = other, other
			}
		}
		number := fd
		switch is := f.is(fd); is {
		case "int":
		case "":
			t.Errorf("%s has no parameter %s", f.Name.Name, fd)
		default:
			instead[fd], number = is+"("+fd+")", "int("+fd+")"
		}
		numbers = append(numbers, number)
	}
	lend := map[int]string{1: "lend", 2: "lend2"}[len(fds)]
	return fmt.Sprintf("%s(%s, %s, func(%s int) (err error) { %s = %s; return err })",
		lend, strings.Join(numbers, ", "), errno, strings.Join(fds, ", "), strings.Join(results, ", "), f.call("xsys", instead))
}

// borrowing is a function of the list lent.
func (f *function) borrowing(t *testing.T, errno string, fds []string) string {
	if len(f.results) == 1 {
		body := f.lends(t, errno, fds, nil)
		body = strings.Replace(body, "(err error) { err = ", "error { return ", 1)
		return f.head(false) + "return " + strings.Replace(body, "; return err }", " }", 1) + "\n}\n"
	}
	return f.head(true) + f.failing() + "err = " + f.lends(t, errno, fds, nil) + "\nreturn " + f.names() + "\n}\n"
}

// failing is what a number is where there is an error: -1, as of system calls.
func (f *function) failing() string {
	if r := f.results[0]; strings.HasPrefix(r.is, "int") {
		return r.name + " = -1\n"
	}
	return ""
}

func (f *function) names() string {
	var s []string
	for _, r := range f.results {
		s = append(s, r.name)
	}
	return strings.Join(s, ", ")
}

// making is a function of the list made.
func (f *function) making(t *testing.T, flags, flag string, rest []string) string {
	instead, closes := map[string]string{}, map[string]string{"yes": "true", "no": "false"}[flag]
	if closes == "" {
		if f.is(flags) == "" {
			t.Errorf("%s has no parameter %s", f.Name.Name, flags)
		}
		instead[flags], closes = flags+"|"+flag, flags+"&"+flag+" != 0"
	}
	if len(f.results) != 2 || f.results[0].is != "int" {
		t.Errorf("%s makes no descriptor", f.Name.Name)
	}
	made := f.names() + " = " + f.call("xsys", instead)
	if len(rest) > 0 {
		made = "err = " + f.lends(t, rest[0], rest[1:], instead)
	}
	return f.head(true) + made + "\nreturn adopt(" + f.names() + ", " + closes + ")\n}\n"
}

// lines are those of a list, by their first word.
func lines(s string) map[string][]string {
	m := map[string][]string{}
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		words := strings.Fields(l)
		m[words[0]] = words[1:]
	}
	return m
}

func words(s string) map[string]bool {
	m := map[string]bool{}
	for _, w := range strings.Fields(s) {
		m[w] = true
	}
	return m
}

// house is what there is to take functions from, and what has been accounted for.
type house struct {
	sockets, own    exported // package socketapi, and this package's own files
	plain, written  map[string]bool
	lent, made      map[string][]string
	absent, counted map[string]bool
}

func newHouse(t *testing.T) *house {
	h := &house{read(t, sockets, ""), read(t, target, ""), words(plain), words(written), lines(lent), lines(made), map[string]bool{}, map[string]bool{}}
	for _, a := range absent {
		maps.Copy(h.absent, words(a.names))
	}
	return h
}

// write says how a function is written, "" if it is not by the generator.
func (h *house) write(t *testing.T, f *function) string {
	name := f.Name.Name
	h.counted[name] = true
	ours, has := h.sockets.functions[name]
	has = has && name != namesake
	switch {
	case has && signature(ours) != signature(f.FuncDecl):
		t.Errorf("%s: package socketapi has func%s, golang.org/x/sys/unix func%s", name, signature(ours), signature(f.FuncDecl))
	case h.written[name]:
		if own := h.own.functions[name]; own == nil || signature(own) != signature(f.FuncDecl) {
			t.Errorf("%s is not written, or not as func%s", name, signature(f.FuncDecl))
		}
	case has:
		return f.through("socketapi")
	case h.plain[name]:
		for _, p := range f.params {
			if regexp.MustCompile(`(?i)fd$|fds$`).MatchString(p.name) && name != "UnixRights" {
				t.Errorf("%s is to have nothing to do with descriptors, and has a parameter %s", name, p.name)
			}
		}
		return f.through("xsys")
	case h.lent[name] != nil:
		return f.borrowing(t, h.lent[name][0], h.lent[name][1:])
	case h.made[name] != nil:
		return f.making(t, h.made[name][0], h.made[name][1], h.made[name][2:])
	case !h.absent[name]:
		t.Errorf("%s %s is unaccounted for: name it in a list of account_test.go", name, signature(f.FuncDecl))
	}
	return ""
}

// stale finds what is listed and not there.
func (h *house) stale(t *testing.T) {
	for _, names := range []map[string]bool{h.plain, h.written, h.absent} {
		for name := range names {
			if !h.counted[name] {
				t.Errorf("golang.org/x/sys/unix has no %s on these machines", name)
			}
		}
	}
	for _, names := range []map[string][]string{h.lent, h.made} {
		for name := range names {
			if !h.counted[name] {
				t.Errorf("golang.org/x/sys/unix has no %s on these machines", name)
			}
			if h.sockets.functions[name] != nil && name != namesake {
				t.Errorf("%s is listed, and package socketapi has it", name)
			}
		}
	}
}

// generate makes all files: what all machines have in those without one's name.
func generate(t *testing.T, h *house) map[string]string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatalf("where is golang.org/x/sys: %v", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(out)), "unix")
	// by machine, what is declared: kind and name, and its text
	declared := make([]map[string]string, len(machines))
	for i, machine := range machines {
		e, d := read(t, dir, machine), map[string]string{}
		for name := range e.types {
			d["types "+name] = "type " + name + " = xsys." + name + "\n"
		}
		for name := range e.constants {
			d["constants "+name] = "const " + name + " = xsys." + name + "\n"
		}
		for name := range e.variables {
			if !h.own.variables[name] {
				t.Errorf("variable %s is not written", name)
			}
		}
		for name, f := range e.functions {
			if s := h.write(t, newFunction(f)); s != "" {
				d["functions "+name] = s
			}
		}
		declared[i] = d
	}
	files := map[string]string{}
	for _, kind := range []string{"types", "constants", "functions"} {
		for i, machine := range machines {
			if i == 0 {
				put(t, files, target+"/z"+kind+".go", true, kind, declared[0], func(name string) bool { return everywhere(declared, name) })
			}
			put(t, files, target+"/z"+kind+"_"+machine+".go", false, kind, declared[i], func(name string) bool { return !everywhere(declared, name) })
		}
	}
	return files
}

// everywhere says whether all machines declare the same.
func everywhere(declared []map[string]string, name string) bool {
	return !slices.ContainsFunc(declared, func(d map[string]string) bool { return d[name] != declared[0][name] || d[name] == "" })
}

// put writes a file of what which chooses, if that is anything.
func put(t *testing.T, files map[string]string, name string, constrained bool, kind string, declared map[string]string, which func(string) bool) {
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(declared)) {
		if strings.HasPrefix(key, kind+" ") && which(key) {
			b.WriteString(declared[key])
			if kind == "functions" {
				b.WriteString("\n")
			}
		}
	}
	if b.Len() == 0 {
		return
	}
	body, head := b.String(), "// Code generated by generate_test.go from golang.org/x/sys/unix; DO NOT EDIT.\n\n"
	if constrained {
		head += "//go:build " + strings.Join(machines, " || ") + "\n\n"
	}
	head += "package unix\n\nimport (\n"
	for _, of := range []string{"syscall", "time", "unsafe"} {
		if regexp.MustCompile(`\b` + of + `\.[A-Z]`).MatchString(body) {
			head += strconv.Quote(of) + "\n"
		}
	}
	head += "\nxsys \"golang.org/x/sys/unix\"\n"
	if strings.Contains(body, "socketapi.") {
		head += "\n\"github.com/xdpsock/xdpsock/socketapi\"\n"
	}
	text, err := format.Source([]byte(head + ")\n\n" + body))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	files[name] = string(text)
}

// page is docs/unix.md.
func (h *house) page() string {
	var b strings.Builder
	b.WriteString(`# Package socketapi/unix beside golang.org/x/sys/unix

Made by ` + "`go generate ./socketapi/unix`" + `. The package has all types, constants and errors of golang.org/x/sys/unix, and its functions for
linux on ` + strings.Join(machines, ", ") + `; on another machine it does not compile, and says so. How a program is ported, and
where its stack is from: [porting](porting.md#from-golangorgxsysunix).

## Left out

What cannot be done with numbers of the table is not there, so that the compiler says it.

| Function | Why |
|---|---|
`)
	for _, a := range absent {
		fmt.Fprintf(&b, "| %s | %s |\n", strings.ReplaceAll(a.names, " ", ", "), a.why)
	}
	b.WriteString(`
## Of descriptors of the kernel's

They make a descriptor of the kernel's, which then lives in the table:
`)
	fmt.Fprintf(&b, "%s.\n", strings.Join(slices.Sorted(maps.Keys(h.made)), ", ")+", Creat, InotifyInit, Openat2, Pipe, Pipe2, Signalfd")
	b.WriteString(`
These work on such descriptors. They wait in the kernel, where closing the descriptor does not reach them. Of a
socket of the engine's, and of an epoll, they are an error:

| Errno | Functions |
|---|---|
`)
	by := map[string][]string{}
	for name, of := range h.lent {
		by[of[0]] = append(by[of[0]], name)
	}
	for _, errno := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[errno])
		fmt.Fprintf(&b, "| %s | %s |\n", errno, strings.Join(by[errno], ", "))
	}
	return b.String()
}

// TestTheWholePackage accounts for every function, type, constant and variable of golang.org/x/sys/unix: each is here, with the same
// signature, or is listed as left out. What is generated is current.
func TestTheWholePackage(t *testing.T) {
	h := newHouse(t)
	files := generate(t, h)
	h.stale(t)
	files[documents+"/unix.md"] = h.page()
	old, err := filepath.Glob(target + "/z*.go")
	if err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		return
	}
	for _, name := range old {
		if _, ok := files[name]; !ok && *write {
			os.Remove(name)
		} else if !ok {
			t.Errorf("%s is generated no more: run go generate ./socketapi/unix", name)
		}
	}
	for name, want := range files {
		if *write {
			if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, _ := os.ReadFile(name); string(got) != want {
			t.Errorf("%s is not current: run go generate ./socketapi/unix", name)
		}
	}
}

// TestOtherMachines compiles package unix for the machines that this is none of.
func TestOtherMachines(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles all that package unix imports for other machines")
	}
	for _, machine := range machines {
		if machine == runtime.GOARCH {
			continue
		}
		cmd := exec.Command("go", "build", ".")
		cmd.Dir, cmd.Env = target, append(os.Environ(), "GOARCH="+machine, "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", machine, err, out)
		}
	}
}
