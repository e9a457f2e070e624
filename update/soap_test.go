package update_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// soaps are SOAP's variants. Some sides are too long for a preconditioner.
func soaps() map[string]update.SOAP {
	usual := update.SOAP{
		Options: update.Options{LR: 3e-3, WeightDecay: .01}, Beta1: .95, Beta2: .95, ShampooBeta: .95, Eps: 1e-8,
		PreconditionFrequency: 10, MaxPrecondDim: 10000,
	}
	often, short, none, normalized, uncorrected := usual, usual, usual, usual, usual
	often.PreconditionFrequency, often.Beta1, often.Beta2, often.ShampooBeta, often.WeightDecay = 1, .9, .99, .8, 0
	short.MaxPrecondDim, short.Eps = 25, 1e-3
	none.MaxPrecondDim, none.LR = 0, .1
	normalized.NormalizeGrads, normalized.PreconditionFrequency, normalized.Beta1 = true, 3, .4
	uncorrected.NoBiasCorrection, uncorrected.ShampooBeta, uncorrected.KeepSubnormals = true, .9, true
	return map[string]update.SOAP{
		"usual": usual, "often": often, "short": short, "none": none, "normalized": normalized, "uncorrected": uncorrected,
	}
}

func unit64(n int) matrix64 {
	m := newMatrix64(n, n)
	for i := range n {
		m.data[i*n+i] = 1
	}
	return m
}

// A side64 is L and QL, or R and QR.
type side64 struct {
	of, basis matrix64
	there     bool
}

func newSide64(n, most int) side64 { return side64{newMatrix64(n, n), unit64(n), n <= most} }

// learn moves the mean of g·gᵀ.
func (s *side64) learn(g matrix64, beta float64) {
	square := g.times(g.transposed())
	for i, x := range square.data {
		s.of.data[i] = beta*s.of.data[i] + (1-beta)*x
	}
}

// follow makes a step of the iteration, with the QR decomposition by Gram and Schmidt, who go
// over each column twice. It returns where the columns were.
func (s *side64) follow() []int {
	n := s.of.rows
	product := s.of.times(s.basis)
	values, order := make([]float64, n), make([]int, n)
	for j := range n {
		order[j] = j
		for i := range n {
			values[j] += s.basis.data[i*n+j] * product.data[i*n+j]
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		if values[a] > values[b] {
			return -1
		}
		return 1
	})
	column := func(j int) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = s.basis.data[i*n+j]
		}
		return x
	}
	for k, j := range order {
		x := make([]float64, n)
		for i := range x {
			x[i] = product.data[i*n+j]
		}
		for range 2 {
			for before := range k {
				y, sum := column(before), 0.0
				for i := range x {
					sum += x[i] * y[i]
				}
				for i := range x {
					x[i] -= sum * y[i]
				}
			}
		}
		length := matrix64{1, n, x}.norm()
		for i := range x {
			s.basis.data[i*n+k] = x[i] / length
		}
	}
	return order
}

// A soap64 takes SOAP's steps in float64, with m as it is without a basis.
type soap64 struct {
	update.SOAP
	p, m, v     matrix64
	left, right side64
	t           int
	far         float64 // the sum of the steps' longest elements
}

func newSOAP64(r update.SOAP, p []float32, columns int) *soap64 {
	rows := len(p) / columns
	s := &soap64{SOAP: r, p: newMatrix64(rows, columns), m: newMatrix64(rows, columns), v: newMatrix64(rows, columns),
		left: newSide64(rows, r.MaxPrecondDim), right: newSide64(columns, r.MaxPrecondDim)}
	for i, x := range p {
		s.p.data[i] = float64(x)
	}
	return s
}

func (r *soap64) turn(m matrix64) matrix64 {
	return r.left.basis.transposed().times(m).times(r.right.basis)
}

func (r *soap64) learn(g matrix64) {
	r.left.learn(g, r.ShampooBeta)
	r.right.learn(g.transposed(), r.ShampooBeta)
}

