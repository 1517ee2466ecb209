package bpf

// The objects are committed, so that building and running need neither clang nor
// libbpf. Making them anew needs clang (14 gave these) and the headers of libbpf
// (Debian: libbpf-dev). The include paths are for Debian, which keeps asm/ apart.

//go:generate go run github.com/cilium/ebpf/cmd/bpf2go -no-global-types steer steer.c -- -O2 -Wall -Wextra -Werror -Wno-sign-compare -I/usr/include/x86_64-linux-gnu -I/usr/include/aarch64-linux-gnu
