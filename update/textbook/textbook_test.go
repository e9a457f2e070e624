package textbook

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestFormulas takes two steps by hand, from 1 with gradients 1 and -2 and a rate of .1.
func TestFormulas(t *testing.T) {
	root := math.Sqrt((.999*.001 + .001*4) / (1 - .999*.999))
	for name, c := range map[string]struct {
		rule update.Rule
		want float64
	}{
		"SGD":      {SGD(.1), 1 - .1 + .2},
		"Momentum": {Momentum(.1, .5), 1 - .1 - (.5*.1 - .2)},
		"AdaGrad":  {AdaGrad(.1), 1 - .1 + .1*2/math.Sqrt(5)},
		"Adam":     {Adam(.1), 1 - .1 - .1*(.9*.1-.1*2)/(1-.81)/root},
	} {
		o, err := update.New(1, c.rule)
		if err != nil {
			t.Fatal(err)
		}
		p := []float32{1}
		for _, g := range []float32{1, -2} {
			if err := o.Step(p, []float32{g}); err != nil {
				t.Fatal(err)
			}
		}
		if math.Abs(float64(p[0])-c.want) > 1e-6 {
			t.Errorf("%s goes to %g, want %g", name, p[0], c.want)
		}
	}
}
