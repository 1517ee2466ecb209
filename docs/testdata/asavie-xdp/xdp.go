// Package xdp is the exported declarations of github.com/asavie/xdp, without anything behind them: docs/from-asavie-xdp.md begins with a
// program over that package, which a test compiles against these, since the module proxy did not serve the package itself when this was written.
// What is called here must never run: it panics.
package xdp

// A Program steers the traffic of queues into sockets.
type Program struct{}

// NewProgram makes one for so many queues.
func NewProgram(maxQueueEntries int) (*Program, error) { panic(declared) }

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
