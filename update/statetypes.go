package update

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// A StateType is how the elements of a state buffer are in memory. Arithmetic is float32 with
// any: a step makes float32 of a block of state, moves it as the rule says, and stores it anew,
// all while it is in the cache.
type StateType uint8

const (
	StateFloat32 StateType = iota

	// StateBF16 is the upper half of a float32, of two neighbours one at random so that the
	// mean is right. To nearest, a mean that moves by less than 1 in 512 of itself, such as v
	// with a Beta2 of .999, would stay where it is. What lies between the largest BF16 and
	// infinity is the former.
	StateBF16

	// StateFloat8 is 8 bits for each element and a float32 for each block of 256 along the
	// tensor, the largest magnitude s among them. An element has a fraction f of 3 bits and an
	// exponent e of 4 beside its sign, or of 5 if it is a square: it is (1 + f/8)·2ᵉ - 1, of
	// squares (1 + f/8)·2ᵉ, in the unit in which the largest of these is s. Of the two
	// of these beside a number one is taken at random so that the mean is right. To nearest,
	// means that move slowly would stay where they are, as with StateBF16.
	//
	// A square is not 0 where another of its block is not, but 2⁻³¹ of that at least: next to a
	// mean of gradients that is not 0, a divisor of no more than Eps would make a step of any size.
	//
	// NaN and infinite elements have the least code and count for no other's s: with the policy
	// Propagate the parameter is what they have made of it, and its state begins anew.
	StateFloat8
)

func (s StateType) String() string {
	if s > StateFloat8 {
		return fmt.Sprintf("StateType(%d)", uint8(s))
	}
	return [...]string{"float32", "bfloat16", "float8"}[s]
}

// A TypedState is a state buffer of another type than float32.
type TypedState struct {
	Type StateType

	BF16 []BF16 // an element each, of StateBF16

	// Codes are an element each, of StateFloat8. The highest bit is the sign, but of squares.
	// What is left of a code c stands for the float32 with the bits (c + 896)·2²⁰, less 2⁻¹⁵, times
	// scale/(1.875 - 2⁻¹⁵); of squares for the one with the bits (c + 768)·2²⁰, times scale/1.875.
	Codes  []uint8
	Scales []float32 // of each block of 256 elements, the last of which may be shorter
}

// SetStateTypes has steps keep state in fewer bits: types has the types of state buffers by
// their names (see Buffers), in all rules that have one of the name, and the others are
// float32. nil is for float32 alone, as at first. What is in the buffers is converted: best
// before the first step.
//
//	o.SetStateTypes(map[string]update.StateType{"m": update.StateFloat8, "v": update.StateFloat8}, seed)
//
// It may be means and sums of gradients or of squares, of a rule that takes a step in one pass
// over elements and makes no parameters of its state: Adam, AMSGrad, Adamax ("m"), NAdam,
// RAdam, LaProp, AdaBelief, Yogi, Adan, AdEMAMix, ADOPT, Momentum, Lion, Signum, AdaGrad,
// Adadelta, RMSprop without Centered, and others like them. Tensors of at most 4096 elements
// stay float32, which saves little of theirs, and take their steps together.
//
// How elements are rounded follows from seed, the number of the tensor, the buffer, the number
// of the tensor's step and that of the element, by a hash of 32 bits for each block and step (see
// fallback.Quantize), which is quick and good enough for this, and no Threefry as that of SetNoise:
// the same bits for any ranges, workers and tables, and again for a step that is taken again from a checkpoint.
// Where several processes have parts of the parameters, each wants a seed of its own.
//
// State that the caller owns (Tensor.State) stays float32, and Buffer has none of another type:
// Export copies it. A range of Apply must begin at a multiple of 1024 and end at one, or with
// the tensor. StepRows, SetAdaptiveClip and SetCentralize look at rows, and are an error with
// such state.
func (o *Optimizer) SetStateTypes(types map[string]StateType, seed uint64) error {
	if err := o.enter(); err != nil {
		return err
	}
	defer o.leave()
	if err := o.betweenSteps(); err != nil {
		return err
	}
	if err := o.checkStateTypes(types); err != nil {
		return err
	}
	o.packState(types, seed)
	o.pairState()
	return o.placeStates()
}

