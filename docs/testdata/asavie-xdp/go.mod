module github.com/asavie/xdp

go 1.26
