// Package elementary has elementary functions of float32 over slices. Each result is at
// most 1 ulp from the true value for every one of the 2³² arguments, subnormal results
// among them, and its bits are the same on every instruction set.
//
// The results are stored in y, which is as long as x and apart from it, by the goroutine that
// calls, and by no other: of a long slice several may take a part each. An error means that
// nothing was written. Calls allocate nothing but what they need at first and keep for the next
// one. NaN gives NaN.
package elementary

import (
	"fmt"
	"sync"

	"github.com/lockstep-go/lockstep/internal/buffers"
	"github.com/lockstep-go/lockstep/kernels"
)

// Exp stores e^x, at most 0.8904 ulp off: +Inf from 88.72284 on, 0 below -103.97208.
func Exp(y, x []float32) error { return each(kernels.Exp, y, x) }

// Expm1 stores e^x - 1 without the cancellation that it has for small x, at most 0.7072 ulp
// off. Both zeros give themselves, -Inf gives -1.
func Expm1(y, x []float32) error { return each(kernels.Expm1, y, x) }

// Log stores the natural logarithm of x, at most 0.6607 ulp off: -Inf for both zeros, NaN
// for what is less.
func Log(y, x []float32) error { return each(kernels.Log, y, x) }

// Log1p stores the natural logarithm of 1 + x without rounding the sum, at most 0.6607 ulp
// off: -Inf for -1, NaN for what is less. Both zeros give themselves.
func Log1p(y, x []float32) error { return each(kernels.Log1p, y, x) }

// Tanh stores the hyperbolic tangent of x, at most 0.9141 ulp off. Both zeros give
// themselves.
func Tanh(y, x []float32) error { return each(kernels.Tanh, y, x) }

// Sigmoid stores 1/(1 + e^-x), the logistic function, at most 0.7866 ulp off.
func Sigmoid(y, x []float32) error { return each(kernels.Sigmoid, y, x) }

// Softplus stores log(1 + e^x), whose slope is Sigmoid, at most 0.8029 ulp off, however large x
// is. It is torch.nn.Softplus with its default beta and without a threshold.
func Softplus(y, x []float32) error { return each(kernels.Softplus, y, x) }

// Sqrt stores the square root of x, correctly rounded: NaN for what is less than 0.
func Sqrt(y, x []float32) error { return each(kernels.Sqrt, y, x) }

var lists = sync.Pool{New: func() any { return new(kernels.List) }}

// each runs a kernel over parts that are short enough for one call.
func each(kernel func(kernels.Table, *kernels.List), y, x []float32) error {
	switch {
	case len(y) != len(x):
		return &ArgError{"len(y)", len(y), fmt.Sprintf("len(x) = %d", len(x))}
	case buffers.Overlap(y, x):
		return &ArgError{"y", fmt.Sprintf("%d elements at %p", len(y), y), "a buffer apart from x"}
	}
	list := lists.Get().(*kernels.List)
	defer lists.Put(list)
	for lo := 0; lo < len(x); lo += kernels.MaxLen {
		hi := min(lo+kernels.MaxLen, len(x))
		list.Set(y[lo:hi], x[lo:hi])
		kernel(kernels.Active(), list)
	}
	list.Forget() // of what is not ours to keep alive
	return nil
}

// An ArgError is bad input: which argument, its value, and what it must be.
type ArgError struct {
	Arg   string
	Value any
	Want  string
}

func (e *ArgError) Error() string {
	return fmt.Sprintf("elementary: %s is %v, want %s", e.Arg, e.Value, e.Want)
}
