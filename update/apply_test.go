package update

import (
	"errors"
	"fmt"
	"testing"
)

// TestBeginComesFirst ends a step in each of the ways there are. What loads the
// number of a step begins none.
func TestBeginComesFirst(t *testing.T) {
	p, g := []float32{1}, []float32{1}
	for name, end := range map[string]func(o *Optimizer) error{
		"New":      func(*Optimizer) error { return nil },
		"Step":     func(o *Optimizer) error { return o.Step(p, g) },
		"Step two": func(o *Optimizer) error { return errors.Join(o.Step(p, g), o.Step(p, g)) },
		"SetSteps": func(o *Optimizer) error { return o.SetSteps(5) },
		"Import": func(o *Optimizer) error {
			s := exported(o)
			s.Steps = 5
			return errors.Join(o.Begin(), o.Import(s))
		},
	} {
		o := mustNew(t, 1, rules["sgd"])
		must(t, end(o))
		before := p[0]
		wantArg(t, o.Apply(0, 0, p, g), "step", fmt.Sprint(o.Steps()))
		if p[0] != before {
			t.Errorf("Apply after %s has written %g", name, p[0])
		}
		must(t, o.Begin())
		must(t, o.Apply(0, 0, p, g))
	}
}
