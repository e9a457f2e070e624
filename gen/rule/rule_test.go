package rule_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
)

var (
	inf  = math.Float32bits(float32(math.Inf(1)))
	nan  = uint32(0x7fc00000)
	sign = uint32(1 << 31) // of -0, or added to another
)

func bits(x float32) uint32 { return math.Float32bits(x) }

// pickOne makes numbers of a mask.
func pickOne(mask Value, r *Rule) Value { return mask.Select(r.Bits(1), r.Bits(0)) }

// TestMeaning is what each operation gives where instruction sets differ.
func TestMeaning(t *testing.T) {
	one, two := bits(1), bits(2)
	type op = func(r *Rule, x, y Value) Value
	for _, c := range []struct {
		name string
		op   op
		// Two operands and the result.
		cases [][3]uint32
	}{
		{"Add", func(_ *Rule, x, y Value) Value { return x.Add(y) },
			[][3]uint32{{one, two, bits(3)}, {inf, inf | sign, nan}, {0, sign, 0}, {sign, sign, sign}, {1, 1, 2}, {bits(0x1p24), one, bits(0x1p24)}, {nan, one, nan}}},
		{"Sub", func(_ *Rule, x, y Value) Value { return x.Sub(y) },
			[][3]uint32{{one, two, bits(-1)}, {inf, inf, nan}, {one, one, 0}, {sign, 0, sign}, {3, 2, 1}, {one, nan, nan}}},
		{"Mul", func(_ *Rule, x, y Value) Value { return x.Mul(y) },
			[][3]uint32{{two, two, bits(4)}, {inf, 0, nan}, {sign, one, sign}, {bits(0x1p-100), bits(0x1p-49), 1}, {bits(0x1p100), bits(0x1p100), inf}, {nan, 0, nan}}},
		{"FMA", func(r *Rule, x, y Value) Value { return x.FMA(y, r.Const(-1)) },
			[][3]uint32{{two, one, one}, {0x3f800001, 0x3f7fffff, 0x337ffffe}, {inf, inf, inf}, {inf, 0, nan}, {bits(0x1p-100), bits(0x1p-100), bits(-1)}, {nan, one, nan}}},
		{"FNMA", func(r *Rule, x, y Value) Value { return x.FNMA(y, r.Bits(1)) },
			[][3]uint32{{bits(0x1p-75), bits(0x1p-75), 0}, {bits(0x1p-75), bits(-0x1p-75), 2}, {bits(0x1p-75), bits(0x1.8p-75), 0}, {inf, one, inf | sign}, {0, inf, nan}}},
		{"Div", func(_ *Rule, x, y Value) Value { return x.Div(y) },
			[][3]uint32{{one, two, bits(0.5)}, {one, sign, inf | sign}, {0, 0, nan}, {inf, inf, nan}, {one, inf | sign, sign}, {one, bits(3), 0x3eaaaaab}}},
		{"Sqrt", func(_ *Rule, x, _ Value) Value { return x.Sqrt() },
			[][3]uint32{{bits(4), 0, two}, {sign, 0, sign}, {bits(-1), 0, nan}, {inf, 0, inf}, {two, 0, 0x3fb504f3}, {1, 0, 0x1a3504f3}, {nan, 0, nan}}},
		{"Max", func(_ *Rule, x, y Value) Value { return x.Max(y) },
			[][3]uint32{{one, two, two}, {two, one, two}, {nan, one, one}, {one, nan, nan}, {0, sign, sign}, {sign, 0, 0}, {inf | sign, one, one}}},
		{"Min", func(_ *Rule, x, y Value) Value { return x.Min(y) },
			[][3]uint32{{one, two, one}, {two, one, one}, {nan, one, one}, {one, nan, nan}, {0, sign, sign}, {sign, 0, 0}, {inf, one, one}}},
		{"Abs", func(_ *Rule, x, _ Value) Value { return x.Abs() },
			[][3]uint32{{bits(-1), 0, one}, {sign, 0, 0}, {inf | sign, 0, inf}, {nan | sign, 0, nan}, {one, 0, one}}},
		{"Neg", func(_ *Rule, x, _ Value) Value { return x.Neg() },
			[][3]uint32{{one, 0, bits(-1)}, {0, 0, sign}, {sign, 0, 0}, {inf, 0, inf | sign}, {nan, 0, nan}}},
		{"Less", func(r *Rule, x, y Value) Value { return pickOne(x.Less(y), r) },
			[][3]uint32{{one, two, 1}, {one, one, 0}, {sign, 0, 0}, {nan, one, 0}, {one, nan, 0}, {inf | sign, inf, 1}, {0, 1, 1}}},
		{"LessEqual", func(r *Rule, x, y Value) Value { return pickOne(x.LessEqual(y), r) },
			[][3]uint32{{two, one, 0}, {one, one, 1}, {0, sign, 1}, {nan, nan, 0}, {one, nan, 0}, {inf, inf, 1}, {0, 1, 1}}},
		{"Equal", func(r *Rule, x, y Value) Value { return pickOne(x.Equal(y), r) },
			[][3]uint32{{one, one, 1}, {one, two, 0}, {0, sign, 1}, {nan, nan, 0}, {inf, inf, 1}, {0, 1, 0}}},
		{"And", func(_ *Rule, x, y Value) Value { return x.And(y) }, [][3]uint32{{12, 10, 8}, {nan, inf, inf}}},
		{"Or", func(_ *Rule, x, y Value) Value { return x.Or(y) }, [][3]uint32{{12, 10, 14}, {one, sign, bits(-1)}}},
		{"Xor", func(_ *Rule, x, y Value) Value { return x.Xor(y) }, [][3]uint32{{12, 10, 6}, {sign, sign, 0}}},
		{"AddInt", func(_ *Rule, x, y Value) Value { return x.AddInt(y) }, [][3]uint32{{1, 2, 3}, {math.MaxUint32, 2, 1}}},
		{"SubInt", func(_ *Rule, x, y Value) Value { return x.SubInt(y) }, [][3]uint32{{3, 2, 1}, {1, 2, math.MaxUint32}}},
		{"MulInt", func(_ *Rule, x, y Value) Value { return x.MulInt(y) }, [][3]uint32{{3, 2, 6}, {math.MaxUint32, 3, math.MaxUint32 - 2}, {1 << 16, 1 << 16, 0}}},
		{"ShiftLeft", func(_ *Rule, x, _ Value) Value { return x.ShiftLeft(4) }, [][3]uint32{{1, 0, 16}, {sign | 1, 0, 16}}},
		{"ShiftRight", func(_ *Rule, x, _ Value) Value { return x.ShiftRight(4) }, [][3]uint32{{16, 0, 1}, {sign, 0, sign >> 4}}},
		{"ShiftArith", func(_ *Rule, x, _ Value) Value { return x.ShiftArith(4) }, [][3]uint32{{16, 0, 1}, {sign, 0, 0xf8000000}}},
		{"FromInt", func(_ *Rule, x, _ Value) Value { return x.FromInt() },
			[][3]uint32{{3, 0, bits(3)}, {math.MaxUint32, 0, bits(-1)}, {sign, 0, bits(-0x1p31)}, {1<<24 + 1, 0, bits(0x1p24)}, {1<<24 + 3, 0, bits(0x1p24 + 4)}}},
		{"Flush", func(_ *Rule, x, y Value) Value { return x.Flush(y) },
			[][3]uint32{{one, 0x70000000, one}, {bits(0x1p-96), 0x70000000, 0}, {bits(-0x1p-96), 0x70000000, 0}, {sign, 0x7fffffff, 0}, {1, 0x7fffffff, 1}, {nan, 0x70000000, nan}}},
	} {
		r := new(Set).Define(c.name, "", func(r *Rule) {
			x, y := r.Buffer("x"), r.Buffer("y")
			z := r.Buffer("z")
			z.Set(c.op(r, x, y))
		})
		for _, v := range c.cases {
			z := []float32{0}
			r.Eval(Args{Buffers: [][]float32{{math.Float32frombits(v[0])}, {math.Float32frombits(v[1])}, z}})
			got, want := z[0], math.Float32frombits(v[2])
			if bits(got) != v[2] && (got == got || want == want) {
				t.Errorf("%s of %#x and %#x is %#x, want %#x", c.name, v[0], v[1], bits(got), v[2])
			}
		}
	}
}

