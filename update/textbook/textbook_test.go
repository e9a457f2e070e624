package textbook

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestFormulas takes two steps by hand, from 1 with gradients 1 and -2 and a rate of .1.
func TestFormulas(t *testing.T) {
	root := math.Sqrt((.999*.001 + .001*4) / (1 - .999*.999))
	adan := math.Sqrt((.99*.01 + .01*4.76*4.76) / (1 - .99*.99))
	stable := math.Sqrt((.99*.01 + .01*4) / (1 - .99*.99))
	for name, c := range map[string]struct {
		rule update.Rule
		want float64
	}{
		"SGD":            {SGD(.1), 1 - .1 + .2},
		"Momentum":       {Momentum(.1, .5), 1 - .1 - (.5*.1 - .2)},
		"AdaGrad":        {AdaGrad(.1), 1 - .1 + .1*2/math.Sqrt(5)},
		"Adan":           {Adan(.1), 1 - .1 - .1*((.98*.02-.02*2)/(1-.98*.98)-.92*.08*3/(1-.92*.92))/adan},
		"LARS":           {LARS(100, .5), .9 - .09 - .1*.9/(2+.5*.9)*(.5*.9-2)},
		"NovoGrad":       {NovoGrad(.1), .9 - .1*(.95-2/math.Sqrt(.98+.02*4))},
		"StableAdamW":    {StableAdamW(.1), .88 - .1/(2/stable)*(-.11/.19/stable+.2*.88)},
		"Adam":           {Adam(.1), 1 - .1 - .1*(.9*.1-.1*2)/(1-.81)/root},
		"LaProp":         {LaProp(.1), 1 - .1 - .1*(.9*.1-.1*2/root)/(1-.81)},
		"CautiousAdamW":  {CautiousAdamW(.1), 1 - .1 - .1*(.9*.1-.1*2)/(1-.81)/root},
		"CautiousLion":   {CautiousLion(.1), 1 - .1 + .1},
		"RowwiseAdaGrad": {RowwiseAdaGrad(.1), 1 - .1 + .1*2/math.Sqrt(5)},
		"RowwiseAdam":    {RowwiseAdam(.1), 1 - .1 - .1*(.9*.1-.1*2)/(1-.81)/root},
		"RowwiseLAMB":    {RowwiseLAMB(.1), .9 + .1*.9}, // by a tenth of its size
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
