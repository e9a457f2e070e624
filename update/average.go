package update

import (
	"fmt"

	"github.com/lockstep-go/lockstep/internal/engine"
)

// AverageName and SlowName are the names of buffers beside a rule's state, for Buffer and in
// exported state: of SetAverage and SetLookahead.
const (
	AverageName = "params_average"
	SlowName    = "params_slow"
)

// An Averaging says how a running average of the parameters is kept, beside them and in the
// same pass over memory:
//
//	a ← a + (1 - d)·(p - a)
//
// where d is Decay, unless one of the other fields has it be less. The first average is a
// copy of the parameters. Begin with TorchEMA, TorchSWA, KerasEMA, OptaxEMA or TensorFlowEMA,
// and change what differs.
type Averaging struct {
	// Every is how many steps lie between averages; 0 keeps none. After is how many steps
	// come before: averages are taken after the steps After + Every, After + 2·Every, ...
	Every, After int64

	// Decay is what an average leaves of the one before, from 0 to 1.
	Decay float64

	// Equal gives all parameters the same weight: d = n/(n+1) after n averages. It is
	// stochastic weight averaging (Izmailov et al. 2018). Decay must be 0.
	Equal bool

	// BiasCorrected has the average be what one that begins at 0 is once it is divided by
	// 1 - Decayⁿ, as Adam corrects its means: d = Decay·(1 - Decayⁿ)/(1 - Decayⁿ⁺¹).
	BiasCorrected bool

	// WarmUp has d be at most (1+n)/(10+n) after n averages, as in TensorFlow with
	// num_updates.
	WarmUp bool

	// FromStart has the average begin as the parameters before the first step behind After,
	// which count as the first average.
	FromStart bool

	// Overwrite is how many steps lie between those after which the parameters become
	// the average, as Keras' ema_overwrite_frequency; 0 is for never.
	Overwrite int64
}

// TorchEMA is torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn(decay) whose
// update_parameters follows every step; PyTorch's decay is .999.
func TorchEMA(decay float64) Averaging { return Averaging{Every: 1, Decay: decay} }

// TorchSWA is AveragedModel with get_swa_multi_avg_fn, whose update_parameters follows every
// step but the first after.
func TorchSWA(after int64) Averaging { return Averaging{Every: 1, After: after, Equal: true} }

// KerasEMA is use_ema=True of Keras' optimizers: ema_momentum (Decay) .99, and without
// ema_overwrite_frequency (Overwrite).
func KerasEMA() Averaging { return Averaging{Every: 1, Decay: .99} }

// OptaxEMA is optax.ema of the parameters, with debias=True.
func OptaxEMA(decay float64) Averaging {
	return Averaging{Every: 1, Decay: decay, BiasCorrected: true}
}

// TensorFlowEMA is tf.train.ExponentialMovingAverage, which begins as the parameters at first.
// With num_updates, the number of steps, it is WarmUp.
func TensorFlowEMA(decay float64) Averaging {
	return Averaging{Every: 1, Decay: decay, FromStart: true}
}

func (a *Averaging) check() error {
	switch {
	case a.Every < 0:
		return &ArgError{"Every", a.Every, "at least 0"}
	case a.Every == 0 && *a != Averaging{}:
		return &ArgError{"Every", a.Every, "at least 1, or a zero Averaging for no average"}
	case a.After < 0:
		return &ArgError{"After", a.After, "at least 0"}
	case a.Overwrite < 0:
		return &ArgError{"Overwrite", a.Overwrite, "at least 0"}
	case !(a.Decay >= 0 && a.Decay <= 1):
		return &ArgError{"Decay", a.Decay, "from 0 to 1"}
	case a.Equal && (a.Decay != 0 || a.BiasCorrected || a.WarmUp):
		return &ArgError{"Equal", true, "false with a Decay, BiasCorrected or WarmUp"}
	case a.BiasCorrected && !(a.Decay < 1):
		return &ArgError{"Decay", a.Decay, "below 1 with BiasCorrected"}
	case a.BiasCorrected && a.WarmUp:
		return &ArgError{"BiasCorrected", true, "false with WarmUp"}
	}
	return nil
}

// An averager has the decay of each average.
type averager struct {
	Averaging
	powers power // of Decay
}

// decay is d after n averages, at least 1.
func (a *averager) decay(n int64) float64 {
	x := float64(n)
	switch {
	case a.Equal:
		return x / (x + 1)
	case a.BiasCorrected:
		before := a.powers.oneMinus(n)
		return a.Decay * (before / a.powers.oneMinus(n+1))
	case a.WarmUp:
		return min(a.Decay, (1+x)/(10+x))
	}
	return a.Decay
}

