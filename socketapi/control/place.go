package control

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Where the sockets stand: a directory that nobody but its owner may enter, a socket a process
// in it. A process that was killed leaves its socket behind; whoever opens one next sweeps.

const (
	suffix = ".sock"
	// pathMax is how long the path of a socket may be, in bytes (unix(7): sun_path, with a zero at its end).
	pathMax = 107
	// serversPerProcess is how many servers one process may have in a directory.
	serversPerProcess = 100
	// lockWait is how long others may keep the directory to themselves, who sweep and bind.
	lockWait = 5 * time.Second
)

// Prepare makes dir if there is none, and says why no engine of this process could be asked there, if so. An error that is
// fs.ErrPermission says that the process may not write there.
func Prepare(dir string) error { return prepare(dir) }

// listen binds a socket of this process in dir.
func listen(dir string) (l *net.UnixListener, err error) {
	if err := prepare(dir); err != nil {
		return nil, err
	}
	// A socket that is bound and not yet listened at looks like one that was left behind.
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := sweep(dir); err != nil {
		return nil, err
	}
	path, err := freeName(dir)
	if err != nil {
		return nil, err
	}
	l, err = net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control: %w", err)
	}
	return l, nil
}

// prepare makes the directory, or finds fault with the one that is there.
func prepare(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("control: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	owner := -1
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		owner = int(st.Uid)
	}
	switch {
	case !info.IsDir():
		return fmt.Errorf("control: %s is not a directory", dir)
	case owner != os.Geteuid():
		return fmt.Errorf("control: %s belongs to user %d, not to ours (%d): %w", dir, owner, os.Geteuid(), fs.ErrPermission)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("control: %s is open to others (mode %#o): 'chmod 700 %s' closes it", dir, info.Mode().Perm(), dir)
	}
	return nil
}

// lock keeps other servers from sweeping and binding in dir.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("control: %w", err)
	}
	for end := time.Now().Add(lockWait); ; time.Sleep(10 * time.Millisecond) {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR), time.Now().After(end):
			f.Close()
			return nil, fmt.Errorf("control: lock %s: %w", dir, err)
		}
	}
}

// sweep removes the sockets that nobody listens at.
func sweep(dir string) error {
	paths, err := names(dir)
	if err != nil {
		return fmt.Errorf("control: %w", err)
	}
	for _, path := range paths {
		conn, err := net.Dial("unix", path)
		switch {
		case err == nil:
			conn.Close()
		case errors.Is(err, unix.ECONNREFUSED):
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("control: remove what was left behind: %w", err)
			}
		}
	}
	return nil
}

// names lists the sockets in dir.
func names(dir string) (paths []string, err error) {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.Type() == fs.ModeSocket && strings.HasSuffix(e.Name(), suffix) {
			paths = append(paths, filepath.Join(dir, e.Name()))
		}
	}
	return paths, err
}

// belongs says whether a socket has the name of one of a process.
func belongs(path string, pid int) bool {
	name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(path), suffix), "-")
	return name == strconv.Itoa(pid)
}

// freeName is a name for a socket of this process. Processes of other PID namespaces may have
// the same number.
func freeName(dir string) (string, error) {
	for i := range serversPerProcess {
		name := fmt.Sprintf("%d%s", os.Getpid(), suffix)
		if i > 0 {
			name = fmt.Sprintf("%d-%d%s", os.Getpid(), i, suffix)
		}
		path := filepath.Join(dir, name)
		if len(path) > pathMax {
			return "", fmt.Errorf("control: %s is too long for the path of a socket, which has at most %d bytes: take a shorter directory", path, pathMax)
		}
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	return "", fmt.Errorf("control: this process has %d servers in %s already", serversPerProcess, dir)
}
