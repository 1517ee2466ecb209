// Package generate writes package socketapi/unix: 'go generate ./socketapi/unix' runs its test, which else finds what is not current.
//
// In come the files of golang.org/x/sys/unix, of package socketapi, and the lists of account_test.go; out go files of
// package unix and docs/unix.md. It is not of that package, whose files need not compile for it: after an upgrade they may not. It
// must never let a function go by that no list accounts for.
package generate
