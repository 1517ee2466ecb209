package socketapi

import (
	"bytes"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestSeveralReaders has eight goroutines read one socket: each byte and each datagram
// reaches one of them.
func TestSeveralReaders(t *testing.T) {
	a, b := twoHosts(t)
	l, err := b.Listen("tcp", addrB+":7")
	fatal(t, err)
	defer l.Close()
	c, err := a.Dial("tcp", addrB+":7")
	fatal(t, err)
	in, err := l.Accept()
	fatal(t, err)
	const size = 4 << 20
	var total atomic.Int64
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			p := make([]byte, 1000)
			for {
				n, err := in.Read(p)
				total.Add(int64(n))
				if err != nil {
					if err != io.EOF {
						t.Error(err)
					}
					return
				}
			}
		})
	}
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			if _, err := c.Write(make([]byte, size/4)); err != nil {
				t.Error(err)
			}
		})
	}
	within(t, longest, "the writers", writers.Wait)
	fatal(t, c.Close())
	within(t, longest, "the readers", readers.Wait)
	fatal(t, in.Close())
	if total.Load() != size {
		t.Errorf("%d of %d bytes were read", total.Load(), size)
	}
}

// TestWritesDoNotMix: what one Write of a net.Conn writes is not torn by another's.
func TestWritesDoNotMix(t *testing.T) {
	a, b := twoHosts(t)
	l, err := b.Listen("tcp", addrB+":7")
	fatal(t, err)
	defer l.Close()
	c, err := a.Dial("tcp", addrB+":7")
	fatal(t, err)
	in, err := l.Accept()
	fatal(t, err)
	defer in.Close()
	const block, writers, each = 300000, 4, 3
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			for range each {
				if _, err := c.Write(bytes.Repeat([]byte{byte('a' + i)}, block)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	p := make([]byte, block)
	for range writers * each {
		in.SetReadDeadline(time.Now().Add(longest))
		if _, err := io.ReadFull(in, p); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(p, p[:1]); n != block {
			t.Fatalf("%d of the %d bytes of one Write stand together", n, block)
		}
	}
	wg.Wait()
	c.Close()
}