// step is one of those after the first.
func (r *soap64) step(g matrix64) {
	r.t++
	x := r.turn(g)
	for i := range x.data {
		r.m.data[i] = r.Beta1*r.m.data[i] + (1-r.Beta1)*g.data[i]
		r.v.data[i] = r.Beta2*r.v.data[i] + (1-r.Beta2)*x.data[i]*x.data[i]
	}
	d := r.turn(r.m)
	for i := range d.data {
		d.data[i] /= math.Sqrt(r.v.data[i]) + r.Eps
	}
	d = r.left.basis.times(d).times(r.right.basis.transposed())
	length := r.LR
	if !r.NoBiasCorrection {
		length *= math.Sqrt(1-math.Pow(r.Beta2, float64(r.t))) / (1 - math.Pow(r.Beta1, float64(r.t)))
	}
	if r.NormalizeGrads {
		length /= d.norm()/math.Sqrt(float64(len(d.data))) + 1e-30
	}
	longest := 0.0
	for i := range d.data {
		longest = max(longest, math.Abs(length*d.data[i]))
		r.p.data[i] -= length * d.data[i]
		r.p.data[i] -= r.LR * r.WeightDecay * r.p.data[i]
	}
	r.far += longest
	r.learn(g)
	if r.t%r.PreconditionFrequency == 0 {
		r.follow()
	}
}

func (r *soap64) follow() {
	v := newMatrix64(r.v.rows, r.v.columns)
	rows, columns := make([]int, v.rows), make([]int, v.columns)
	for i := range rows {
		rows[i] = i
	}
	for j := range columns {
		columns[j] = j
	}
	if r.left.there {
		rows = r.left.follow()
	}
	if r.right.there {
		columns = r.right.follow()
	}
	for i := range v.rows {
		for j := range v.columns {
			v.data[i*v.columns+j] = r.v.data[rows[i]*v.columns+columns[j]]
		}
	}
	r.v = v
}

// take has the bases be those of an optimizer, which it wants to be orthonormal eigenvectors in
// descending order: there are many where eigenvalues are equal.
func (s *side64) take(t *testing.T, o *update.Optimizer, name string) {
	t.Helper()
	if !s.there {
		return
	}
	n := s.of.rows
	for i, x := range buffer(o, 0, name+"_basis") {
		s.basis.data[i] = float64(x)
	}
	const limit = 1e-6
	size := s.of.norm()
	for i, x := range buffer(o, 0, name) {
		if math.Abs(float64(x)-s.of.data[i]) > limit*size {
			t.Fatalf("%s: element %d is %g, want %g", name, i, x, s.of.data[i])
		}
	}
	ones := s.basis.transposed().times(s.basis)
	values := s.basis.transposed().times(s.of).times(s.basis)
	for i := range n {
		for j := range n {
			one, value := 0.0, 0.0
			if i == j {
				one, value = 1, values.data[i*n+i]
			}
			if math.Abs(ones.data[i*n+j]-one) > limit || math.Abs(values.data[i*n+j]-value) > limit*size {
				t.Fatalf("%s: columns %d and %d have the products %g and, by the matrix, %g", name, i, j, ones.data[i*n+j], values.data[i*n+j])
			}
		}
		if i > 0 && values.data[i*n+i] > values.data[(i-1)*n+i-1]+limit*size {
			t.Errorf("%s: value %d is %g, above the one before", name, i, values.data[i*n+i])
		}
	}
}

func newMatrixOf(t testing.TB, r update.Rule, rows, columns int) *update.Optimizer {
	t.Helper()
	o, err := update.NewSet([]update.Tensor{{Size: rows * columns, Columns: columns}}, r)
	must(t, err)
	return o
}

