package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// Adam is Adam, and AdamW where decay is not 0.
var Adam = All.Step("Adam", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - (m·step / (√v + eps) + p·decay)`, func(s *rule.Step) {
	s.Move(adam(s))
})

// AdamBF16 is Adam along gradients of BF16, which leaves a copy of the parameters.
var AdamBF16 = All.StepOf("AdamBF16", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - (m·step / (√v + eps) + p·decay)
	h ← p, rounded to nearest even`, rule.BF16, func(s *rule.Step) {
	s.MoveAndCopy(adam(s), "h", rule.BF16)
})

// AdamGradBF16 is Adam along gradients of BF16.
var AdamGradBF16 = All.StepOf("AdamGradBF16", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	p ← p - (m·step / (√v + eps) + p·decay)`, rule.BF16, func(s *rule.Step) {
	s.Move(adam(s))
})

// AdamSplitBF16 is AdamGradBF16 on parameters in two halves.
var AdamSplitBF16 = All.StepSplit("AdamSplitBF16", `
	p = bits(h)·2¹⁶ + bits(r), which have a sign
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	p = p - (m·step / (√v + eps) + p·decay)
	h ← (bits(p) + 2¹⁵) / 2¹⁶, bits(p) / 2¹⁶ if p is NaN
	r ← bits(p) - h·2¹⁶, 0 if p is NaN`, rule.BF16, func(s *rule.Step) {
	s.Move(adam(s))
})

// AdamStateBF16 is AdamGradBF16 with moments of BF16, which are rounded at random.
var AdamStateBF16 = All.StepOf("AdamStateBF16", `
	m = lerp(m, x, weight1)
	v = v·beta2 + drop(x·root2, small)²
	p ← p - (m·step / (√v + eps) + p·decay)
	u, w = 16 bits of h·factor + add: the upper ones, and those behind 8
	m ← the upper half of the bits of m + u
	v ← the upper half of the bits of v + w`, rule.BF16, func(s *rule.Step) {
	x, m, v := s.Gradient(), s.BufferOf("m", rule.BF16), s.BufferOf("v", rule.BF16)
	m1, v1 := movedMoments(s, x, m, v)
	u := adamStep(s, m1, v1)
	h := randoms(s.Rule)(s.Buffer("h"))
	s.Move(u)
	m.SetUpper(drawn(s.Rule, m1, h.ShiftRight(16)))
	v.SetUpper(drawn(s.Rule, v1, h.ShiftRight(8).And(s.Bits(1<<16-1))))
})

// AdamStateFloat8 is Adam on the four parts of a block, whose moments come in words of four codes
// and are left as float32, to be packed once their largest magnitudes are known, and
// AdamGradBF16StateFloat8 is that along gradients of BF16.
var (
	AdamStateFloat8         = All.StepRows("AdamStateFloat8", adamFloat8Doc, rule.F32, adamFloat8)
	AdamGradBF16StateFloat8 = All.StepRows("AdamGradBF16StateFloat8", adamFloat8Doc, rule.BF16, adamFloat8)
)

const adamFloat8Doc = `
	m ← lerp(number(mq·up)·ms, x, weight1), signed
	v ← number(vq·up)·vs·beta2 + drop(x·root2, small)²
	p ← p - (m·step / (√v + eps) + p·decay)
	ms ← max |m|, row by row
	vs ← max v, row by row`

func adamFloat8(s *rule.Step) {
	x, m, v := s.Gradient(), s.Matrix("m"), s.Matrix("v")
	ms, vs, up := s.PerRow("ms"), s.PerRow("vs"), s.PerRow("up")
	mq, vq := s.Buffer("mq"), s.Buffer("vq")
	m1, v1 := movedMoments(s, x, signedNumber(s.Rule, mq.MulInt(up), ms), squareNumber(s.Rule, vq.MulInt(up), vs))
	s.Move(adamStep(s, m1, v1))
	m.Set(m1)
	v.Set(v1)
	ms.SetFoldMost(m1.Abs())
	vs.SetFoldMost(v1)
}

// adam is the step that Adam takes.
func adam(s *rule.Step) rule.Value {
	m1, v1 := moments(s)
	return adamStep(s, m1, v1)
}

func adamStep(s *rule.Step, m1, v1 rule.Value) rule.Value {
	eps, step := s.Scalar("eps"), s.Scalar("step")
	return m1.Mul(step).Div(v1.Sqrt().Add(eps))
}

// AdamProx is Adam with a term inside the root and a proximal step for L1 and
// L2, whose strength follows each element's own step size.
var AdamProx = All.Step("AdamProx", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	rate = step / (√(v·unbias + epsIn) + eps)
	p ← soft(p - (m·moment·rate + p·decay), rate·proxL1) / (1 + rate·proxL2)`, func(s *rule.Step) {
	m1, v1 := moments(s)
	proximal(s, m1, v1)
})

