package registry

import (
	"github.com/lockstep-go/lockstep/internal/bounded"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/textbook"
)

var (
	rowwiseAdaGradPlain = update.RowwiseAdaGrad{Options: update.Options{LR: .1}, Eps: 1e-8}
	rowwiseAdaGradDecay = update.RowwiseAdaGrad{Options: update.Options{LR: .1, L2: .1, WeightDecay: .01}, Eps: 1e-6, InitialAccumulator: .1}
	rowwiseAdaGradL1    = update.RowwiseAdaGrad{Options: update.Options{LR: .1, L1: .01}, Eps: 1e-7}

	rowwiseAdamDecay = update.RowwiseAdam{Options: update.Options{LR: .01, WeightDecay: .1}, Beta1: .9, Beta2: .999, Eps: 1e-8}
	rowwiseAdamL2    = update.RowwiseAdam{Options: update.Options{LR: .01, L1: .01, L2: .1}, Beta1: .5, Beta2: .9, Eps: 1e-3}

	// Without a Decay v and Eps would show in rows of zeros alone.
	rowwiseLAMBDecay = update.RowwiseLAMB{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .999, Eps: 1e-8, Decay: .1}
	rowwiseLAMBL2    = update.RowwiseLAMB{Options: update.Options{LR: .01, L1: .01, L2: .1}, Beta1: .5, Beta2: .9, Eps: 1e-3, Decay: .01}
)

var _ = register(&Entry{
	Name: "RowwiseAdaGrad",
	Samples: []Sample{
		{"rowwise adagrad", rowwiseAdaGradPlain, 0x8096f32188e8482a},
		{"rowwise adagrad decay", rowwiseAdaGradDecay, 0xe26c6c2eb8d1fa6e},
		{"rowwise adagrad l1", rowwiseAdaGradL1, 0x292cb4229e5c296d},
	},
	Factored: []Sample{
		{"rowwise adagrad", rowwiseAdaGradPlain, 0x3ee5f588a7cc0591},
		{"rowwise adagrad decay", rowwiseAdaGradDecay, 0xf9d14075777a8f2b},
		{"rowwise adagrad l1", rowwiseAdaGradL1, 0xe768c122eb1ee845},
	},
	Refused: []Refused{
		{"LR", "1e+30", update.RowwiseAdaGrad{Options: update.Options{LR: 1e30}, Eps: 1e-20}},
	},
	Formula: eachRow(rowwiseAdaGradFormula),
	Random: []Kind{{"RowwiseAdaGrad", func(d Draw) update.Rule {
		return update.RowwiseAdaGrad{Options: d.options(), InitialAccumulator: float64(d.IntN(2)) * d.Power(-9, 0), Eps: d.eps()}
	}}},
	Presets: []Preset{{Textbook, "RowwiseAdaGrad", textbook.RowwiseAdaGrad(0)}},
	Verified: []Sample{
		{Name: "RowwiseAdaGrad", Rule: textbook.RowwiseAdaGrad(.1)},
	},
})

var _ = register(&Entry{
	Name: "RowwiseAdam",
	Samples: []Sample{
		{"rowwise adam", rowwiseAdamDecay, 0x5a008d27990097b6},
		{"rowwise adam l2", rowwiseAdamL2, 0xab8f01c68a237b40},
	},
	Factored: []Sample{
		{"rowwise adam", rowwiseAdamDecay, 0x1ef4fd2d3299323d},
		{"rowwise adam l2", rowwiseAdamL2, 0x737e52f9decfcc82},
	},
	Refused: []Refused{
		{"LR", "1e+30", update.RowwiseAdam{Options: update.Options{LR: 1e30}, Beta2: .9, Eps: 1e-20}},
	},
	Formula:  eachRow(rowwiseAdamFormula),
	Presets:  []Preset{{Textbook, "RowwiseAdam", textbook.RowwiseAdam(0)}},
	Verified: []Sample{{Name: "RowwiseAdam", Rule: textbook.RowwiseAdam(.01)}},
})

var _ = register(&Entry{
	Name: "RowwiseLAMB",
	Samples: []Sample{
		{"rowwise lamb", rowwiseLAMBDecay, 0x26cd92423d4d044c},
		{"rowwise lamb l2", rowwiseLAMBL2, 0xd26a02d1d9c2f586},
	},
	Factored: []Sample{
		{"rowwise lamb", rowwiseLAMBDecay, 0x0f13bb1beb6ad33c},
		{"rowwise lamb l2", rowwiseLAMBL2, 0x218492a7de78db90},
	},
	Refused: []Refused{
		{"WeightDecay", "0.1", update.RowwiseLAMB{Options: update.Options{WeightDecay: .1}, Beta2: .9, Eps: 1e-8}},
		{"Eps", "1e-38", update.RowwiseLAMB{Beta1: .99, Beta2: .9, Eps: 1e-38}},
	},
	Formula: eachRow(rowwiseLAMBFormula),
	Random: []Kind{{"RowwiseLAMB", func(d Draw) update.Rule {
		o, beta1, beta2, eps := d.moments()
		decay := o.WeightDecay
		o.WeightDecay = 0
		return update.RowwiseLAMB{Options: o, Beta1: beta1, Beta2: beta2, Eps: max(eps, 1e-12), Decay: min(decay, 10)}
	}}},
	Presets:  []Preset{{Textbook, "RowwiseLAMB", textbook.RowwiseLAMB(0)}},
	Verified: []Sample{{Name: "RowwiseLAMB", Rule: textbook.RowwiseLAMB(.01)}},
})

