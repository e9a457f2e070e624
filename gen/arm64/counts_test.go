package arm64

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/loop"
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
	"github.com/lockstep-go/lockstep/gen/yardsticks"
)

// TestCount has a loop with one instruction of each kind.
func TestCount(t *testing.T) {
	const text = `
	FLDPQ.P 64(R6), (F0, F1)
	FLDPQ -32(R6), (F0, F1)
	FMOVQ 16(R4), F2
	FMOVS 4(R3), F3
	VDUP V3.S[0], V3.S4
	VFCVTL2(v0, v1)
	VFSQRT(v1, v1)
	VFDIV(v1, v2, v1)
	VFNEG(v30, v31)
	FSTPQ (F0, F1), -64(R6)
	FMOVD F2, 0(R2)
	SUBS $16, R0, R0
	BGE rows2main
`
	want := Count{
		Loads: 4, Stores: 2, Loaded: 6, Stored: 3, Steps: 1,
		Float: 3, Divides: 1, Roots: 1, Widenings: 1, Vector: 2, Scalar: 2,
	}
	for _, n := range want.fields() {
		*n /= 2
	}
	want.Side, want.Elements = 2, 16
	if got := count(text, loop.Loop{Rows: 2, Elements: 16}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got := want.Total(); got != 13./2 {
		t.Errorf("%g instructions, want 6.5", got)
	}
}

// TestBound holds every kernel to its bound: all to the arithmetic, and those
// that need no memory for sums or constants to the rest as well.
func TestBound(t *testing.T) {
	var loops []mainLoop
	for _, r := range slices.Concat(rules.All.Rules(), yardsticks.All.Rules()) {
		loops = append(loops, loopsOf(r)...)
	}
	if len(loops) <= len(rules.All.Rules())+len(yardsticks.All.Rules()) {
		t.Error("no rule has a loop for scaled gradients")
	}
	for _, l := range loops {
		r, c, least := l.Rule, l.Count, bound(l.Rule)
		c.Steps = 0
		for k, n := range c.fields() {
			if *n < *least.fields()[k] {
				t.Errorf("%s: %+v is below %+v", r.Name, c, least)
				break
			}
		}
		arithmetic := func(c Count) Count {
			return Count{Float: c.Float, Divides: c.Divides, Roots: c.Roots, Widenings: c.Widenings}
		}
		if arithmetic(c) != arithmetic(least) {
			t.Errorf("%s: %+v has not the arithmetic of %+v", r.Name, c, least)
		}
		if r.Long() || r.IsMatrix() {
			continue
		}
		if c.Scalar > 2 {
			t.Errorf("%s: %g instructions count", r.Name, c.Scalar)
		}
		c.Scalar, c.Side, c.Elements = 0, 0, 0
		if c != least {
			t.Errorf("%s: %+v, want %+v", r.Name, c, least)
		}
	}
}

// TestBoundOf is the bound of two rules, counted by hand.
func TestBoundOf(t *testing.T) {
	flush := new(rule.Set).Define("Hand", "", func(r *rule.Rule) {
		x, y, c := r.Buffer("x"), r.Buffer("y"), r.Scalar("c")
		// A product, two for the flush, a maximum of two; what c is alone is free.
		x.Set(x.Mul(y).Flush(c).Max(c.Neg()))
		r.Dot("sum", x, y)
	})
	want := Count{Loads: 4, Loaded: 8, Stores: 2, Stored: 4, Float: 4 + 16 + 8, Widenings: 16, Vector: 16}
	if got := bound(flush); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	// Only the matrix is not shared by the rows.
	if got, want := bound(rules.RankOne), (Count{Loads: 2, Loaded: 4, Float: 8}); got != want {
		t.Errorf("RankOne: %+v, want %+v", got, want)
	}
}

// TestCores takes AdamW apart on N1: 60 operations and 12 stores on 2 units, 4
// quotients and 4 roots of 7 cycles, 16 loads and 12 stores of 2 moves on 2
// units; and a quarter of the roots taken by 16 operations instead of one.
func TestCores(t *testing.T) {
	n1 := cores[slices.IndexFunc(cores, func(k core) bool { return k.name == "Neoverse N1" })]
	c := Count{Float: 52, Vector: 8, Divides: 4, Roots: 4, Loaded: 16, Stored: 12}
	for newton, want := range [][]float64{{36, 56, 0, 20}, {43.5, 49, 0, 20}} {
		for k, u := range n1.units(c, newton) {
			if u.cycles != want[k] {
				t.Errorf("%d of 4 by Newton: %s: %g, want %g", newton, u.name, u.cycles, want[k])
			}
		}
	}
	if u := n1.slowest(c, 0); u.name != "divider" || u.cycles != 56 {
		t.Errorf("%+v is slowest", u)
	}
	// A load, a flush, a product, a sum; what is loaded but not waited for is no part.
	if got := n1.path(rules.SGD.Specialize(rules.SGD.Usual)); got != n1.load+2*logical+n1.multiply+n1.add {
		t.Errorf("SGD takes %g cycles", got)
	}
}

// TestCounts looks at a line of the table, and for all that is not a number.
func TestCounts(t *testing.T) {
	text := string(Counts(rules.All.Rules()))
	for _, want := range []string{
		"\n| SGD | 16 | 4 | 4 | 8 | 2 | 2 | 4 | 8 | 8 | 8 | 8 | 2 | 24 | 22 | 2 |\n",
		"\n| SGD, scaled | 16 | 4 | 4 | 8 | 2 | 2 | 4 | 12 | 12 | 16 | 16 | 2 | 36 | 34 | 2 |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no line %s", want)
		}
	}
	for _, bad := range []string{"| NaN", "| +Inf", "%!", "<no value>"} {
		if strings.Contains(text, bad) {
			t.Errorf("%s in the text", bad)
		}
	}
	if got := show(8. / 3); got != "2.67" || show(math.Pi) != "3.14" || show(20) != "20" {
		t.Errorf("8/3 is shown as %s", got)
	}
}
