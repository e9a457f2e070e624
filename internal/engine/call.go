package engine

import "github.com/lockstep-go/lockstep/kernels"

// A call is a kernel with the scalars of a step. Copies have scalars of their own.
type call interface {
	prepare(in *StepInput)
	copy() call
	run(t kernels.Table, list *kernels.List, m *Matrix, s *Sums)
}

// A maker makes scalars.
type maker[C any] struct {
	of func(*StepInput) C
	c  C
}

func (m *maker[C]) prepare(in *StepInput) { m.c = m.of(in) }

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

type matrixCall[C any] struct {
	maker[C]
	kernel func(kernels.Table, *Matrix, *C)
}

func (k *matrixCall[C]) copy() call { return &matrixCall[C]{maker[C]{of: k.of}, k.kernel} }
func (k *matrixCall[C]) run(t kernels.Table, _ *kernels.List, m *Matrix, _ *Sums) {
	k.kernel(t, m, &k.c)
}
