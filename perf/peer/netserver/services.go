package main

import (
	"io"
	"log"
	"net"
	"net/http"
	"time"
)

type services struct{ burn time.Duration }

// work is the time that each request is made to cost.
func (s services) work() {
	if s.burn == 0 {
		return
	}
	for until := time.Now().Add(s.burn); time.Now().Before(until); {
	}
}

// echoUDP is RFC 862.
func (s services) echoUDP(c *net.UDPConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		if err != nil {
			log.Fatal(err)
		}
		s.work()
		// A client that has gone is its own affair: ECONNREFUSED and the like.
		c.WriteToUDPAddrPort(buf[:n], from)
	}
}

// echoTCP copies by hand: io.Copy between two sockets is splice(2), which is not
// what a server that looks at its requests does.
func (s services) echoTCP(c net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		n, err := c.Read(buf)
		if n > 0 {
			s.work()
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// discardUDP and discardTCP are RFC 863.
func (s services) discardUDP(c *net.UDPConn) {
	buf := make([]byte, 64<<10)
	for {
		if _, _, err := c.ReadFromUDPAddrPort(buf); err != nil {
			log.Fatal(err)
		}
		s.work()
	}
}

func (s services) discardTCP(c net.Conn) {
	buf := make([]byte, 64<<10)
	for {
		_, err := c.Read(buf)
		if err != nil {
			return
		}
		s.work()
	}
}

// lines is the pattern of RFC 864 once through: 95 lines, each beginning one
// character further on.
var lines = func() []byte {
	const first, count, width = ' ', 95, 72
	var p []byte
	for line := range count {
		for col := range width {
			p = append(p, byte(first+(line+col)%count))
		}
		p = append(p, '\r', '\n')
	}
	return p
}()

// chargenTCP is RFC 864, the pattern once through at each write.
func (s services) chargenTCP(c net.Conn) {
	go io.Copy(io.Discard, c) // what the client says is thrown away
	for {
		s.work()
		if _, err := c.Write(lines); err != nil {
			return
		}
	}
}

func (s services) hello(w http.ResponseWriter, r *http.Request) {
	s.work()
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, "Hello, World!\n")
}