// SetAverage has each step keep an average of the parameters, of all tensors and also of
// those without a gradient, whose memory is crossed with that of the step. Steps that are
// skipped are no steps. An average that is kept already goes on, its number too, with what
// has changed; the zero Averaging gives it up.
//
// A buffer of each tensor, AverageName, has the average: see Buffer, SwapAverage, Export. It
// is there once there is an average.
//
// Small numbers of an average become 0 where the parameter is 0, as in Options, unless
// KeepSubnormals says otherwise.
func (o *Optimizer) SetAverage(a Averaging) error {
	if err := a.check(); err != nil {
		return err
	}
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if o.swapped {
		return o.notNow()
	}
	if o.average = a; a.Every == 0 {
		o.engine.SetAveraging(nil)
	} else {
		of := &averager{a, newPower(a.Decay)}
		o.engine.SetAveraging(&engine.Averaging{After: a.After, Every: a.Every, Overwrite: a.Overwrite, FromStart: a.FromStart, Decay: of.decay})
	}
	return o.placeStates()
}

// Average is what SetAverage has set.
func (o *Optimizer) Average() Averaging { return o.average }

// Averages is how many averages have been taken since there is one, n above.
func (o *Optimizer) Averages() int64 { return o.engine.Averages() }

// SwapAverage exchanges the parameters with their averages, all params[k] being those of the
// k-th tensor: for an evaluation, after which the same call exchanges them again. Between the
// two steps and Export are errors.
func (o *Optimizer) SwapAverage(params [][]float32) error {
	if err := o.enterSwapped(); err != nil {
		return err
	}
	defer o.leave()
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if o.Averages() == 0 {
		return &ArgError{"the number of averages", 0, "at least 1: see SetAverage"}
	}
	if err := o.checkParams(params); err != nil {
		return err
	}
	o.torn = true
	o.engine.SwapAverage(params)
	o.swapped, o.torn = !o.swapped, false
	return nil
}

// placeStates notes where all state is.
func (o *Optimizer) placeStates() (err error) {
	if o.states, err = disjoint(o.stateIntervals()); err != nil {
		return err
	}
	o.split.owned = nil
	o.owned = make([]interval, 0, len(o.tensors)+len(o.states))
	o.blocks = make([]block, 0, cap(o.owned))
	return nil
}

// A beside is a buffer of a tensor beside its rule's state, and whether it has begun.
type beside struct {
	name   string
	buffer []float32
	begun  bool
}

// besides are those of a tensor.
func (o *Optimizer) besides(tensor int) []beside {
	var list []beside
	if o.average.Every > 0 {
		list = append(list, beside{AverageName, o.engine.Average(tensor), o.Averages() > 0})
	}
	if o.lookahead.Period > 0 {
		list = append(list, beside{SlowName, o.engine.Slow(tensor), o.engine.SlowHas()})
	}
	return list
}

// checkBesides refuses state beside the rules' that this optimizer does not keep, or that some
// tensors have and others have not.
func (o *Optimizer) checkBesides(s State) error {
	if s.Averages < 0 {
		return &ArgError{"Averages", s.Averages, "at least 0"}
	}
	for _, x := range []struct {
		name  string
		keeps bool
	}{{AverageName, o.average.Every > 0}, {SlowName, o.lookahead.Period > 0}} {
		for k, t := range s.Tensors {
			b, has := t.Buffers[x.name]
			name := fmt.Sprintf("Tensors[%d].Buffers[%q]", k, x.name)
			_, first := s.Tensors[0].Buffers[x.name]
			switch {
			case has && !x.keeps:
				return &ArgError{name, "there", "none: the optimizer keeps no " + x.name}
			case has != first:
				return &ArgError{name, "of some tensors", "of all or none"}
			case x.name == AverageName && has != (s.Averages > 0):
				return &ArgError{"Averages", s.Averages, "above 0 with averages, and 0 without"}
			case has && len(b) != o.sizes[k]:
				return &ArgError{"len(" + name + ")", len(b), fmt.Sprint(o.sizes[k])}
			}
			if err := checkSlot(engine.Slot{}, name, b); err != nil {
				return err
			}
		}
	}
	return nil
}

// loadBesides copies what checkBesides lets through.
func (o *Optimizer) loadBesides(s State) {
	var lists [2][][]float32
	slowHas := false
	for _, t := range s.Tensors {
		slow, has := t.Buffers[SlowName]
		slowHas = has
		lists[0], lists[1] = append(lists[0], t.Buffers[AverageName]), append(lists[1], slow)
	}
	o.engine.LoadBeside(lists[0], s.Averages, lists[1], slowHas)
}
