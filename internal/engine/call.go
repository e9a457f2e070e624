package engine

import (
	"github.com/lockstep-go/lockstep/fallback"
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
		lanes := &s[0]
		*lanes = [fallback.Lanes]float64{}
		list.Set(m.Grads[lo:hi])
		kernels.SumSquares(t, list, lanes)
		mean := fallback.Total(lanes) / float64(m.Columns)
		next := float32(float64(k.keep*float64(m.State[0][i])) + float64(k.add*mean))
		m.State[0][i] = next
		*c = k.row(&k.shared, float64(next))
		m.set(list, lo, hi)
		k.kernel(t, list, c)
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