// eachRow is a formula of rows, of which a vector is one.
func eachRow(of Formula) Formula {
	return func(s *Step, tensor []Element) {
		columns := s.Columns
		if columns == 0 {
			columns = len(tensor)
		}
		for ; len(tensor) > 0; tensor = tensor[columns:] {
			of(s, tensor[:columns])
		}
	}
}

// meanSquare is the gradients of a row as they come in, and the mean of their squares.
func (s *Step) meanSquare(row []Element) (x []bounded.Number, mean bounded.Number) {
	for i := range row {
		x = append(x, s.gradient(&row[i]))
	}
	norm := bounded.Norm(x)
	return x, norm.Mul(norm).Div(bounded.Float(float32(len(row))))
}

// rowwiseAdaGradFormula is FBGEMM's a ← a + mean(x²), w ← w - lr·x/(√a + eps) of a row.
func rowwiseAdaGradFormula(s *Step, row []Element) {
	r := s.Rule.(update.RowwiseAdaGrad)
	x, mean := s.meanSquare(row)
	a := row[0].State[0].Add(mean)
	rate := bounded.Scalar(s.LR).Div(a.Sqrt().Add(bounded.Scalar(r.Eps)))
	for i := range row {
		row[i].State[0] = a
		s.move(&row[i], x[i].Mul(rate))
		s.fade(&row[i], 1)
	}
}

// rowwiseAdamFormula is FBGEMM's v ← β₂·v + (1-β₂)·mean(x²), m ← β₁·m + (1-β₁)·x,
// w ← w - lr·m/c₁/(√(v/c₂) + eps) of a row.
func rowwiseAdamFormula(s *Step, row []Element) {
	r := s.Rule.(update.RowwiseAdam)
	x, mean := s.meanSquare(row)
	c1, c2 := s.correction(r.Beta1), s.correction(r.Beta2)
	v := row[0].State[0].Mul(bounded.Scalar(r.Beta2)).Add(mean.Mul(bounded.Scalar(1 - r.Beta2)))
	root := v.Div(s.scalar(c2.value, c2.off)).Sqrt().Add(bounded.Scalar(r.Eps))
	rate := s.scalar(s.LR/c1.value, c1.off).Div(root)
	for i := range row {
		e := &row[i]
		m := &e.State[1]
		e.State[0], *m = v, m.Mul(bounded.Scalar(r.Beta1)).Add(x[i].Mul(bounded.Scalar(1-r.Beta1)))
		s.move(e, m.Mul(rate))
		s.fade(e, r.Beta1, m)
	}
}

// rowwiseLAMBFormula is FBGEMM's u = m/c₁/(√(v/c₂) + eps) + decay·w, w ← w - lr·‖w‖/‖u‖·u of a
// row, of which the ratio is 1 where a norm is 0.
func rowwiseLAMBFormula(s *Step, row []Element) {
	r := s.Rule.(update.RowwiseLAMB)
	s.KeepSubnormals = true // a step is as long as w, however small gradients are
	x, mean := s.meanSquare(row)
	c1, c2 := s.correction(r.Beta1), s.correction(r.Beta2)
	v := row[0].State[0].Mul(bounded.Scalar(r.Beta2)).Add(mean.Mul(bounded.Scalar(1 - r.Beta2)))
	root := v.Div(s.scalar(c2.value, c2.off)).Sqrt().Add(bounded.Scalar(r.Eps))
	factor := s.scalar(1/c1.value, c1.off).Div(root)
	var params, directions []bounded.Number
	for i := range row {
		e := &row[i]
		m := &e.State[1]
		e.State[0], *m = v, m.Mul(bounded.Scalar(r.Beta1)).Add(x[i].Mul(bounded.Scalar(1-r.Beta1)))
		params, directions = append(params, e.P), append(directions, m.Mul(factor).Add(e.P.Mul(bounded.Scalar(r.Decay))))
	}
	rate := s.trust(params, directions).Mul(bounded.Scalar(s.LR))
	for i, u := range directions {
		row[i].P = row[i].P.Sub(u.Mul(rate))
	}
}
