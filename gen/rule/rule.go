// Package rule describes a kernel as a graph of lane-wise operations on
// float32 values. A rule is written once, from the formula; package loop lowers it to
// a program, of which amd64 and arm64 make assembly, and Eval runs it in Go.
//
// Every operation has one meaning, the same on every instruction set, for NaN,
// both zeros, infinities and subnormals too, and every float operation rounds
// once. Nothing is fused or reordered. A NaN is a NaN: its payload and sign are
// outside the promise.
//
// A rule per instruction set would be three chances to disagree. One graph is
// one, and the reference in package fallback, written by hand from the formula
// and not from the graph, is there to catch it. In return the language is kept
// small: no branches, no gathers, no lane crossing but the fixed reductions.
package rule

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// Lanes is the number of partial results of every reduction: element i goes to
// lane i mod 32. 32 lanes are two AVX-512 registers, four of AVX2 and eight of
// NEON, so that the same order is natural on all of them.
const Lanes = 32

// An Op is an operation of the graph.
type Op uint8

const (
	Load   Op = iota // element of buffer X
	Scalar           // scalar X, the same in every lane
	Const            // the bits Imm, the same in every lane

	Add  // X + Y
	Sub  // X - Y
	Mul  // X * Y
	Div  // X / Y
	Sqrt // √X, correctly rounded; √-0 is -0
	Max  // X > Y ? X : Y, so Y when either is NaN or both are zero
	Min  // X < Y ? X : Y, likewise
	Abs  // X without its sign bit
	Neg  // X with its sign bit flipped
	FMA  // X * Y + Z, rounded once
	FNMA // Z - X * Y, rounded once

	Less      // mask: X < Y, false for NaN
	LessEqual // mask: X <= Y, false for NaN
	Equal     // mask: X == Y, false for NaN, true for +0 and -0
	Select    // X ? Y : Z

	And        // X & Y on the bits
	Or         // X | Y on the bits
	Xor        // X ^ Y on the bits
	AddInt     // X + Y on the bits, wrapping
	SubInt     // X - Y on the bits, wrapping
	MulInt     // X * Y on the bits, wrapping
	ShiftLeft  // X << Imm on the bits
	ShiftRight // X >> Imm on the bits, filled with zeros
	ShiftArith // X >> Imm on the bits, filled with the sign
	FromInt    // the bits of X as a signed integer, converted to float

	Flush // X where X and Y have a bit in common, else +0
)

var opNames = [...]string{
	"load", "scalar", "const", "add", "sub", "mul", "div", "sqrt", "max", "min", "abs", "neg", "fma", "fnma",
	"less", "lessequal", "equal", "select", "and", "or", "xor", "addint", "subint", "mulint",
	"shiftleft", "shiftright", "shiftarith", "fromint", "flush",
}

func (o Op) String() string { return opNames[o] }

// Operands is how many of X, Y and Z are nodes.
func (o Op) Operands() int {
	switch o {
	case Load, Scalar, Const:
		return 0
	case Sqrt, Abs, Neg, ShiftLeft, ShiftRight, ShiftArith, FromInt:
		return 1
	case Select, FMA, FNMA:
		return 3
	}
	return 2
}

// IsMask reports whether the result is a mask, which only Select can read.
func (o Op) IsMask() bool { return o == Less || o == LessEqual || o == Equal }

// A Node is one operation. X, Y and Z are the IDs of its operands, or for Load
// and Scalar X is the slot.
type Node struct {
	Op      Op
	X, Y, Z int
	Imm     uint32
}

// Operands lists the IDs of the nodes that n reads.
func (n Node) Operands() []int { return []int{n.X, n.Y, n.Z}[:n.Op.Operands()] }

// A Shape says how a buffer is walked.
type Shape uint8

const (
	Stream Shape = iota // one element per column: the usual buffer
	Matrix              // rows × columns, row-major
	PerRow              // one element per row, the same in every lane of the row
)

// A Type is how a buffer's elements are in memory. Kernels compute with float32
// alone: types exist at loads and stores.
type Type uint8

const (
	F32  Type = iota // float32
	BF16             // the upper half of a float32, stored rounded to nearest even
	F16              // binary16 of IEEE 754, stored rounded to nearest even
)

// Go is the type in Go.
func (t Type) Go() string { return [...]string{"float32", "fallback.BF16", "fallback.F16"}[t] }

// Bytes is the size of an element.
func (t Type) Bytes() int {
	if t == F32 {
		return 4
	}
	return 2
}

// A Buffer is a parameter: the elements of one tensor, or of a matrix.
type Buffer struct {
	Name  string
	Shape Shape
	Type  Type
}

// A Kind is how a reduction combines its lanes' elements.
type Kind uint8