// TestReductions takes 70 elements, so that lanes 0 to 5 have one more than the
// others, and numbers that tell float64 from float32.
func TestReductions(t *testing.T) {
	r := new(Set).Define("Reductions", "", func(r *Rule) {
		x, y := r.Buffer("x"), r.Buffer("y")
		r.Sum("sum", x)
		r.Dot("dot", x, y)
		r.MaxAbs("max", y)
	})
	const v = 0x1p24 + 2
	var x, y []float32
	for i := range 70 {
		x, y = append(x, v), append(y, float32(-i))
	}
	y[69] = float32(math.NaN())
	var sum, dot [Lanes]float64
	var maxima [Lanes]float32
	r.Eval(Args{
		Buffers: [][]float32{x, y},
		Sums:    map[int]*[Lanes]float64{0: &sum, 1: &dot},
		Maxima:  map[int]*[Lanes]float32{2: &maxima},
	})
	if sum[5] != 3*v || sum[6] != 2*v {
		t.Errorf("sum: %v", sum)
	}
	if dot[4] != -(4+36+68)*v || dot[31] != -(31+63)*v || dot[5] == dot[5] {
		t.Errorf("dot: %v", dot)
	}
	if maxima[5] != 37 || maxima[4] != 68 || maxima[31] != 63 {
		t.Errorf("max: %v", maxima)
	}
}