// TestSOAP compares 40 steps with float64, in which m has no basis and Q is made by Gram and
// Schmidt.
func TestSOAP(t *testing.T) {
	const steps, limit = 40, 1e-4 // of the way
	for name, r := range soaps() {
		for _, shape := range [][2]int{{1, 1}, {1, 9}, {9, 1}, {12, 12}, {17, 33}, {40, 24}} {
			rows, columns := shape[0], shape[1]
			if max(rows, columns) > min(rows, columns)*r.PreconditionFrequency {
				continue // the bases follow preconditioners of less than full rank, which says little of some columns
			}
			rng := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
			o := newMatrixOf(t, r, rows, columns)
			p, g, g64 := make([]float32, rows*columns), make([]float32, rows*columns), newMatrix64(rows, columns)
			for i := range p {
				p[i] = float32(rng.NormFloat64())
			}
			want := newSOAP64(r, p, columns)
			for step := range steps {
				for i := range g {
					g[i] = float32(rng.NormFloat64() * float64(1+i%columns) / float64(1+i/columns))
					g64.data[i] = float64(g[i])
				}
				first := slices.Clone(p)
				must(t, o.Step(p, g))
				if step > 0 {
					want.step(g64)
					continue
				}
				if !slices.Equal(p, first) {
					t.Fatalf("%s, %d × %d: the first step moves parameters", name, rows, columns)
				}
				want.learn(g64)
				want.left.take(t, o, "left")
				want.right.take(t, o, "right")
			}
			worst := 0.
			for i, x := range p {
				worst = max(worst, math.Abs(float64(x)-want.p.data[i])/want.far)
			}
			t.Logf("%s, %d × %d: %.2g of the way off", name, rows, columns, worst)
			if !(worst <= limit) {
				t.Errorf("%s, %d × %d: a parameter is %.3g of its way off, want at most %.3g", name, rows, columns, worst, limit)
			}
		}
	}
}

// A soapCase is a trajectory of a running framework: tables/soap.py of testdata made it.
type soapCase struct {
	Name          string
	Rows, Columns int
	Steps         []int
	Options       update.SOAP
}

// drawsOf are the numbers of tables/soap.py.
func drawsOf(n int, seed uint32) []float32 {
	list := make([]float32, n)
	for i := range list {
		seed = seed*1664525 + 1013904223
		list[i] = float32(seed>>8)*0x1p-23 - 1
	}
	return list
}

// TestSOAPGolden follows the authors' program, as pytorch_optimizer has it, for 40 steps.
// Distances are in LR, about the length of a step's element: what 40 roundings of parameters
// come to is .001 of it.
func TestSOAPGolden(t *testing.T) {
	const limit = 2e-3
	var cases []soapCase
	must(t, json.Unmarshal(readGolden(t, "soap/cases.json"), &cases))
	for _, c := range cases {
		far := c.follow(t)
		t.Logf("%s: %.2g steps off", c.Name, far)
		if !(far <= limit) {
			t.Errorf("%s: %.3g steps off, want at most %g", c.Name, far, limit)
		}
		for option, told := range soapMutants(c) {
			other := c
			other.Options = told
			if off := other.follow(t); off < limit {
				t.Errorf("%s: nobody sees another %s, which is %.2g steps off", c.Name, option, off)
			}
		}
	}
}

// soapMutants are the rule of a case with another number for each option.
func soapMutants(c soapCase) map[string]update.SOAP {
	list := map[string]update.SOAP{}
	change := func(option string, f func(r *update.SOAP)) {
		other := c.Options
		f(&other)
		list[option] = other
	}
	change("WeightDecay", func(r *update.SOAP) { r.WeightDecay *= 1.2 })
	change("Beta1", func(r *update.SOAP) { r.Beta1 *= .99 })
	change("Beta2", func(r *update.SOAP) { r.Beta2 *= .99 })
	change("Eps", func(r *update.SOAP) { r.Eps = max(r.Eps*1.1, 1e-3) })
	change("NoBiasCorrection", func(r *update.SOAP) { r.NoBiasCorrection = !r.NoBiasCorrection })
	if !c.Options.NormalizeGrads || c.Name != "plain" {
		change("NormalizeGrads", func(r *update.SOAP) { r.NormalizeGrads = !r.NormalizeGrads })
	}
	if most := c.Options.MaxPrecondDim; c.Columns > 0 && most > min(c.Rows, c.Columns) {
		change("ShampooBeta", func(r *update.SOAP) { r.ShampooBeta *= .99 })
		change("PreconditionFrequency", func(r *update.SOAP) { r.PreconditionFrequency++ })
		change("MaxPrecondDim", func(r *update.SOAP) { r.MaxPrecondDim = min(c.Rows, c.Columns) - 1 })
	}
	return list
}

