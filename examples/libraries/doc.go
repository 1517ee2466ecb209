// Package libraries holds programs that use libraries of others over the engine, as a module of its own: what these
// libraries need never reaches the go.sum of who uses the engine.
//
// Each program takes an interface and an address, and must never hold the interface when it has ended. The tests run
// them between two namespaces.
package libraries
