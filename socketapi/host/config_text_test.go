package host

import (
	"encoding/json"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/xdpsock/xdpsock/engine"
)

// fill gives every field that is written a value that is not zero.
func fill(t *testing.T, v reflect.Value) {
	switch p := v.Addr().Interface().(type) {
	case *netip.Addr:
		*p = netip.MustParseAddr("192.0.2.1")
		return
	case *netip.Prefix:
		*p = netip.MustParsePrefix("2001:db8::7/64")
		return
	case *engine.Mode:
		*p = engine.ModeSKB
		return
	case *Mirror:
		*p = MirrorRoutes | MirrorAddrs
		return
	case *time.Duration:
		*p = 1500 * time.Millisecond
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Tag.Get("json") != "-" {
				fill(t, v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(t, v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string]string{"tcp_fin_timeout": "30"}))
	case reflect.String:
		v.SetString("eth1")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(2)
	case reflect.Uint8, reflect.Uint16:
		v.SetUint(1)
	default:
		t.Fatalf("a field of type %v: is it to be written as JSON, or tagged as not?", v.Type())
	}
}

// TestConfigAsText: what is written is read again, whatever fields there are.
func TestConfigAsText(t *testing.T) {
	var want Config
	fill(t, reflect.ValueOf(&want).Elem())
	for _, cfg := range []Config{want, {Interfaces: []Interface{{Name: "eth1"}}}} {
		text, err := json.Marshal(cfg)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseConfig(text)
		if err != nil || !reflect.DeepEqual(got, cfg) {
			t.Errorf("%s\nis read as %+v, %v\nwant %+v", text, got, err, cfg)
		}
	}
}

func TestConfigByHand(t *testing.T) {
	got, err := ParseConfig([]byte(`{"policy": "latency", "drain": "2s", "sysctls": {"tcp_sack": "0"}, "interfaces": [
		{"name": "eth1", "addrs": ["192.0.2.7/24", "2001:db8::7/64"], "gateways": ["192.0.2.1"], "checksums": "verify", "detect": "none", "mirror": "routes"}]}`))
	want := Config{Policy: engine.Latency, Drain: 2 * time.Second, Sysctls: map[string]string{"tcp_sack": "0"}, Interfaces: []Interface{{
		Name: "eth1", Addrs: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24"), netip.MustParsePrefix("2001:db8::7/64")},
		Gateways: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, Checksums: ChecksumsVerify, Detect: DetectNone, Mirror: MirrorRoutes,
	}}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	for text, says := range map[string]string{
		``:                                "unexpected end",
		`eth1`:                            "invalid character",
		`{}`:                              "no interface",
		`{"interfaces":[{}]}`:             "interface 0 has no name",
		`{"interface":[{"name":"eth1"}]}`: `unknown field "interface"`,
		`{"interfaces":[{"name":"eth1","addr":["192.0.2.7/24"]}]}`:      `unknown field "addr"`,
		`{"interfaces":[{"name":"eth1","addrs":["192.0.2.7"]}]}`:        "192.0.2.7",
		`{"interfaces":[{"name":"eth1","mode":"fast"}]}`:                `mode "fast" is none of`,
		`{"interfaces":[{"name":"eth1","checksums":"some"}]}`:           `checksums "some" is none of`,
		`{"interfaces":[{"name":"eth1","mirror":"routes,everything"}]}`: `mirror "everything" is none of`,
		`{"interfaces":[{"name":"eth1","vlan":70000}]}`:                 "70000",
		`{"interfaces":[{"name":"eth1"}],"policy":"lazy"}`:              "lazy",
		`{"interfaces":[{"name":"eth1"}],"drain":"soon"}`:               "soon",
		`{"interfaces":[{"name":"eth1"}],"manual":true}`:                `unknown field "manual"`,
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want an error that says %q", text, err, says)
		}
	}
	if text, err := json.Marshal(Config{Manual: true}); err == nil {
		t.Errorf("%s", text)
	}
}