// packState has the engine keep state as types say.
func (o *Optimizer) packState(types map[string]StateType, seed uint64) {
	o.stateTypes, o.stateSeed = maps.Clone(types), seed
	o.engine.SetPacking(seed, func(rule, slot int) engine.Packing {
		if rule >= len(o.groups) || slot >= len(o.groups[rule].slots) { // a plan for matrices, or scratch
			return engine.Unpacked
		}
		return engine.Packing(types[o.groups[rule].slots[slot].Name])
	})
}

// pairState gives the engine the kernels of rules for state of 8 bits, if there is some.
func (o *Optimizer) pairState() {
	for _, s := range o.stateTypes {
		if s == StateFloat8 {
			o.pairing.Do(o.pair)
			return
		}
	}
}

// StateTypes are what SetStateTypes has set: types and seed.
func (o *Optimizer) StateTypes() (types map[string]StateType, seed uint64) {
	return maps.Clone(o.stateTypes), o.stateSeed
}

// StateBytes is how many bytes all state takes, that of SetAverage and SetLookahead too.
func (o *Optimizer) StateBytes() int64 {
	n := int64(0)
	for k := range o.tensors {
		n += int64(o.engine.StateBytes(k))
		for _, b := range o.besides(k) {
			n += 4 * int64(len(b.buffer))
		}
	}
	return n
}

// checkStateTypes refuses types of buffers that must be float32.
func (o *Optimizer) checkStateTypes(types map[string]StateType) error {
	some := false
	for _, name := range slices.Sorted(maps.Keys(types)) {
		s, known := types[name], false
		arg := fmt.Sprintf("types[%q]", name)
		if s > StateFloat8 {
			return &ArgError{arg, s, "StateFloat32, StateBF16 or StateFloat8"}
		}
		some = some || s != StateFloat32
		for k := range o.groups {
			g := &o.groups[k]
			if j := slices.IndexFunc(g.allSlots(), func(s engine.Slot) bool { return s.Name == name }); j < 0 {
				continue
			}
			if known = true; s != StateFloat32 && !o.packs(k, name) {
				return &ArgError{arg, s, fmt.Sprintf("float32 for this buffer of the %s rule", g.rule.Name())}
			}
		}
		if !known {
			return &ArgError{arg, s, fmt.Sprintf("the name of a buffer, one of %q", o.slotNames())}
		}
	}
	if !some {
		return nil
	}
	if o.looksAtRows() {
		return &ArgError{"types", types, "float32 with SetAdaptiveClip or SetCentralize"}
	}
	return o.checkOwnState(types)
}

// checkOwnState refuses other types of buffers that are the caller's.
func (o *Optimizer) checkOwnState(types map[string]StateType) error {
	for k := range o.tensors {
		for _, slot := range o.slotsOf(&o.tensors[k]) {
			if s := types[slot.Name]; s != StateFloat32 && o.sizes[k] > tune.SmallLen && o.engine.Owned(k) {
				return &ArgError{fmt.Sprintf("types[%q]", slot.Name), s, fmt.Sprintf("float32: tensors[%d].State%s is the caller's", k, quoted(o.tensors[k].name))}
			}
		}
	}
	return nil
}

// allSlots are those of vectors and of matrices.
func (g *group) allSlots() []engine.Slot { return append(slices.Clone(g.slots), g.factored.slots...) }

