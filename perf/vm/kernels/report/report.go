// Package report is what a guest and the host of the kernel matrix say to each other: the plan goes
// in as a file of the initial file system, events come out as lines of JSON on the second serial
// port, since the first carries the kernel's own messages.
package report

// PlanPath is where the guest finds its [Plan].
const PlanPath = "/plan.json"

// A Plan says what a guest is to do.
type Plan struct {
	Modules  []string `json:"modules"`  // paths, in the order in which they are loaded
	Features bool     `json:"features"` // what the kernel lacks is said, and done without
	Tests    []Test   `json:"tests"`
	Serve    bool     `json:"serve"`
	Grid     bool     `json:"grid"`   // TCP over lossy paths, beside the kernel's
	Virtio   bool     `json:"virtio"` // eth0 and eth1 are virtio NICs on one hub
}

// A Test is a test binary of a package.
type Test struct {
	Package string   `json:"package"`
	Path    string   `json:"path"`
	Dir     string   `json:"dir"` // where it runs, with the files that it reads
	Args    []string `json:"args"`
	Seconds int      `json:"seconds"` // the most it may take
}

// The kinds of an [Event].
const (
	Kernel  = "kernel"  // Value is the release
	Lack    = "lack"    // of the feature of Name; Value is the kernel's reason
	Feature = "feature" // of an interface: Name is it, Value says what there is or why not
	Check   = "check"   // of Name
	Figure  = "figure"  // Name and Value of something measured
	End     = "end"     // everything was done
)

// An Event is a line from the guest.
type Event struct {
	Kind    string `json:"kind"`
	Name    string `json:"name,omitempty"`
	Value   string `json:"value,omitempty"`
	Passed  int    `json:"passed,omitempty"`
	Failed  int    `json:"failed,omitempty"`
	Skipped int    `json:"skipped,omitempty"`
	Detail  string `json:"detail,omitempty"` // of a failure, its last lines
	When    string `json:"when,omitempty"`   // the day and the commit; the host's
}
