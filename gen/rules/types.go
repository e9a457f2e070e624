package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// WidenBF16 and WidenF16 make float32 of shorter numbers, NarrowBF16 and NarrowF16 these of
// float32.
var (
	WidenBF16  = All.Define("WidenBF16", widens, widen(rule.BF16))
	WidenF16   = All.Define("WidenF16", widens, widen(rule.F16))
	NarrowBF16 = All.Define("NarrowBF16", narrows, narrow(rule.BF16))
	NarrowF16  = All.Define("NarrowF16", narrows, narrow(rule.F16))
)

const (
	widens = `
	x ← h`
	narrows = `
	h ← x, rounded to nearest even`
)

func widen(t rule.Type) func(r *rule.Rule) {
	return func(r *rule.Rule) {
		x, h := r.Buffer("x"), r.BufferOf("h", t)
		x.Set(h)
	}
}

func narrow(t rule.Type) func(r *rule.Rule) {
	return func(r *rule.Rule) {
		h, x := r.BufferOf("h", t), r.Buffer("x")
		h.Set(x)
	}
}