const (
	// Sum adds the elements as float64, into *[Lanes]float64.
	Sum Kind = iota
	// Dot adds the products of two elements as float64, in which they are
	// exact, into *[Lanes]float64.
	Dot
	// MaxAbs keeps the largest magnitude, NaN apart, in *[Lanes]float32.
	MaxAbs
	// Fold adds the elements of one row as float32 and then the lanes, j and
	// j+16, then j and j+8, j+4, j+2, j+1, and stores the sum in a PerRow
	// buffer.
	Fold
	// FoldMax keeps the largest element of one row, NaN apart and at least Lowest, in
	// lanes that are compared in Fold's order, and stores it in a PerRow buffer.
	FoldMax
	// FoldMost keeps the largest number of one row, NaN apart and at least +0, and stores it in a
	// PerRow buffer: the same in any order and any lanes.
	FoldMost
)

// Lowest is the bits of the least finite number, which FoldMax begins with: a row without
// a number above it has that.
const Lowest = 0xff7fffff

// Folds reports whether the reduction is of one row.
func (k Kind) Folds() bool { return k == Fold || k == FoldMax || k == FoldMost }

// Start is the bits that a lane of a row begins with.
func (k Kind) Start() uint32 {
	if k == FoldMax {
		return Lowest
	}
	return 0
}

// Joins is the operation that joins a lane of a row with another.
func (k Kind) Joins() Op {
	if k == Fold {
		return Add
	}
	return Max
}

// An Effect is what a rule leaves behind: a store to a buffer, or a reduction.
type Effect struct {
	Reduce bool
	Kind   Kind
	Raw    bool // a store of the upper halves of the bits to a buffer of BF16, as they are
	To     int  // the buffer stored to, or the reduction's slot
	X, Y   int  // the nodes; Y for Dot only
}

// A Rule is a kernel: its parameters, its graph and its effects. Doc is its formula,
// which heads the kernels.
type Rule struct {
	Name, Doc  string
	Buffers    []Buffer
	Scalars    []string
	Reductions []Reduction
	Nodes      []Node
	Effects    []Effect
	Usual      []Assumption
	Fetches    bool // matrices that are read are fetched ahead: other kernels run between the calls

	seen      map[Node]int
	redundant map[int]Assumption
}

// A Reduction is a parameter that receives the lanes of a reduction.
type Reduction struct {
	Name string
	Kind Kind
}

// Type is the Go type of the parameter.
func (d Reduction) Type() string {
	if d.Kind == MaxAbs {
		return fmt.Sprintf("*[%d]float32", Lanes)
	}
	return fmt.Sprintf("*[%d]float64", Lanes)
}

// A Set is a named list of rules that are emitted together.
type Set struct {
	byName map[string]*Rule
}

// Define builds a rule from its formula and adds it to the set.
func (s *Set) Define(name, doc string, build func(r *Rule)) *Rule {
	r := &Rule{Name: name, Doc: doc, seen: map[Node]int{}}
	build(r)
	if s.byName == nil {
		s.byName = map[string]*Rule{}
	}
	if s.byName[name] != nil {
		panic("rule: " + name + " is defined twice")
	}
	s.byName[name] = r
	return r
}

// Rules lists the set by name.
func (s *Set) Rules() []*Rule {
	var rules []*Rule
	for _, r := range s.byName {
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b *Rule) int { return strings.Compare(a.Name, b.Name) })
	return rules
}

// IsMatrix reports whether the kernel walks rows.
func (r *Rule) IsMatrix() bool {
	return slices.ContainsFunc(r.Buffers, func(b Buffer) bool { return b.Shape == Matrix })
}

// IsTyped reports whether the kernel has buffers of another type than float32.
func (r *Rule) IsTyped() bool {
	return slices.ContainsFunc(r.Buffers, func(b Buffer) bool { return b.Type != F32 })
}

// IsApart reports whether the buffers are parameters of their own, and not a list: those
// of a matrix, or of one tensor if they are of several types.
func (r *Rule) IsApart() bool { return r.IsMatrix() || r.IsTyped() }

// Has reports whether the kernel has an operation.
func (r *Rule) Has(op Op) bool {
	return slices.ContainsFunc(r.Nodes, func(n Node) bool { return n.Op == op })
}

// First is the first buffer of a shape; its length is the number of columns
// (Stream) or of rows (PerRow).
func (r *Rule) First(s Shape) int {
	return slices.IndexFunc(r.Buffers, func(b Buffer) bool { return b.Shape == s })
}

// List is the name of the list of buffers in a kernel's parameters.
const List = "list"

// Params is the kernel's Go parameter list, c being the type of the scalars. The
// buffers are a list, those of one tensor after those of another, or IsApart parameters
// of their own.
func (r *Rule) Params(c string) string {
	params := []string{List + " [][]float32"}
	if r.IsApart() {
		params = r.typedBuffers()
	}
	if len(r.Scalars) > 0 {
		params = append(params, "c "+c)
	}
	for _, d := range r.Reductions {
		params = append(params, d.Name+" "+d.Type())
	}
	return strings.Join(params, ", ")
}

