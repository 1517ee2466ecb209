package service

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long anything may take on a machine that is busy with something else.
const patience = 30 * time.Second

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dial(t *testing.T, addr net.Addr) net.Conn {
	t.Helper()
	c, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

func TestTCP(t *testing.T) {
	var g Group
	defer g.Close()
	echo, discard, chargen := listen(t), listen(t), listen(t)
	g.EchoTCP(echo)
	g.DiscardTCP(discard)
	g.ChargenTCP(chargen)

	c := dial(t, echo.Addr())
	want := bytes.Repeat([]byte("0123456789"), 50_000)
	go func() {
		c.Write(want)
		c.(*net.TCPConn).CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, want) {
		t.Errorf("echo: %d of %d bytes, %v", len(got), len(want), err)
	}

	c = dial(t, discard.Addr())
	c.Write(want)
	c.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(c); err != nil || len(got) != 0 {
		t.Errorf("discard: %q, %v", got, err)
	}

	c = dial(t, chargen.Addr())
	go io.Copy(c, strings.NewReader("what is said is thrown away"))
	got := make([]byte, 2*len(pattern))
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.SplitAfter(got[:len(got)-2], []byte("\r\n")) {
		line = bytes.TrimSuffix(line, []byte("\r\n"))
		if len(line) != 72 || line[0] != byte(' '+i%95) || line[71] != byte(' '+(i+71)%95) {
			t.Fatalf("chargen: line %d is %q", i, line)
		}
	}
	c.Close()

	g.Close()
	for _, s := range g.Stats() {
		if s.Connections != 1 {
			t.Errorf("%+v", s)
		}
		if s.Name == "echo" && (s.RxBytes != uint64(len(want)) || s.TxBytes != s.RxBytes || s.Failed != 0) {
			t.Errorf("%+v", s)
		}
		if s.Name == "discard" && (s.RxBytes != uint64(len(want)) || s.TxBytes != 0) {
			t.Errorf("%+v", s)
		}
	}
	if _, err := net.DialTimeout("tcp", echo.Addr().String(), time.Second); err == nil {
		t.Error("it still listens")
	}
}

// A script is a packet socket that reads what it was given and keeps what is written.
type script struct {
	from   []netip.AddrPort
	errs   []error // instead of a datagram, first
	fail   error   // of writes
	wrote  []netip.AddrPort
	closed chan struct{}
	once   sync.Once
	used   chan struct{} // closed when all was read; may be nil
}

func (s *script) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	if len(s.errs) > 0 {
		err := s.errs[0]
		s.errs = s.errs[1:]
		return 0, netip.AddrPort{}, err
	}
	if len(s.from) == 0 {
		if s.used != nil {
			close(s.used)
		}
		<-s.closed
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	from := s.from[0]
	s.from = s.from[1:]
	return copy(p, "ask"), from, nil
}

func (s *script) WriteToUDPAddrPort(p []byte, to netip.AddrPort) (int, error) {
	s.wrote = append(s.wrote, to)
	return len(p), s.fail
}

func (s *script) LocalAddr() net.Addr { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 7007} }
func (s *script) Close() error        { s.once.Do(func() { close(s.closed) }); return nil }

func peer(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr("192.0.2.9"), port)
}

// run gives a script to a service until it is used up.
func run(s *script, serve func(*Group, PacketConn), reports *[]error) Stats {
	s.closed = make(chan struct{})
	s.used = make(chan struct{})
	g := &Group{Report: func(err error) { *reports = append(*reports, err) }}
	serve(g, s)
	select {
	case <-s.used:
	case <-s.closed: // the service has ended by itself
	}
	g.Close()
	return g.Stats()[0]
}

func TestEchoUDP(t *testing.T) {
	var g Group
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	g.EchoUDP(conn, 2)
	c := dial(t, conn.LocalAddr())
	buf := make([]byte, 100)
	for i := range 10 {
		want := fmt.Sprintf("datagram %d", i)
		c.Write([]byte(want))
		if n, err := c.Read(buf); err != nil || string(buf[:n]) != want {
			t.Errorf("%q, %v", buf[:n], err)
		}
	}
	g.Close()
	if s := g.Stats()[0]; s.Messages != 10 || s.RxBytes != 100 || s.TxBytes != 100 {
		t.Errorf("%+v", s)
	}
}

// A forged datagram must not set two services talking to each other for ever.
func TestEchoUDPRefusesPortsThatWouldAnswer(t *testing.T) {
	conn := &script{from: []netip.AddrPort{peer(7), peer(13), peer(17), peer(19), peer(37), peer(7007), peer(0)}, closed: make(chan struct{})}
	c := &counters{}
	conn.Close()
	if err := echoUDP(conn, c); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if len(conn.wrote) != 0 || c.refused.Load() != 7 || c.messages.Load() != 7 {
		t.Errorf("answered %v, refused %d", conn.wrote, c.refused.Load())
	}
}

func TestUDPErrors(t *testing.T) {
	var reports []error
	// About a peer: it goes on.
	s := &script{errs: []error{os.NewSyscallError("recvfrom", unix.ECONNREFUSED)}, from: []netip.AddrPort{peer(40000)}, fail: unix.EHOSTUNREACH}
	if st := run(s, func(g *Group, c PacketConn) { g.EchoUDP(c, 1) }, &reports); st.Failed != 1 || st.TxBytes != 0 || len(reports) != 0 {
		t.Errorf("%+v, %v", st, reports)
	}
	// About the socket: it ends, and says so.
	s = &script{errs: []error{unix.ENETDOWN}}
	run(s, func(g *Group, c PacketConn) { g.DiscardUDP(c, 1) }, &reports)
	if len(reports) != 1 || !errors.Is(reports[0], unix.ENETDOWN) || !strings.Contains(reports[0].Error(), "discard over udp at 192.0.2.1:7007") {
		t.Errorf("%v", reports)
	}
}

