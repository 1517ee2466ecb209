package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/xdpsock/xdpsock/engine"
)

// ParseConfig reads a Config that is written as JSON: fields by their names, in any case, addresses and prefixes as text, Policy as
// "balanced", Checksums as "verify", Detect as "none", Mirror as "routes,addresses", Drain as "5s". Clock, Manual, Seed and Devices
// are for programs alone. A field that there is not is an error, so that no word is lost.
func ParseConfig(text []byte) (cfg Config, err error) {
	if err := json.Unmarshal(text, &cfg); err != nil {
		return Config{}, fmt.Errorf("configuration of a host: %w", err)
	}
	for i := range cfg.Interfaces {
		switch in := &cfg.Interfaces[i]; {
		case in.Name == "":
			return Config{}, fmt.Errorf("configuration of a host: interface %d has no name", i)
		case !slices.Contains([]engine.Mode{"", engine.ModeAuto, engine.ModeZeroCopy, engine.ModeNative, engine.ModeSKB, engine.ModePacket}, in.Mode):
			return Config{}, fmt.Errorf("configuration of a host: interface %s: mode %q is none of auto, zerocopy, native, skb, packet", in.Name, in.Mode)
		}
	}
	if len(cfg.Interfaces) == 0 {
		return Config{}, errors.New(`configuration of a host: no interface: it needs at least one, as {"interfaces": [{"name": "eth1", "addrs": ["192.0.2.7/24"]}]}`)
	}
	return cfg, nil
}

// configText is Config as JSON has it: the methods are left behind.
type configText Config

// MarshalJSON writes what ParseConfig reads.
func (c Config) MarshalJSON() ([]byte, error) {
	switch {
	case c.Clock != nil || c.Manual || c.Seed != nil:
		return nil, errors.New("host: a Clock, Manual and a Seed are of one program, and cannot be written")
	case slices.ContainsFunc(c.Interfaces, func(i Interface) bool { return i.Devices != nil }):
		return nil, errors.New("host: Devices are of one program, and cannot be written")
	}
	text := struct {
		configText
		Drain string `json:",omitempty"` // instead of the number
	}{configText: configText(c)}
	if c.Drain != 0 {
		text.Drain = c.Drain.String()
	}
	return json.Marshal(text)
}

// UnmarshalJSON is MarshalJSON's opposite.
func (c *Config) UnmarshalJSON(b []byte) error {
	text := struct {
		*configText
		Drain string
	}{configText: (*configText)(c)}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&text); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows it")
	}
	if text.Drain == "" {
		return nil
	}
	drain, err := time.ParseDuration(text.Drain)
	c.Drain = drain
	return err
}

var (
	checksumsText = []string{ChecksumsAuto: "auto", ChecksumsVerify: "verify", ChecksumsTrust: "trust"}
	detectionText = []string{DetectAuto: "auto", DetectAll: "all", DetectNone: "none"}
	mirrorText    = []string{"routes", "addresses"} // by bit
)

func (c Checksums) MarshalText() ([]byte, error) { return wordOf("Checksums", checksumsText, int(c)) }
func (d Detection) MarshalText() ([]byte, error) { return wordOf("Detection", detectionText, int(d)) }

func (c *Checksums) UnmarshalText(b []byte) error {
	n, err := numberOf("checksums", checksumsText, string(b))
	*c = Checksums(n)
	return err
}

func (d *Detection) UnmarshalText(b []byte) error {
	n, err := numberOf("detect", detectionText, string(b))
	*d = Detection(n)
	return err
}

// MarshalText writes a Mirror as its parts, with commas between them.
func (m Mirror) MarshalText() ([]byte, error) {
	var parts []string
	for i, word := range mirrorText {
		if m&(1<<i) != 0 {
			parts = append(parts, word)
		}
	}
	return []byte(strings.Join(parts, ",")), nil
}

func (m *Mirror) UnmarshalText(b []byte) error {
	*m = 0
	for word := range strings.SplitSeq(string(b), ",") {
		if len(b) == 0 {
			return nil
		}
		n, err := numberOf("mirror", mirrorText, word)
		if err != nil {
			return err
		}
		*m |= 1 << n
	}
	return nil
}

func wordOf(what string, words []string, n int) ([]byte, error) {
	if n >= len(words) {
		return nil, fmt.Errorf("host: %s(%d) is none", what, n)
	}
	return []byte(words[n]), nil
}

func numberOf(what string, words []string, word string) (int, error) {
	n := slices.Index(words, word)
	if n < 0 {
		return 0, fmt.Errorf("%s %q is none of %s", what, word, strings.Join(words, ", "))
	}
	return n, nil
}