// typedBuffers are the buffers as parameters.
func (r *Rule) typedBuffers() []string {
	var list []string
	for k, b := range r.Buffers {
		if last := k+1 == len(r.Buffers); last || r.Buffers[k+1].Type != b.Type {
			list = append(list, b.Name+" []"+b.Type.Go())
		} else {
			list = append(list, b.Name) // whose type is the next one's
		}
	}
	return list
}

// BufferNames names the buffers in their order.
func (r *Rule) BufferNames() []string {
	var names []string
	for _, b := range r.Buffers {
		names = append(names, b.Name)
	}
	return names
}

// Loads reports whether the kernel loads from a buffer.
func (r *Rule) Loads(buffer int) bool {
	return slices.ContainsFunc(r.Schedule(), func(s Task) bool {
		return !s.IsEffect && r.Nodes[s.ID] == Node{Op: Load, X: buffer}
	})
}

// Stores reports whether the kernel stores to a buffer.
func (r *Rule) Stores(buffer int) bool {
	return slices.ContainsFunc(r.Effects, func(e Effect) bool {
		return e.To == buffer && (!e.Reduce || e.Kind.Folds())
	})
}

// Uniform reports whether a node is the same in every lane of a call: a scalar, a
// constant, or what is computed from these alone.
func (r *Rule) Uniform(id int) bool {
	n := r.Nodes[id]
	if n.Op == Load {
		return false
	}
	return !slices.ContainsFunc(n.Operands(), func(x int) bool { return !r.Uniform(x) })
}

// Long reports whether a vector is work enough for an iteration of the kernel: a rule of
// many operations, or with more sums than registers are there for. Beside operations the
// lanes of one, 8 registers of AVX2 with what is added to them, count as ten, and so does a
// buffer of another type than float32, which takes several instructions to move. A product that is
// fused with a sum counts as both.
func (r *Rule) Long() bool {
	typed, tasks := 0, r.Schedule()
	operations := len(tasks)
	for _, t := range tasks {
		if op := r.Nodes[t.ID].Op; !t.IsEffect && (op == FMA || op == FNMA) {
			operations++
		}
	}
	for _, b := range r.Buffers {
		if b.Type != F32 {
			typed++
		}
	}
	return operations+10*(len(r.Reductions)+typed) > tune.LongBody || len(r.Reductions) > 1
}

// A Value is a node under construction.
type Value struct {
	r  *Rule
	id int
}

// node returns the value of n, reusing an equal node if there is one.
func (r *Rule) node(n Node) Value {
	for k, id := range n.Operands() {
		if mask := k == 0 && n.Op == Select; r.Nodes[id].Op.IsMask() != mask {
			panic(fmt.Sprintf("rule: %s: operand %d of %v has the wrong type", r.Name, k, n.Op))
		}
	}
	id, ok := r.seen[n]
	if !ok {
		id = len(r.Nodes)
		r.Nodes, r.seen[n] = append(r.Nodes, n), id
	}
	return Value{r, id}
}

func (r *Rule) buffer(name string, s Shape, t Type) Value {
	r.Buffers = append(r.Buffers, Buffer{name, s, t})
	return r.node(Node{Op: Load, X: len(r.Buffers) - 1})
}

// Buffer declares the next parameter, a buffer of the kernel's length. It is
// read only if its value is used.
func (r *Rule) Buffer(name string) Value { return r.buffer(name, Stream, F32) }

// BufferOf is Buffer for elements of a type.
func (r *Rule) BufferOf(name string, t Type) Value { return r.buffer(name, Stream, t) }

// Matrix declares a row-major matrix, with as many columns as the streams have
// elements.
func (r *Rule) Matrix(name string) Value { return r.buffer(name, Matrix, F32) }

// PerRow declares a buffer with one element for each row of the matrix.
func (r *Rule) PerRow(name string) Value { return r.buffer(name, PerRow, F32) }

// Scalar declares the next of the kernel's scalars.
func (r *Rule) Scalar(name string) Value {
	r.Scalars = append(r.Scalars, name)
	return r.node(Node{Op: Scalar, X: len(r.Scalars) - 1})
}

// Const is a number of the formula.
func (r *Rule) Const(x float32) Value { return r.Bits(math.Float32bits(x)) }

// Bits is a constant given by its bits.
func (r *Rule) Bits(x uint32) Value { return r.node(Node{Op: Const, Imm: x}) }

