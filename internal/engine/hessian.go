package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// HasHessian reports whether the rule of a tensor has a mean of estimates.
func (e *Engine) HasHessian(tensor int) bool { return e.groups[e.tensors[tensor].Rule].Hessian != 0 }

// UpdateHessian moves the means of estimates towards new ones, of rules that have such and of
// tensors whose estimate is not nil.
func (e *Engine) UpdateHessian(estimates [][]float32) {
	e.estimating.estimates = estimates
	e.share(&e.estimating, false)
	e.estimating.estimates = nil
}

// estimating moves the means of a unit.
type estimating struct {
	e         *Engine
	estimates [][]float32
}

func (s *estimating) Do(k, worker int) {
	u, w := &s.e.units[k], s.e.workers[worker]
	g := &s.e.groups[u.group]
	if g.Hessian == 0 {
		return
	}
	c := fallback.AverageScalars{Weight: float32(g.Hessian)}
	if u.tensor >= 0 {
		s.move(w, u.tensor, u.lo, u.hi, &c)
		return
	}
	for _, tensor := range g.shared[u.lo:u.hi] {
		s.move(w, tensor, 0, s.e.tensors[tensor].Size, &c)
	}
}

func (s *estimating) move(w *Worker, tensor, lo, hi int, c *fallback.AverageScalars) {
	if x := s.estimates[tensor]; x != nil {
		w.list.Set(s.e.tensors[tensor].State[1][lo:hi], x[lo:hi])
		kernels.Average(s.e.table, &w.list, c)
	}
}
