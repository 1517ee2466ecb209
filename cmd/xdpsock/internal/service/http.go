package service

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Read first: RFC 9530 §3 (Repr-Digest).

const (
	// BlobMax is the largest answer of GET /blob/N, in bytes: a request must not cost a
	// server more than a transfer that takes some seconds.
	BlobMax = 1 << 30

	// Blobs of whole digestStep bytes up to digestMax carry their digest: there are only
	// so many sums to compute and to keep.
	digestStep = 1 << 20
	digestMax  = 256 << 20

	// blobUnit is what a blob is repetitions of, in bytes: long enough that no
	// segment or buffer taken twice or left out gives the same sum.
	blobUnit = 1<<20 + 1

	// headerTimeout is how long a client may take to ask, and idleTimeout to ask again.
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute

	// goodbye is how long Close lets requests under way end.
	goodbye = time.Second
)

// Hello is what GET / answers.
const Hello = "Hello, World!\n"

// HTTP serves, by net/http:
//
//	GET  /        a line of text
//	GET  /blob/N  N bytes that look random; whole MiB carry their SHA-256 in Repr-Digest
//	POST /sum     the SHA-256 of what was posted, in hexadecimal
func (g *Group) HTTP(l net.Listener) {
	c := g.count("http", "tcp", l.Addr())
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		c.sent(io.WriteString(w, Hello))
	})
	mux.HandleFunc("GET /blob/{bytes}", func(w http.ResponseWriter, r *http.Request) { blob(w, r, c) })
	mux.HandleFunc("POST /sum", func(w http.ResponseWriter, r *http.Request) { sum(w, r, c) })
	s := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			c.messages.Add(1)
			mux.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ConnState: func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				c.connections.Add(1)
			}
		},
		ErrorLog: log.New(io.Discard, "", 0), // a remote must not write our log
	}
	if !g.open((*webServer)(s)) {
		l.Close()
		return
	}
	g.running.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			g.failed(c, err)
		}
	})
}

// webServer is a server that is closed gently.
type webServer http.Server

func (s *webServer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	if err := (*http.Server)(s).Shutdown(ctx); err != nil {
		return (*http.Server)(s).Close()
	}
	return nil
}

func (c *counters) sent(n int, err error) {
	c.transmitted.Add(uint64(n))
	if err != nil {
		c.failed.Add(1)
	}
}

// unit is what blobs are made of: the same in every process, so that a client knows what
// it ought to get.
var unit = sync.OnceValue(func() []byte {
	r := rand.New(rand.NewPCG(864, 862))
	b := make([]byte, blobUnit)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
})

// WriteBlob writes the blob of n bytes.
func WriteBlob(w io.Writer, n int64) (written int64, err error) {
	for written < n && err == nil {
		part := unit()
		part = part[:min(int64(len(part)), n-written)]
		var m int
		m, err = w.Write(part)
		written += int64(m)
	}
	return written, err
}

// sums remembers digests of blobs, since they cost more than the transfer.
var sums sync.Map // int64 to [32]byte

// BlobSum returns the SHA-256 of the blob of n bytes.
func BlobSum(n int64) [sha256.Size]byte {
	if s, ok := sums.Load(n); ok {
		return s.([sha256.Size]byte)
	}
	h := sha256.New()
	WriteBlob(h, n)
	s := [sha256.Size]byte(h.Sum(nil))
	sums.Store(n, s)
	return s
}

func blob(w http.ResponseWriter, r *http.Request, c *counters) {
	n, err := strconv.ParseInt(r.PathValue("bytes"), 10, 64)
	if err != nil || n < 0 || n > BlobMax {
		http.Error(w, fmt.Sprintf("a blob has 0 to %d bytes", BlobMax), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	if n <= digestMax && n%digestStep == 0 {
		s := BlobSum(n)
		w.Header().Set("Repr-Digest", "sha-256=:"+base64.StdEncoding.EncodeToString(s[:])+":")
	}
	m, err := WriteBlob(w, n)
	c.sent(int(m), err)
}

func sum(w http.ResponseWriter, r *http.Request, c *counters) {
	h := sha256.New()
	n, err := io.Copy(h, r.Body)
	c.received.Add(uint64(n))
	if err != nil {
		c.failed.Add(1)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	c.sent(io.WriteString(w, hex.EncodeToString(h.Sum(nil))+"\n"))
}
