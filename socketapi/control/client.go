package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var (
	// ErrNone says that no engine runs, or none of those that were asked for.
	ErrNone = errors.New("no engine that can be asked runs")
	// ErrSeveral says that several engines run, and none was chosen.
	ErrSeveral = errors.New("several engines run")
)

// A Found is an engine that can be asked.
type Found struct {
	Engine
	path string
}

// Choose finds the engine that runs on an interface ("": any) as a process (0: any). It is
// ErrNone or ErrSeveral if that is not one. An error that is fs.ErrPermission says that this
// process may not look. One that does not answer could be the one that is meant: then it is the error, unless
// what was said fits another.
func Choose(dir, iface string, pid int) (*Found, error) {
	all, failed, err := find(dir, pid)
	if err != nil {
		return nil, err
	}
	fit := slices.DeleteFunc(slices.Clone(all), func(f Found) bool {
		return iface != "" && !slices.Contains(f.Interfaces, iface) || pid != 0 && f.PID != pid
	})
	switch {
	case len(fit) > 1:
		return nil, fmt.Errorf("%w: %s: say which with -i, or with --pid", ErrSeveral, list(fit))
	case len(fit) == 1 && (failed == nil || iface != ""):
		return &fit[0], nil
	case len(fit) == 1:
		return nil, fmt.Errorf("%w: one is %s, and %w: say which with -i, or with --pid", ErrSeveral, list(fit), failed)
	case failed != nil:
		return nil, failed
	case pid != 0:
		if all, _, _ = find(dir, 0); len(all) > 0 {
			return nil, fmt.Errorf("%w as process %d; there are: %s", ErrNone, pid, list(all))
		}
		fallthrough
	case len(all) == 0:
		return nil, fmt.Errorf("%w: 'xdpsock serve' and 'xdpsock run' start one, and %s has no socket of any", ErrNone, dir)
	}
	return nil, fmt.Errorf("%w on %s; there are: %s", ErrNone, iface, list(all))
}

func list(all []Found) string {
	var names []string
	for _, f := range all {
		names = append(names, fmt.Sprintf("%s (process %d)", strings.Join(f.Interfaces, ", "), f.PID))
	}
	return strings.Join(names, "; ")
}

// find asks all engines who they are, those of one process if pid is not 0. failed is the error of one that is
// there and does not answer.
func find(dir string, pid int) (all []Found, failed, err error) {
	paths, err := names(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil, nil
	case errors.Is(err, fs.ErrPermission):
		return nil, nil, fmt.Errorf("%s is its owner's alone: ask as the user that runs the engine, most often with sudo: %w", dir, fs.ErrPermission)
	case err != nil:
		return nil, nil, err
	}
	paths = slices.DeleteFunc(paths, func(path string) bool { return pid != 0 && !belongs(path, pid) })
	var looks sync.WaitGroup
	answers, errs := make([]*Answer, len(paths)), make([]error, len(paths))
	for i, path := range paths { // at once: one that does not answer does not add up with another
		looks.Go(func() { answers[i], errs[i] = ask(path, Request{Ask: AskEngine}, lookTimeout) })
	}
	looks.Wait()
	for i, path := range paths {
		switch err := errs[i]; {
		case err == nil:
			all = append(all, Found{answers[i].Engine, path})
		case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, fs.ErrNotExist): // it has ended
		default:
			failed = err
		}
	}
	slices.SortFunc(all, func(a, b Found) int { return slices.Compare(a.Interfaces, b.Interfaces) })
	return all, failed, nil
}

// Ask asks the engine.
func (f *Found) Ask(s Subject) (*Answer, error) { return ask(f.path, Request{Ask: s}, timeout) }

// Sysctl asks for knobs by their names, all where there are none, and sets those that are written NAME=VALUE.
func (f *Found) Sysctl(which ...string) (*Answer, error) {
	return ask(f.path, Request{Ask: AskSysctls, Sysctls: which}, timeout)
}

func ask(path string, r Request, timeout time.Duration) (*Answer, error) {
	conn, err := (&net.Dialer{Timeout: timeout}).Dial("unix", path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(timeout))
	if err := json.NewEncoder(conn).Encode(r); err != nil {
		return nil, fmt.Errorf("ask the engine at %s: %w", path, err)
	}
	var answer Answer
	limited := &io.LimitedReader{R: conn, N: answerMax}
	switch err := json.NewDecoder(limited).Decode(&answer); {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("the engine at %s has not answered for %v: is its process stopped?", path, timeout)
	case err != nil && limited.N == 0:
		return nil, fmt.Errorf("the answer of the engine at %s is longer than %d bytes", path, answerMax)
	case err != nil:
		return nil, fmt.Errorf("the answer of the engine at %s: %w", path, err)
	case answer.Error != "":
		return nil, fmt.Errorf("the engine at %s: %s", path, answer.Error)
	}
	return &answer, nil
}
