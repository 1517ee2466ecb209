package main

import (
	"errors"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/xdpsock/xdpsock/engine"
)

// kernelFacts is what there is to say of the kernel, whatever the interface.
type kernelFacts struct {
	Event   string   `json:"event"` // "kernel"
	Release string   `json:"release"`
	Lacks   []lack   `json:"lacks"`
	Unknown []string `json:"unknown"` // what it takes privileges to ask for
}

// lack is a feature that the kernel has not got.
type lack struct {
	Name    string `json:"name"`
	Since   string `json:"since"` // the first Linux that has it
	Without string `json:"without"`
	Reason  string `json:"reason"`
}

func factsOfKernel() kernelFacts {
	k := kernelFacts{Event: "kernel", Lacks: []lack{}, Unknown: []string{}}
	var uts unix.Utsname
	if unix.Uname(&uts) == nil {
		k.Release = unix.ByteSliceToString(uts.Release[:])
	}
	for _, f := range engine.KernelFeatures() {
		switch {
		case errors.Is(f.Err, unix.EPERM):
			k.Unknown = append(k.Unknown, f.Name)
		case f.Err != nil:
			k.Lacks = append(k.Lacks, lack{f.Name, f.Since, f.Without, strings.Join(strings.Fields(f.Err.Error()), " ")})
		}
	}
	return k
}

func (k *kernelFacts) say(o *output) {
	o.say("Linux %s", k.Release)
	for _, l := range k.Lacks {
		o.say("  lacks      %s (Linux %s): %s", l.Name, l.Since, l.Without)
		o.say("             because: %s", l.Reason)
	}
	switch {
	case len(k.Unknown) > 0:
		o.say("  unknown    %s: only root is told", strings.Join(k.Unknown, ", "))
	case len(k.Lacks) == 0:
		o.say("  lacks      nothing that xdpsock would use")
	}
}
