package update

import "github.com/lockstep-go/lockstep/internal/engine"

// A Lookahead is what SetLookahead takes.
type Lookahead struct {
	Period int64   // of steps between synchronizations, k in the paper; 0 for none
	Step   float64 // how far the slow parameters go, α in the paper: above 0, at most 1
}

// SetLookahead has slow parameters follow those that steps move, the fast ones, which every
// Period steps begin anew from there (Zhang, Lucas, Hinton, Ba 2019):
//
//	s ← s + Step·(p - s)
//	p ← s
//
// It is optax.lookahead with its sync_period and slow_step_size, and without reset_state:
// the rule's own state goes on. The slow parameters begin as the parameters before the first
// step. They are those to evaluate: after a step whose number is a multiple of Period both
// are the same. Every tensor is synchronized, also one without a gradient. An average takes
// the parameters as they are then.
//
// A buffer of each tensor, SlowName, has the slow parameters: see Buffer, Export. Memory is
// crossed with that of the step, and only where Period divides its number is there more of
// it. What has begun goes on with other numbers; the zero Lookahead gives it up.
func (o *Optimizer) SetLookahead(l Lookahead) error {
	switch {
	case l.Period < 0:
		return &ArgError{"Period", l.Period, "at least 0"}
	case l == Lookahead{}:
	case l.Period == 0:
		return &ArgError{"Period", l.Period, "at least 1, or a zero Lookahead for none"}
	case !(l.Step > 0 && l.Step <= 1 && float32(l.Step) > 0):
		return &ArgError{"Step", l.Step, "above 0 and at most 1"}
	}
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if o.lookahead = l; l.Period == 0 {
		o.engine.SetLookahead(nil)
	} else {
		o.engine.SetLookahead(&engine.Lookahead{Period: l.Period, Weight: l.Step})
	}
	return o.placeStates()
}

// Lookahead is what SetLookahead has set.
func (o *Optimizer) Lookahead() Lookahead { return o.lookahead }
