module github.com/xdpsock/xdpsock/perf

go 1.26.8

require golang.org/x/sys v0.49.0

replace github.com/xdpsock/xdpsock => ../