// TestFold compares with the order of the sum written as a tree: what is
// stride apart meets last where stride is 1.
func TestFold(t *testing.T) {
	r := new(Set).Define("Fold", "", func(r *Rule) {
		z, m, w := r.PerRow("z"), r.Matrix("m"), r.Buffer("w")
		z.SetFold(m.Mul(w))
	})
	const rows, columns = 20, 70
	rng := rand.New(rand.NewPCG(1, 2))
	z, w, m := make([]float32, rows), make([]float32, columns), make([]float32, rows*columns)
	for i := range m {
		m[i], w[i%columns] = rng.Float32()-0.5, 1
	}
	r.Eval(Args{Buffers: [][]float32{z, m, w}})
	for i := range z {
		var lanes [Lanes]float32
		for j, x := range m[i*columns:][:columns] {
			lanes[j%Lanes] += x
		}
		var tree func(j, stride int) float32
		tree = func(j, stride int) float32 {
			if stride == Lanes {
				return lanes[j]
			}
			return tree(j, 2*stride) + tree(j+stride, 2*stride)
		}
		if want := tree(0, 1); z[i] != want {
			t.Errorf("row %d is %g, want %g", i, z[i], want)
		}
	}
}

// TestSchedule looks at every rule, and at two of which each store overwrites
// what a later one needs.
func TestSchedule(t *testing.T) {
	var tricky Set
	tricky.Define("Swap", "", func(r *Rule) {
		x, y := r.Buffer("x"), r.Buffer("y")
		x.Set(y)
		y.Set(x)
	})
	tricky.Define("Rotate", "", func(r *Rule) {
		x, y, z := r.Buffer("x"), r.Buffer("y"), r.Buffer("z")
		x.Set(r.Const(1))
		y.Set(z.Add(y))
		z.Set(x.Mul(y).Sub(z))
		r.Sum("sum", x)
	})
	for _, r := range append(tricky.Rules(), rules.All.Rules()...) {
		var computed, effects []int
		stored := map[int]bool{}
		for id := range r.Nodes {
			if r.Uniform(id) {
				computed = append(computed, id)
			}
		}
		for _, s := range r.Schedule() {
			for _, x := range r.ReadsOf(s) {
				if !slices.Contains(computed, x) {
					t.Errorf("%s: %+v reads node %d, which is not computed yet", r.Name, s, x)
				}
			}
			if s.IsEffect {
				effects = append(effects, s.ID)
				if e := r.Effects[s.ID]; !e.Reduce {
					stored[e.To] = true
				}
				continue
			}
			if slices.Contains(computed, s.ID) {
				t.Errorf("%s: node %d is computed twice", r.Name, s.ID)
			}
			computed = append(computed, s.ID)
			if n := r.Nodes[s.ID]; n.Op == Load && stored[n.X] {
				t.Errorf("%s: %s is loaded after it was stored", r.Name, r.Buffers[n.X].Name)
			}
		}
		for k := range r.Effects {
			if k >= len(effects) || effects[k] != k {
				t.Errorf("%s: the effects are %v", r.Name, effects)
				break
			}
		}
	}
}

// TestTypes gives a mask to an operation on numbers, and the other way round.
func TestTypes(t *testing.T) {
	for name, build := range map[string]func(x Value){
		"add":    func(x Value) { x.Add(x.Less(x)) },
		"select": func(x Value) { x.Select(x, x) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s takes the wrong type", name)
				}
			}()
			new(Set).Define(name, "", func(r *Rule) { build(r.Buffer("x")) })
		}()
	}
}

// counts are how often a schedule does each operation.
func counts(r *Rule) map[Op]int {
	done := map[Op]int{}
	for _, task := range r.Schedule() {
		if !task.IsEffect {
			done[r.Nodes[task.ID].Op]++
		}
	}
	return done
}

