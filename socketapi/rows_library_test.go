package socketapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/rpc"
	"net/textproto"
	"net/url"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/websocket"
)

// httpServer serves by a library's listener, and returns a client whose connections are a side's too.
func (s *netSide) httpServer(h http.Handler, secure bool, change func(*http.Server)) (*http.Client, *httptest.Server) {
	server := httptest.NewUnstartedServer(h)
	server.Listener.Close()
	server.Listener = s.server("tcp", loop)
	server.EnableHTTP2 = secure
	if change != nil {
		change(server.Config)
	}
	if secure {
		server.StartTLS()
	} else {
		server.Start()
	}
	s.t.Cleanup(server.Close)
	client := server.Client()
	client.Timeout = longest
	client.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		return s.dial(ctx, dialOptions{}, network, address)
	}
	return client, server
}

// answered notes what a request came to.
func (s *netSide) answered(what string, r *http.Response, err error) {
	if err != nil {
		s.say(what, err)
		return
	}
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	s.say(what, r.Proto, r.StatusCode, string(body), err)
}

// Arith is a service of net/rpc.
type Arith struct{}

// Add is its method.
func (Arith) Add(args [2]int, sum *int) error {
	*sum = args[0] + args[1]
	return nil
}

// libraryRows are what the standard library and golang.org/x/net do with connections.
var libraryRows = []struct {
	name string
	do   func(s *netSide)
}{
	{"net/http: kept connections, a body of each kind, TLS and HTTP/2", func(s *netSide) {
		for _, secure := range []bool{false, true} {
			reached := map[string]bool{}
			client, server := s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				reached[r.RemoteAddr] = true
				n, err := io.Copy(io.Discard, r.Body)
				fmt.Fprint(w, r.Method, n, err, len(reached))
			}), secure, nil)
			for range 3 {
				r, err := client.Get(server.URL)
				s.answered("get", r, err)
			}
			r, err := client.Post(server.URL, "text/plain", strings.NewReader(strings.Repeat("x", 300_000)))
			s.answered("of a known length", r, err)
			r, err = client.Post(server.URL, "text/plain", io.MultiReader(strings.NewReader(strings.Repeat("x", 300_000)), strings.NewReader("y")))
			s.answered("in chunks", r, err)
		}
	}},
	{"net/http: 100-continue, a hijacked connection", func(s *netSide) {
		client, server := s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/refuse" {
				w.WriteHeader(http.StatusExpectationFailed)
				return
			}
			if r.URL.Path == "/hijack" {
				c, rw, err := w.(http.Hijacker).Hijack()
				if err != nil {
					return
				}
				defer c.Close()
				line, err := rw.ReadString('\n')
				fmt.Fprintf(rw, "HTTP/1.0 200 OK\r\n\r\n%s%v", line, err)
				rw.Flush()
				return
			}
			io.Copy(w, r.Body)
		}), false, nil)
		client.Transport.(*http.Transport).ExpectContinueTimeout = longest
		for _, path := range []string{"/", "/refuse"} {
			continued := false
			ctx := httptrace.WithClientTrace(background, &httptrace.ClientTrace{Got100Continue: func() { continued = true }})
			r, err := http.NewRequestWithContext(ctx, "PUT", server.URL+path, strings.NewReader("a body"))
			s.must(err)
			r.Header.Set("Expect", "100-continue")
			answer, err := client.Do(r)
			s.answered(path, answer, err)
			s.say("continued", continued)
		}
		c, err := s.dial(background, dialOptions{}, "tcp", server.Listener.Addr().String())
		s.must(err)
		defer c.Close()
		s.must(c.SetDeadline(time.Now().Add(longest)))
		_, err = io.WriteString(c, "GET /hijack HTTP/1.1\r\nHost: x\r\n\r\nafter it\n")
		s.must(err)
		said, err := io.ReadAll(c)
		s.say("hijacked", string(said), err)
	}},
	{"net/http: the server's and the client's patience", func(s *netSide) {
		stop := make(chan struct{})
		client, server := s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-r.Context().Done():
			case <-stop:
			}
		}), false, func(c *http.Server) { c.ReadHeaderTimeout = 20 * time.Millisecond })
		defer close(stop)
		c, err := s.dial(background, dialOptions{}, "tcp", server.Listener.Addr().String())
		s.must(err)
		defer c.Close()
		s.must(c.SetDeadline(time.Now().Add(longest)))
		_, err = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n") // and no more
		s.must(err)
		said, err := io.ReadAll(c)
		s.say("half a header", string(said), err)
		ctx, cancel := context.WithTimeout(background, 20*time.Millisecond)
		defer cancel()
		r, err := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
		s.must(err)
		_, err = client.Do(r)
		s.say("no answer", err.(*url.Error).Timeout(), err.(*url.Error).Err == context.DeadlineExceeded)
	}},
	{"net/http/httputil: a proxy between two of them", func(s *netSide) {
		_, behind := s.httpServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, r.Header.Get("X-Forwarded-For"), r.URL.Path)
			io.Copy(w, r.Body)
		}), false, nil)
		to, err := url.Parse(behind.URL)
		s.must(err)
		proxy := httputil.NewSingleHostReverseProxy(to)
		proxy.Transport = &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return s.dial(ctx, dialOptions{}, network, address)
		}, DisableKeepAlives: true}
		client, front := s.httpServer(proxy, false, nil)
		r, err := client.Post(front.URL+"/path", "text/plain", strings.NewReader("a body"))
		s.answered("by the proxy", r, err)
		behind.Close()
		proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) { fmt.Fprint(w, err) }
		r, err = client.Get(front.URL)
		s.answered("nobody behind it", r, err)
	}},
	{"net/rpc, net/textproto and websockets", func(s *netSide) {
		server := rpc.NewServer()
		s.must(server.Register(Arith{}))
		c, d := s.pair("tcp", loop)
		go server.ServeConn(d)
		client := rpc.NewClient(c)
		var sum int
		s.say("rpc", client.Call("Arith.Add", [2]int{3, 4}, &sum), sum)
		s.say("rpc, none", client.Call("Arith.None", [2]int{3, 4}, &sum))
		s.say("rpc, close", client.Close(), client.Call("Arith.Add", [2]int{3, 4}, &sum))

		c, d = s.pair("tcp", loop)
		go func() {
			text := textproto.NewConn(d)
			line, _ := text.ReadLine()
			text.PrintfLine("250-%s\r\n250 end", line)
			text.Close()
		}()
		text := textproto.NewConn(c)
		s.must(text.PrintfLine("EHLO me"))
		code, message, err := text.ReadResponse(250)
		s.say("textproto", code, message, err)
		_, err = text.ReadLine()
		s.say("textproto, the end", err)

		_, web := s.httpServer(websocket.Handler(func(ws *websocket.Conn) { io.Copy(ws, ws) }), false, nil)
		config, err := websocket.NewConfig("ws://"+web.Listener.Addr().String()+"/", "http://localhost/")
		s.must(err)
		c2, err := s.dial(background, dialOptions{}, "tcp", web.Listener.Addr().String())
		s.must(err)
		ws, err := websocket.NewClient(config, c2)
		s.must(err)
		s.must(websocket.Message.Send(ws, "hello"))
		var back string
		s.say("websocket", websocket.Message.Receive(ws, &back), back, ws.Close())
	}},
	{"crypto/tls: half a close, a deadline, what is no TLS", func(s *netSide) {
		_, server := s.httpServer(http.NotFoundHandler(), true, nil)
		c, d := s.pair("tcp", loop)
		secure := tls.Server(d, &tls.Config{Certificates: server.TLS.Certificates})
		client := tls.Client(c, &tls.Config{InsecureSkipVerify: true})
		done := make(chan string)
		go func() {
			p, err := io.ReadAll(secure)
			n, werr := secure.Write(p)
			done <- fmt.Sprint(len(p), err, n, werr, secure.Close())
		}()
		_, err := client.Write(bytes.Repeat([]byte("x"), 100_000))
		s.say("write", err, client.CloseWrite())
		p, err := io.ReadAll(client)
		s.say("back", len(p), err, <-done)
		c, d = s.pair("tcp", loop)
		_, err = io.WriteString(d, "220 this is mail\r\n")
		s.must(err)
		s.say("no TLS", tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake())
		c, _ = s.pair("tcp", loop)
		s.must(c.SetDeadline(time.Now().Add(20 * time.Millisecond)))
		s.say("nobody", tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake())
	}},
	{"net.Buffers, and copies from one connection to another", func(s *netSide) {
		c, d := s.pair("tcp", loop)
		list := net.Buffers{[]byte("one "), nil, []byte("two "), bytes.Repeat([]byte("x"), 100_000)}
		n, err := list.WriteTo(c)
		s.say("written", n, err, len(list))
		s.must(c.CloseWrite())
		e, f := s.pair("tcp", loop)
		go func() { // by whatever way io.Copy finds
			io.Copy(e, d)
			e.CloseWrite()
		}()
		p, err := io.ReadAll(bufio.NewReader(f))
		s.say("read", len(p), string(p[:12]), err)
		s.must(c.Close())
		list = net.Buffers{[]byte("x"), []byte("y")}
		n, err = list.WriteTo(c)
		s.say("closed", n, err != nil, len(list))
	}},
}

