package socketapi

import (
	"errors"
	"net"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"
)

// TestZeroValuesAnswerAsPackageNets calls every method of package net's types and of ours on nil and on a zero value, with
// zero arguments: what answers there answers here, EINVAL for most, and what is ours alone does not panic either. (A nil
// connection of package net does, like any pointer to a struct with an embedded one.)
func TestZeroValuesAnswerAsPackageNets(t *testing.T) {
	for _, w := range []struct{ theirs, ours any }{
		{(*net.TCPConn)(nil), (*TCPConn)(nil)},
		{(*net.UDPConn)(nil), (*UDPConn)(nil)},
		{(*net.TCPListener)(nil), (*TCPListener)(nil)},
		{(*net.IPConn)(nil), (*LinkConn)(nil)}, // the nearest there is
		{(*net.IPConn)(nil), (*PingConn)(nil)},
	} {
		for _, zero := range []bool{false, true} {
			theirs, ours := receiver(w.theirs, zero), receiver(w.ours, zero)
			for i := range ours.NumMethod() {
				name := ours.Type().Method(i).Name
				like := name
				if name == "RawConn" {
					like = "SyscallConn"
				}
				want, there := callOf(theirs.MethodByName(like))
				got, here := callOf(ours.Method(i))
				_, is := theirs.Type().MethodByName(like)
				switch {
				case is && !there, !is && !zero: // theirs panics; ours may
				case !here:
					t.Errorf("%v.%s panics, zero %v", ours.Type(), name, zero)
				case like != name: // whose error comes with its calls
					if err := got[0].Interface().(interface{ Control(func(uintptr)) error }).Control(nil); !errors.Is(err, unix.EINVAL) {
						t.Errorf("%v.%s().Control: %v, want EINVAL", ours.Type(), name, err)
					}
				case is && !sameResults(want, got):
					t.Errorf("%v.%s, zero %v: %v, and package net's %v", ours.Type(), name, zero, got, want)
				}
			}
		}
	}
}

// receiver is a nil pointer, or one to a zero value of what it points to.
func receiver(pointer any, zero bool) reflect.Value {
	if zero {
		return reflect.New(reflect.TypeOf(pointer).Elem())
	}
	return reflect.ValueOf(pointer)
}

// callOf calls a method with zero arguments. It is false if there is none, or it panics.
func callOf(method reflect.Value) (results []reflect.Value, ok bool) {
	if !method.IsValid() {
		return nil, false
	}
	var arguments []reflect.Value
	for i := range method.Type().NumIn() {
		arguments = append(arguments, reflect.Zero(method.Type().In(i)))
	}
	defer func() {
		if recover() != nil {
			results, ok = nil, false
		}
	}()
	return method.Call(arguments), true
}

// sameResults compares results, but for the types of pointers that are nil.
func sameResults(want, got []reflect.Value) bool {
	for i := range want {
		if a, b := want[i], got[i]; a.Kind() == reflect.Pointer && (!a.IsNil() || !b.IsNil()) ||
			a.Kind() != reflect.Pointer && !reflect.DeepEqual(a.Interface(), b.Interface()) {
			return false
		}
	}
	return len(want) == len(got)
}