// TestSpecialize leaves out what scalars at their usual values leave out, and nothing
// else, and the result is the same.
func TestSpecialize(t *testing.T) {
	r := new(Set).Step("Hand", "", func(s *Step) {
		x, m := s.Gradient(), s.State("m")
		weight, step := s.Scalar("weight"), s.Scalar("step")
		s.Still()
		m1 := s.Lerp(m, x, weight)
		m.Set(m1)
		s.Move(m1.Mul(step))
	})
	usual := r.Specialize(r.Usual)
	if want := []Assumption{{0, IsBits, bits(1)}, {1, IsBits, 0}, {2, IsBits, 0}, {5, IsPositive, 0}}; !slices.Equal(r.Usual, want) || usual.Usual != nil {
		t.Errorf("assumptions %v, want %v", r.Usual, want)
	}
	if done := counts(r); done[Mul] != 5 || done[Select] != 3 || done[Flush] != 2 {
		t.Errorf("the rule has %v", done)
	}
	if done := counts(usual); done[Mul] != 2 || done[Select] != 0 || done[Flush] != 1 || done[Add] != 1 || done[Sub] != 2 {
		t.Errorf("what it comes to has %v", done)
	}
	for _, first := range []uint32{0, 0x0003ffff, 0x003fffff, 0x0fffffff} {
		scalars := []uint32{bits(1), 0, 0, 0x003fffff, first, bits(.25), bits(.5)}
		for _, x := range []uint32{0, sign, 1, 0x0f000000, bits(-3), inf, nan} {
			for _, y := range []uint32{0, sign, 1, 0x0f000000, bits(-3), inf} {
				var got [2][3][]float32
				for k, r := range []*Rule{r, usual} {
					got[k] = [3][]float32{{math.Float32frombits(x)}, {math.Float32frombits(y)}, {.5}}
					r.Eval(Args{Buffers: got[k][:], Scalars: scalars})
				}
				for b := range got[0] {
					a, b := bits(got[0][b][0]), bits(got[1][b][0])
					if a != b && (a&^sign <= inf || b&^sign <= inf) {
						t.Errorf("%#x and %#x become %#x, want %#x", x, y, b, a)
					}
				}
			}
		}
	}
}

// TestDrop is what a mask drops, and that the zero mask drops nothing.
func TestDrop(t *testing.T) {
	r := new(Set).Define("Drop", "", func(r *Rule) {
		x, mask := r.Buffer("x"), r.Scalar("mask")
		x.Set(r.Drop(x, mask))
	})
	for _, c := range []struct{ x, mask, want uint32 }{
		{bits(0x1p-127), 0x003fffff, bits(0x1p-127)}, {bits(-0x1p-127), 0x003fffff, bits(-0x1p-127)},
		{bits(0x1p-128), 0x003fffff, 0}, {bits(-0x1p-128), 0x003fffff, 0},
		{1, 0, 1}, {sign | 1, 0, sign | 1}, {sign, 0, 0}, {bits(3), 0x0fffffff, bits(3)}, {inf | sign, 0x1fffffff, inf | sign},
	} {
		x := []float32{math.Float32frombits(c.x)}
		r.Eval(Args{Buffers: [][]float32{x}, Scalars: []uint32{c.mask}})
		if bits(x[0]) != c.want {
			t.Errorf("%#x with the mask %#x is %#x, want %#x", c.x, c.mask, bits(x[0]), c.want)
		}
	}
}

// TestFoldMax has the largest element of a row wherever it is, without NaN, and the least
// finite number of rows with nothing above it.
func TestFoldMax(t *testing.T) {
	r := new(Set).Define("FoldMax", "", func(r *Rule) {
		z, m := r.PerRow("z"), r.Matrix("m")
		r.Buffer("w")
		z.SetFoldMax(m)
	})
	const columns = 70
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	row := func(x float32) []float32 {
		m := make([]float32, columns)
		for i := range m {
			m[i] = x
		}
		return m
	}
	for at := range columns {
		m := slices.Concat(row(-3), row(-inf), row(nan), row(-5), row(-7))
		m[at], m[3*columns+(at+1)%columns], m[3*columns+at], m[4*columns+at] = -2, nan, -4, inf
		z := make([]float32, 5)
		r.Eval(Args{Buffers: [][]float32{z, m, make([]float32, columns)}})
		if want := []float32{-2, -math.MaxFloat32, -math.MaxFloat32, -4, inf}; !slices.Equal(z, want) {
			t.Fatalf("with the largest at %d: %v, want %v", at, z, want)
		}
	}
}

// TestFoldMost has the largest number of a row wherever it is, without NaN, and +0 of rows with nothing
// above it, whatever the row's own number was.
func TestFoldMost(t *testing.T) {
	r := new(Set).Define("FoldMost", "", func(r *Rule) {
		z, m := r.PerRow("z"), r.Matrix("m")
		r.Buffer("w")
		z.SetFoldMost(m.Mul(z))
	})
	const columns = 70
	negative, nan := float32(math.Copysign(0, -1)), float32(math.NaN())
	for at := range columns {
		m := make([]float32, 3*columns)
		for i := range m {
			m[i] = -1
		}
		m[at], m[columns+at], m[2*columns+at] = 3, nan, negative
		z := []float32{2, 1, 1}
		r.Eval(Args{Buffers: [][]float32{z, m, make([]float32, columns)}})
		if want := []float32{6, 0, 0}; !slices.Equal(z, want) || math.Signbit(float64(z[2])) {
			t.Fatalf("with the largest at %d: %v, want %v", at, z, want)
		}
	}
}
