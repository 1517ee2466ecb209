package socketapi

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Signals to the owner of a socket. The owner is a process of its own, which the runtime sends no SIGURG, so that all places
// can run at once.

// ownerEnv makes the test binary an owner.
const ownerEnv = "XDPSOCK_TEST_SIGNAL_OWNER"

// signalMark is what a row sends its owner to hear what came before.
const signalMark = syscall.Signal(40)

// ownSignals writes down the signals it gets until nobody reads them.
func ownSignals() {
	came := make(chan os.Signal, 100)
	signal.Notify(came, unix.SIGIO, unix.SIGURG, unix.SIGUSR2, signalMark)
	fmt.Println("ready")
	for s := range came {
		if _, err := fmt.Println(s); err != nil {
			return
		}
	}
}

// A signalOwner is whom sockets of a row signal.
type signalOwner struct {
	e    *env
	cmd  *exec.Cmd
	pid  int
	said *bufio.Scanner
}

// signalOwner starts one, in a process group of its own.
func (e *env) signalOwner() *signalOwner {
	e.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), ownerEnv+"=1", "GODEBUG=asyncpreemptoff=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := cmd.StdoutPipe()
	e.must(err)
	e.must(cmd.Start())
	e.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	o := &signalOwner{e, cmd, cmd.Process.Pid, bufio.NewScanner(out)}
	if o.said.Scan(); o.said.Text() != "ready" {
		e.t.Fatalf("the owner says %q", o.said.Text())
	}
	return o
}

// heard notes which signals have come.
func (o *signalOwner) heard(what string) {
	o.e.t.Helper()
	o.e.note(what, o.hears())
}

// hears is which signals have come.
func (o *signalOwner) hears() []string {
	o.e.t.Helper()
	time.Sleep(50 * time.Millisecond) // what was to be signalled has happened, as the row has seen
	o.e.must(unix.Kill(o.pid, signalMark))
	var got []string
	for o.said.Scan() && o.said.Text() != fmt.Sprint(os.Signal(signalMark)) {
		got = append(got, o.said.Text())
	}
	slices.Sort(got)
	return slices.Compact(got)
}

// ends has the owner end.
func (o *signalOwner) ends() {
	o.e.t.Helper()
	o.e.must(o.cmd.Process.Kill())
	o.cmd.Wait()
}

// someUser is a user who has no rights.
const someUser = 65534

// The types of struct f_owner_ex (include/uapi/asm-generic/fcntl.h).
const (
	ownerThread  = 0
	ownerProcess = 1
	ownerGroup   = 2
)

// asEffective calls f on a thread that acts for a user.
func (e *env) asEffective(user int, f func()) {
	e.t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	become := func(user int) {
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), uintptr(user), ^uintptr(0)); errno != 0 {
			e.t.Fatal(errno)
		}
	}
	before := unix.Geteuid()
	become(user)
	defer become(before)
	f()
}

// isOwner says whether F_GETOWN names a process, or with a minus a group. What the kernel says of a group below 4096
// looks like an error (fcntl(2), BUGS).
func (o *signalOwner) isOwner(fd, who int) bool {
	o.e.t.Helper()
	n, err := o.e.me.api.FcntlInt(uintptr(fd), unix.F_GETOWN, 0)
	if errno, ok := err.(unix.Errno); ok {
		n, err = -int(errno), nil
	}
	o.e.must(err)
	return n == who
}

// owns has the owner told of all that happens at a socket.
func (o *signalOwner) owns(fd int) {
	o.e.t.Helper()
	for _, c := range [][2]int{{unix.F_SETOWN, o.pid}, {unix.F_SETFL, unix.O_ASYNC | unix.O_NONBLOCK}} {
		_, err := o.e.me.api.FcntlInt(uintptr(fd), c[0], c[1])
		o.e.must(err)
	}
}

