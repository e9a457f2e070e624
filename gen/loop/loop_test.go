package loop

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/gen/rule"
	"github.com/lockstep-go/lockstep/gen/rules"
)

// machines are of several widths, with and without what a machine may have.
var machines = map[string]Machine{
	"of 4, one by one": {Lanes: 4, Wide: 2, Rows: 2, Singles: true},
	"of 4, in steps":   {Lanes: 4, Wide: 4, Rows: 4, Pairs: true, Steps: true, Singles: true, Whole: true},
	"of 8":             {Lanes: 8, Wide: 4, Rows: 2, Phases: true, Signs: true, Whole: true},
	"of 8, in steps":   {Lanes: 8, Wide: 2, Rows: 3, Steps: true, Masks: true},
	"of 16":            {Lanes: 16, Wide: 4, Rows: 4, Phases: true, Masks: true, Signs: true},
}

// beyond sums what is not 0 where a buffer's elements are 0, as they seem beyond its end;
// across sums over rows too, which must come one after the other; two have elements of 16
// bits.
var (
	own rule.Set
	_   = own.Define("Beyond", "", func(r *rule.Rule) {
		x, y, one := r.Buffer("x"), r.Buffer("y"), r.Const(1)
		r.Sum("sum", one.Sub(x))
		r.Dot("dot", one.Sub(x), one.Sub(y))
	})
	across = own.Define("Across", "", func(r *rule.Rule) {
		r.Buffer("w").Set(r.Matrix("x"))
		r.PerRow("z")
		r.Sum("sum", r.Matrix("y"))
	})
	_ = own.Define("Halves", "", func(r *rule.Rule) {
		x, y := r.BufferOf("x", rule.BF16), r.BufferOf("y", rule.BF16)
		y.Set(x.Add(y))
		r.MaxAbs("max", x)
	})
	_ = own.Define("Rounded", "", func(r *rule.Rule) {
		x, y, z, c := r.BufferOf("x", rule.F16), r.Buffer("y"), r.BufferOf("z", rule.BF16), r.Scalar("c")
		r.Usually(c, rule.IsBits, 1)
		sum := y.Add(x.Mul(c))
		x.Set(sum)
		y.Set(sum)
		z.Set(sum)
	})
)

// TestPrograms runs programs of all rules on all machines, by every plan with all
// invariants in registers, two of them and none, each for a third of the lengths, and
// compares with the rules.
func TestPrograms(t *testing.T) {
	for name, m := range machines {
		for _, r := range slices.Concat(rules.All.Rules(), own.Rules()) {
			rng := rand.New(rand.NewPCG(1, 2))
			for k, p := range m.plans(r) {
				for third, resident := range []int{99, 2, 0} {
					p.resident = resident
					program := lower(roundStores(r), m, m.choice(r, k, p))
					for n := (k + third) % 3; n < 30; n += 3 {
						newRun(r, m, n, rng).compare(t, fmt.Sprintf("%s: %+v", name, p), program)
					}
				}
			}
		}
	}
}

// choice has a plan, for usual scalars the one of the same number if there is one.
func (m Machine) choice(r *rule.Rule, k int, p plan) choice {
	c := choice{general: &p}
	if len(r.Usual) > 0 {
		plans := m.plans(r.Specialize(r.Usual))
		usual := plans[k%len(plans)]
		usual.resident = p.resident
		c.usual = &usual
	}
	return c
}

// random are numbers of all sizes.
func random(n int, rng *rand.Rand) []uint32 {
	var words []uint32
	for range n {
		x := uint32(rng.Uint64())
		if rng.IntN(3) > 0 {
			x = math.Float32bits(rng.Float32() - .25)
		}
		words = append(words, x)
	}
	return words
}

// A run is a call of a program and of its rule, on the same buffers.
type run struct {
	*computer
	r       *rule.Rule
	n       int
	scalars []uint32
	at      [][]int64 // by tensor and buffer
	args    []rule.Args
	sums    map[int]*[rule.Lanes]float64
	maxima  map[int]*[rule.Lanes]float32
}

func newRun(r *rule.Rule, m Machine, n int, rng *rand.Rand) *run {
	x := &run{computer: &computer{m: m, params: map[string][2]int64{}}, r: r, n: n,
		sums: map[int]*[rule.Lanes]float64{}, maxima: map[int]*[rule.Lanes]float32{}}
	for k, d := range r.Reductions {
		x.sums[k], x.maxima[k] = new([rule.Lanes]float64), new([rule.Lanes]float32)
		x.params[d.Name] = [2]int64{x.place(make([]uint32, 2*rule.Lanes))}
	}
	x.choose(rng)
	tensors := 1 + n%9
	if r.IsApart() {
		tensors = 1
	}
	var headers []uint32
	for k := range tensors {
		headers = append(headers, x.tensor((n*n+31*k)%150, rng)...)
	}
	x.params[rule.List] = [2]int64{x.place(headers), int64(len(headers) / 6)}
	return x
}