// follow is the largest distance of a parameter from the framework's.
func (c soapCase) follow(t *testing.T) (far float64) {
	t.Helper()
	n := c.Rows * max(c.Columns, 1)
	o, err := update.NewSet([]update.Tensor{{Size: n, Columns: c.Columns}}, c.Options)
	must(t, err)
	p, want := drawsOf(n, 1), readFloats(t, "soap/"+c.Name+".bin")
	for k := 1; k <= c.Steps[len(c.Steps)-1]; k++ {
		must(t, o.Step(p, drawsOf(n, uint32(1000+k))))
		if slices.Contains(c.Steps, k) {
			for i, x := range want[:n] {
				far = max(far, math.Abs(float64(p[i])-float64(x))/c.Options.LR)
			}
			want = want[n:]
		}
	}
	if len(want) != 0 {
		t.Errorf("%s: %d numbers are left over", c.Name, len(want))
	}
	return far
}

// trainSOAP takes steps of matrices and vectors, of which some are missing, and with a vector of
// another rule between them. After some steps it goes on with another optimizer if resumes says
// so. It returns the parameters and the state.
func trainSOAP(t *testing.T, r update.SOAP, shapes [][2]int, steps int, table kernels.Table, workers int, resumes bool) [][]float32 {
	t.Helper()
	tensors := []update.Tensor{{Size: 99, Rule: 1}, {Size: 45}}
	for _, s := range shapes {
		tensors = append(tensors, update.Tensor{Size: s[0] * s[1], Columns: s[1]})
	}
	fresh := func() *update.Optimizer {
		o, err := update.NewSet(tensors, r, torch.AdamW())
		must(t, err)
		must(t, o.SetTable(table))
		must(t, o.SetWorkers(workers))
		return o
	}
	o, rng := fresh(), rand.New(rand.NewPCG(7, 7))
	params, grads := make([][]float32, len(tensors)), make([][]float32, len(tensors))
	for k, x := range tensors {
		params[k], grads[k] = make([]float32, x.Size), make([]float32, x.Size)
	}
	for step := range steps {
		some := slices.Clone(grads)
		for k := range grads {
			for i := range grads[k] {
				grads[k][i] = float32(rng.Int32N(1<<24)-1<<23) * 0x1p-23
			}
			if (step+k)%5 == 2 {
				some[k] = nil
			}
		}
		must(t, o.StepSet(params, some))
		if resumes && step == steps/2 {
			state, err := o.Export()
			must(t, err)
			o = fresh()
			must(t, o.Import(state))
		}
	}
	state, err := o.Export()
	must(t, err)
	for k, x := range state.Tensors {
		names, err := o.Buffers(k)
		must(t, err)
		for _, name := range names {
			params = append(params, x.Buffers[name])
		}
	}
	return params
}

func wantSameBits(t *testing.T, what string, got, want [][]float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d buffers, want %d", what, len(got), len(want))
	}
	for k := range want {
		if !slices.EqualFunc(got[k], want[k], func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) }) {
			t.Fatalf("%s: buffer %d differs", what, k)
		}
	}
}

