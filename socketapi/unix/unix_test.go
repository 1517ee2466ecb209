package unix_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	xsys "golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
	"github.com/xdpsock/xdpsock/socketapi"
	"github.com/xdpsock/xdpsock/socketapi/host"
	"github.com/xdpsock/xdpsock/socketapi/unix"
)

// Types are the same, not merely alike.
var (
	_ xsys.Sockaddr                                     = (*unix.SockaddrInet4)(nil)
	_ func(fd int, sa xsys.Sockaddr) error              = unix.Bind
	_ func([]xsys.PollFd, int) (int, error)             = unix.Poll
	_ func(int, int, int, *xsys.TCPMD5Sig) error        = unix.SetsockoptTCPMD5Sig
	_ func([]byte) ([]xsys.SocketControlMessage, error) = unix.ParseSocketControlMessage
)

func fatal(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin opens a stack that has no wire, but itself. At the end of the test no descriptor is left in it.
func begin(t *testing.T) *socketapi.Table {
	t.Helper()
	st, err := socketapi.Open(host.Config{Interfaces: []host.Interface{{Devices: []engine.Device{engine.NewLoop()}}}})
	fatal(t, err)
	socketapi.Use(st)
	t.Cleanup(func() {
		if n := st.Table().Len(); n != 0 {
			t.Errorf("%d descriptors are left", n)
		}
		socketapi.Use(nil)
		fatal(t, st.Close())
	})
	return st.Table()
}

// must is for descriptors; they are closed at the end.
func must(t *testing.T, fd int, err error) int {
	t.Helper()
	fatal(t, err)
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

// TestOnePollSet has descriptors of all kinds in one table, and waits for all at once.
func TestOnePollSet(t *testing.T) {
	begin(t)
	var fds []unix.PollFd
	add := func(fd int, err error) int {
		t.Helper()
		must(t, fd, err)
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		return fd
	}
	dir := t.TempDir()
	socket := add(unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0))
	fatal(t, unix.Bind(socket, &unix.SockaddrInet4{Addr: netip.MustParseAddr("127.0.0.1").As4()}))
	name, err := unix.Getsockname(socket)
	fatal(t, err)
	event := add(unix.Eventfd(0, unix.EFD_NONBLOCK))
	timer := add(unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK))
	watch := add(unix.InotifyInit1(unix.IN_NONBLOCK))
	p := make([]int, 2)
	fatal(t, unix.Pipe(p))
	add(p[0], nil)
	must(t, p[1], nil)
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	add(pair[0], err)
	must(t, pair[1], nil)
	for i, fd := range []int{socket, event, timer, watch, p[0], p[1], pair[0], pair[1]} {
		if fd != 512+i {
			t.Errorf("descriptor %d is number %d", i, fd)
		}
	}
	if n, err := unix.Poll(fds, 0); n != 0 || err != nil {
		t.Errorf("at first: %d, %v", n, err)
	}
	_, err = unix.InotifyAddWatch(watch, dir, unix.IN_CREATE)
	fatal(t, err)
	for _, make := range []func() error{
		func() error { return unix.Sendto(socket, []byte("x"), 0, name) },
		func() error { _, err := unix.Write(event, []byte{0: 1, 7: 0}); return err },
		func() error {
			return unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1)}, nil)
		},
		func() error { return os.WriteFile(filepath.Join(dir, "new"), nil, 0o600) },
		func() error { _, err := unix.Write(p[1], []byte("x")); return err },
		func() error { _, err := unix.Write(pair[1], []byte("x")); return err },
	} {
		fatal(t, make())
	}
	for ready := 0; ready < len(fds); { // the timer's is the last
		ready, err = unix.Poll(fds, 10000)
		if ready == 0 || err != nil {
			t.Fatal(fds, err)
		}
	}
	for _, f := range fds {
		if n, err := unix.Read(int(f.Fd), make([]byte, 100)); n <= 0 || err != nil || f.Revents != unix.POLLIN {
			t.Errorf("descriptor %d: %#x, %d bytes, %v", f.Fd, f.Revents, n, err)
		}
	}
}