// choose chooses scalars, every second time the usual ones.
func (x *run) choose(rng *rand.Rand) {
	for range x.r.Scalars {
		x.scalars = append(x.scalars, math.Float32bits(rng.Float32()+.01))
	}
	for _, u := range x.r.Usual {
		if x.n%2 == 0 && u.Cond == rule.IsBits {
			x.scalars[u.Scalar] = u.Bits
		}
	}
	x.params["c"] = [2]int64{x.place(x.scalars)}
}

// tensor places the buffers of a tensor and returns their headers.
func (x *run) tensor(n int, rng *rand.Rand) (headers []uint32) {
	a := rule.Args{Scalars: x.scalars, Sums: x.sums, Maxima: x.maxima}
	var places []int64
	for _, b := range x.r.Buffers {
		size := map[rule.Shape]int{rule.Stream: n, rule.Matrix: n * (x.n % 7), rule.PerRow: x.n % 7}[b.Shape]
		words := random(size, rng)
		for i := range words {
			words[i] = b.Type.Stored(words[i])
		}
		var floats []float32
		for _, w := range words {
			floats = append(floats, math.Float32frombits(w))
		}
		place := x.placeOf(words, b.Type)
		x.params[b.Name] = [2]int64{place, int64(size)}
		a.Buffers, places = append(a.Buffers, floats), append(places, place)
		headers = append(headers, uint32(place), 0, uint32(size), 0, 0, 0)
	}
	x.at, x.args = append(x.at, places), append(x.args, a)
	return headers
}

// compare runs both, and compares all of the buffers and the lanes.
func (x *run) compare(t *testing.T, machine string, p *Program) {
	t.Helper()
	x.run(p)
	for k, a := range x.args {
		x.r.Eval(a)
		for b, list := range a.Buffers {
			for i, want := range list {
				buffer := x.r.Buffers[b]
				if got := x.element(x.at[k][b], i, buffer.Type); !same(float64(got), float64(want)) {
					t.Fatalf("%s, %s: %d: tensor %d: %s[%d] is %g, want %g", x.r.Name, machine, x.n, k, buffer.Name, i, got, want)
				}
			}
		}
	}
	for k, d := range x.r.Reductions {
		for lane := range rule.Lanes {
			at := x.memory[x.params[d.Name][0]:]
			got, want := double(at, lane), x.sums[k][lane]
			if d.Kind == rule.MaxAbs {
				got, want = float64(float(at, lane)), float64(x.maxima[k][lane])
			}
			if !same(got, want) {
				t.Fatalf("%s, %s: %d: lane %d of %s is %g, want %g", x.r.Name, machine, x.n, lane, d.Name, got, want)
			}
		}
	}
}

// same reports whether two numbers have the same bits, or are NaN both.
func same(x, y float64) bool {
	return math.Float64bits(x) == math.Float64bits(y) || x != x && y != y
}

// residents counts the vectors that are set before a label and read behind it.
func residents(p *Program, label string) int {
	at := slices.IndexFunc(p.Insts, func(in Inst) bool { return in.Op == Label && in.Label == label })
	read := map[Reg]bool{}
	for _, in := range p.Insts[at:] {
		for _, r := range in.Reads() {
			read[r] = true
		}
	}
	n := 0
	for _, in := range p.Insts[:at] {
		if in.Dst.Kind == Vector && read[in.Dst] {
			n++
			read[in.Dst] = false
		}
	}
	return n
}

// TestBest has room for three invariants in each part, and wants of all plans the one
// that costs the least.
func TestBest(t *testing.T) {
	const room = 3
	for _, m := range []Machine{machines["of 4, in steps"], machines["of 8"]} {
		for cheap := 1; cheap <= m.inMove(); cheap++ {
			shown := 0
			p := Best(rules.Adam, m, func(p *Program) (cost float64, lacks int) {
				shown++
				for _, l := range p.Mains {
					lacks = max(lacks, residents(p, strings.TrimSuffix(l.Label, "main")+"entry")-room)
					if sideBySide(p) != cheap {
						cost++
					}
				}
				return cost, lacks
			})
			if n := sideBySide(p); n != cheap {
				t.Errorf("%d vectors are side by side, want %d", n, cheap)
			}
			for _, label := range []string{"usualentry", "entry"} {
				if n := residents(p, label); n != room {
					t.Errorf("%s: %d invariants are in registers, want %d", label, n, room)
				}
			}
			if most := 4 * m.inMove(); shown > most {
				t.Errorf("%d programs were looked at, want at most %d", shown, most)
			}
		}
	}
}

// sideBySide is how many vectors a load takes at most.
func sideBySide(p *Program) int {
	n := 1
	for _, in := range p.Insts {
		if in.Dst2.Kind == Vector {
			n = 2
		}
	}
	return n
}

// TestShort has room for no plan.
func TestShort(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Best(rules.Adam, machines["of 8"], func(*Program) (float64, int) { return 0, 1 })
}

// TestRows has rows side by side where nothing is summed across them.
func TestRows(t *testing.T) {
	m := machines["of 16"]
	for r, want := range map[*rule.Rule]int{rules.Adam: 1, across: 1, rules.Dots: 4, rules.RankOne: 4} {
		if n := m.rows(r); n != want {
			t.Errorf("%s: up to %d rows are side by side, want %d", r.Name, n, want)
		}
	}
}
