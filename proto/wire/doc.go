// Package wire is the layout of packets: views over bytes, one file a header.
//
// In come bytes that anyone may have sent; out come views such as [IPv4], which
// are those bytes with names for their fields, and encoders that write a header
// in one call. The package must never allocate, keep state, return an error or know what
// a protocol does with a field; that is the business of the packages above.
//
// A view is a slice type. ParseX(b) proves that b holds a whole header of X and
// trims the view to what the header says of its own length, capacity included;
// no accessor of a view that Parse returned with true can panic. A conversion
// such as IPv4(b) proves nothing: it is for headers that the caller has just
// written. PutX(b, …) writes a header at the start of b, every byte of it, and
// returns its length; it panics if b is too short, since room for its own
// headers is the caller's duty and never a matter of what arrived.
//
// Lengths and offsets are bytes, also where the wire counts words.
package wire
