package update

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

// SetLR sets the learning rate of the first rule from the next step on, and those of the
// others so that they keep the ratio that the rules' options had: what a schedule does.
// If the first one's was 0 all are set alike. A rate that float32 rounds to 0 is 0.
func (o *Optimizer) SetLR(lr float64) error {
	rates := make([]float64, 0, 8)
	for k := range o.groups {
		rate := lr
		if first := o.groups[0].base; first != 0 {
			rate = lr * (o.groups[k].base / first)
		}
		if err := o.groups[k].checkLR(rate); err != nil {
			return err
		}
		rates = append(rates, rate)
	}
	for k := range o.groups {
		o.setLR(k, rates[k])
	}
	return nil
}

// setLR sets a rule's learning rate, for matrices too.
func (o *Optimizer) setLR(rule int, lr float64) {
	o.engine.SetLR(rule, lr)
	if k := o.groups[rule].factored.rule; k > 0 {
		o.engine.SetLR(k, lr)
	}
}

// LR is the learning rate of the first rule.
func (o *Optimizer) LR() float64 {
	if len(o.groups) == 0 {
		return 0
	}
	return o.engine.LR(0)
}

// SetRuleLR sets the learning rate of one rule from the next step on.
func (o *Optimizer) SetRuleLR(rule int, lr float64) error {
	if err := o.checkRule(rule); err != nil {
		return err
	}
	if err := o.groups[rule].checkLR(lr); err != nil {
		return err
	}
	o.setLR(rule, lr)
	return nil
}

// RuleLR is the learning rate of one rule.
func (o *Optimizer) RuleLR(rule int) (float64, error) {
	if err := o.checkRule(rule); err != nil {
		return 0, err
	}
	return o.engine.LR(rule), nil
}

// SetRule changes the options of a rule from the next step on, its learning rate among
// them: decay and penalties that follow a schedule, another Beta. The state stays, and
// so the new rule must be one of the same name. SetLR keeps the ratio of the new LR: leave
// it as it was at first, and let SetLR follow where there is a schedule.
func (o *Optimizer) SetRule(rule int, to Rule) error {
	if err := o.checkRule(rule); err != nil {
		return err
	}
	g := &o.groups[rule]
	if v := reflect.ValueOf(to); !v.IsValid() || v.Kind() == reflect.Pointer {
		return &ArgError{"to", fmt.Sprintf("%T", to), "a rule, not a pointer to one"}
	}
	if to.Name() != g.rule.Name() {
		return &ArgError{"to", to.Name(), "a rule of the name " + g.rule.Name()}
	}
	if err := checkOptions(to); err != nil {
		return err
	}
	if o.begun != nil {
		return &ArgError{"step", o.Steps(), "one that is not begun"}
	}
	if err := o.checkTraining(); err != nil {
		return err
	}
	next, plan := newGroup(to)
	for k, t := range o.tensors {
		if t.group == rule && t.factored != next.factors(t.size, t.columns) {
			return &ArgError{"to", fmt.Sprintf("%+v", to), fmt.Sprintf("a rule that factors the same tensors, of which the %d-th is another", k)}
		}
	}
	factored, factors := factoredPlan(to)
	if factors {
		next.factored = g.factored
		next.factored.slots = factored.Kept()
	}
	for k, t := range o.tensors {
		if t.group == rule && !slices.EqualFunc(o.slotsOf(&t), next.slotsOf(&t), func(a, b engine.Slot) bool { return a.Len(t.shape()) == b.Len(t.shape()) }) {
			return &ArgError{"to", fmt.Sprintf("%+v", to), fmt.Sprintf("a rule whose state of the %d-th tensor is as long as it was", k)}
		}
	}
	*g = next
	o.fusing, o.pairing = sync.Once{}, sync.Once{}
	o.engine.SetRule(rule, plan)
	if factors {
		o.engine.SetRule(g.factored.rule, factored)
	}
	o.pairState()
	return nil
}

// Rules returns the rules, with the options that the next step takes, learning rates
// among them.
func (o *Optimizer) Rules() []Rule {
	list := make([]Rule, len(o.groups))
	for k := range o.groups {
		rule := reflect.New(reflect.TypeOf(o.groups[k].rule)).Elem()
		rule.Set(reflect.ValueOf(o.groups[k].rule))
		rule.FieldByName("LR").SetFloat(o.engine.LR(k))
		list[k] = rule.Interface().(Rule)
	}
	return list
}

func (o *Optimizer) checkRule(rule int) error {
	if rule < 0 || rule >= len(o.groups) {
		return &ArgError{"rule", rule, fmt.Sprintf("the index of one of %d rules", len(o.groups))}
	}
	return nil
}

func (g *group) checkLR(lr float64) error {
	if err := firstError(notNegative("lr", lr), g.rule.options().checkRate("lr", lr)); err != nil {
		return err
	}
	return checkOwnRate(g.rule, "lr", lr)
}

// SetTable sets the table of kernels that steps take from the next one on. It is that of
// kernels.Active at first; the bits are the same with any. A table that kernels.Available
// does not list is an error.
func (o *Optimizer) SetTable(t kernels.Table) error {
	if list := kernels.Available(); !slices.Contains(list, t) {
		return &ArgError{"t", t, fmt.Sprintf("one that can run here, of %v", list)}
	}
	o.engine.SetTable(t)
	return nil
}

// Table is the table of kernels that steps take.
func (o *Optimizer) Table() kernels.Table { return o.engine.Table() }

// SetGradScale sets the factor of all gradients from the next step on, before
// penalties are added: one over a loss scale, a batch size, or the product of
// both. It is 1 at first.
func (o *Optimizer) SetGradScale(scale float64) error {
	if !(scale > 0 && float32(scale) > 0 && scale <= math.MaxFloat32) {
		return &ArgError{"scale", scale, "a finite float32 above 0"}
	}
	o.scale = scale
	return nil
}

// GradScale is the factor of all gradients.
func (o *Optimizer) GradScale() float64 { return o.scale }

// Steps is the number of steps taken, those that were skipped not counted.
func (o *Optimizer) Steps() int64 { return o.engine.Steps() }

// mostSteps can be taken: some rules ask for what the step after has.
const mostSteps = math.MaxInt64 - 1

// SetSteps sets the number of steps taken, by all tensors, as when the caller counts for
// itself. The next step is number steps+1. After 0, state that begins as the parameters, such
// as Prodigy's w₀, begins anew in that step, unless it is the caller's; all other stays.
func (o *Optimizer) SetSteps(steps int64) error {
	if steps < 0 {
		return &ArgError{"steps", steps, "at least 0"}
	}
	if o.begun != nil {
		return &ArgError{"step", o.Steps(), "one that is not begun"}
	}
	o.engine.SetSteps(steps)
	return nil
}
