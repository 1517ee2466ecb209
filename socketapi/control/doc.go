// Package control lets another process ask a running engine what it holds, and turn its knobs.
//
// The engine opens a Unix socket in a directory that only its user may enter. In comes one
// question a connection, a line of JSON; out goes one answer, a line of JSON, and the
// connection ends. It must never change anything in the engine but the knobs that it is told to, never
// keep it waiting for whoever asks (it copies first, and formats and writes what it has copied), and never
// keep more than a limited number of questioners.
package control
