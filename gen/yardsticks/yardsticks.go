// Package yardsticks holds rules that no one computes with: each has the loads
// and the stores of some kernels and next to no arithmetic, so that its speed is
// what memory and caches allow them.
package yardsticks

import "github.com/lockstep-go/lockstep/gen/rule"

// All is every yardstick.
var All rule.Set

// update defines the pattern of an optimizer: buffers that are read and written
// in place, and a gradient that is read. Called twice it leaves all as it was.
func update(name string, inPlace ...string) {
	All.Define(name, func(r *rule.Rule) {
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
	All.Define("Flip", func(r *rule.Rule) {
		p := r.Buffer("p")
		p.Set(p.Xor(r.Bits(1 << 31)))
	})

	// One buffer to another.
	All.Define("Copy", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Buffer("x")
		y.Set(x)
	})

	// Two buffers to a third, and to two others.
	All.Define("Join", func(r *rule.Rule) {
		z, x, y := r.Buffer("z"), r.Buffer("x"), r.Buffer("y")
		z.Set(x.Xor(y))
	})
	All.Define("JoinTwo", func(r *rule.Rule) {
		z, each, x, y := r.Buffer("z"), r.Buffer("each"), r.Buffer("x"), r.Buffer("y")
		z.Set(x.Xor(y))
		each.Set(x)
	})

	// A matrix that is read, into one row, which stays in the L1 cache.
	All.Define("Read", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Matrix("x")
		_ = r.PerRow("rows") // its length is the number of rows
		y.Set(x)
	})

	// The same, with the row in place.
	All.Define("Rows", func(r *rule.Rule) {
		y, x := r.Buffer("y"), r.Matrix("x")
		_ = r.PerRow("rows")
		y.Set(y.Xor(x))
	})
}
