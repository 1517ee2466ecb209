package load

import (
	"strings"
	"testing"
	"time"
)

const wrkReport = `Running 2s test @ http://10.77.0.1:80/
  2 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.24ms    1.01ms  17.71ms   85.84%
    Req/Sec    27.63k     2.83k   33.06k    72.50%
  Latency Distribution
     50%    0.97ms
     75%    1.63ms
     90%    2.45ms
     99%    4.89ms
  110101 requests in 2.01s, 13.86MB read
Requests/sec:  54776.18
Transfer/sec:      6.90MB
`

func TestParseWrk(t *testing.T) {
	w, err := ParseWrk(wrkReport)
	if err != nil {
		t.Fatal(err)
	}
	want := Wrk{Requests: 110101, Rate: 54776.18, Median: 970 * time.Microsecond, P99: 4890 * time.Microsecond}
	if *w != want {
		t.Errorf("got %+v, want %+v", *w, want)
	}
}

func TestParseWrkRefuses(t *testing.T) {
	for name, out := range map[string]string{
		"empty":      "",
		"no rate":    strings.Replace(wrkReport, "Requests/sec", "Replies/sec", 1),
		"no p99":     strings.Replace(wrkReport, "99%", "98%", 1),
		"none":       strings.Replace(wrkReport, "110101 requests", "0 requests", 1),
		"404s":       wrkReport + "  Non-2xx or 3xx responses: 110101\n",
		"sock error": wrkReport + "  Socket errors: connect 0, read 12, write 0, timeout 0\n",
	} {
		if w, err := ParseWrk(out); err == nil {
			t.Errorf("%s: got %+v", name, *w)
		}
	}
}
