package main

import (
	"fmt"
	"slices"
	"strings"
)

// A kernel is one that Debian's archive has.
type kernel struct {
	name    string // as flags and the table have it
	suite   string // of the archive
	pattern string // of its package, without linux-image- and -cloud-amd64; the newest that fits
}

// catalog is oldest first. Cloud images have every driver that a guest needs, and are a tenth of the
// size of the others.
var catalog = []kernel{
	{name: "5.10", suite: "bullseye", pattern: "5.10."},
	{name: "6.1", suite: "bookworm", pattern: "6.1."},
	{name: "6.12", suite: "trixie", pattern: "6.12."},
	{name: "6.18", suite: "trixie-backports", pattern: "6.18."},
	{name: "7.x", suite: "trixie-backports", pattern: "7."},
}

// choose finds the kernels of a list: names, "all", "oldest", "newest".
func choose(list string) ([]kernel, error) {
	var chosen []kernel
	for _, name := range strings.Split(list, ",") {
		switch name {
		case "all":
			return catalog, nil
		case "oldest":
			chosen = append(chosen, catalog[0])
			continue
		case "newest":
			chosen = append(chosen, catalog[len(catalog)-1])
			continue
		}
		i := slices.IndexFunc(catalog, func(k kernel) bool { return k.name == name })
		if i < 0 {
			var names []string
			for _, k := range catalog {
				names = append(names, k.name)
			}
			return nil, fmt.Errorf("no kernel %q: choose among %s, oldest, newest and all", name, strings.Join(names, ", "))
		}
		chosen = append(chosen, catalog[i])
	}
	return chosen, nil
}
