// Package update has what is refused, each in a function with the message that it leads to.
package update

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/kernels"
)

type pair struct{ a, b float64 }

var global float64

// want: x * y may be a product that Go fuses
func fusedDirectly(x, y float64) float64 { return x*y + 1 }

// want: p may be a product that Go fuses
func fusedVariable(x, y float64) float64 {
	p := x * y
	return x - p
}

// want: x may be a product that Go fuses
func fusedUpdate(x, y float64) float64 {
	x *= y
	x += 1
	return x
}

func product(x, y float64) float64 { return x * y }

// want: product(x, y) may be a product that Go fuses
func fusedResult(x, y float64) float64 { return product(x, y) + 1 }

func products(x, y float64) (first, second float64) { return x, x * y }

// want: b may be a product that Go fuses
func fusedResults(x, y float64) float64 {
	a, b := products(x, y)
	return a + b
}

func addsOne(z float64) float64 { return z + 1 }

func passesProduct(x, y float64) float64 { return addsOne(x * y) }

// want: z may be a product that Go fuses
func fusedParameter(z float64) float64 { return z + 1 }

func passes(x, y float64) float64 { return fusedParameter(-(x * y)) }

type held struct{ product, sum float64 }

func holds(x, y float64) held { return held{product: x * y} }

// want: h.product may be a product that Go fuses
func fusedField(h held) float64 { return h.sum - h.product }

// want: max(x * y, y) may be a product that Go fuses
func fusedMaximum(x, y float64) float64 { return max(x*y, y) + x }

// want: math.Abs(x * y) may be a product that Go fuses
func fusedMagnitude(x, y float64) float64 { return math.Abs(x*y) + x }

type list struct{ of [2]float64 }

func fill(x, y float64) list {
	l := list{}
	l.of[1] = x * y
	return l
}

// want: l.of[0] may be a product that Go fuses
func fusedElement(l list) float64 { return l.of[0] + 1 }

// want: no translation of math.FMA
func usesFMA(x, y float64) float64 { return math.FMA(x, y, 1) }

// want: no translation of math.Pow
func usesPow(x, y float64) float64 { return math.Pow(x, y) }

// want: global is neither a constant nor a variable of the function
func usesGlobal(x float64) float64 { return x + global }

// want: no translation of a *ast.FuncLit
func usesClosure(x float64) float64 {
	f := func() float64 { return x }
	return f()
}

// want: a loop over the values of [2]float64
func rangesValues(l list) float64 {
	s := 0.
	for _, x := range l.of {
		s += x
	}
	return s
}

// want: no translation of a *ast.BranchStmt
func breaks(x float64) float64 {
	for x > 0 {
		break
	}
	return x
}

// want: a loop without a condition
func forever(x float64) float64 {
	for {
		x++
	}
}

// want: a loop that does not end with ++ or --
func strides(x float64) float64 {
	for k := 0; k < 9; k += 2 {
		x++
	}
	return x
}

// want: no translation of an assignment to k
func changesCounter(x float64) float64 {
	for k := range 3 {
		k++
		x += float64(k)
	}
	return x
}

// want: a switch of a value
func switchesValue(n int) float64 {
	switch n {
	case 1:
		return 2
	}
	return 3
}

// want: a switch that does not begin with a case
func switchesNothing(x float64) float64 {
	switch {
	default:
		x++
	}
	return x
}

// want: b is assigned to before a value that may depend on it
func swaps(a, b float64) float64 {
	b, a = a, b
	return a - b
}

// want: p.a is assigned to before a value that may depend on it
func assignsPart(p pair) float64 {
	p.a, global = 1, p.a
	return p.a
}

type counter struct{ n float64 }

func (c *counter) next() float64 {
	c.n++
	return c.n
}

// want: 2 calls that change what a pointer is to
func unordered(c *counter) float64 { return c.next() - c.next() }

