// Command oneimport echoes over TCP and UDP at one port, waiting for both in one epoll with a timer, an eventfd, a pipe and a
// signalfd. The test builds it twice: with this import, and with that of package socketapi/unix.
package main

import (
	"encoding/binary"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

const port = 1100

func try(what string, err error) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", what, err)
		unix.Exit(1)
	}
}

type server struct {
	epoll   int
	readers map[int]func(fd int)
}

// watch calls read whenever there is something to read.
func (s *server) watch(fd int, read func(fd int)) {
	s.readers[fd] = read
	try("epoll_ctl", unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}))
}

func (s *server) bound(typ int) int {
	fd, err := unix.Socket(unix.AF_INET, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	try("socket", err)
	try("SO_REUSEADDR", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	try("bind", unix.Bind(fd, &unix.SockaddrInet4{Port: port}))
	return fd
}

func (s *server) accept(l int) {
	fd, _, err := unix.Accept4(l, unix.SOCK_NONBLOCK)
	if err == unix.EAGAIN {
		return
	}
	try("accept", err)
	s.watch(fd, func(fd int) {
		buf := make([]byte, 4096)
		n, err := unix.Read(fd, buf)
		try("read", err)
		if n == 0 {
			try("close", unix.Close(fd))
			return
		}
		_, err = unix.Write(fd, buf[:n])
		try("write", err)
	})
}

func (s *server) datagram(fd int) {
	buf := make([]byte, 2048)
	n, from, err := unix.Recvfrom(fd, buf, 0)
	try("recvfrom", err)
	try("sendto", unix.Sendto(fd, buf[:n], 0, from))
}

// kernels are descriptors that are not of the network: each is ready once.
func (s *server) kernels() {
	timer, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK)
	try("timerfd_create", err)
	try("timerfd_settime", unix.TimerfdSettime(timer, 0, &unix.ItimerSpec{Value: unix.NsecToTimespec(1e6)}, nil))
	event, err := unix.Eventfd(3, 0)
	try("eventfd", err)
	var pipe [2]int
	try("pipe2", unix.Pipe2(pipe[:], unix.O_CLOEXEC))
	_, err = unix.Write(pipe[1], binary.NativeEndian.AppendUint64(nil, 4))
	try("write", err)
	left := 3
	for _, k := range []struct {
		name string
		fd   int
	}{{"timer", timer}, {"eventfd", event}, {"pipe", pipe[0]}} {
		s.watch(k.fd, func(fd int) {
			var b [8]byte
			_, err := unix.Read(fd, b[:])
			try("read", err)
			fmt.Println(k.name, binary.NativeEndian.Uint64(b[:]))
			try("close", unix.Close(fd))
			if left--; left == 0 {
				fmt.Println("ready")
			}
		})
	}
}

// file is written and read back.
func file() {
	fd, err := unix.MemfdCreate("file", 0)
	try("memfd_create", err)
	_, err = unix.Write(fd, []byte("hello"))
	try("write", err)
	var st unix.Stat_t
	try("fstat", unix.Fstat(fd, &st))
	b := make([]byte, 9)
	n, err := unix.Pread(fd, b, 1)
	try("pread", err)
	m, err := unix.Mmap(fd, 0, 5, unix.PROT_READ, unix.MAP_SHARED)
	try("mmap", err)
	fmt.Println("file", st.Size, string(b[:n]), string(m))
	try("munmap", unix.Munmap(m))
	try("close", unix.Close(fd))
}

func main() {
	s := server{readers: map[int]func(int){}}
	var err error
	s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	try("epoll_create1", err)
	file()
	l := s.bound(unix.SOCK_STREAM)
	try("listen", unix.Listen(l, 16))
	s.watch(l, s.accept)
	s.watch(s.bound(unix.SOCK_DGRAM), s.datagram)
	s.kernels()
	fmt.Println("environment", os.Getenv("XDPSOCK_HOST"))
	events := make([]unix.EpollEvent, 16)
	for {
		n, err := unix.EpollWait(s.epoll, events, -1)
		if err == unix.EINTR {
			continue
		}
		try("epoll_wait", err)
		for _, ev := range events[:n] {
			s.readers[int(ev.Fd)](int(ev.Fd))
		}
	}
}
