package main

import (
	"slices"
	"testing"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T) *model {
	t.Helper()
	m, err := newModel()
	must(t, err)
	return m
}

// TestLearns comes near to the noise, on ratings that it has not seen.
func TestLearns(t *testing.T) {
	list := generate(60_000 + held)
	m := begin(t)
	before := m.deviation(list[60_000:])
	for range 10 {
		must(t, m.learn(list[:60_000]))
	}
	if after := m.deviation(list[60_000:]); before < .9 || after > .25 {
		t.Errorf("the error goes from %.3f to %.3f", before, after)
	}
	if want := int64(10 * ((60_000 + batch - 1) / batch)); m.users.optimizer.Steps() != want || m.items.optimizer.Steps() != want {
		t.Errorf("%d and %d steps, want %d", m.users.optimizer.Steps(), m.items.optimizer.Steps(), want)
	}
}

// TestRows moves the rows of a batch, a short one after a whole one, and leaves all others as
// they are.
func TestRows(t *testing.T) {
	m := begin(t)
	list := generate(batch + batch/2)
	must(t, m.step(list[:batch]))
	list = list[batch:]
	u, v := slices.Clone(m.users.params), slices.Clone(m.items.params)
	must(t, m.step(list))
	for k := range int32(users) {
		in := slices.ContainsFunc(list, func(r rating) bool { return r.user == k })
		if moves := !slices.Equal(row(m.users.params, k), row(u, k)); moves != in {
			t.Errorf("user %d is in the batch: %v; has moved: %v", k, in, moves)
		}
	}
	for k := range int32(items) {
		in := slices.ContainsFunc(list, func(r rating) bool { return r.item == k })
		if moves := !slices.Equal(row(m.items.params, k), row(v, k)); moves != in {
			t.Errorf("item %d is in the batch: %v; has moved: %v", k, in, moves)
		}
	}
	names, err := m.users.optimizer.Buffers(0)
	must(t, err)
	state, err := m.users.optimizer.Buffer(0, names[0])
	must(t, err)
	if len(names) != 1 || len(state) != users {
		t.Errorf("the state of users is %v, of %d numbers", names, len(state))
	}
}

// TestTwice has two users who are alike think the opposite of an item: its gradient is 0.
func TestTwice(t *testing.T) {
	m := begin(t)
	copy(row(m.users.params, 1), row(m.users.params, 0))
	clear(row(m.items.params, 7))
	must(t, m.step([]rating{{0, 7, 1}, {1, 7, -1}}))
	if v := row(m.items.params, 7); slices.Max(v) != 0 || slices.Min(v) != 0 {
		t.Errorf("the item goes to %v", v)
	}
	must(t, m.step([]rating{{0, 7, 1}, {1, 7, 1}}))
	if v, u := row(m.items.params, 7), row(m.users.params, 0); dot(u, v) <= 0 {
		t.Errorf("the item goes to %v, whose product with %v is not positive", v, u)
	}
}

// TestRefused asks for too little.
func TestRefused(t *testing.T) {
	if run(batch-1, 1) == nil || run(batch, 0) == nil {
		t.Error("it ran")
	}
	must(t, run(batch, 1))
}
