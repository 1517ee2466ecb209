package socketapi

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/socketapi/host"
)

// HostVariable is the environment variable that says which stack the package's functions have where the program has named none by Use:
// a [host.Config] as JSON, as 'xdpsock run' writes it. The stack is opened by the first call that needs one, and is the program's until
// it ends.
//
// The variable is taken out of the environment when the program starts: the programs that it executes would open the same
// interfaces again.
//
// A program that has more privileges than who starts it (AT_SECURE of getauxval(3): set-user-ID, set-group-ID, file capabilities) does not
// heed it: he would choose which of the machine's interfaces it takes. Such a program calls Use.
const HostVariable = "XDPSOCK_HOST"

var (
	current atomic.Pointer[Table]

	// none is a table in which nothing can be opened.
	none = func() *Table { t := newTable(nil); t.limit = 0; return t }()

	given     = takeHostVariable()
	openGiven = sync.OnceValue(given.open)

	complain sync.Once
)

// Use makes st the stack of the package's functions. nil is none, as in the beginning where the environment says
// nothing: then Socket is ENETDOWN and every descriptor EBADF.
//
// If nothing is open in its table yet, its numbers are 512 and more from then on. Numbers below are then the kernel's, as the files
// have them that other packages have opened ([os.File.Fd]): calls on those are made in the kernel, and to the kernel the numbers of
// the table are EBADF, unless it has that many files open.
func Use(st *Stack) {
	if st == nil {
		current.Store(none)
		return
	}
	st.table.rebase(defaultBase)
	current.Store(st.table)
}

// Default is the table of the package's functions: that of the stack of Use or of the environment, or one in which nothing can
// be opened.
func Default() *Table { return table() }

// CloseDefault closes the stack of the package's functions, as [Stack.Close] does. A program that ends by itself does so first, or what
// it has sent last may never leave.
func CloseDefault() error {
	if t := current.Load(); t != nil && t.host != nil {
		return t.closeHost()
	}
	return nil
}

func table() *Table {
	if t := current.Load(); t != nil {
		return t
	}
	return firstTable()
}

// firstTable is table of the first call.
func firstTable() *Table {
	openGiven()
	if t := current.Load(); t != nil {
		return t
	}
	return none
}

// opened is table for a call that opens something. Without a stack it is ENETDOWN; why, is said on standard error,
// once: the program knows the errno alone. Who has called Use(nil) knows why.
func opened() (*Table, error) {
	t := table()
	if t.host != nil {
		return t, nil
	}
	if current.Load() == nil {
		complain.Do(func() { fmt.Fprintf(os.Stderr, "xdpsock: %v\n", openGiven()) })
	}
	return nil, unix.ENETDOWN
}

// hostVariable is what the environment says.
type hostVariable struct {
	text   string
	set    bool
	others bool // who started the program has fewer privileges than it
}

func takeHostVariable() (v hostVariable) {
	if v.text, v.set = os.LookupEnv(HostVariable); v.set {
		os.Unsetenv(HostVariable)
		v.others = privileged()
	}
	return v
}

// privileged says whether the program has privileges that who started it has not. If that cannot be known, it has.
func privileged() bool {
	const secure = 23 // AT_SECURE, linux/auxvec.h
	vector, err := unix.Auxv()
	if err != nil {
		return true
	}
	for _, entry := range vector {
		if entry[0] == secure {
			return entry[1] != 0
		}
	}
	return false
}

var errNoDefault = errors.New("no stack: start the program by 'xdpsock run -i IF -a CIDR PROGRAM', or set " + HostVariable + ", or call socketapi.Use")

// open opens the stack, and makes it current if Use has not been faster.
func (v hostVariable) open() error {
	if !v.set {
		return errNoDefault
	}
	if v.others {
		return fmt.Errorf("environment variable %s: not heeded by a program with privileges of its own (set-user-ID, file capabilities): it calls socketapi.Use", HostVariable)
	}
	cfg, err := host.ParseConfig([]byte(v.text))
	if err != nil {
		return fmt.Errorf("environment variable %s: %w", HostVariable, err)
	}
	st, err := Open(cfg)
	if err != nil {
		return fmt.Errorf("open the stack of the environment variable %s: %w", HostVariable, err)
	}
	st.table.rebase(defaultBase)
	if !current.CompareAndSwap(nil, st.table) {
		return st.Close()
	}
	return nil
}
