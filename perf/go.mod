module github.com/xdpsock/xdpsock/perf

go 1.26.8

require (
	github.com/vishvananda/netlink v1.3.1
	github.com/xdpsock/xdpsock v0.0.0-00010101000000-000000000000
	golang.org/x/sys v0.49.0
)

require github.com/vishvananda/netns v0.0.5 // indirect

replace github.com/xdpsock/xdpsock => ../