// lame is a listener whose Accept fails a few times.
type lame struct {
	net.Listener
	errs []error
}

func (l *lame) Accept() (net.Conn, error) {
	if len(l.errs) > 0 {
		err := l.errs[0]
		l.errs = l.errs[1:]
		return nil, err
	}
	return l.Listener.Accept()
}

func TestAcceptErrors(t *testing.T) {
	var g Group
	defer g.Close()
	l := &lame{listen(t), []error{os.NewSyscallError("accept", unix.EMFILE), unix.ECONNABORTED}}
	g.EchoTCP(l)
	c := dial(t, l.Addr())
	c.Write([]byte("x"))
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Errorf("after errors that pass: %v", err)
	}
	reports := make(chan error, 1)
	h := Group{Report: func(err error) { reports <- err }}
	defer h.Close()
	h.EchoTCP(&lame{listen(t), []error{unix.ENETDOWN}})
	select {
	case err := <-reports:
		if !errors.Is(err, unix.ENETDOWN) {
			t.Errorf("%v", err)
		}
	case <-time.After(patience):
		t.Error("no report")
	}
}

// After Close nothing is served any more, and what is added is closed.
func TestClosedGroup(t *testing.T) {
	g := Group{Report: func(err error) { t.Errorf("reported: %v", err) }}
	g.EchoTCP(listen(t))
	g.Close()
	g.Close()
	l := listen(t)
	g.EchoTCP(l)
	web := listen(t)
	g.HTTP(web)
	for _, l := range []net.Listener{l, web} {
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("%v", err)
		}
	}
	conn, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	g.EchoUDP(conn, 1)
	if _, err := conn.Write(nil); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
}

func TestHTTP(t *testing.T) {
	var g Group
	defer g.Close()
	l := listen(t)
	g.HTTP(l)
	url := "http://" + l.Addr().String()
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	get := func(path string) (*http.Response, []byte) {
		t.Helper()
		r, err := client.Get(url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r, body
	}
	if r, body := get("/"); r.StatusCode != http.StatusOK || string(body) != Hello {
		t.Errorf("%s: %q", r.Status, body)
	}
	for _, n := range []int64{0, 1, blobUnit, 3 << 20} {
		r, body := get(fmt.Sprintf("/blob/%d", n))
		sum := sha256.Sum256(body)
		if int64(len(body)) != n || sum != BlobSum(n) {
			t.Errorf("blob of %d: %d bytes", n, len(body))
		}
		want := ""
		if n%digestStep == 0 {
			want = "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
		}
		if got := r.Header.Get("Repr-Digest"); got != want {
			t.Errorf("blob of %d: digest %q, want %q", n, got, want)
		}
		post, err := client.Post(url+"/sum", "application/octet-stream", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		answer, _ := io.ReadAll(post.Body)
		post.Body.Close()
		if string(answer) != hex.EncodeToString(sum[:])+"\n" {
			t.Errorf("sum of %d bytes: %q", n, answer)
		}
	}
	for path, want := range map[string]int{
		"/blob/-1":                         http.StatusBadRequest,
		"/blob/x":                          http.StatusBadRequest,
		fmt.Sprintf("/blob/%d", BlobMax+1): http.StatusBadRequest,
		"/blob/99999999999999999999":       http.StatusBadRequest,
		"/nothing":                         http.StatusNotFound,
		"/sum":                             http.StatusMethodNotAllowed,
	} {
		if r, _ := get(path); r.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, r.Status, want)
		}
	}
	if s := g.Stats()[0]; s.Messages < 10 || s.TxBytes == 0 || s.RxBytes == 0 || s.Connections == 0 {
		t.Errorf("%+v", s)
	}
}

// The blob has no stretch that repeats within the distance of a segment or a buffer.
func TestBlobDoesNotRepeat(t *testing.T) {
	var b bytes.Buffer
	if n, err := WriteBlob(&b, 4<<20); n != 4<<20 || err != nil {
		t.Fatal(n, err)
	}
	p := b.Bytes()
	for _, shift := range []int{1, 1448, 1460, 4096, 64 << 10, 1 << 20} {
		if bytes.Equal(p[:4096], p[shift:shift+4096]) {
			t.Errorf("the same again after %d bytes", shift)
		}
	}
}

// What is measured must not allocate by itself.
func TestEchoUDPDoesNotAllocate(t *testing.T) {
	const n = 10_000
	once := testing.AllocsPerRun(5, func() { echoUDP(&silent{left: 0}, &counters{}) })
	many := testing.AllocsPerRun(5, func() { echoUDP(&silent{left: n}, &counters{}) })
	if many > once+n/100 {
		t.Errorf("%v allocations for %d datagrams, %v for none", many, n, once)
	}
}

// silent is a packet socket with so many datagrams.
type silent struct{ left int }

func (s *silent) ReadFromUDPAddrPort(p []byte) (int, netip.AddrPort, error) {
	if s.left == 0 {
		return 0, netip.AddrPort{}, net.ErrClosed
	}
	s.left--
	return 64, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, 9}), 40000), nil
}
func (s *silent) WriteToUDPAddrPort(p []byte, _ netip.AddrPort) (int, error) { return len(p), nil }
func (s *silent) LocalAddr() net.Addr                                        { return &net.UDPAddr{} }
func (s *silent) Close() error                                               { return nil }