// TestSOAPBits wants the same bits of every table and any number of workers, and from state
// that another optimizer goes on with.
func TestSOAPBits(t *testing.T) {
	shapes, steps := [][2]int{{5, 7}, {1, 30}, {70, 40}, {260, 300}}, 5
	if testing.Short() {
		shapes, steps = shapes[:2], 13
	}
	tables := kernels.Available()
	reference := tables[len(tables)-1]
	rules := soaps()
	for n, name := range slices.Sorted(maps.Keys(rules)) {
		r := rules[name]
		r.PreconditionFrequency = min(r.PreconditionFrequency, 2)
		want := trainSOAP(t, r, shapes, steps, reference, 1, false)
		for j, table := range tables[:len(tables)-1] {
			for k, workers := range []int{1, 2, 7} {
				if j > 0 && (n+j+k)%3 > 0 { // all of the first table, and of others each with a part of the rules
					continue
				}
				wantSameBits(t, fmt.Sprintf("%s, %v, %d workers", name, table, workers), trainSOAP(t, r, shapes, steps, table, workers, workers == 2), want)
			}
		}
		if testing.Short() {
			wantSameBits(t, name+", resumed", trainSOAP(t, r, shapes, steps, reference, 1, true), want)
		}
	}
}

// TestSOAPPinned has the bits that SOAP came to when it was written, on every CPU.
func TestSOAPPinned(t *testing.T) {
	pinned := map[string]uint64{
		"usual": 0x95103440b57e50c1, "often": 0x9735398cb0b72cb9, "short": 0x16f12439bb7f2b9f,
		"none": 0xa4e55929753feb13, "normalized": 0xc9aad299ef03f74e, "uncorrected": 0x79c354c3e3d0ff76,
	}
	for name, r := range soaps() {
		for _, table := range kernels.Available() {
			h := fnv.New64a()
			for _, x := range trainSOAP(t, r, [][2]int{{5, 7}, {20, 33}, {9, 2}, {1, 30}}, 25, table, 2, false) {
				must(t, binary.Write(h, binary.LittleEndian, x))
			}
			if h.Sum64() != pinned[name] {
				t.Errorf("%s, %v: the bits are %#016x, want %#016x", name, table, h.Sum64(), pinned[name])
			}
		}
	}
}

// TestSOAPAllocs steps without allocating, those that change the bases too.
func TestSOAPAllocs(t *testing.T) {
	for name, r := range soaps() {
		r.PreconditionFrequency = 1
		o := newMatrixOf(t, r, 60, 90)
		must(t, o.SetWorkers(2))
		p, g := make([]float32, 60*90), uniform(60*90, 1)
		step := func() { must(t, o.Step(p, g)) }
		step()
		if n := allocs.PerRun(5, step); n != 0 {
			t.Errorf("%s: %g allocations", name, n)
		}
	}
}

// TestSOAPExtremes has rows of zeros, tiny and huge gradients, and no gradient at all leave
// finite parameters.
func TestSOAPExtremes(t *testing.T) {
	for name, r := range soaps() {
		for _, scale := range []float32{0, 1e-45, 1e-38, 1e-20, 1e17} {
			r.PreconditionFrequency = 2
			o := newMatrixOf(t, r, 4, 6)
			p, g := make([]float32, 24), uniform(24, 9)
			for i := range g {
				g[i] *= scale
			}
			clear(g[6:12])
			for range 40 {
				must(t, o.Step(p, g))
			}
			for _, x := range append(slices.Clone(p), buffer(o, 0, "m")...) {
				if !(math.Abs(float64(x)) <= math.MaxFloat32) {
					t.Fatalf("%s, gradients of %g: an element is %g", name, scale, x)
				}
			}
		}
	}
}

// TestSOAPFades has zeros be all that is left of m without gradients, and of L and R.
func TestSOAPFades(t *testing.T) {
	for name, r := range soaps() {
		if r.KeepSubnormals {
			continue
		}
		o := newMatrixOf(t, r, 4, 6)
		p, g := make([]float32, 24), uniform(24, 9)
		for range 3 {
			must(t, o.Step(p, g))
		}
		clear(g)
		for range 2500 {
			must(t, o.Step(p, g))
		}
		for _, slot := range []string{"m", "v", "left", "right"} {
			for i, x := range buffer(o, 0, slot) {
				if slot == "v" && r.Beta2 > .98 { // which takes longer
					continue
				}
				if math.Float32bits(x) != 0 {
					t.Fatalf("%s: element %d of %s is %g, want 0", name, i, slot, x)
				}
			}
		}
	}
}

