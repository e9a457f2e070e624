package rules

import "github.com/lockstep-go/lockstep/gen/rule"

// StableAdamW is the first pass of StableAdamW, which leaves how large the gradient is
// beside its mean of squares. LAMBMove is the second.
var StableAdamW = All.Step("StableAdamW", `
	m ← lerp(m, x, weight1)
	v ← v·beta2 + drop(x·root2, small)²
	u = x / max(√v, eps)
	updates += u²`, func(s *rule.Step) {
	x, _, v1 := gradientAndMoments(s)
	u := x.Div(s.Scalar("eps").Max(v1.Sqrt()))

	s.Dot("updates", u, u)
})
