package main

import (
	"math"
	"testing"

	"github.com/lockstep-go/lockstep/loss"
)

// TestOptima computes each problem's least loss another way, in float64.
func TestOptima(t *testing.T) {
	for _, p := range problems() {
		var w []float64
		switch p.model {
		case loss.Squared:
			w = newton(&p, 1)
		case loss.Logistic:
			w = newton(&p, 50)
		default:
			w = smo(&p)
		}
		f := float32s(w)
		got, score := p.objective(f), p.rate(f)
		t.Logf("%s: %.10g, %s %.4f", p.name, got, p.score, score)
		if math.Abs(got-p.optimum) > 2e-7*p.optimum {
			t.Errorf("%s: the least loss is %.10g, not %.10g", p.name, got, p.optimum)
		}
		if math.Abs(score-p.best) > 5e-5 {
			t.Errorf("%s: %s is %.6f, not %.4f", p.name, p.score, score, p.best)
		}
	}
}

func float32s(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// newton is Newton's method, which for squares is least squares by the normal
// equations in one step.
func newton(p *problem, steps int) []float64 {
	d, m := p.data, p.data.columns+1
	w := make([]float64, m)
	for range steps {
		h, g := make([]float64, m*m), make([]float64, m)
		for i := range d.rows {
			row := append(float64s(d.x[i*d.columns:][:d.columns]), 1)
			z, y := dot(row, w), float64(d.y[i])
			slope, curvature := 2*(z-y), 2.
			if p.model == loss.Logistic {
				q := 1 / (1 + math.Exp(-z))
				slope, curvature = q-y, q*(1-q)
			}
			for j := range m {
				g[j] += slope * row[j] / float64(d.rows)
				for k := range m {
					h[j*m+k] += curvature * row[j] * row[k] / float64(d.rows)
				}
			}
		}
		for j := range d.columns {
			g[j] += 2 * p.l2 * w[j]
			h[j*m+j] += 2 * p.l2
		}
		for j, s := range solve(h, g) {
			w[j] -= s
		}
	}
	return w
}

// solve is Gauss's elimination with pivots; it overwrites both arguments.
func solve(a, b []float64) []float64 {
	n := len(b)
	for k := range n {
		pivot := k
		for i := k + 1; i < n; i++ {
			if math.Abs(a[i*n+k]) > math.Abs(a[pivot*n+k]) {
				pivot = i
			}
		}
		for j := range n {
			a[k*n+j], a[pivot*n+j] = a[pivot*n+j], a[k*n+j]
		}
		b[k], b[pivot] = b[pivot], b[k]
		for i := k + 1; i < n; i++ {
			f := a[i*n+k] / a[k*n+k]
			for j := k; j < n; j++ {
				a[i*n+j] -= f * a[k*n+j]
			}
			b[i] -= f * b[k]
		}
	}
	for k := n - 1; k >= 0; k-- {
		for j := k + 1; j < n; j++ {
			b[k] -= a[k*n+j] * b[j]
		}
		b[k] /= a[k*n+k]
	}
	return b
}

// smo solves the support vector machine's dual, which is to maximise
// Σα - ½|Σαyx|² with α in [0, c] and Σαy = 0, by pairs that violate its conditions
// most (Keerthi et al. 2001). c is 1/(2·l2·rows).
func smo(p *problem) []float64 {
	d := p.data
	c := 1 / (2 * p.l2 * float64(d.rows))
	x, y := make([][]float64, d.rows), float64s(d.y)
	for i := range x {
		x[i] = float64s(d.x[i*d.columns:][:d.columns])
	}
	alpha, w := make([]float64, d.rows), make([]float64, d.columns)
	for range 10_000_000 {
		up, low := -1, -1
		high, least := math.Inf(-1), math.Inf(1)
		for i := range x {
			f := y[i] - dot(w, x[i])
			if (y[i] > 0 && alpha[i] < c || y[i] < 0 && alpha[i] > 0) && f > high {
				up, high = i, f
			}
			if (y[i] > 0 && alpha[i] > 0 || y[i] < 0 && alpha[i] < c) && f < least {
				low, least = i, f
			}
		}
		if high-least < 1e-9 {
			return append(w, (high+least)/2)
		}
		var distance float64
		for j := range w {
			distance += (x[up][j] - x[low][j]) * (x[up][j] - x[low][j])
		}
		step := (high - least) / distance
		step = min(step, room(alpha[up], y[up], c), room(alpha[low], -y[low], c))
		alpha[up] = min(c, max(0, alpha[up]+y[up]*step))
		alpha[low] = min(c, max(0, alpha[low]-y[low]*step))
		for j := range w {
			w[j] += step * (x[up][j] - x[low][j])
		}
	}
	panic("the dual did not converge")
}

// room is how far alpha can go in the direction of a sign.
func room(alpha, sign, c float64) float64 {
	if sign > 0 {
		return c - alpha
	}
	return alpha
}

func float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

func dot(x, y []float64) float64 {
	var s float64
	for i := range x {
		s += x[i] * y[i]
	}
	return s
}