// want: 2 calls that change what a pointer is to
func unorderedLiteral(c *counter) pair { return pair{c.next(), c.next()} }

// want: a conversion of float64 to int
func truncates(x float64) int { return int(x) }

// want: no translation of int /
func dividesIntegers(n, m int) int { return n / m }

// want: no translation of int *
func multipliesIntegers(n, m int) int { return n * m }

// want: no translation of int %
func remains(n, m int) int { return n % m }

// want: C has no type for int8 here
func small(n int8) int8 { return n }

// want: C has no type for []float64 here
func slices(x []float64) float64 { return 1 }

// want: C has no type for map[string]float64 here
func maps(x map[string]float64) float64 { return 1 }

// want: no translation of bool == bool
func comparesTruths(x, y float64) bool { return (x > 0) == (y > 0) }

// want: no translation of
func comparesStructs(p, q pair) bool { return p == q }

// want: no translation of string ==
func comparesTexts(s string) bool { return s == "a" }

// want: no translation of string +
func addsTexts(s string) string { return s + "a" }

// want: recurses calls itself
func recurses(x float64) float64 { return recurses(x - 1) }

// want: generic is generic
func generic[T any](x float64) float64 { return x }

// want: C has no type for []float64 here
func variadic(list ...float64) float64 { return 1 }

// want: unnamed has several results, which have no names
func unnamed(x float64) (float64, float64) { return x, x }

// want: nothing returns nothing
func nothing(x float64) {}

// want: min of int, want float64
func minimumOfIntegers(n, m int) int { return min(n, m) }

// want: max of 3 arguments, want 2
func maximumOfThree(x, y, z float64) float64 { return max(x, y, z) }

// want: volatile is a word of C
func keyword(volatile float64) float64 { return volatile }

// want: größe has letters that C has not
func letters(größe float64) float64 { return größe }

// want: no translation of a *ast.StarExpr
func dereferences(p *pair) pair { return *p }

// want: no translation of & *
func takesAddress(p pair) float64 { return addressed(&p) }

func addressed(p *pair) float64 { return p.a }

type shape interface{ area() float64 }

// want: C has no type for
func usesInterface(s shape) float64 { return s.area() }

// want: the method a as a value
func methodValue(m methods) float64 {
	f := m.a
	return f()
}

type methods struct{ x float64 }

func (m methods) a() float64 { return m.x }

// want: no translation of a var
func declares(x float64) float64 {
	var y float64
	return x - y
}

// want: C has no type for struct{a float64} here
func anonymous(x float64) float64 {
	p := struct{ a float64 }{x}
	return p.a
}

// want: no translation of a *ast.ExprStmt
func statement(c *counter) float64 {
	c.next()
	return c.n
}

// An ArgError is bad input.
type ArgError struct {
	Arg   string
	Value any
	Want  string
}

func (e *ArgError) Error() string { return "" }

func firstError(errs ...error) error { return errs[0] }

// want: an ArgError of string
func errorOfText(s string) error { return &ArgError{"s", s, "another"} }

// want: an ArgError with names of fields
func errorWithNames(x float64) error { return &ArgError{Arg: "x", Value: x, Want: "another"} }

// want: an ArgError that is not returned at once
func errorKept(x float64) error {
	err := &ArgError{"x", x, "another"}
	return err
}

// want: no translation of %x for float64
func errorWithVerb(x float64) error { return &ArgError{"x", x, fmt.Sprintf("%x", x)} }

// want: a format of 1 arguments with 2
func errorWithMore(x float64) error { return &ArgError{"x", x, fmt.Sprintf("%g", x, x)} }

// want: 1 calls that change what a pointer is to
func errorImpure(c *counter) error { return firstError(checkNext(c), nil) }

func checkNext(c *counter) error {
	c.n++
	return nil
}

// want: a call that returns an error, in a function that returns none
func errorDropped(c *counter) bool { return checkNext(c) == nil }

