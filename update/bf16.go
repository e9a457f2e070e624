package update

import "github.com/lockstep-go/lockstep/kernels"

// StepBF16 is StepTyped on parameters of BF16 alone, 2 bytes each, without a master or what they
// lack of one: params[k] are those of the k-th tensor. A step makes float32 of a block, moves it by
// the rule, with all of StepTyped's stages, and rounds it to one of the two BF16 beside it, at random
// so that the mean is right. To nearest, parameters whose steps are less than 1 in 512 of themselves,
// as most are, would stay where they are. At random they go as far on average, each with an error of up
// to 1 in 128 of itself, which a model has to bear. With 2 bytes more StepSplit has none.
//
// How elements are rounded follows from the seed of SetRounding, the number of the tensor, the number
// of the tensor's step and that of the element, as in SetStateTypes: the same bits for any ranges,
// workers and tables, and again for a step that is taken again from a checkpoint. State of the same
// seed is rounded by other numbers. What is between the largest BF16 and infinity is the former.
//
// Rules are those of StepSplit. SetCopies, SetAverage and SetLookahead have the parameters as the step
// makes them, before they are rounded: a copy is of the nearest BF16 or F16, which is not always the
// parameter. Parameters that become slow ones or an average are rounded like any.
func (o *Optimizer) StepBF16(params [][]BF16, grads []Typed) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	o.split.hashes.Do(o.engine.HashPlaces)
	return o.stepHalves("StepBF16", "ApplyBF16", params, nil, grads)
}

// ApplyBF16 is ApplyTyped on parameters of BF16 alone, as StepBF16 has them: of the part of a tensor
// from the offset on.
func (o *Optimizer) ApplyBF16(tensor, offset int, params []BF16, grads Typed) error {
	o.split.hashes.Do(o.engine.HashPlaces)
	return o.applyPart(&portion{tensor: tensor, offset: offset, params: kernels.TypedOf(params), grads: grads})
}

// SetRounding sets the seed by which StepBF16 and ApplyBF16 round parameters, 0 at first. Where
// several processes have parts of the parameters, each wants one of its own.
func (o *Optimizer) SetRounding(seed uint64) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if err := o.betweenSteps(); err != nil {
		return err
	}
	o.rounding = seed
	o.engine.SetRounding(seed)
	return nil
}

// Rounding is what SetRounding has set.
func (o *Optimizer) Rounding() uint64 { return o.rounding }