// slotNames are those of all rules.
func (o *Optimizer) slotNames() []string {
	var list []string
	for k := range o.groups {
		list = append(list, names(o.groups[k].allSlots())...)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// packs reports whether a buffer of a rule may have fewer bits.
func (o *Optimizer) packs(rule int, name string) bool {
	g := &o.groups[rule]
	if g.factored.slots != nil || !o.engine.TakesPacking(rule) || wantsWhole(g.rule, name) {
		return false
	}
	return slices.ContainsFunc(g.slots, func(s engine.Slot) bool {
		return s.Name == name && s.Extent == engine.PerElement && !s.BeginsAsParams()
	})
}

// wantsWhole reports whether what is lost of a buffer does not fade, since parameters are made
// of it or its signs are looked at, or shows as a difference of what is nearly equal. Adamax' u
// is a divisor that is no square, as which it would stay above 0.
func wantsWhole(r Rule, name string) bool {
	switch r := r.(type) {
	case FTRL, AdaGradDA, MADGRAD, Rprop, ASGD:
		return true
	case RMSprop:
		return r.Centered
	case Adamax:
		return name == "u"
	}
	return false
}

// looksAtRows reports whether clipping is by rows.
func (o *Optimizer) looksAtRows() bool { return o.centralizes || !math.IsInf(o.adaptive, 1) }

// packsState reports whether some buffers have fewer bits.
func (o *Optimizer) packsState() bool {
	for k := range o.tensors {
		if o.engine.Packs(k) {
			return true
		}
	}
	return false
}

// checkWholeBlocks refuses a range that cuts a block of state.
func (o *Optimizer) checkWholeBlocks(tensor, offset, n int) error {
	if !o.engine.Packs(tensor) {
		return nil
	}
	if offset%tune.PackLen != 0 {
		return &ArgError{"offset", offset, fmt.Sprintf("a multiple of %d, of state that is not float32", tune.PackLen)}
	}
	if size := o.sizes[tensor]; n%tune.PackLen != 0 && offset+n != size {
		return &ArgError{"len(params)", n, fmt.Sprintf("a multiple of %d, or up to the tensor's end at %d, of state that is not float32", tune.PackLen, size)}
	}
	return nil
}

// typedState is a copy of a buffer that is not float32.
func (o *Optimizer) typedState(tensor, slot int) TypedState {
	s := TypedState{Type: StateType(o.engine.Packing(tensor, slot))}
	if s.Type == StateBF16 {
		s.BF16 = o.engine.Halves(tensor, slot)
	} else {
		s.Codes, s.Scales = o.engine.Codes(tensor, slot)
	}
	return s
}

// loadTyped copies one into the optimizer.
func (o *Optimizer) loadTyped(tensor, slot int, s TypedState) {
	if s.Type == StateBF16 {
		o.engine.LoadHalves(tensor, slot, s.BF16)
	} else {
		o.engine.LoadCodes(tensor, slot, s.Codes, s.Scales)
	}
}

// checkTyped refuses exported state of another type or length than the optimizer's, or that no
// step can have left. name is that of a float32 buffer.
func (o *Optimizer) checkTyped(tensor, slot int, from TensorState, name, typed string) error {
	of := &o.slotsOf(&o.tensors[tensor])[slot]
	want, n := StateType(o.engine.Packing(tensor, slot)), o.sizes[tensor]
	s, ok := from.Typed[of.Name]
	if _, both := from.Buffers[of.Name]; both && ok {
		return &ArgError{typed, s.Type, "absent, or without " + name}
	}
	if s.Type != want || ok != (want != StateFloat32) {
		return &ArgError{typed + ".Type", s.Type, fmt.Sprintf("%v, the type that SetStateTypes has set", want)}
	}
	switch blocks := (n + tune.ScaleLen - 1) / tune.ScaleLen; {
	case want == StateBF16 && len(s.BF16) != n:
		return &ArgError{"len(" + typed + ".BF16)", len(s.BF16), fmt.Sprint(n)}
	case want == StateFloat8 && len(s.Codes) != n:
		return &ArgError{"len(" + typed + ".Codes)", len(s.Codes), fmt.Sprint(n)}
	case want == StateFloat8 && len(s.Scales) != blocks:
		return &ArgError{"len(" + typed + ".Scales)", len(s.Scales), fmt.Sprint(blocks)}
	}
	one := []float32{0}
	for i, h := range s.BF16 {
		if one[0] = h.Float32(); checkSlot(*of, "", one) != nil {
			return checkSlot(*of, fmt.Sprintf("%s.BF16[%d:]", typed, i), one)
		}
	}
	return checkSlot(engine.Slot{Square: true}, typed+".Scales", s.Scales)
}
