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

// A Policy says what a step does when a gradient has a NaN or an infinity, scaled as
// SetGradScale says and clipped, or for a rule that squares it a number whose square is
// infinite.
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
	Tensor int    // the first tensor that has some
	Name   string // its name
	Count  int64  // in all gradients
}

func (e *NonFiniteError) Error() string {
	return fmt.Sprintf("update: gradients have %d elements that are NaN or infinite, or will be once they are scaled or squared, the first in tensor %d%s", e.Count, e.Tensor, quoted(e.Name))
}

// quoted is a name in brackets, if there is one.
func quoted(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", name)
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
	kernels.CountBeyond(kernels.Active(), kernels.NewList(1, [][]float32{x}), &fallback.CountBeyondScalars{Limit: math.MaxFloat32}, &lanes)
	return int64(fallback.Total(&lanes))
}

// SumSquares is the sum of the squares of x, in float64 and in a fixed order: the
// square of a norm, for callers who step on goroutines of their own.
func SumSquares(x []float32) float64 {
	var lanes [fallback.Lanes]float64
	kernels.SumSquares(kernels.Active(), kernels.NewList(1, [][]float32{x}), &lanes)
	return fallback.Total(&lanes)
}

// refuse applies the policy and reports whether the step is skipped.
func (o *Optimizer) refuse(grads [][]float32) (skip bool, err error) {
	o.nonFinite = 0
	if o.clips() && o.withinLimits() {
		return false, nil
	}
	return o.judge(o.engine.CountBeyond(grads, o.factor()))
}

// judge applies the policy to gradients that have so many elements of which no step can be
// taken.
func (o *Optimizer) judge(count int64, first int) (skip bool, err error) {
	if o.nonFinite = count; count == 0 {
		return false, nil
	}
	o.skipped++
	if o.policy == Refuse {
		return true, &NonFiniteError{first, o.tensors[first].name, count}
	}
	return true, nil
}

// withinLimits reports whether the norm says that there is nothing to count.
func (o *Optimizer) withinLimits() bool {
	factor := math.Abs(o.factor())
	for k := range o.groups {
		if !(o.norm/math.Abs(o.scale)*factor <= float64(o.engine.Limit(k, factor))*factor) {
			return false
		}
	}
	return true
}

// factor is that of the gradients, clipped unless their norm is not finite.
func (o *Optimizer) factor() float64 {
	if o.clip > 0 {
		return o.scale * o.clip
	}
	return o.scale
}

// A known is where a tensor's buffers were when they were last checked. As long
// as all are where they were, they overlap no more than they did then.
type known struct{ params, grads uintptr }

// nowhere is where no buffer is.
const nowhere = 1

