package ring

import "testing"

// counter counts what it is told.
type counter struct {
	events Events
	calls  int
}

func (c *counter) Notify(ev Events) int {
	c.events |= ev
	c.calls++
	return 1
}

func TestGateTellsOnceATurnAndOnlyWhoWatches(t *testing.T) {
	var w Wakes
	var g Gate
	var c counter
	g.Init(&c)
	w.Open(&g, In)
	if n := w.Flush(); n != 0 || c.calls != 0 {
		t.Fatalf("nobody watched, and %d were woken", n)
	}
	g.Watch()
	w.Open(&g, In)
	w.Open(&g, Out)
	w.Open(&g, In)
	if n := w.Flush(); n != 1 || c.calls != 1 || c.events != In|Out {
		t.Fatalf("woke %d by %d calls of %b", n, c.calls, c.events)
	}
	if n := w.Flush(); n != 0 || !w.Empty() {
		t.Fatalf("an old event woke %d more", n)
	}
}

func TestForgottenGateIsToldAndNotTouchedAgain(t *testing.T) {
	var w Wakes
	var gone, other Gate
	var a, b counter
	gone.Init(&a)
	other.Init(&b)
	gone.Watch()
	other.Watch()
	w.Open(&gone, In)
	w.Open(&other, In)
	w.Forget(&gone)
	gone = Gate{} // what a connection's slot does
	if n := w.Flush(); n != 1 || a.calls != 1 || b.calls != 1 {
		t.Fatalf("woke %d; told the one %d times, the other %d times", n, a.calls, b.calls)
	}
	w.Forget(&other) // not on the list: nothing happens
	if b.calls != 1 {
		t.Fatal("told twice of one event")
	}
}
