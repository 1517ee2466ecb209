package socketapi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/xdpsock/xdpsock/engine/netlab"
)

// libc is the compiled libcSource.
type libc struct{ program string }

// newLibc compiles it, nil if there is no compiler.
func newLibc(t *testing.T) *libc {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Log("the C library was not asked: there is no compiler")
		return nil
	}
	l := &libc{filepath.Join(t.TempDir(), "libc")}
	compile := exec.Command(compiler, "-Wall", "-Werror", "-O1", "-o", l.program, "-x", "c", "-")
	compile.Stdin = strings.NewReader(libcSource)
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return l
}

// ask asks questions in a namespace, nil for the test's own, by an environment with more in it. Each is a line of the program's input.
func (l *libc) ask(t *testing.T, ns *netlab.NS, questions []string, env ...string) (answers []string) {
	t.Helper()
	input := strings.NewReader(strings.Join(questions, "\n") + "\n")
	var out []byte
	var err error
	if ns == nil {
		ask := exec.Command(l.program)
		ask.Stdin, ask.Stderr, ask.Env = input, os.Stderr, append(os.Environ(), env...)
		out, err = ask.Output()
	} else {
		ask := ns.Command(l.program)
		ask.Stdin, ask.Stderr, ask.Env = input, os.Stderr, append(os.Environ(), env...)
		out, err = ask.Output()
	}
	fatal(t, err)
	answers = strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions", len(answers), len(questions))
	}
	return answers
}

// question is the words of one; "" after the first is a null pointer.
func question(words ...string) string {
	for i := range words {
		if i > 0 && words[i] == "" {
			words[i] = `\N`
		}
	}
	return strings.Join(words, "\t")
}
