package socketapi

// A difference is where the engine does not do as Linux does, why, and what it does.
type difference struct {
	why   string
	lines []string
}

// differences is every one that there is, by row.
var differences = map[string]difference{
	"bind: a listener's port while its connection lives": {
		"connections hold a port with what their listener was told when it was bound, not one by one",
		[]string{"linux with it on both: ok | engine with it on both: EADDRINUSE"},
	},
	"bind: the port of a connection that has just been closed": {
		"a port is held by sockets; that of a connection in TIME-WAIT is free, and RFC 6056 keeps the next one from it",
		[]string{"linux without SO_REUSEADDR: EADDRINUSE | engine without SO_REUSEADDR: ok"},
	},
	"stream: flags that are not": {
		"urgent data and the error queue are not supported, which is EOPNOTSUPP; Linux says that there is none",
		[]string{
			`linux MSG_OOB: "" -1 EINVAL | engine MSG_OOB: "" -1 ENOTSUP`,
			`linux MSG_ERRQUEUE: "" -1 EAGAIN | engine MSG_ERRQUEUE: "" -1 ENOTSUP`,
		},
	},
	"SO_SNDBUF is at first": {
		"a stream's send buffer begins with 128 KiB here: a write and the copy of it are all there is, no overhead of packets",
		[]string{"linux is: 16384 ok | engine is: 131072 ok"},
	},
}
