package engine

import (
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A call is a kernel with the scalars of a step. Copies have scalars of their own.
type call interface {
	prepare(in *StepInput)
	scalars() any
	copy() call
	run(t kernels.Table, list *kernels.List, m *Matrix, s *Sums)
}

// A maker makes scalars.
type maker[C any] struct {
	of func(*StepInput) C
	c  C
}

func (m *maker[C]) prepare(in *StepInput) { m.c = m.of(in) }
func (m *maker[C]) scalars() any          { return m.c }

type elementCall[C any] struct {
	maker[C]
	kernel func(kernels.Table, *kernels.List, *C)
}

func (k *elementCall[C]) copy() call { return &elementCall[C]{maker[C]{of: k.of}, k.kernel} }
func (k *elementCall[C]) run(t kernels.Table, list *kernels.List, _ *Matrix, _ *Sums) {
	k.kernel(t, list, &k.c)
}

type summingCall[C any] struct {
	maker[C]
	kernel func(kernels.Table, *kernels.List, *C, *Sums)
}

func (k *summingCall[C]) copy() call { return &summingCall[C]{maker[C]{of: k.of}, k.kernel} }
func (k *summingCall[C]) run(t kernels.Table, list *kernels.List, _ *Matrix, s *Sums) {
	k.kernel(t, list, &k.c, s)
}

// A meanCall takes rows one by one, each with scalars of its own that are made from what all
// share.
type meanCall[S, C any] struct {
	of        func(*StepInput) S
	shared    S
	row       func(*S, float64) C
	kernel    func(kernels.Table, *kernels.List, *C)
	keep, add float64
}

func (k *meanCall[S, C]) prepare(in *StepInput) { k.shared = k.of(in) }
func (k *meanCall[S, C]) scalars() any          { return k.shared }
func (k *meanCall[S, C]) copy() call {
	c := *k
	return &c
}

func (k *meanCall[S, C]) rowScalars(s float64) any { return k.row(&k.shared, s) }

func (k *meanCall[S, C]) run(t kernels.Table, list *kernels.List, m *Matrix, s *Sums) {
	c := roomFor[C](m.calls)
	for i := range m.Rows {
		lo, hi := i*m.Columns, (i+1)*m.Columns
		next := m.meanSquare(t, list, i, k.keep, k.add, &s[0])
		*c = k.row(&k.shared, float64(next))
		m.set(list, lo, hi)
		k.kernel(t, list, c)
	}
}

// meanSquare makes a row's number of the first slot keep of itself and add of the mean of the
// squares of its gradient.
func (m *Matrix) meanSquare(t kernels.Table, list *kernels.List, row int, keep, add float64, lanes *[fallback.Lanes]float64) float32 {
	*lanes = [fallback.Lanes]float64{}
	list.Set(m.Grads[row*m.Columns:][:m.Columns])
	kernels.SumSquares(t, list, lanes)
	mean := fallback.Total(lanes) / float64(m.Columns)
	next := float32(float64(keep*float64(m.State[0][row])) + float64(add*mean))
	m.State[0][row] = next
	return next
}

// A trustCall takes rows one by one, each as far as its trust ratio says.
type trustCall[S any] struct {
	of               func(*StepInput) S
	shared           S
	lr               float64
	row              func(*S, float64) fallback.MuonScalars
	kernel           func(kernels.Table, *kernels.List, *fallback.MuonScalars, *[fallback.Lanes]float64)
	keep, add, decay float64
}

func (k *trustCall[S]) prepare(in *StepInput) { k.shared, k.lr = k.of(in), in.LR }
func (k *trustCall[S]) scalars() any          { return k.shared }
func (k *trustCall[S]) copy() call {
	c := *k
	return &c
}

func (k *trustCall[S]) rowScalars(s float64) any { return k.row(&k.shared, s) }

func (k *trustCall[S]) run(t kernels.Table, list *kernels.List, m *Matrix, s *Sums) {
	r := roomFor[trusting](m.calls)
	for i := range m.Rows {
		lo, hi := i*m.Columns, (i+1)*m.Columns
		next := m.meanSquare(t, list, i, k.keep, k.add, &s[0])
		r.mean = k.row(&k.shared, float64(next))
		r.direction = fallback.RegularizeScalars{Scale: r.mean.Ahead, L2: float32(k.decay)}
		r.table, r.list, r.p, r.m = t, list, m.Params[lo:hi], m.State[1][lo:hi]
		*s = Sums{}
		r.measure(k.kernel, m.Grads[lo:hi], s)
		r.move.Scale = 1
		r.move.Step = trustedRate(k.lr, fallback.Total(&s[0]), fallback.Total(&s[1]))
		r.take()
		r.list, r.p, r.m = nil, nil, nil
	}
}

// trustedRate is lr·‖p‖/‖u‖ of squares, or lr where a norm is 0.
func trustedRate(lr, params, directions float64) float32 {
	if p, u := math.Sqrt(params), math.Sqrt(directions); p > 0 && u > 0 {
		lr *= p / u
	}
	return float32(min(lr, math.MaxFloat32)) // beyond, where u is 0 it would give NaN
}

// A trusting is a worker's row of a pass TrustByRow, whose direction it has room for in parts
// of a block: a longer row has it made twice.
type trusting struct {
	table     kernels.Table
	list      *kernels.List
	p, m      []float32
	u         [tune.BlockLen]float32
	mean      fallback.MuonScalars
	direction fallback.RegularizeScalars
	move      fallback.SGDScalars
	unused    [fallback.Lanes]float64
}

// measure takes the gradient into m, and adds up the squares of the parameters and of u.
func (r *trusting) measure(kernel func(kernels.Table, *kernels.List, *fallback.MuonScalars, *[fallback.Lanes]float64), grad []float32, s *Sums) {
	for lo := 0; lo < len(r.p); lo += len(r.u) {
		hi := min(lo+len(r.u), len(r.p))
		u := r.u[:hi-lo]
		r.list.Set(grad[lo:hi], r.m[lo:hi], u)
		kernel(r.table, r.list, &r.mean, &r.unused)
		r.direct(lo, hi)
		r.list.Set(r.p[lo:hi])
		kernels.SumSquares(r.table, r.list, &s[0])
		r.list.Set(u)
		kernels.SumSquares(r.table, r.list, &s[1])
	}
}

// direct makes u of the elements lo to hi.
func (r *trusting) direct(lo, hi int) {
	r.list.Set(r.u[:hi-lo], r.m[lo:hi], r.p[lo:hi])
	kernels.Regularize(r.table, r.list, &r.direction)
}

// take takes the step.
func (r *trusting) take() {
	for lo := 0; lo < len(r.p); lo += len(r.u) {
		hi := min(lo+len(r.u), len(r.p))
		if len(r.p) > len(r.u) {
			r.direct(lo, hi)
		}
		r.list.Set(r.p[lo:hi], r.u[:hi-lo])
		kernels.SGD(r.table, r.list, &r.move)
	}
}

// roomFor is a worker's room for a type, of which there are few.
func roomFor[T any](room *[]any) *T {
	for _, x := range *room {
		if x, ok := x.(*T); ok {
			return x
		}
	}
	x := new(T)
	*room = append(*room, x)
	return x
}

type matrixCall[C any] struct {
	maker[C]
	kernel func(kernels.Table, *Matrix, *C)
}

func (k *matrixCall[C]) copy() call { return &matrixCall[C]{maker[C]{of: k.of}, k.kernel} }
func (k *matrixCall[C]) run(t kernels.Table, _ *kernels.List, m *Matrix, _ *Sums) {
	k.kernel(t, m, &k.c)
}

type keepCall struct{ maker[Kept] }

func (k *keepCall) copy() call { return &keepCall{maker[Kept]{of: k.of}} }
func (k *keepCall) run(_ kernels.Table, _ *kernels.List, m *Matrix, _ *Sums) {
	for j, x := range []float32{k.c.First, k.c.Second, k.c.Third, k.c.Fourth}[:len(m.PerTensor)] {
		m.PerTensor[j][0] = x
	}
}
