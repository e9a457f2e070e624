// Package yardsticks holds rules that no one computes with. Most have the loads and
// the stores of some kernels and next to no arithmetic, so that their speed is what
// memory and caches allow them; Adam and AdaGrad are the formulas with the divider's
// roots and quotients, and small numbers as they are.
package yardsticks

import (
	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
)

// All is every yardstick.
var All rule.Set

// update defines the pattern of an optimizer: buffers that are read and written
// in place, and a gradient that is read. Called twice it leaves all as it was.
func update(name string, inPlace ...string) {
	All.Define(name, "", func(r *rule.Rule) {
		buffers := []rule.Value{r.Buffer(inPlace[0])}
		g := r.Buffer("g")
		for _, b := range inPlace[1:] {
			buffers = append(buffers, r.Buffer(b))
		}
		for _, b := range buffers {
			b.Set(b.Xor(g))
		}
	})
}

func init() {
	update("Update1", "p")
	update("Update2", "p", "m")
	update("Update3", "p", "m", "v")
	update("Update4", "p", "m", "v", "h")

	// One buffer in place.
	All.Define("Flip", "", func(r *rule.Rule) {
		p := r.Buffer("p")
		p.Set(p.Xor(r.Bits(1 << 31)))
	})

	// One buffer to another.
	All.Define("Copy", "", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(x)
	})

	// Two buffers to a third, and to two others.
	All.Define("Join", "", func(r *rule.Rule) {
		z, x, y := r.Buffer("z"), r.Buffer("x"), r.Buffer("y")
		z.Set(x.Xor(y))
	})
	All.Define("JoinTwo", "", func(r *rule.Rule) {
		z, each, x, y := r.Buffer("z"), r.Buffer("each"), r.Buffer("x"), r.Buffer("y")
		z.Set(x.Xor(y))
		each.Set(x)
	})

	// A matrix that is read, into one row, which stays in the L1 cache.
	All.Define("Read", "", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Matrix("x")
		_ = r.PerRow("rows") // its length is the number of rows
		y.Set(x)
	})

	// The same, with the row in place.
	All.Define("Rows", "", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Matrix("x")
		_ = r.PerRow("rows")
		y.Set(y.Xor(x))
	})

	// The scalars are those of the rules of these names.
	scalars := func(r *rule.Rule, names []string) map[string]rule.Value {
		m := map[string]rule.Value{}
		for _, name := range names {
			m[name] = r.Scalar(name)
		}
		return m
	}
	All.Define("Adam", "", func(r *rule.Rule) {
		p, g, m, v := r.Buffer("p"), r.Buffer("g"), r.Buffer("m"), r.Buffer("v")
		c := scalars(r, rules.Adam.Scalars)
		m1 := m.Add(g.Sub(m).Mul(c["weight1"]))
		y := g.Mul(c["root2"])
		v1 := v.Mul(c["beta2"]).Add(y.Mul(y))
		m.Set(m1)
		v.Set(v1)
		p.Set(p.Sub(m1.Mul(c["step"]).Div(v1.Sqrt().Add(c["eps"])).Add(p.Mul(c["decay"]))))
	})
	All.Define("AdaGrad", "", func(r *rule.Rule) {
		p, g, a := r.Buffer("p"), r.Buffer("g"), r.Buffer("a")
		c := scalars(r, rules.AdaGrad.Scalars)
		a1 := a.Add(g.Mul(g))
		a.Set(a1)
		p.Set(p.Sub(g.Mul(c["step"]).Div(a1.Add(c["epsIn"]).Sqrt().Add(c["eps"])).Add(p.Mul(c["decay"]))))
	})
}
