package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// A record is a row as it is kept from run to run.
type record struct {
	When    string         `json:"when"`
	Seconds float64        `json:"seconds"`
	Error   string         `json:"error,omitempty"`
	Events  []report.Event `json:"events"`
}

// records puts the rows that ran into the file, by the names of their kernels, and returns the rows of
// all kernels that are in it.
func records(path string, ran []*row) (table []*row, err error) {
	kept := map[string]record{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what earlier runs left: %s: %w", path, err)
	}
	for _, r := range ran {
		if r.absent {
			continue
		}
		k := record{When: r.when, Seconds: r.took.Round(time.Second).Seconds(), Events: r.events}
		if r.err != nil {
			k.Error = r.err.Error()
		}
		kept[r.kernel.name] = k
	}
	for _, k := range catalog {
		r, ok := kept[k.name]
		if !ok {
			continue
		}
		again := &row{kernel: k, events: r.Events, when: r.When, took: time.Duration(r.Seconds * float64(time.Second))}
		if r.Error != "" {
			again.err = errors.New(r.Error)
		}
		table = append(table, again)
	}
	if b, err = json.MarshalIndent(kept, "", "\t"); err != nil {
		return nil, err
	}
	return table, os.WriteFile(path, append(b, '\n'), 0o644)
}