// checkSet checks the arguments of a step.
func (o *Optimizer) checkSet(params, grads [][]float32) error {
	if len(params) != len(o.tensors) {
		return &ArgError{"len(params)", len(params), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	if len(grads) != len(o.tensors) {
		return &ArgError{"len(grads)", len(grads), fmt.Sprintf("the number of tensors, %d", len(o.tensors))}
	}
	movedParams, movedGrads := len(o.owned) == 0, o.standIns()
	o.missing = false
	list := o.known[:len(params)]
	grads = grads[:len(params)]
	for k, n := range o.sizes[:len(params)] {
		p, g := params[k], grads[k]
		if len(p) != n || len(g) != n {
			if len(p) != n || g != nil {
				return o.wrongLength(k, p, g)
			}
			o.missing = true
		}
		movedParams = movedParams || list[k].params != address(p)
		movedGrads = movedGrads || list[k].grads != address(g)
	}
	if movedParams {
		if err := o.own(params); err != nil {
			return err
		}
	}
	if !movedParams && !movedGrads {
		return nil
	}
	if o.zeroes && !o.sums() { // or checkShards does
		if err := o.gradsApart(grads); err != nil {
			o.owned = nil
			return err
		}
	}
	return o.moveGrads(params, grads, movedParams)
}

// stateIntervals are where all state is.
func (o *Optimizer) stateIntervals() []interval {
	var list []interval
	for k := range o.tensors {
		for j, s := range o.engine.Buffers(k) {
			list = append(list, o.interval(kernels.TypedOf(s), o.slotsOf(&o.tensors[k])[j].Name, k))
		}
		for _, b := range o.besides(k) {
			list = append(list, o.interval(kernels.TypedOf(b.buffer), b.name, k))
		}
		if c := o.engine.Copied(k); !c.IsNil() {
			list = append(list, o.interval(c, "copies", k))
		}
	}
	return list
}

// own notes where parameters and state are, which must not overlap.
func (o *Optimizer) own(params [][]float32) error {
	list := o.owned[:0]
	o.owned = nil // until they are known to be apart
	for k := range o.tensors {
		list = append(list, o.interval(kernels.TypedOf(params[k]), "params", k))
	}
	list = append(list, o.states...)
	list, err := disjoint(list)
	if err != nil {
		return err
	}
	o.owned = list
	o.findBlocks()
	for k := range params {
		o.known[k] = known{address(params[k]), nowhere} // gradients are apart from others now
	}
	return nil
}

// moveGrads takes gradients that are elsewhere than in the last step, which is the rule
// in frameworks. Each must be apart from all that is written: checkShards looks at those of
// shards.
func (o *Optimizer) moveGrads(params, grads [][]float32, movedParams bool) error {
	sums, list := o.sums(), o.known[:len(grads)]
	last := lastGap{helps: true}
	for k, g := range grads {
		at := address(g)
		if at == list[k].grads {
			continue
		}
		if end := at + 4*uintptr(len(g)); !sums && !o.isApart(at, end, &last) {
			if err := apartFrom(o.owned, o.interval(kernels.TypedOf(g), "grads", k)); err != nil {
				o.owned = nil // what is known is that of an earlier step
				return err
			}
		}
		list[k].grads = at
	}
	o.engine.Place(params, grads, movedParams)
	return nil
}

// A block is memory with parameters and state, and nothing between that has room for a
// gradient.
type block struct{ at, end uintptr }

// findBlocks joins what is owned: thousands of buffers are few blocks, which are faster
// looked through.
func (o *Optimizer) findBlocks() {
	least := uintptr(math.MaxUint)
	for _, x := range o.owned {
		least = min(least, x.size())
	}
	o.blocks = o.blocks[:0]
	for _, x := range o.owned {
		if n := len(o.blocks); n > 0 && x.at-o.blocks[n-1].end < least {
			o.blocks[n-1].end = x.end()
		} else {
			o.blocks = append(o.blocks, block{x.at, x.end()})
		}
	}
	o.chart.draw(o.blocks)
}

// A gap is memory between two blocks, or before or behind all.
type gap struct{ from, to uintptr }

// holds reports whether a buffer is within the gap, or empty.
func (g gap) holds(at, end uintptr) bool { return g.from <= at && end <= g.to || at == end }

// A lastGap is the one that a gradient was found in, and whether the next was there too.
type lastGap struct {
	gap
	helps bool
}

// isApart reports whether a gradient is apart from all blocks. Those of many tensors mostly lie
// side by side; where they do not, the chart is faster than a search for each.
func (o *Optimizer) isApart(at, end uintptr, last *lastGap) bool {
	if last.holds(at, end) {
		last.helps = true
		return true
	}
	if !last.helps && o.chart.shows(at, end) {
		return true
	}
	*last = lastGap{gap: o.gapAt(at)}
	return last.holds(at, end)
}

// gapAt is the gap in which a place is, or the one before the block that has it.
func (o *Optimizer) gapAt(at uintptr) gap {
	k, _ := slices.BinarySearchFunc(o.blocks, at, func(x block, at uintptr) int {
		if x.end <= at {
			return -1
		}
		return 1
	})
	g := gap{0, math.MaxUint}
	if k > 0 {
		g.from = o.blocks[k-1].end
	}
	if k < len(o.blocks) {
		g.to = o.blocks[k].at
	}
	return g
}

// apartFrom checks a buffer against sorted others.
func apartFrom(list []interval, g interval) error {
	k, _ := slices.BinarySearchFunc(list, g.at, func(x interval, at uintptr) int {
		if x.end() <= at {
			return -1
		}
		return 1
	})
	if k < len(list) && g.overlaps(list[k]) {
		return overlap(g, list[k])
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
	return &ArgError{"len(" + name + ")" + quoted(o.tensors[k].name), n, fmt.Sprintf("the tensor's size, %d", o.tensors[k].size)}
}

// An interval is a buffer's place in memory.
type interval struct {
	at     uintptr
	n      int // elements
	name   string
	tensor int
	of     string // the tensor's name
	kind   kernels.Element
}

// interval is that of a buffer of any type.
func (o *Optimizer) interval(x Typed, name string, tensor int) interval {
	return interval{x.Address(), x.Len(), name, tensor, o.tensors[tensor].name, x.Element()}
}

func address(s []float32) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }

func (x interval) size() uintptr { return uintptr(x.kind.Bytes()) * uintptr(x.n) }

func (x interval) end() uintptr { return x.at + x.size() }

func (x interval) overlaps(y interval) bool {
	return x.n > 0 && y.n > 0 && x.at < y.end() && y.at < x.end()
}

func (x interval) String() string {
	return fmt.Sprintf("%s of tensor %d%s", x.name, x.tensor, quoted(x.of))
}

func overlap(x, y interval) error {
	return &ArgError{x.String(), x.place(), fmt.Sprintf("a buffer apart from %v, %s", y, y.place())}
}

// place is where a buffer is, with its type if that is not the usual one.
func (x interval) place() string {
	if x.kind == kernels.Float32 {
		return fmt.Sprintf("%d elements at %#x", x.n, x.at)
	}
	return fmt.Sprintf("%d elements of %v at %#x", x.n, x.kind, x.at)
}

// disjoint sorts buffers and checks that no two overlap. Of two at the same place it
// names the one that is listed first. Empty ones are left out.
func disjoint(list []interval) ([]interval, error) {
	list = slices.DeleteFunc(list, func(x interval) bool { return x.n == 0 })
	slices.SortStableFunc(list, func(a, b interval) int { return cmp.Compare(a.at, b.at) })
	for k := 1; k < len(list); k++ {
		if list[k-1].overlaps(list[k]) {
			return nil, overlap(list[k-1], list[k])
		}
	}
	return list, nil
}