// A Rule is what has a plan.
type Rule interface {
	options() Options
	plan() engine.Plan
}

// Options are what every rule has.
type Options struct{ LR float64 }

func (o Options) options() Options { return o }

func scale(in *engine.StepInput) fallback.SGDScalars { return fallback.SGDScalars{Common: in.Common} }

type Closure struct{ Options }

func (r Closure) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: scalars that no method makes
func (r Closure) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Elements(kernels.SGD, r.scalars), engine.Elements(kernels.SGD, scale)}}
}

type NoMethod struct{ Options }

// want: a plan without a pass whose scalars a method makes
func (r NoMethod) plan() engine.Plan { return engine.Plan{Passes: engine.One(kernels.SGD, scale)} }

type TwoMakers struct{ Options }

func (r TwoMakers) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

type maker struct{ x float64 }

func (m *maker) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: scalars made by methods of r and of m
func (r TwoMakers) plan() engine.Plan {
	m := maker{1}
	return engine.Plan{Passes: []engine.Pass{engine.Elements(kernels.SGD, r.scalars), engine.Elements(kernels.SGD, m.scalars)}}
}

type Promoted struct{ TwoMakers }

// want: scalars made by a method that is not a variable's own
func (r Promoted) plan() engine.Plan { return engine.Plan{Passes: engine.One(kernels.SGD, r.scalars)} }

type ByRows struct{ Options }

func (r ByRows) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: what a pass over matrices calls must be a function of package update
func (r ByRows) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.ByRows(engine.NoSums, func(kernels.Table, *engine.Matrix, *fallback.SGDScalars) {}, r.scalars)}}
}

type MeanByRow struct{ ByRows }

func (r MeanByRow) shared(in *engine.StepInput) fallback.Common { return in.Common }

// want: scalars of a row that are made by no method of what rows share
func (r MeanByRow) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.MeanByRow(kernels.SGD, 1, 1, r.shared, func(c *fallback.Common, s float64) fallback.SGDScalars { return fallback.SGDScalars{Common: *c} })}}
}

type Room struct{ ByRows }

func (r Room) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: what a pass over matrices calls must be a function of package update
func (r Room) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Together(rows, r.scalars, func(kernels.Table, int, int, int) int { return 0 }), engine.Elements(kernels.SGD, r.scalars)}}
}

type WholeColumns struct{ ByRows }

func (r WholeColumns) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

func rows(kernels.Table, *engine.Matrix, *fallback.SGDScalars) {}

// want: sums by column of a pass that is not by rows
func (r WholeColumns) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Whole(engine.ByColumn, rows, r.scalars)}}
}

type Columns struct{ ByRows }

func (r Columns) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

func summing(t kernels.Table, list *kernels.List, c *fallback.SGDScalars, sums *engine.Sums) {
	kernels.SGD(t, list, c)
}

// want: sums by column of a pass that is not by rows
func (r Columns) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Summing(engine.ByColumn, summing, r.scalars)}}
}

type Adapter struct{ Columns }

func (r Adapter) scalars(in *engine.StepInput) fallback.LAMBScalars {
	return fallback.LAMBScalars{Common: in.Common}
}

// reversed is refused where it is.
func reversed(t kernels.Table, list *kernels.List, c *fallback.LAMBScalars, sums *engine.Sums) {
	kernels.LAMB(t, list, c, &sums[1], &sums[0])
}

// want: LAMB is called with [t list c &sums[1] &sums[0]], want [t list c &sums[0] &sums[1]]
func (r Adapter) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Summing(engine.OverTensor, reversed, r.scalars)}}
}

type NoKernel struct{ Columns }

func (r NoKernel) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

type impostor struct{}

func (impostor) SGD(kernels.Table, *kernels.List, *fallback.SGDScalars) {}

var other impostor

