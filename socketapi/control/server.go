package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/xdpsock/xdpsock/socketapi/host"
)

// A Server answers questions about one host until it is closed.
type Server struct {
	host     *host.Host
	engine   Engine
	listener *net.UnixListener
	slots    chan struct{} // one for each that is answered
	done     chan struct{}
	close    sync.Once
	running  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{} // being answered
}

// Open makes a socket in dir, and the directory if there is none, and answers there. Sockets
// in dir that nobody listens at any more are removed. h stays the caller's, and is open until
// the server is closed.
//
// An error that is fs.ErrPermission says that the process may not write there.
func Open(dir string, h *host.Host) (*Server, error) {
	l, err := listen(dir)
	if err != nil {
		return nil, err
	}
	s := &Server{
		host:     h,
		engine:   Engine{PID: os.Getpid(), Interfaces: h.Interfaces(), Cores: len(h.Cores())},
		listener: l,
		slots:    make(chan struct{}, serversMax),
		done:     make(chan struct{}),
		conns:    make(map[net.Conn]struct{}),
	}
	s.running.Go(s.run)
	return s, nil
}

// Path is where the server can be asked.
func (s *Server) Path() string { return s.listener.Addr().String() }

// Close takes the socket away and ends what is being answered. Closing twice is harmless.
func (s *Server) Close() (err error) {
	s.close.Do(func() {
		close(s.done)
		err = s.listener.Close() // which removes the socket
	})
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.running.Wait()
	return err
}

// acceptPause is how long the server rests when it is out of descriptors or memory.
const acceptPause = 50 * time.Millisecond

func (s *Server) run() {
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.done:
			return
		}
		conn, err := s.listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			<-s.slots
			time.Sleep(acceptPause)
			continue
		}
		s.running.Go(func() {
			defer func() { <-s.slots }()
			s.serve(conn)
		})
	}
}

// serve answers one question.
func (s *Server) serve(conn net.Conn) {
	s.mu.Lock()
	s.conns[conn] = struct{}{}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
		conn.Close()
	}()
	select {
	case <-s.done: // Close may have looked at conns already
		return
	default:
	}
	conn.SetDeadline(time.Now().Add(timeout))
	answer := Answer{Engine: s.engine}
	var request Request
	switch err := json.NewDecoder(io.LimitReader(conn, requestMax)).Decode(&request); {
	case errors.Is(err, io.EOF):
		return // it only looked whether somebody is here
	case err != nil:
		answer.Error = fmt.Sprintf("the question is not understood: %v", err)
	default:
		s.answer(&request, &answer)
	}
	b, err := json.Marshal(&answer)
	if err != nil {
		panic(err) // a type of ours that JSON does not know
	}
	conn.Write(append(b, '\n')) // who does not read the answer has none
}

// answer does and copies what is asked for.
func (s *Server) answer(request *Request, a *Answer) {
	switch ask := request.Ask; ask {
	case AskEngine:
	case AskNeighbours:
		a.Neighbours = neighbours(s.host)
	case AskRoutes:
		a.Routes = routes(s.host)
	case AskAddrs:
		a.Addrs = addrs(s.host)
	case AskSockets:
		a.Sockets, a.More = sockets(s.host)
	case AskDrops:
		a.Traffic = allTraffic(s.host)
	case AskSysctls:
		list, err := sysctls(s.host, request.Sysctls)
		a.Sysctls = list
		if err != nil {
			a.Error = err.Error()
		}
	default:
		a.Error = fmt.Sprintf("%q is nothing that this engine can be asked for", ask)
	}
}
