package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
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

// publish puts a row into the file of the tables, beside the rows that earlier runs left.
func publish(docs string, r *row) error {
	table, err := records(strings.TrimSuffix(docs, ".md")+".json", r)
	if err != nil {
		return err
	}
	return os.WriteFile(docs, markdown(table), 0o644)
}

// records puts a row into the file of records, by the name of its kernel, and returns the rows of
// all kernels that are in it.
func records(path string, ran *row) (table []*row, err error) {
	kept := map[string]record{}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &kept)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("what earlier runs left: %s: %w", path, err)
	}
	k := record{When: ran.when, Seconds: ran.took.Round(time.Second).Seconds(), Events: ran.events}
	if ran.err != nil {
		k.Error = ran.err.Error()
	}
	kept[ran.kernel.name] = k
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
