// Package baseline has the raw modes in C, for a compiler that is found when they
// run.
//
// In goes nothing; out comes the source. It is the same loop over the same system
// calls as the engine's, with nothing around it, so that what the engine costs
// beyond it can be read off. It must never include a library that does the work.
package baseline

import _ "embed"

// XSK is the source of one C program; its first comment says how to use it.
//
//go:embed c/xsk.c
var XSK string
