package main

import (
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	all, nobody := parseStat("cpu  10 1 5 100 20 2 3 4 7 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")
	if all != 1450*time.Millisecond || nobody != 1250*time.Millisecond {
		t.Errorf("%v, %v", all, nobody)
	}
	for _, bad := range []string{"", "cpu", "cpu x y z"} {
		if all, nobody := parseStat(bad); all != 0 || nobody != 0 {
			t.Errorf("%q: %v, %v", bad, all, nobody)
		}
	}
	if all, nobody := parseStat("cpu 1 2"); all != 30*time.Millisecond || nobody != 0 {
		t.Errorf("an old kernel's line: %v, %v", all, nobody)
	}
}

func TestOthersSince(t *testing.T) {
	then := processorTimes{all: 10 * time.Second, nobody: 5 * time.Second, own: time.Second}
	now := processorTimes{all: 20 * time.Second, nobody: 9 * time.Second, own: 5 * time.Second}
	if got := now.othersSince(then); got != 20 {
		t.Errorf("%v%%, want 20", got)
	}
	if got := then.othersSince(then); got != 0 {
		t.Errorf("%v%% of no time", got)
	}
	if now := readProcessorTimes(); now.all <= 0 || now.nobody < 0 || now.nobody > now.all {
		t.Errorf("%+v", now)
	}
}
