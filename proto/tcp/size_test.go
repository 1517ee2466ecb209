package tcp

import (
	"testing"
	"unsafe"
)

func TestSizes(t *testing.T) {
	// An idle established connection is its Conn, its table entry and nothing else. The sockets above need their
	// part of the kilobyte.
	conn, entry, tw := unsafe.Sizeof(Conn{}), unsafe.Sizeof(entry{}), unsafe.Sizeof(twEntry{})
	t.Logf("Conn %d, table entry %d, TIME-WAIT entry %d bytes", conn, entry, tw)
	if conn > 832 {
		t.Errorf("Conn is %d bytes, want at most 832", conn)
	}
	if entry > 8 || tw > 96 {
		t.Errorf("table entry %d bytes, TIME-WAIT entry %d", entry, tw)
	}
}