var signalRows = []row{
	{"signals: of a stream", func(e *env) {
		o := e.signalOwner()
		l, at := e.peer.listener()
		mine := e.me.tcp()
		o.owns(mine)
		o.heard("set")
		e.note("connect", e.me.api.Connect(mine, at))
		theirs := e.peer.accept(l)
		e.awaits("connected", &e.me, mine, unix.POLLOUT)
		o.heard("connected")
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		o.heard("data")
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.arrived(&e.me, mine, 6)
		o.heard("more data")
		e.reads("read", &e.me, mine, 99, 0)
		o.heard("read")
		e.sends("send", &e.me, mine, "abc", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		o.heard("sent, and acknowledged")
		e.sends("the peer sends", &e.peer, theirs, "!", unix.MSG_OOB)
		e.announced(&e.me, mine)
		o.heard("urgent data")
		e.note("F_SETSIG", e.fcntl(mine, unix.F_SETSIG, int(unix.SIGUSR2)), e.fcntl(mine, unix.F_GETSIG, 0))
		e.sends("the peer sends", &e.peer, theirs, "g?", unix.MSG_OOB)
		e.until("the byte", func() bool {
			p := make([]byte, 1)
			e.me.api.Recvfrom(mine, p, unix.MSG_OOB|unix.MSG_PEEK)
			return p[0] == '?'
		})
		o.heard("by another signal")
		e.note("F_SETSIG", e.fcntl(mine, unix.F_SETSIG, 0))
		e.note("not O_ASYNC", e.fcntl(mine, unix.F_SETFL, unix.O_NONBLOCK))
		e.sends("the peer sends", &e.peer, theirs, "h!", unix.MSG_OOB)
		e.until("the byte", func() bool {
			p := make([]byte, 1)
			e.me.api.Recvfrom(mine, p, unix.MSG_OOB|unix.MSG_PEEK)
			return p[0] == '!'
		})
		o.heard("urgent data alone")
		o.owns(mine)
		e.note("nobody's", e.fcntl(mine, unix.F_SETOWN, 0), e.fcntl(mine, unix.F_GETOWN, 0))
		e.sends("the peer sends", &e.peer, theirs, "i", 0)
		time.Sleep(20 * time.Millisecond)
		o.heard("nobody's")
		o.owns(mine)
		e.must(e.peer.api.Shutdown(theirs, unix.SHUT_WR))
		e.awaits("the end", &e.me, mine, unix.POLLRDHUP)
		o.heard("the end")
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.awaits("both ends", &e.me, mine, unix.POLLHUP)
		o.heard("both ends")
	}},
	{"signals: room in a stream that was full", func(e *env) {
		o := e.signalOwner()
		mine, theirs := e.me.connected(&e.peer)
		o.owns(mine)
		n, err := e.fill(mine), error(nil)
		o.hears() // there may have been room at times
		for err == nil {
			var m int
			m, err = e.me.api.Write(mine, []byte("x"))
			n += max(m, 0)
		}
		e.note("full", err)
		e.must(e.me.api.SetNonblock(mine, false))
		e.note("O_ASYNC is still there", e.fcntl(mine, unix.F_GETFL, 0))
		for p := make([]byte, 1<<20); n > 0; {
			m, err := e.peer.api.Read(theirs, p)
			e.must(err)
			n -= m
		}
		e.awaits("room", &e.me, mine, unix.POLLOUT)
		o.heard("room")
	}},
	{"signals: a stream is reset, refused, shut down", func(e *env) {
		o := e.signalOwner()
		mine, theirs := e.me.connected(&e.peer)
		o.owns(mine)
		e.must(e.peer.api.SetsockoptLinger(theirs, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}))
		e.peer.close(theirs)
		e.awaits("reset", &e.me, mine, unix.POLLHUP)
		o.heard("reset")
		c := e.me.tcp()
		o.owns(c)
		e.note("connect", e.me.api.Connect(c, e.refusing()))
		e.awaits("refused", &e.me, c, unix.POLLERR)
		o.heard("refused")
		mine, theirs = e.me.connected(&e.peer)
		o.owns(mine)
		e.must(e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		o.heard("shut down")
		e.peer.close(theirs)
		e.awaits("both ends", &e.me, mine, unix.POLLHUP)
		o.heard("both ends")
	}},
	{"signals: of a listener", func(e *env) {
		o := e.signalOwner()
		l, at := e.me.listener()
		o.owns(l)
		for range 2 {
			c := e.peer.tcp()
			e.must(e.peer.api.Connect(c, at))
			e.awaits("a connection", &e.me, l, unix.POLLIN)
			o.heard("a connection")
		}
		fd := e.me.accept(l)
		o.heard("accepted")
		e.note("an accepted one has no owner", e.fcntl(fd, unix.F_GETOWN, 0), e.fcntl(fd, unix.F_GETFL, 0))
		e.must(e.me.api.Shutdown(l, unix.SHUT_RD))
		o.heard("shut down")
	}},
	{"signals: of datagrams", func(e *env) {
		o := e.signalOwner()
		mine, theirs := e.peers()
		o.owns(mine)
		o.heard("set")
		for range 2 {
			e.must(e.peer.api.Sendto(theirs, []byte("abc"), 0, e.me.name(mine)))
			e.awaits("a datagram", &e.me, mine, unix.POLLIN)
			o.heard("a datagram")
		}
		e.sends("send", &e.me, mine, "x", 0)
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		o.heard("sent")
		e.peer.close(theirs)
		e.sends("send", &e.me, mine, "x", 0)
		e.awaits("an error", &e.me, mine, unix.POLLERR)
		o.heard("an error")
		e.must(e.me.api.Shutdown(mine, unix.SHUT_RDWR))
		o.heard("shut down")
	}},
	{"signals: whom a socket has for its owner", func(e *env) {
		o := e.signalOwner()
		mine, theirs := e.me.connected(&e.peer)
		e.note("nobody at first", e.fcntl(mine, unix.F_GETOWN, 0), e.fcntl(mine, unix.F_GETSIG, 0))
		for _, who := range []int{1 << 30, -1 << 30, -1 << 31, 1<<31 - 1, -1} {
			e.note(fmt.Sprint("F_SETOWN ", who), e.fcntl(mine, unix.F_SETOWN, who), o.isOwner(mine, who), o.isOwner(mine, 0))
		}
		for _, n := range []int{-1, 65, 64, 1, 0} {
			e.note(fmt.Sprint("F_SETSIG ", n), e.fcntl(mine, unix.F_SETSIG, n), e.fcntl(mine, unix.F_GETSIG, 0))
		}
		o.owns(mine)
		e.note("F_GETOWN", o.isOwner(mine, o.pid))
		n, err := e.me.api.FcntlInt(uintptr(mine), unix.F_SETOWN, -o.pid)
		e.note("its group", n, err)
		e.note("F_GETOWN", o.isOwner(mine, -o.pid))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		o.heard("to the group")
		other, err := e.me.api.Dup(mine)
		e.me.keep(other, err)
		e.note("of a copy", o.isOwner(other, -o.pid))
		e.note("FIOASYNC off", e.me.api.IoctlSetPointerInt(mine, FIOASYNC, 0), e.fcntl(other, unix.F_GETFL, 0))
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.arrived(&e.me, mine, 6)
		o.heard("FIOASYNC off")
		e.note("FIOASYNC", e.me.api.IoctlSetPointerInt(mine, FIOASYNC, 1), e.fcntl(other, unix.F_GETFL, 0))
		e.sends("the peer sends", &e.peer, theirs, "ghi", 0)
		e.arrived(&e.me, mine, 9)
		o.heard("FIOASYNC")
		pair, err := e.me.api.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		e.me.keep(pair[0], err)
		e.me.keep(pair[1], nil)
		o.owns(pair[0])
		e.sends("a socket of the kernel's", &e.me, pair[1], "x", 0)
		o.heard("a socket of the kernel's")
	}},
	{"signals: a thread, a process or a group (F_SETOWN_EX)", func(e *env) {
		o := e.signalOwner()
		mine, theirs := e.me.connected(&e.peer)
		got, err := e.fcntlOwner(mine, unix.F_GETOWN_EX, ownerEx{99, 99})
		e.note("nobody at first", got, err)
		for _, bad := range []ownerEx{{3, int32(o.pid)}, {-1, int32(o.pid)}, {ownerProcess, -int32(o.pid)}, {ownerProcess, 1 << 30}, {ownerThread, -1}} {
			_, err := e.fcntlOwner(mine, unix.F_SETOWN_EX, bad)
			e.note(fmt.Sprint("of type ", bad.typ, ", ", bad.who == 1<<30, bad.who < 0), err)
		}
		e.must(func() error { _, err := e.me.api.FcntlInt(uintptr(mine), unix.F_SETFL, unix.O_ASYNC); return err }())
		for i, typ := range []int32{ownerGroup, ownerProcess, ownerThread} {
			_, err := e.fcntlOwner(mine, unix.F_SETOWN_EX, ownerEx{typ, int32(o.pid)})
			e.note(fmt.Sprint("set, of type ", typ), err)
			got, err := e.fcntlOwner(mine, unix.F_GETOWN_EX, ownerEx{})
			e.note("whose", got.typ, got.who == int32(o.pid), err)
			e.note("F_GETOWN", o.isOwner(mine, o.pid), o.isOwner(mine, -o.pid))
			e.sends("the peer sends", &e.peer, theirs, "abc", 0)
			e.arrived(&e.me, mine, 3*(i+1))
			o.heard("signalled")
		}
		_, err = e.fcntlOwner(mine, unix.F_SETOWN_EX, ownerEx{ownerProcess, 0})
		e.note("nobody again", err, e.fcntl(mine, unix.F_GETOWN, 0))
		e.note("set", e.fcntl(mine, unix.F_SETOWN, o.pid))
		o.ends()
		got, err = e.fcntlOwner(mine, unix.F_GETOWN_EX, ownerEx{99, 99})
		e.note("who has ended", got.typ, got.who, err, e.fcntl(mine, unix.F_GETOWN, 0))
	}},
	{"signals: an owner whom somebody without the right to has set", func(e *env) {
		o := e.signalOwner()
		mine, theirs := e.me.connected(&e.peer)
		e.asEffective(someUser, func() { e.note("F_SETOWN", e.fcntl(mine, unix.F_SETOWN, o.pid)) })
		e.note("O_ASYNC", e.fcntl(mine, unix.F_SETFL, unix.O_ASYNC))
		e.note("is the owner", o.isOwner(mine, o.pid))
		e.sends("the peer sends", &e.peer, theirs, "abc", 0)
		e.arrived(&e.me, mine, 3)
		o.heard("without the right")
		e.note("F_SETOWN", e.fcntl(mine, unix.F_SETOWN, o.pid))
		e.sends("the peer sends", &e.peer, theirs, "def", 0)
		e.arrived(&e.me, mine, 6)
		o.heard("with it")
		e.note("O_ASYNC", e.fcntl(mine, unix.F_SETFL, 0))
		e.asEffective(someUser, func() {
			e.sends("sent by another", &e.peer, theirs, "!", unix.MSG_OOB)
			e.until("the byte", func() bool {
				p := make([]byte, 1)
				e.me.api.Recvfrom(mine, p, unix.MSG_OOB|unix.MSG_PEEK)
				return p[0] == '!'
			})
		})
		o.heard("whoever sends")
		e.asEffective(someUser, func() { e.note("F_SETOWN", e.fcntl(mine, unix.F_SETOWN, o.pid)) })
		e.sends("the peer sends", &e.peer, theirs, "?", unix.MSG_OOB)
		e.until("the byte", func() bool {
			p := make([]byte, 1)
			e.me.api.Recvfrom(mine, p, unix.MSG_OOB|unix.MSG_PEEK)
			return p[0] == '?'
		})
		o.heard("urgent data without the right")
	}},
	{"signals: what the program does itself", func(e *env) {
		o := e.signalOwner()
		never := e.me.tcp()
		o.owns(never)
		e.note("AF_UNSPEC", e.me.api.Connect(never, nil))
		o.heard("of one that was never connected")
		e.note("shutdown", e.me.api.Shutdown(never, unix.SHUT_RDWR))
		o.heard("of one that is not connected")
		mine, theirs := e.me.connected(&e.peer)
		o.owns(mine)
		e.note("SHUT_RD", e.me.api.Shutdown(mine, unix.SHUT_RD))
		o.heard("SHUT_RD")
		e.note("SHUT_WR", e.me.api.Shutdown(mine, unix.SHUT_WR))
		e.reads("the peer reads", &e.peer, theirs, 9, 0)
		o.heard("SHUT_WR")
		e.note("AF_UNSPEC", e.me.api.Connect(mine, nil))
		o.heard("of a connection")
		l, _ := e.me.listener()
		o.owns(l)
		e.note("AF_UNSPEC", e.me.api.Connect(l, nil))
		o.heard("of a listener")
		e.note("listen", e.me.api.Listen(l, 1))
		o.heard("listen")
		mine, _ = e.me.connected(&e.peer)
		o.owns(mine)
		for _, buf := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
			e.me.set(mine, unix.SOL_SOCKET, buf, 1<<16)
		}
		e.me.set(mine, unix.SOL_SOCKET, unix.SO_RCVLOWAT, 2)
		o.heard("of options")
		e.me.close(mine)
		o.heard("close")
		d, _ := e.peers()
		o.owns(d)
		e.note("AF_UNSPEC", e.me.api.Connect(d, nil))
		e.note("SHUT_RD", e.me.api.Shutdown(d, unix.SHUT_RD))
		e.me.close(d)
		o.heard("of datagrams")
	}},
}
