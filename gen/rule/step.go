package rule

// A Step is the rule of a kernel that moves parameters. It says once what all of them
// share: the gradient that comes in, scaled, with the penalty's and without numbers
// that are too small to count, and the parameter that goes out.
//
//	x = drop(g·scale + p·l2, drop)
//	p ← p - (u + p·decay)
type Step struct {
	*Rule
	p                             Value
	scale, l2, decay, drop, first Value
	still                         bool // usually parameters do not decay
	shape                         Shape
	gradients                     Type
	set                           func(p Value) // stores the parameter
}

// CommonScalars are the scalars that every step has first: Common in package fallback.
var CommonScalars = []string{"scale", "l2", "decay", "drop", "first"}

// Step defines the rule of a step, whose first buffer is p.
func (s *Set) Step(name, doc string, build func(s *Step)) *Rule {
	return s.StepOf(name, doc, F32, build)
}

// StepOf is Step with gradients of a type.
func (s *Set) StepOf(name, doc string, gradients Type, build func(s *Step)) *Rule {
	return s.Define(name, doc, func(r *Rule) {
		p := r.Buffer("p")
		r.step(&Step{p: p, set: p.Set}, gradients, build)
	})
}

// StepRows is StepOf on the rows of matrices, which are blocks of longer ones.
func (s *Set) StepRows(name, doc string, gradients Type, build func(s *Step)) *Rule {
	return s.Define(name, doc, func(r *Rule) {
		r.Fetches = true
		p := r.Matrix("p")
		r.step(&Step{p: p, shape: Matrix, set: p.Set}, gradients, build)
	})
}

// StepSplit is StepOf of a parameter in two halves, h and r, which Join joins and Split splits, but for
// NaN: what h lacks of one is 0, since tables may have different ones.
func (s *Set) StepSplit(name, doc string, gradients Type, build func(s *Step)) *Rule {
	return s.Define(name, doc, func(r *Rule) {
		h, rest := r.BufferOf("h", BF16), r.BufferOf("r", BF16)
		r.step(&Step{p: r.Join(h, rest), set: func(p Value) {
			number, up := p.Equal(p), p.AddInt(r.Bits(1<<15))
			h.SetUpper(number.Select(up, p))
			rest.SetUpper(number.Select(r.rest(p, up), r.Bits(0)))
		}}, gradients, build)
	})
}

// step builds one.
func (r *Rule) step(step *Step, gradients Type, build func(s *Step)) {
	step.Rule, step.gradients = r, gradients
	for k, v := range []*Value{&step.scale, &step.l2, &step.decay, &step.drop, &step.first} {
		*v = r.Scalar(CommonScalars[k])
	}
	build(step)
}

// Join is the float32 of a BF16 and of what that lacks, an integer of 16 bits.
func (r *Rule) Join(h, rest Value) Value { return h.AddInt(rest.ShiftArith(16)) }

// Split stores the BF16 nearest to x, of two the larger one, and what that lacks.
func (r *Rule) Split(h, rest, x Value) {
	up := x.AddInt(r.Bits(1 << 15))
	h.SetUpper(up)
	rest.SetUpper(r.rest(x, up))
}

// rest is what the upper half of up lacks of x.
func (r *Rule) rest(x, up Value) Value { return x.SubInt(up.And(r.Bits(0xffff0000))).ShiftLeft(16) }

// Param is the parameter before the step.
func (s *Step) Param() Value { return s.p }

// Gradient declares the next buffer, the gradient, and is what a step takes it for.
func (s *Step) Gradient() Value {
	g := s.buffer("g", s.shape, s.gradients)
	first := s.Drop(g, s.first.And(s.drop))
	// What is dropped before it is multiplied by 1 is dropped afterwards too.
	s.Redundant(first, s.scale, 1)
	return s.Drop(s.scaled(first), s.drop)
}

// WholeGradient is Gradient for rules to which the smallest number is as good as the
// largest, such as those that look at signs: none is dropped.
func (s *Step) WholeGradient() Value { return s.scaled(s.BufferOf("g", s.gradients)) }

// scaled is the gradient with its factor and the penalty's.
func (s *Step) scaled(g Value) Value {
	s.Usually(s.scale, IsBits, 1)
	s.Usually(s.l2, IsBits, 0)
	x := g.Mul(s.scale)
	return s.unless0(s.l2, x, x.Add(s.p.Mul(s.l2)))
}

// unless0 is yes, or no if the scalar is 0: a term that is left out must not be added
// as 0, which would make NaN of an infinity and +0 of -0.
func (s *Step) unless0(scalar, no, yes Value) Value {
	return scalar.Equal(s.Const(0)).Select(no, yes)
}

// State declares the next buffer, of the optimizer's state.
func (s *Step) State(name string) Value { return s.Buffer(name) }

// Drop is x, or +0 if its magnitude has no bit outside of the mask.
func (r *Rule) Drop(x, mask Value) Value {
	const all, magnitude = 1<<32 - 1, 1<<31 - 1
	return x.Flush(mask.Xor(r.Bits(all)).And(r.Bits(magnitude)))
}

// Lerp moves m towards x by a part of their distance. The weight is that part, w > 0,
// or up to a half of it the rest with a minus sign: neither end is lost beside the
// other, however much larger that is.
func (s *Step) Lerp(m, x, weight Value) Value {
	s.Usually(weight, IsPositive, 0)
	return s.Rule.Lerp(m, x, weight)
}

// Lerp is Step's for kernels that are no steps, which have one loop for all scalars.
func (r *Rule) Lerp(m, x, weight Value) Value {
	from := r.Const(0).Less(weight).Select(m, x)
	return from.Add(x.Sub(m).Mul(weight))
}

// Square is the square of x·root for a running mean, 0 where that would be subnormal.
func (r *Rule) Square(x, root, mask Value) Value {
	y := r.Drop(x.Mul(root), mask)
	return y.Mul(y)
}

// Still notes that parameters usually do not decay, for rules of so few operations
// that the decay's would show.
func (s *Step) Still() {
	s.still = true
	s.Usually(s.decay, IsBits, 0)
}

// Decay is what decay takes off the parameter.
func (s *Step) Decay() Value { return s.p.Mul(s.decay) }

// Moved is the parameter after a step of u.
func (s *Step) Moved(u Value) Value {
	all := u.Add(s.Decay())
	if s.still {
		all = s.unless0(s.decay, u, all)
	}
	return s.p.Sub(all)
}

// Move takes a step of u.
func (s *Step) Move(u Value) { s.set(s.Moved(u)) }

// MoveAndCopy is Move, and leaves the parameter in the next buffer too, of a type.
func (s *Step) MoveAndCopy(u Value, name string, t Type) {
	s.Move(u)
	s.BufferOf(name, t).Set(s.Moved(u))
}
