package main

import (
	"math"

	"github.com/lockstep-go/lockstep/bench/data"
	"github.com/lockstep-go/lockstep/loss"
)

// A problem is a linear model of real data, with an intercept, and a penalty
// l2·|w|² of all weights but it. Its least loss is known.
type problem struct {
	name    string
	model   loss.Model
	data    dataset
	l2      float64
	optimum float64
	score   string // what is reported beside the loss: R2 or accuracy
	best    float64
}

// The optima are those of least squares, of Newton's method and of the dual of
// the support vector machine, in float64: see problem_test.go.
func problems() []problem {
	cancer := load("breast_cancer")
	return []problem{
		{"linear regression, diabetes", loss.Squared, load("diabetes"), 0, 2859.69635, "R2", .5177},
		{"logistic regression, breast cancer", loss.Logistic, cancer, 1e-3, .06808282362, "accuracy", .9877},
		{"linear SVM, breast cancer", loss.HingeLoss, cancer.plusMinus(), 1e-3, .04770924251, "accuracy", .9877},
	}
}

// predict is x·w and the intercept, in float64.
func (p *problem) predict(w []float32, row int) float64 {
	z := float64(w[p.data.columns])
	for j, x := range p.data.x[row*p.data.columns:][:p.data.columns] {
		z += float64(x) * float64(w[j])
	}
	return z
}

// objective is what training minimises, computed plainly in float64.
func (p *problem) objective(w []float32) float64 {
	var sum, squares float64
	for i := range p.data.rows {
		z, y := p.predict(w, i), float64(p.data.y[i])
		switch p.model {
		case loss.Squared:
			sum += (z - y) * (z - y)
		case loss.Logistic:
			sum += math.Max(z, 0) - z*y + math.Log1p(math.Exp(-math.Abs(z)))
		default:
			sum += math.Max(0, 1-y*z)
		}
	}
	for _, v := range w[:p.data.columns] {
		squares += float64(v) * float64(v)
	}
	return sum/float64(p.data.rows) + p.l2*squares
}

// rate is R² or the accuracy of w.
func (p *problem) rate(w []float32) float64 {
	targets := make([]float64, p.data.rows)
	var right, residual float64
	for i, y := range p.data.y {
		targets[i] = float64(y)
		z := p.predict(w, i)
		residual += (z - targets[i]) * (z - targets[i])
		if (z > 0) == (y > 0) {
			right++
		}
	}
	n := float64(p.data.rows)
	if p.model == loss.Squared {
		_, deviation := data.Moments(targets)
		return 1 - residual/n/(deviation*deviation)
	}
	return right / n
}

// A gradient computes the penalised loss and its gradient over some rows.
type gradient struct {
	p       *problem
	linear  *loss.Linear
	penalty loss.Penalty
}

func (p *problem) gradient() *gradient {
	linear, err := loss.NewLinear(p.model, p.data.columns, true)
	must(err)
	return &gradient{p, linear, loss.Penalty{L2: 2 * p.l2}}
}

func (g *gradient) of(x, y, w, grad []float32) {
	_, err := g.linear.Gradient(x, y, w, grad)
	must(err)
	if g.p.l2 != 0 {
		n := g.p.data.columns
		_, err = g.penalty.Eval(w[:n], grad[:n])
		must(err)
	}
}

// must ends the program on an error of its own making.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
