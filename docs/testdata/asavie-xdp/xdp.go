// Package xdp is the exported declarations of github.com/asavie/xdp, without anything behind them: docs/from-asavie-xdp.md begins with a
// program over that package, which a test compiles against these, since the module proxy did not serve the package itself when this was written.
// They are those of the last version, compared with its source; the fields of Program, which are maps and a program of
// github.com/cilium/ebpf, are left out. What is called here must never run: it panics.
package xdp

// A Program steers the traffic of queues into sockets.
type Program struct{}

// NewProgram makes one for so many queues.
func NewProgram(maxQueueEntries int) (*Program, error) { panic(declared) }

// LoadProgram takes one out of an object file, with the names of the function and of the two maps.
func LoadProgram(fname, funcname, qidmapname, xskmapname string) (*Program, error) { panic(declared) }

func (p *Program) Attach(Ifindex int) error           { panic(declared) }
func (p *Program) Detach(Ifindex int) error           { panic(declared) }
func (p *Program) Register(queueID int, fd int) error { panic(declared) }
func (p *Program) Unregister(queueID int) error       { panic(declared) }
func (p *Program) Close() error                       { panic(declared) }

// A Socket is an AF_XDP socket with a UMEM of its own.
type Socket struct{}

// SocketOptions are the numbers and sizes of frames and rings.
type SocketOptions struct {
	NumFrames              int
	FrameSize              int
	FillRingNumDescs       int
	CompletionRingNumDescs int
	RxRingNumDescs         int
	TxRingNumDescs         int
}

// DefaultSocketOptions are those of a socket that is opened without.
var DefaultSocketOptions = SocketOptions{
	NumFrames: 128, FrameSize: 2048, FillRingNumDescs: 64, CompletionRingNumDescs: 64, RxRingNumDescs: 64, TxRingNumDescs: 64,
}

// DefaultSocketFlags are of bind(2), DefaultXdpFlags of attaching the program.
var (
	DefaultSocketFlags uint16
	DefaultXdpFlags    uint32
)

// Stats are the counters of a socket.
type Stats struct {
	Filled, Received, Transmitted, Completed uint64
	KernelStats                              XDPStatistics
}

// XDPStatistics is the type of golang.org/x/sys/unix, which this module does not require.
type XDPStatistics struct {
	Rx_dropped, Rx_invalid_descs, Tx_invalid_descs, Rx_ring_full, Rx_fill_ring_empty_descs, Tx_ring_empty_descs uint64
}

// A Desc is struct xdp_desc.
type Desc struct {
	Addr    uint64
	Len     uint32
	Options uint32
}

// NewSocket opens a socket on a queue of an interface.
func NewSocket(Ifindex int, QueueID int, options *SocketOptions) (xsk *Socket, err error) {
	panic(declared)
}

func (xsk *Socket) FD() int                        { panic(declared) }
func (xsk *Socket) Fill(descs []Desc) int          { panic(declared) }
func (xsk *Socket) Receive(num int) []Desc         { panic(declared) }
func (xsk *Socket) Transmit(descs []Desc) int      { panic(declared) }
func (xsk *Socket) Stats() (Stats, error)          { panic(declared) }
func (xsk *Socket) Complete(n int)                 { panic(declared) }
func (xsk *Socket) GetDescs(n int, rx bool) []Desc { panic(declared) }
func (xsk *Socket) GetFrame(d Desc) []byte         { panic(declared) }
func (xsk *Socket) NumFreeFillSlots() int          { panic(declared) }
func (xsk *Socket) NumFreeTxSlots() int            { panic(declared) }
func (xsk *Socket) NumReceived() int               { panic(declared) }
func (xsk *Socket) NumCompleted() int              { panic(declared) }
func (xsk *Socket) NumFilled() int                 { panic(declared) }
func (xsk *Socket) NumTransmitted() int            { panic(declared) }
func (xsk *Socket) Close() error                   { panic(declared) }

func (xsk *Socket) Poll(timeout int) (numReceived int, numCompleted int, err error) { panic(declared) }

const declared = "these are declarations alone"