func elsewhere(t kernels.Table, list *kernels.List, c *fallback.SGDScalars, sums *engine.Sums) {
	other.SGD(t, list, c)
}

// want: other.SGD is no kernel
func (r NoKernel) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Summing(engine.OverTensor, elsewhere, r.scalars)}}
}

type Buffers struct{ Columns }

func (r Buffers) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: a pass of 3 buffers, of which the kernel takes 2
func (r Buffers) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Elements(kernels.SGD, r.scalars, "params", "grads", "params")}}
}

type Later struct{ Columns }

func (r Later) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: the slot v of a plan whose state comes later
func (r Later) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Elements(kernels.SGD, r.scalars, "params", "v")}, State: []engine.Slot{{Name: "v"}}}
}

type Rows struct{ Columns }

func (r Rows) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: state of the extent engine.Extent(1), which C's engine has not
func (r Rows) plan() engine.Plan {
	return engine.Plan{State: []engine.Slot{{Name: "v", Extent: engine.Extent(1)}}, Passes: engine.One(kernels.SGD, r.scalars)}
}

type Begins struct{ Columns }

func (r Begins) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: engine.Params is no constant
func (r Begins) plan() engine.Plan {
	first := engine.Params
	return engine.Plan{State: []engine.Slot{{Name: "v", First: first}}, Passes: engine.One(kernels.SGD, r.scalars)}
}

type Keeps struct{ Columns }

func (r Keeps) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

func keeping(in *engine.StepInput) engine.Kept { return engine.Kept{First: in.PerTensor[0]} }

// want: scalars that no method makes
func (r Keeps) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Elements(kernels.SGD, r.scalars), engine.Keep(keeping)}}
}

type Slots struct{ Columns }

func (r Slots) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

func (r Slots) slots() []engine.Slot { return []engine.Slot{{Name: "a"}, {Name: "b"}, {Name: "c"}} }

// want: more slots than the 8
func (r Slots) plan() engine.Plan {
	p := engine.Plan{State: r.slots(), Passes: engine.One(kernels.SGD, r.scalars)}
	if r.LR > 0 {
		p.State = append(p.State, engine.Slot{Name: "d"}, engine.Slot{Name: "e"}, engine.Slot{Name: "f"}, engine.Slot{Name: "g"}, engine.Slot{Name: "h"}, engine.Slot{Name: "i"})
	}
	return p
}

type Looping struct{ Columns }

func (r Looping) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: more slots than the 8
func (r Looping) plan() engine.Plan {
	p := engine.Plan{Passes: engine.One(kernels.SGD, r.scalars)}
	for range 2 {
		p.State = append(p.State, engine.Slot{Name: "d"})
	}
	return p
}

type Passes struct{ Columns }

func (r Passes) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: 5 passes, of which C's engine has at most 4
func (r Passes) plan() engine.Plan {
	return engine.Plan{Passes: []engine.Pass{engine.Elements(kernels.SGD, r.scalars), engine.Elements(kernels.SGD, r.scalars), engine.Elements(kernels.SGD, r.scalars), engine.Elements(kernels.SGD, r.scalars), engine.Elements(kernels.SGD, r.scalars)}}
}

type Twice struct{ Columns }

func (r Twice) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: a plan that is made twice
func (r Twice) plan() engine.Plan {
	p := engine.Plan{Passes: engine.One(kernels.SGD, r.scalars)}
	p = engine.Plan{}
	return p
}

type Changed struct{ Columns }

func (r Changed) scalars(in *engine.StepInput) fallback.SGDScalars { return scale(in) }

// want: no translation of an assignment to r.LR
func (r Changed) plan() engine.Plan {
	r.LR = 1
	return engine.Plan{Passes: engine.One(kernels.SGD, r.scalars)}
}

func twin(x float64) float64 { return x }

func Twin(x float64) float64 { return -x }

// want: would both be update_twin in C
func clash(x float64) float64 { return twin(x) - Twin(x) }
