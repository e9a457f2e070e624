package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// AddSign takes a longer step where the gradient's sign is that of its mean.
var AddSign = All.Step("AddSign", `
	m ← lerp(m, x, weight)
	same = sign(m)·sign(x)
	p ← p - (x·(agree if same > 0, differ if same < 0, else neither) + p·decay)`, func(s *rule.Step) {
	x, m := s.Gradient(), s.State("m")
	agree, differ, neither := s.Scalar("agree"), s.Scalar("differ"), s.Scalar("neither")
	m1 := s.Lerp(m, x, s.Scalar("weight"))
	zero := s.Const(0)
	same := signTimes(s.Rule, m1, signTimes(s.Rule, x, s.Const(1)))

	m.Set(m1)
	s.Move(x.Mul(zero.Less(same).Select(agree, same.Less(zero).Select(differ, neither))))
})