// TestSOAPNotFinite has a gradient that is not finite leave NaN, and no step that does not end;
// vectors whose first it is are spared, because the first step takes nothing of it.
func TestSOAPNotFinite(t *testing.T) {
	for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), 1e30} {
		for at := range 4 {
			r := soaps()["usual"]
			r.PreconditionFrequency = 2
			o, err := update.NewSet([]update.Tensor{{Size: 30, Columns: 6}, {Size: 30}}, r)
			must(t, err)
			params := [][]float32{make([]float32, 30), make([]float32, 30)}
			for step := range 6 {
				g := uniform(30, uint64(step))
				if step == at {
					g[7] = bad
				}
				must(t, o.StepSet(params, [][]float32{g, g}))
			}
			if x := params[0][0]; x == x {
				t.Errorf("%g in step %d leaves %g, want NaN", bad, at, x)
			}
			if x := params[1][0]; x != x {
				t.Errorf("%g in step %d leaves NaN in another element of a vector", bad, at)
			}
			if x := params[1][7]; (x == x) != (at == 0 || bad == 1e30) {
				t.Errorf("%g in step %d leaves %g in a vector", bad, at, x)
			}
		}
	}
}

// TestSOAPSetRule changes options within a run, but for what would make other state.
func TestSOAPSetRule(t *testing.T) {
	r := soaps()["usual"]
	o := newMatrixOf(t, r, 6, 4)
	p, g := make([]float32, 24), uniform(24, 1)
	must(t, o.Step(p, g))
	same, other := r, r
	same.NormalizeGrads, same.MaxPrecondDim, same.Beta1 = true, 6, .5
	other.MaxPrecondDim = 5
	must(t, o.SetRule(0, same))
	if err, ok := o.SetRule(0, other).(*update.ArgError); !ok || err.Arg != "to" {
		t.Errorf("a rule without L: %v", err)
	}
	if got := o.Rules()[0]; got != update.Rule(same) {
		t.Errorf("the rule is %+v", got)
	}
	must(t, o.Step(p, g))
}

// TestSOAPAgain has the first step of zeros for a state be a first one, wherever the count
// is, and SetSteps(0) begin again.
func TestSOAPAgain(t *testing.T) {
	r := soaps()["usual"]
	o := newMatrixOf(t, r, 6, 4)
	must(t, o.SetSteps(100))
	p, g := make([]float32, 24), uniform(24, 1)
	must(t, o.Step(p, g))
	if !slices.Equal(p, make([]float32, 24)) || slices.Equal(buffer(o, 0, "left_basis"), make([]float32, 36)) {
		t.Errorf("after a first step there are the parameters %g", p)
	}
	must(t, o.Step(p, g))
	moved := slices.Clone(p)
	must(t, o.SetSteps(0))
	must(t, o.Step(p, g))
	if !slices.Equal(p, moved) || !slices.Equal(buffer(o, 0, "m"), make([]float32, 24)) {
		t.Error("SetSteps(0) does not begin again")
	}
}

// TestSOAPVectors has a vector take the steps of a matrix without preconditioners.
func TestSOAPVectors(t *testing.T) {
	for name, r := range soaps() {
		r.MaxPrecondDim = 0
		o, err := update.NewSet([]update.Tensor{{Size: 30, Columns: 6}, {Size: 30}}, r)
		must(t, err)
		params := [][]float32{make([]float32, 30), make([]float32, 30)}
		for step := range 20 {
			g := uniform(30, uint64(step))
			must(t, o.StepSet(params, [][]float32{g, g}))
		}
		for i, x := range params[0] { // whose sums are by row
			if y := params[1][i]; math.Abs(float64(x-y)) > 1e-6*math.Abs(float64(y)) {
				t.Fatalf("%s: element %d is %g, and %g of a vector", name, i, x, y)
			}
		}
	}
}
