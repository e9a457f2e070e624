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

// JoinBF16 makes float32 of what SplitBF16 makes of them: the BF16 nearest to each, of two the
// larger one, and what that lacks as an integer of 16 bits.
var (
	JoinBF16 = All.Define("JoinBF16", `
	x ← bits(h)·2¹⁶ + bits(r), which have a sign`, func(r *rule.Rule) {
		x, h, rest := r.Buffer("x"), r.BufferOf("h", rule.BF16), r.BufferOf("r", rule.BF16)
		x.Set(r.Join(h, rest))
	})
	SplitBF16 = All.Define("SplitBF16", `
	h ← (bits(x) + 2¹⁵) / 2¹⁶
	r ← bits(x) - h·2¹⁶`, func(r *rule.Rule) {
		h, rest, x := r.BufferOf("h", rule.BF16), r.BufferOf("r", rule.BF16), r.Buffer("x")
		r.Split(h, rest, x)
	})
)
