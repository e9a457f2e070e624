package update

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Policy says what a step does when a gradient has a NaN or an infinity.
type Policy uint8

const (
	// Propagate lets them through to the parameters, as the frameworks do. It
	// is the default because it costs nothing: the others read the gradients
	// once more before the step.
	Propagate Policy = iota
	// Skip leaves everything as it is, the number of steps included, and counts
	// the step in Skipped.
	Skip
	// Refuse is Skip that returns a NonFiniteError.
	Refuse
)

// A NonFiniteError is what a step returns that was refused.
type NonFiniteError struct {
	Tensor int   // the first tensor that has some
	Count  int64 // NaN and infinities in all gradients
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("update: gradients have %d NaN or infinite elements, the first in tensor %d", e.Count, e.Tensor)
}

// SetPolicy sets what steps do with NaN and infinities in gradients.
func (o *Optimizer) SetPolicy(p Policy) error {
	if p > Refuse {
		return &ArgError{"policy", p, "Propagate, Skip or Refuse"}
	}
	o.policy = p
	return nil
}

// Skipped is the number of steps that were skipped or refused.
func (o *Optimizer) Skipped() int64 { return o.skipped }

// NonFinite is the number of NaN and infinities in the gradients of the last
// step, if the policy is not Propagate.
func (o *Optimizer) NonFinite() int64 { return o.nonFinite }

// CountNonFinite counts the NaN and infinities in x.
func CountNonFinite(x []float32) int64 {
	var lanes [fallback.Lanes]float64
	kernels.Active().CountNonFinite(x, &lanes)
	return int64(fallback.Total(&lanes))
}

// SumSquares is the sum of the squares of x, in float64 and in a fixed order: the
// square of a norm, for callers who step on goroutines of their own.
func SumSquares(x []float32) float64 {
	var lanes [fallback.Lanes]float64
	kernels.Active().SumSquares(x, &lanes)
	return fallback.Total(&lanes)
}

// refuse applies the policy and reports whether the step is skipped. A finite norm
// says that there is nothing to count.
func (o *Optimizer) refuse(params, grads [][]float32) (skip bool, err error) {
	o.nonFinite = 0
	if o.clips() && !math.IsInf(o.norm, 0) && !math.IsNaN(o.norm) {
		return false, nil
	}
	o.pool.run(nonFiniteOf, params, grads)
	first := len(o.tensors)
	for k, n := range o.partial {
		if n > 0 {
			o.nonFinite += int64(n)
			first = min(first, o.firstNonFinite(o.units[k], grads))
		}
	}
	if o.nonFinite == 0 {
		return false, nil
	}
	o.skipped++
	if o.policy == Refuse {
		return true, &NonFiniteError{first, o.nonFinite}
	}
	return true, nil
}

// firstNonFinite is the first tensor of a unit that has some.
func (o *Optimizer) firstNonFinite(u unit, grads [][]float32) int {
	if u.tensor >= 0 {
		return u.tensor
	}
	for _, tensor := range o.groups[u.group].small[u.lo:u.hi] {
		if CountNonFinite(grads[tensor]) > 0 {
			return tensor
		}
	}
	return len(o.tensors)
}

// A known is where a tensor's buffers were when they were last checked. As long
// as all are where they were, they overlap no more than they did then.
type known struct{ params, grads uintptr }

// checkSet checks the arguments of a step.
func (o *Optimizer) checkSet(params, grads [][]float32) error {
	if len(params) != len(o.tensors) {
		return &ArgError{"len(params)", len(params), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	if len(grads) != len(o.tensors) {
		return &ArgError{"len(grads)", len(grads), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	moved := false
	list := o.known[:len(params)]
	grads = grads[:len(params)]
	for k, n := range o.sizes[:len(params)] {
		p, g := params[k], grads[k]
		if len(p) != n || len(g) != n {
			return o.wrongLength(k, p, g)
		}
		moved = moved || list[k] != known{address(p), address(g)}
	}
	if !moved {
		return nil
	}
	o.intervals = o.intervals[:0]
	for k, t := range o.tensors {
		o.intervals = append(o.intervals,
			interval{address(params[k]), t.size, "params", k},
			interval{address(grads[k]), t.size, "grads", k})
		for j, slot := range o.groups[t.group].slots {
			o.intervals = append(o.intervals, interval{address(t.state[j]), t.size, slot.name, k})
		}
	}
	if err := disjoint(o.intervals); err != nil {
		return err
	}
	for k := range o.tensors {
		o.known[k] = known{address(params[k]), address(grads[k])}
	}
	for k := range o.groups {
		g := &o.groups[k]
		for at, tensor := range g.small {
			g.list[at*g.buffers()], g.list[at*g.buffers()+1] = params[tensor], grads[tensor]
		}
	}
	for k, u := range o.units {
		if u.tensor < 0 {
			g := &o.groups[u.group]
			o.lists[k].Reset(g.buffers(), g.list[u.lo*g.buffers():u.hi*g.buffers()])
		}
	}
	return nil
}

func (o *Optimizer) wrongLength(k int, p, g []float32) error {
	name, n := "params", len(p)
	if len(p) == o.tensors[k].size {
		name, n = "grads", len(g)
	}
	if len(o.tensors) > 1 {
		name = fmt.Sprintf("%s[%d]", name, k)
	}
	return &ArgError{"len(" + name + ")", n, fmt.Sprintf("the tensor's size, %d", o.tensors[k].size)}
}

// apart checks that a part's buffers overlap neither each other nor the
// tensor's state.
func (o *Optimizer) apart(tensor int, params, grads []float32) error {
	p := interval{address(params), len(params), "params", tensor}
	g := interval{address(grads), len(grads), "grads", tensor}
	if p.overlaps(g) {
		return overlap(p, g)
	}
	t := &o.tensors[tensor]
	for j, slot := range o.groups[t.group].slots {
		s := interval{address(t.state[j]), t.size, slot.name, tensor}
		if p.overlaps(s) {
			return overlap(p, s)
		}
		if g.overlaps(s) {
			return overlap(g, s)
		}
	}
	return nil
}

// An interval is a buffer's place in memory.
type interval struct {
	at     uintptr
	n      int // elements
	name   string
	tensor int
}

func address(s []float32) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }

func (x interval) end() uintptr { return x.at + 4*uintptr(x.n) }

func (x interval) overlaps(y interval) bool {
	return x.n > 0 && y.n > 0 && x.at < y.end() && y.at < x.end()
}

func (x interval) String() string { return fmt.Sprintf("%s of tensor %d", x.name, x.tensor) }

func overlap(x, y interval) error {
	return &ArgError{x.String(), fmt.Sprintf("%d elements at %#x", x.n, x.at),
		fmt.Sprintf("a buffer apart from %v, %d elements at %#x", y, y.n, y.at)}
}

// disjoint checks that no two buffers overlap. It sorts them, and of two at the
// same place it names the one that is listed first.
func disjoint(list []interval) error {
	slices.SortStableFunc(list, func(a, b interval) int { return cmp.Compare(a.at, b.at) })
	last := interval{}
	for _, x := range list {
		if x.n == 0 {
			continue
		}
		if last.overlaps(x) {
			return overlap(last, x)
		}
		last = x
	}
	return nil
}
