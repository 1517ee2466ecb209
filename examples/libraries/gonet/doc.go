// Command gonet is a TCP echo server over gVisor's netstack and its adapter gonet: what docs/porting.md begins with. It
// is here to be compiled.
package main
