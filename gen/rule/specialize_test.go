package rule_test

import (
	"slices"
	"testing"

	. "github.com/lockstep-go/lockstep/gen/rule"
)

// TestSpecializeFactors has a factor of 1 on either side of a product, which leaves the
// other one, and a dividend of 1, which leaves nothing out.
func TestSpecializeFactors(t *testing.T) {
	var c Value
	for name, want := range map[string]map[Op]int{"c·x": {}, "x·c": {}, "c/x": {Div: 1}, "x/c": {Div: 1}, "x+c": {Add: 1}} {
		r := new(Set).Define(name, "", func(r *Rule) {
			x := r.Buffer("x")
			c = r.Scalar("c")
			r.Usually(c, IsBits, 1)
			x.Set(map[string]Value{"c·x": c.Mul(x), "x·c": x.Mul(c), "c/x": c.Div(x), "x/c": x.Div(c), "x+c": x.Add(c)}[name])
		})
		done := counts(r.Specialize(r.Usual))
		for _, op := range []Op{Mul, Div, Add} {
			if done[op] != want[op] {
				t.Errorf("%s with c of 1 has %d of %v, want %d", name, done[op], op, want[op])
			}
		}
	}
}

// TestUsuallyOnce assumes the same twice, which a kernel asks once.
func TestUsuallyOnce(t *testing.T) {
	r := new(Set).Step("Twice", "", func(s *Step) {
		g, m, weight := s.WholeGradient(), s.State("m"), s.Scalar("weight")
		m.Set(s.Lerp(s.Lerp(m, g, weight), g, weight))
		s.Move(m)
	})
	for k, a := range r.Usual {
		if slices.Contains(r.Usual[:k], a) {
			t.Errorf("%+v is assumed twice", a)
		}
	}
	if len(r.Usual) != 3 {
		t.Errorf("the assumptions are %v", r.Usual)
	}
}

// TestScaled are the assumptions but the one on the gradient's factor, and none where
// there is no such one.
func TestScaled(t *testing.T) {
	step := new(Set).Step("Moved", "", func(s *Step) { s.Move(s.WholeGradient()) })
	if got := step.Scaled(); len(step.Usual) != 2 || !slices.Equal(got, step.Usual[1:]) {
		t.Errorf("of %v the scaled ones are %v", step.Usual, got)
	}
	other := new(Set).Define("Other", "", func(r *Rule) {
		x, c := r.Buffer("x"), r.Scalar("c")
		r.Usually(c, IsBits, 1)
		x.Set(x.Mul(c))
	})
	if got := other.Scaled(); got != nil {
		t.Errorf("without the factor there are %v", got)
	}
}

// TestDefinedTwice gives a name to two rules.
func TestDefinedTwice(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("both are taken")
		}
	}()
	var s Set
	for range 2 {
		s.Define("Same", "", func(r *Rule) { r.Buffer("x") })
	}
}

// TestStores is what a kernel stores to: by Set, and where a row is folded.
func TestStores(t *testing.T) {
	r := new(Set).Define("Rows", "", func(r *Rule) {
		z, m, w, q := r.PerRow("z"), r.Matrix("m"), r.Buffer("w"), r.Buffer("q")
		z.SetFold(m.Mul(w))
		q.Set(w)
		r.Sum("sum", m) // into slot 0, which is no buffer's
	})
	for k, want := range []struct{ loads, stores bool }{{false, true}, {true, false}, {true, false}, {false, true}} {
		if r.Loads(k) != want.loads || r.Stores(k) != want.stores {
			t.Errorf("%s: it is loaded: %v, and stored: %v", r.Buffers[k].Name, r.Loads(k), r.Stores(k))
		}
	}
}