func TestFiles(t *testing.T) {
	begin(t)
	dir := t.TempDir()
	at := must(t, mustOpen(t, dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC), nil)
	if flags, err := unix.FcntlInt(uintptr(at), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC || err != nil {
		t.Errorf("O_CLOEXEC: %d, %v", flags, err)
	}
	fd, err := unix.Openat(at, "file", unix.O_CREAT|unix.O_RDWR, 0o600)
	must(t, fd, err)
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags != 0 || err != nil {
		t.Errorf("without O_CLOEXEC: %d, %v", flags, err)
	}
	unix.CloseOnExec(fd)
	if flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC {
		t.Errorf("CloseOnExec: %d", flags)
	}
	_, err = unix.Pwrite(fd, []byte("hello"), 3)
	fatal(t, err)
	if off, err := unix.Seek(fd, -1, unix.SEEK_END); off != 7 || err != nil {
		t.Errorf("lseek: %d, %v", off, err)
	}
	var st unix.Stat_t
	fatal(t, unix.Fstatat(at, "file", &st, 0))
	if st.Size != 8 {
		t.Errorf("size %d", st.Size)
	}
	m, err := unix.Mmap(fd, 0, 8, unix.PROT_READ, unix.MAP_SHARED)
	fatal(t, err)
	if string(m[3:]) != "hello" {
		t.Errorf("mapped: %q", m)
	}
	fatal(t, unix.Munmap(m))
	m, err = unix.Mmap(-1, 0, 8, unix.PROT_READ, unix.MAP_PRIVATE|unix.MAP_ANON)
	fatal(t, err)
	fatal(t, unix.Munmap(m))
	copied, err := unix.Openat2(at, "copy", &unix.OpenHow{Flags: unix.O_CREAT | unix.O_RDWR, Mode: 0o600})
	must(t, copied, err)
	if n, err := unix.CopyFileRange(fd, new(int64), copied, nil, 8, 0); n != 8 || err != nil {
		t.Errorf("copy_file_range: %d, %v", n, err)
	}
	self, err := unix.PidfdOpen(unix.Getpid(), 0)
	must(t, self, err)
	fatal(t, unix.PidfdSendSignal(self, 0, nil, 0))
	if err := unix.Waitid(unix.P_PIDFD, self, nil, unix.WEXITED, nil); err != unix.ECHILD {
		t.Errorf("waitid: %v", err)
	}
	if _, err := unix.Creat(filepath.Join(dir, "none", "x"), 0o600); err != unix.ENOENT {
		t.Errorf("creat: %v", err)
	}
}

func mustOpen(t *testing.T, path string, mode int) int {
	t.Helper()
	fd, err := unix.Open(path, mode, 0)
	fatal(t, err)
	return fd
}

// TestCallsForFilesOnOthers: a socket of the engine's is refused as docs/unix.md says and a number that is not open is EBADF.
func TestCallsForFilesOnOthers(t *testing.T) {
	begin(t)
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	must(t, fd, err)
	var st unix.Statfs_t
	for _, c := range []struct {
		what string
		call func(fd int) error
		want error
	}{
		{"pread", func(fd int) error { _, err := unix.Pread(fd, make([]byte, 1), 0); return err }, unix.ESPIPE},
		{"lseek", func(fd int) error { _, err := unix.Seek(fd, 0, 0); return err }, unix.ESPIPE},
		{"fstatfs", func(fd int) error { return unix.Fstatfs(fd, &st) }, unix.EOPNOTSUPP},
		{"fsync", unix.Fsync, unix.EINVAL},
		{"ftruncate", func(fd int) error { return unix.Ftruncate(fd, 0) }, unix.EINVAL},
		{"mmap", func(fd int) error { _, err := unix.Mmap(fd, 0, 1, unix.PROT_READ, unix.MAP_SHARED); return err }, unix.ENODEV},
		{"openat", func(fd int) error { _, err := unix.Openat(fd, "x", 0, 0); return err }, unix.ENOTDIR},
		{"tcgets", func(fd int) error { _, err := unix.IoctlGetTermios(fd, unix.TCGETS); return err }, unix.ENOTTY},
		{"signalfd", func(fd int) error { _, err := unix.Signalfd(fd, &unix.Sigset_t{}, 0); return err }, unix.EINVAL},
		{"flock", func(fd int) error { return unix.FcntlFlock(uintptr(fd), unix.F_GETLK, &unix.Flock_t{}) }, unix.EOPNOTSUPP},
	} {
		if err := c.call(fd); err != c.want {
			t.Errorf("%s of a socket: %v, want %v", c.what, err, c.want)
		}
		if err := c.call(fd + 1000); err != unix.EBADF {
			t.Errorf("%s of nothing: %v, want EBADF", c.what, err)
		}
	}
	unix.SocketDisableIPv6 = true
	_, err = unix.Socket(unix.AF_INET6, unix.SOCK_STREAM, 0)
	unix.SocketDisableIPv6 = false
	if err != unix.EAFNOSUPPORT {
		t.Errorf("SocketDisableIPv6: %v", err)
	}
}

// TestFilesOfOtherPackages: a number that package os or net gives is the kernel's, whatever the call, and waited for in one poll set
// with sockets; one of the table is none to the kernel.
func TestFilesOfOtherPackages(t *testing.T) {
	begin(t)
	r, w, err := os.Pipe()
	fatal(t, err)
	defer r.Close()
	defer w.Close()
	file, err := os.CreateTemp(t.TempDir(), "x")
	fatal(t, err)
	defer file.Close()
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	must(t, socket, err)
	epoll, err := unix.EpollCreate1(0)
	must(t, epoll, err)
	theirs := int(r.Fd())
	fatal(t, unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, theirs, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(theirs)}))
	fatal(t, unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, socket, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(socket)}))
	events := make([]unix.EpollEvent, 4)
	if n, err := unix.EpollWait(epoll, events, 0); n != 0 || err != nil {
		t.Fatalf("at first: %d, %v", n, err)
	}
	if n, err := unix.Write(int(w.Fd()), []byte("abc")); n != 3 || err != nil {
		t.Errorf("write: %d, %v", n, err)
	}
	if n, err := unix.EpollWait(epoll, events, 10000); n != 1 || err != nil || events[0].Fd != int32(theirs) {
		t.Errorf("epoll: %d, %v, %v", n, err, events[0])
	}
	fds := []unix.PollFd{{Fd: int32(socket), Events: unix.POLLIN}, {Fd: int32(theirs), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds, 10000); n != 1 || err != nil || fds[1].Revents != unix.POLLIN {
		t.Errorf("poll: %d, %v, %v", n, err, fds)
	}
	b := make([]byte, 9)
	if n, err := unix.Read(theirs, b); n != 3 || err != nil {
		t.Errorf("read: %d, %v", n, err)
	}
	fatal(t, unix.EpollCtl(epoll, unix.EPOLL_CTL_DEL, theirs, nil))
	fatal(t, unix.Ftruncate(int(file.Fd()), 77))
	if info, err := file.Stat(); err != nil || info.Size() != 77 {
		t.Errorf("ftruncate: %v, %v", info, err)
	}
	fatal(t, unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB))
	if flags, err := unix.FcntlInt(file.Fd(), unix.F_GETFD, 0); flags != unix.FD_CLOEXEC || err != nil {
		t.Errorf("F_GETFD: %d, %v", flags, err)
	}
	if n, err := unix.GetsockoptInt(theirs, unix.SOL_SOCKET, unix.SO_TYPE); err != unix.ENOTSOCK {
		t.Errorf("getsockopt: %d, %v", n, err)
	}
	n, err := unix.Dup(int(file.Fd()))
	must(t, n, err)
	if off, err := unix.Seek(n, 0, unix.SEEK_END); n < 512 || off != 77 || err != nil {
		t.Errorf("dup: %d, %d, %v", n, off, err)
	}
	n, err = xsys.Dup(int(file.Fd())) // whose number is given to another file when it is closed
	fatal(t, err)
	fatal(t, unix.Close(n))
	if err := unix.Fsync(n); err != unix.EBADF {
		t.Errorf("closed: %v", err)
	}
	if _, err := os.NewFile(uintptr(socket), "socket").Stat(); err == nil {
		t.Error("to the kernel the socket is a file")
	}
}

// TestNoDescriptorIsLost where the table has no room.
func TestNoDescriptorIsLost(t *testing.T) {
	table := begin(t)
	table.SetLimit(1)
	before := kernelDescriptors(t)
	for range 100 {
		p := make([]int, 2)
		if err := unix.Pipe2(p, 0); err != unix.EMFILE {
			t.Fatalf("pipe2: %v", err)
		}
	}
	must(t, mustOpen(t, os.DevNull, unix.O_RDONLY), nil)
	for range 100 {
		if _, err := unix.Eventfd(0, 0); err != unix.EMFILE {
			t.Fatalf("eventfd: %v", err)
		}
	}
	if n := kernelDescriptors(t); n > before+20 {
		t.Errorf("the kernel had %d descriptors, and has %d", before, n)
	}
}

func kernelDescriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	fatal(t, err)
	return len(list)
}
