package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/xdpsock/xdpsock/perf/vm/kernels/report"
)

// A record is a row as it is kept from run to run. Of what a guest can do, each part is as it was last
// done.
type record struct {
	When   string         `json:"when"` // the last run
	Error  string         `json:"error,omitempty"`
	Events []report.Event `json:"events"`
}

// add puts a run's events into the place of earlier ones of the same name. Those of another release of the
// kernel go.
func (k *record) add(r *row) {
	same := func(e report.Event) bool { return e.Kind == report.Kernel && e.Value == r.release() }
	if len(r.events) > 0 && !slices.ContainsFunc(k.Events, same) {
		k.Events = nil
	}
	asked := func(e report.Event) bool { return e.Kind == report.Check && e.Name == checkInfo }
	if slices.ContainsFunc(r.events, asked) { // what is lacked no more is not among the new ones
		k.Events = slices.DeleteFunc(k.Events, func(e report.Event) bool { return e.Kind == report.Lack })
	}
	for _, e := range r.events {
		e.When = r.when
		i := slices.IndexFunc(k.Events, func(old report.Event) bool { return old.Kind == e.Kind && old.Name == e.Name })
		if i < 0 {
			k.Events = append(k.Events, e)
		} else {
			k.Events[i] = e
		}
	}
	k.When, k.Error = r.when, ""
	if r.err != nil {
		k.Error = r.err.Error()
	}
}

// checkInfo is the check that reports every lack.
const checkInfo = "info"

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
	k := kept[ran.kernel.name]
	k.add(ran)
	kept[ran.kernel.name] = k
	for _, k := range catalog {
		r, ok := kept[k.name]
		if !ok {
			continue
		}
		again := &row{kernel: k, events: r.Events, when: r.When}
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