// TestLibrariesFindNoDescriptor: who looks for a descriptor of the kernel's finds none, and is told so, rather than one that is
// somebody else's. (quic-go, which looks, is run in examples/libraries.)
func TestLibrariesFindNoDescriptor(t *testing.T) {
	st, _ := openSelf(t, 1)
	u, err := st.ListenPacket("udp4", loop)
	fatal(t, err)
	defer u.Close()
	l, err := st.Listen("tcp", loop)
	fatal(t, err)
	defer l.Close()
	c, err := st.Dial("tcp", l.Addr().String())
	fatal(t, err)
	defer c.Close()
	for _, x := range []any{u, l, c} {
		if _, ok := x.(syscall.Conn); ok {
			t.Errorf("%T has SyscallConn", x)
		}
	}
	p := ipv4.NewPacketConn(u)
	if err := p.SetTTL(3); err == nil {
		t.Error("golang.org/x/net/ipv4 has set something")
	}
	if _, err := p.ReadBatch(make([]ipv4.Message, 1), 0); err == nil {
		t.Error("golang.org/x/net/ipv4 has read something")
	}
	if _, err := p.WriteTo([]byte("x"), nil, u.LocalAddr()); err == nil {
		t.Error("golang.org/x/net/ipv4 has written something")
	}
}