// AMSGrad is Adam that divides by the root of h, the largest v so far, with a term
// inside the root.
var AMSGrad = All.Step("AMSGrad", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	h ← max(h, v)
	p ← p - (m·step / (√(h·unbias + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	m1, v1 := moments(s)
	h1 := largest(s, v1)
	unbias, epsIn, eps, step := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps"), s.Scalar("step")

	s.Move(m1.Mul(step).Div(h1.Mul(unbias).Add(epsIn).Sqrt().Add(eps)))
})

// AMSGradProx is AdamProx that divides by the root of h, the largest v so far.
var AMSGradProx = All.Step("AMSGradProx", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	h ← max(h, v)
	rate = step / (√(h·unbias + epsIn) + eps)
	p ← soft(p - (m·moment·rate + p·decay), rate·proxL1) / (1 + rate·proxL2)`, func(s *rule.Step) {
	m1, v1 := moments(s)
	proximal(s, m1, largest(s, v1))
})

// AMSGradCorrected is AMSGrad that corrects the bias of each v before it is compared.
var AMSGradCorrected = All.Step("AMSGradCorrected", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	h ← max(h, v·unbias)
	p ← p - (m·step / (√(h + epsIn) + eps) + p·decay)`, func(s *rule.Step) {
	m1, v1 := moments(s)
	h1 := largest(s, v1.Mul(s.Scalar("unbias")))
	epsIn, eps, step := s.Scalar("epsIn"), s.Scalar("eps"), s.Scalar("step")

	s.Move(m1.Mul(step).Div(h1.Add(epsIn).Sqrt().Add(eps)))
})

// moments are the running means of the gradient and of its square.
func moments(s *rule.Step) (m1, v1 rule.Value) {
	_, m1, v1 = gradientAndMoments(s)
	return m1, v1
}

func gradientAndMoments(s *rule.Step) (x, m1, v1 rule.Value) {
	x, m, v := s.Gradient(), s.State("m"), s.State("v")
	m1, v1 = movedMoments(s, x, m, v)
	m.Set(m1)
	v.Set(v1)
	return x, m1, v1
}

func movedMoments(s *rule.Step, x, m, v rule.Value) (m1, v1 rule.Value) {
	m1 = s.Lerp(m, x, s.Scalar("weight1"))
	return m1, meanSquare(s, v, x)
}

// meanSquare is the running mean of the square of x.
func meanSquare(s *rule.Step, v, x rule.Value) rule.Value {
	beta2, root2, small := s.Scalar("beta2"), s.Scalar("root2"), s.Scalar("small")
	return v.Mul(beta2).Add(s.Square(x, root2, small))
}

// largest keeps the largest v.
func largest(s *rule.Step, v1 rule.Value) rule.Value {
	h := s.State("h")
	h1 := h.Max(v1)
	h.Set(h1)
	return h1
}

// proximal moves the parameters and takes the proximal step.
func proximal(s *rule.Step, m1, v1 rule.Value) {
	unbias, epsIn, eps := s.Scalar("unbias"), s.Scalar("epsIn"), s.Scalar("eps")
	moment, step := s.Scalar("moment"), s.Scalar("step")
	l1, l2 := s.Scalar("proxL1"), s.Scalar("proxL2")

	rate := step.Div(v1.Mul(unbias).Add(epsIn).Sqrt().Add(eps))
	s.Param().Set(prox(s, s.Moved(m1.Mul(moment).Mul(rate)), rate, l1, l2))
}
