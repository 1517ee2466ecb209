package control

import (
	"time"

	"github.com/xdpsock/xdpsock/socketapi/traffic"
)

// Dir is where engines can be found, unless somebody says otherwise.
const Dir = "/run/xdpsock"

// Limits. A questioner may be any program of the same user, broken ones included.
const (
	// requestMax is how long a question may be, in bytes.
	requestMax = 4096
	// timeout is how long a question and its answer may take together: a reader that has
	// stopped does not hold an answer in memory for longer.
	timeout = 10 * time.Second
	// lookTimeout is how long an engine may take to say who it is, which it does without its cores: whoever
	// looks for another than one that is stopped waits for that one as well.
	lookTimeout = 3 * time.Second
	// serversMax is how many questions are answered at once. The others wait to be accepted.
	serversMax = 4
	// socketsMax is how many sockets an answer lists: some 10 MiB of it. More is said to
	// be more.
	socketsMax = 1 << 16
	// answerMax is how much of an answer is read, in bytes: several times what the limits
	// above allow it to be.
	answerMax = 64 << 20
)

// A Subject is what can be asked for.
type Subject string

const (
	AskEngine     Subject = "engine" // who is there, and nothing more
	AskNeighbours Subject = "neigh"
	AskRoutes     Subject = "route"
	AskAddrs      Subject = "addr"
	AskSockets    Subject = "sockets"
	AskDrops      Subject = "drops"
	AskSysctls    Subject = "sysctl"
)

// A Request is one question. What is to be changed is asked for as well.
type Request struct {
	Ask     Subject  `json:"ask"`
	Sysctls []string `json:"sysctls,omitempty"` // of AskSysctls: names, or NAME=VALUE to set them, in this order; none: all
}

// An Answer is the answer to one. Beside Engine it has what was asked for, or an error.
type Answer struct {
	Engine     Engine           `json:"engine"`
	Error      string           `json:"error,omitempty"`
	Neighbours []Neighbour      `json:"neighbours,omitempty"`
	Routes     []Route          `json:"routes,omitempty"`
	Addrs      []Addr           `json:"addrs,omitempty"`
	Sockets    []Socket         `json:"sockets,omitempty"`
	More       bool             `json:"more,omitempty"` // there are more sockets than the answer lists
	Traffic    *traffic.Summary `json:"traffic,omitempty"`
	Sysctls    []Sysctl         `json:"sysctls,omitempty"`
}

// Engine is who answers.
type Engine struct {
	PID        int      `json:"pid"`
	Interfaces []string `json:"interfaces"`
	Cores      int      `json:"cores"`
}

// Neighbour is one entry of a core's neighbour table.
type Neighbour struct {
	Interface string `json:"interface"`
	Addr      string `json:"address"`
	MAC       string `json:"mac,omitempty"` // "" while it is not known
	State     string `json:"state"`         // of RFC 4861 §7.3.2
	Waiting   int    `json:"waiting"`       // datagrams that wait for it to answer
	Core      int    `json:"core"`
}

// Route is one route, in the words of ip-route(8).
type Route struct {
	Type      string `json:"type"` // unicast, redirected, blackhole, prohibit, ...
	Prefix    string `json:"prefix"`
	Gateway   string `json:"gateway,omitempty"`
	Interface string `json:"interface,omitempty"`
	Source    string `json:"source,omitempty"`
	Metric    int    `json:"metric"`
	MTU       int    `json:"mtu,omitempty"`    // bytes; 0: the interface's
	Weight    int    `json:"weight,omitempty"` // of several that share a prefix; 0: it does not
}

// Sysctl is one knob of the engine's.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"` // several numbers have spaces between them
	Unit  string `json:"unit,omitempty"`
	Range string `json:"range"`
	Doc   string `json:"doc"`
}

// Addr is one address of the engine's own.
type Addr struct {
	Interface string `json:"interface"`
	Addr      string `json:"address"` // with the length of the link's prefix
	State     string `json:"state"`   // of RFC 4862 §2: "preferred", "tentative", ...
	Temporary bool   `json:"temporary,omitempty"`
	// For how long it is preferred and valid, in seconds; absent: for ever.
	Preferred *float64 `json:"preferred_seconds,omitempty"`
	Valid     *float64 `json:"valid_seconds,omitempty"`
}

// Socket is one socket, in the words of ss(8).
type Socket struct {
	Protocol string `json:"protocol"` // tcp, udp, icmp, icmpv6, raw (Local has the protocol's number for a port), packet
	State    string `json:"state"`
	RecvQ    int    `json:"recv_q"`
	SendQ    int    `json:"send_q"`
	Local    string `json:"local"` // of a packet socket: interface and EtherType
	Remote   string `json:"remote,omitempty"`
	Dropped  uint64 `json:"dropped"` // datagrams for which there was no room
	Core     int    `json:"core"`    // -1: all
}
