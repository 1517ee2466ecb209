package socketapi

import (
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/parser"
	"go/token"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Every option that there can be, on every kind of socket: whether it can be got and set is the same on both stacks, but for those that
// the engine does not have, which are listed, each with its reason.

// optionMax is the largest number of an option that is tried.
const optionMax = 127

// optionLevels are the levels that options are tried at, and how the names of their options begin in package unix.
var optionLevels = []struct {
	level    int
	prefixes []string
}{
	{unix.SOL_SOCKET, []string{"SO_"}},
	{unix.IPPROTO_IP, []string{"IP_", "MCAST_"}},
	{unix.IPPROTO_IPV6, []string{"IPV6_", "MCAST_"}},
	{unix.IPPROTO_TCP, []string{"TCP_"}},
	{unix.IPPROTO_UDP, []string{"UDP_"}},
	{unix.IPPROTO_ICMPV6, []string{"ICMPV6_"}},
	{unix.SOL_RAW, nil},
	{unix.SOL_PACKET, []string{"PACKET_"}},
	{unix.IPPROTO_UDPLITE, nil},
	{unix.SOL_TLS, nil},
	{unix.SOL_MPTCP, nil},
}

// everyOptionRows has a row for each kind of socket.
func everyOptionRows() (rows []row) {
	for _, k := range kindsOfSockets {
		name := "options: every number, of a socket of " + k.name
		rows = append(rows, row{name, func(e *env) {
			e.me.opening(func(socket socketCall) { e.tryOptions(k, socket) })
		}})
		unable := "options: every number, set by a thread without rights, of a socket of " + k.name
		rows = append(rows, row{unable, func(e *env) {
			e.me.opening(func(socket socketCall) { e.tryRights(k, socket) })
		}})
		if k.on == onTCP {
			differences[unable] = difference{
				"Linux asks for the right to TCP_AO_REPAIR before it says that there is none",
				[]string{"linux 6 42: EPERM | engine 6 42: ENOPROTOOPT"},
			}
		}
		d := difference{why: "each is in lackingOptions, with why it is not here"}
		for _, at := range optionLevels {
			for n := range optionMax + 1 {
				if l := lacks(k.name, at.level, n); l != nil {
					d.lines = append(d.lines, fmt.Sprintf("linux %s: there | engine %s: not there", l.label, l.label))
				}
			}
		}
		if d.lines != nil {
			differences[name] = d
		}
	}
	return rows
}

// tryOptions gets and sets each option of a kind of socket.
func (e *env) tryOptions(k kindOfSocket, socket socketCall) {
	getter := e.me.api.(interface {
		Getsockopt(fd, level, opt int, p []byte) (int, error)
	})
	fresh := func(fd int) int {
		if k.on == onPacket && fd >= 0 { // Linux takes long to close one
			return fd
		}
		if fd >= 0 {
			e.must(e.me.api.Close(fd))
		}
		fd, err := socket(k.domain, k.typ, k.proto)
		e.must(err)
		return fd
	}
	fd := fresh(-1)
	defer func() { e.me.api.Close(fd) }()
	for _, at := range optionLevels {
		for n := range optionMax + 1 {
			got, err := getter.Getsockopt(fd, at.level, n, make([]byte, 512))
			set := e.me.api.SetsockoptInt(fd, at.level, n, 1)
			there := set != unix.ENOPROTOOPT || err != unix.ENOPROTOOPT && err != unix.EOPNOTSUPP
			if l := lacks(k.name, at.level, n); l != nil {
				e.note(l.label, map[bool]string{true: "there", false: "not there"}[there])
			} else if slices.Contains(ofTheHost, optionKey{at.level, n}) {
				e.note(fmt.Sprint(at.level, " ", n), err, set)
			} else {
				e.note(fmt.Sprint(at.level, " ", n), got, err, set)
			}
			if set == nil || there {
				fd = fresh(fd)
			}
		}
	}
}

// tryRights sets each option that the engine has, without the rights that an option can want.
func (e *env) tryRights(k kindOfSocket, socket socketCall) {
	fd, err := socket(k.domain, k.typ, k.proto)
	e.must(err)
	defer func() { e.me.api.Close(fd) }()
	for _, at := range optionLevels {
		for n := range optionMax + 1 {
			if lacks(k.name, at.level, n) != nil {
				continue
			}
			var set error
			e.withoutRight(unix.CAP_NET_RAW, func() {
				e.withoutRight(unix.CAP_NET_ADMIN, func() { set = e.me.api.SetsockoptInt(fd, at.level, n, 1) })
			})
			e.note(fmt.Sprint(at.level, " ", n), set)
			if k.on != onPacket && set == nil {
				e.must(e.me.api.Close(fd))
				fd, err = socket(k.domain, k.typ, k.proto)
				e.must(err)
			}
		}
	}
}

// Every constant of package unix that an option can be is one of the numbers that are tried.
func TestEveryOptionIsTried(t *testing.T) {
	pkg, err := build.Import("golang.org/x/sys/unix", ".", build.FindOnly)
	fatal(t, err)
	found := 0
	for _, name := range []string{"zerrors_linux.go", "zerrors_linux_" + runtime.GOARCH + ".go", "ztypes_linux.go", "ztypes_linux_" + runtime.GOARCH + ".go"} {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, name), nil, 0)
		fatal(t, err)
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, id := range spec.Names {
				if i >= len(spec.Values) || !optionPrefix(id.Name) {
					continue
				}
				lit, ok := spec.Values[i].(*ast.BasicLit)
				if !ok {
					continue
				}
				value, ok := constant.Int64Val(constant.MakeFromLiteral(lit.Value, lit.Kind, 0))
				found++
				if ok && value > optionMax && !slices.Contains(noOptions, id.Name) {
					t.Errorf("%s is %d", id.Name, value)
				}
			}
			return true
		})
	}
	if found < 300 {
		t.Errorf("%d constants are found", found)
	}
}

func optionPrefix(name string) bool {
	for _, at := range optionLevels {
		for _, p := range at.prefixes {
			if strings.HasPrefix(name, p) {
				return true
			}
		}
	}
	return false
}

// noOptions are constants that are named like options and are none: bits and numbers of headers, limits, and what BPF programs say.
var noOptions = []string{
	"IPV6_VERSION_MASK", "IPV6_FLOWINFO_MASK", "IPV6_FLOWLABEL_MASK", "IP_DF", "IP_MF", "IP_RF", "IP_OFFMASK", "IP_MAXPACKET", "IP_MSS",
	"PACKET_FANOUT_FLAG_DEFRAG", "PACKET_FANOUT_FLAG_IGNORE_OUTGOING", "PACKET_FANOUT_FLAG_ROLLOVER", "PACKET_FANOUT_FLAG_UNIQUEID",
	"TCP_MAXWIN", "TCP_MSS", "TCP_MSS_DEFAULT", "TCP_MSS_DESIRED",
	"TCP_BPF_IW", "TCP_BPF_SNDCWND_CLAMP", "TCP_BPF_DELACK_MAX", "TCP_BPF_RTO_MIN", "TCP_BPF_SYN", "TCP_BPF_SYN_IP", "TCP_BPF_SYN_MAC",
}

// ofTheHost are options of which nothing but whether they are there is compared: they depend on what the host's congestion control is.
var ofTheHost = []optionKey{{unix.IPPROTO_TCP, unix.TCP_CC_INFO}}
