package socketapi

import (
	commandline "flag"
	"os"
	"testing"
)

// testsAtOnce is how many tests run beside each other, if -parallel does not say it. Each of those that call t.Parallel has namespaces and hosts of its
// own and waits most of its time for the timer of a protocol, so that they may be many more than the processors.
const testsAtOnce = "12"

func TestMain(m *testing.M) {
	if os.Getenv(ownerEnv) != "" {
		ownSignals()
		return
	}
	commandline.Parse()
	said := false
	commandline.Visit(func(f *commandline.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		commandline.Set("test.parallel", testsAtOnce)
	}
	os.Exit(m.Run())
}