func (x Value) unary(op Op) Value           { return x.r.node(Node{Op: op, X: x.id}) }
func (x Value) binary(op Op, y Value) Value { return x.r.node(Node{Op: op, X: x.id, Y: y.id}) }
func (x Value) ternary(op Op, y, z Value) Value {
	return x.r.node(Node{Op: op, X: x.id, Y: y.id, Z: z.id})
}
func (x Value) shift(op Op, by uint32) Value { return x.r.node(Node{Op: op, X: x.id, Imm: by}) }
func (x Value) Add(y Value) Value            { return x.binary(Add, y) }
func (x Value) Sub(y Value) Value            { return x.binary(Sub, y) }
func (x Value) Mul(y Value) Value            { return x.binary(Mul, y) }
func (x Value) Div(y Value) Value            { return x.binary(Div, y) }
func (x Value) Sqrt() Value                  { return x.unary(Sqrt) }
func (x Value) Max(y Value) Value            { return x.binary(Max, y) }
func (x Value) Min(y Value) Value            { return x.binary(Min, y) }
func (x Value) Abs() Value                   { return x.unary(Abs) }
func (x Value) Neg() Value                   { return x.unary(Neg) }
func (x Value) Less(y Value) Value           { return x.binary(Less, y) }
func (x Value) LessEqual(y Value) Value      { return x.binary(LessEqual, y) }
func (x Value) Equal(y Value) Value          { return x.binary(Equal, y) }
func (x Value) And(y Value) Value            { return x.binary(And, y) }
func (x Value) Or(y Value) Value             { return x.binary(Or, y) }
func (x Value) Xor(y Value) Value            { return x.binary(Xor, y) }
func (x Value) AddInt(y Value) Value         { return x.binary(AddInt, y) }
func (x Value) SubInt(y Value) Value         { return x.binary(SubInt, y) }
func (x Value) MulInt(y Value) Value         { return x.binary(MulInt, y) }
func (x Value) ShiftLeft(by uint32) Value    { return x.shift(ShiftLeft, by) }
func (x Value) ShiftRight(by uint32) Value   { return x.shift(ShiftRight, by) }
func (x Value) ShiftArith(by uint32) Value   { return x.shift(ShiftArith, by) }
func (x Value) FromInt() Value               { return x.unary(FromInt) }
func (x Value) Flush(keep Value) Value       { return x.binary(Flush, keep) }
func (x Value) FMA(y, z Value) Value         { return x.ternary(FMA, y, z) }
func (x Value) FNMA(y, z Value) Value        { return x.ternary(FNMA, y, z) }
func (mask Value) Select(yes, no Value) Value {
	return mask.ternary(Select, yes, no)
}

// Set stores v to the buffer that x stands for.
func (x Value) Set(v Value) {
	x.r.Effects = append(x.r.Effects, Effect{To: x.r.Nodes[x.id].X, X: v.id, Y: v.id})
}

// SetUpper stores the upper halves of the bits of v to the buffer of BF16 that x stands for, and
// rounds nothing.
func (x Value) SetUpper(v Value) {
	x.r.Effects = append(x.r.Effects, Effect{Raw: true, To: x.r.Nodes[x.id].X, X: v.id, Y: v.id})
}

// SetFold stores the Fold of v over a row to the PerRow buffer x.
func (x Value) SetFold(v Value) {
	x.r.Effects = append(x.r.Effects, Effect{Reduce: true, Kind: Fold, To: x.r.Nodes[x.id].X, X: v.id, Y: v.id})
}

// SetFoldMax stores the FoldMax of v over a row to the PerRow buffer x.
func (x Value) SetFoldMax(v Value) {
	x.r.Effects = append(x.r.Effects, Effect{Reduce: true, Kind: FoldMax, To: x.r.Nodes[x.id].X, X: v.id, Y: v.id})
}

// SetFoldMost stores the FoldMost of v over a row to the PerRow buffer x.
func (x Value) SetFoldMost(v Value) {
	x.r.Effects = append(x.r.Effects, Effect{Reduce: true, Kind: FoldMost, To: x.r.Nodes[x.id].X, X: v.id, Y: v.id})
}

func (r *Rule) reduce(name string, k Kind, x, y Value) {
	r.Effects = append(r.Effects, Effect{Reduce: true, Kind: k, To: len(r.Reductions), X: x.id, Y: y.id})
	r.Reductions = append(r.Reductions, Reduction{name, k})
}

// Sum declares a parameter to whose lanes x is added.
func (r *Rule) Sum(name string, x Value) { r.reduce(name, Sum, x, x) }

// Dot declares a parameter to whose lanes the product of x and y is added.
func (r *Rule) Dot(name string, x, y Value) { r.reduce(name, Dot, x, y) }

// MaxAbs declares a parameter whose lanes keep the largest magnitude of x.
func (r *Rule) MaxAbs(name string, x Value) { r.reduce(name, MaxAbs, x, x) }
