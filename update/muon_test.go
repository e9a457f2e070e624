package update_test

import (
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/kernels"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/keras"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/torch"
)

// muons are Muon's variants.
func muons() map[string]update.Muon {
	unclamped, plain, even := torch.Muon(), keras.Muon(), optax.Muon(.01)
	unclamped.Unclamped = true
	plain.Nesterov, plain.RMS = false, 0
	even.Nesterov, even.Iterations = false, 4
	return map[string]update.Muon{
		"torch": torch.Muon(), "keras": keras.Muon(), "optax": optax.Muon(.02),
		"torch, unclamped": unclamped, "keras, plain": plain, "optax, 4 iterations, no Nesterov": even,
	}
}

// A matrix64 is a matrix in float64, row-major.
type matrix64 struct {
	rows, columns int
	data          []float64
}

func newMatrix64(rows, columns int) matrix64 {
	return matrix64{rows, columns, make([]float64, rows*columns)}
}

func (m matrix64) times(o matrix64) matrix64 {
	p := newMatrix64(m.rows, o.columns)
	for i := range m.rows {
		for k := range m.columns {
			for j := range o.columns {
				p.data[i*o.columns+j] += m.data[i*m.columns+k] * o.data[k*o.columns+j]
			}
		}
	}
	return p
}

func (m matrix64) transposed() matrix64 {
	t := newMatrix64(m.columns, m.rows)
	for i := range m.rows {
		for j := range m.columns {
			t.data[j*m.rows+i] = m.data[i*m.columns+j]
		}
	}
	return t
}

func (m matrix64) norm() float64 {
	sum := 0.
	for _, x := range m.data {
		sum += x * x
	}
	return math.Sqrt(sum)
}

// muon64 takes Muon's step in float64, as Jordan's text has it, with products on the left
// whatever the shape.
func muon64(r update.Muon, t int, p, m, g matrix64) {
	mu := r.Momentum
	x := newMatrix64(p.rows, p.columns)
	c, direct := 1., 1.
	if r.BiasCorrection {
		c, direct = 1-math.Pow(mu, float64(t)), 1-math.Pow(mu, float64(t))
		if r.Nesterov {
			c = 1 - math.Pow(mu, float64(t+1))
		}
	}
	for i, y := range g.data {
		m.data[i] = mu*m.data[i] + (1-mu)*y
		x.data[i] = m.data[i] / c
		if r.Nesterov {
			x.data[i] = mu*m.data[i]/c + (1-mu)*y/direct
		}
	}
	norm := max(x.norm()+r.Eps, r.EpsFloor)
	for i := range x.data {
		x.data[i] /= norm
	}
	for range r.Iterations {
		s := x.times(x.transposed())
		once := s.times(x)
		twice := s.times(once)
		for i := range x.data {
			x.data[i] = r.A*x.data[i] + r.B*once.data[i] + r.C*twice.data[i]
		}
	}
	rows, columns := float64(p.rows), float64(p.columns)
	if r.Transposed {
		rows, columns = columns, rows
	}
	length := 1.
	switch {
	case r.RMS > 0:
		length = r.RMS * math.Sqrt(max(rows, columns))
	case r.Unclamped:
		length = math.Sqrt(rows / columns)
	case r.Spectral:
		length = math.Sqrt(max(1, rows/columns))
	}
	for i := range p.data {
		p.data[i] -= r.LR * (length*x.data[i] + r.WeightDecay*p.data[i])
	}
}

// TestMuon compares steps with float64. What rounding leaves of a product is some units of
// the last place of numbers below 1, and an iteration enlarges it up to A times: 5 of them
// 500 times, of which errors that do not know of each other show a few in a hundred.
func TestMuon(t *testing.T) {
	shapes := [][2]int{{1, 1}, {1, 9}, {9, 1}, {17, 33}, {40, 24}, {31, 31}, {70, 300}}
	if testing.Short() {
		shapes = shapes[:5]
	}
	for name, r := range muons() {
		for _, shape := range shapes {
			rows, columns := shape[0], shape[1]
			rng := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
			o := newMuon(t, r, rows, columns)
			p, g := make([]float32, rows*columns), make([]float32, rows*columns)
			p64, m64, g64 := newMatrix64(rows, columns), newMatrix64(rows, columns), newMatrix64(rows, columns)
			for i := range p {
				p[i] = float32(rng.NormFloat64())
				p64.data[i] = float64(p[i])
			}
			for step := 1; step <= 5; step++ {
				for i := range g {
					g[i] = float32(rng.NormFloat64() * math.Pow(10, float64(step-3)))
					g64.data[i] = float64(g[i])
				}
				if err := o.Step(p, g); err != nil {
					t.Fatal(err)
				}
				muon64(r, step, p64, m64, g64)
			}
			worst := 0.
			for i, x := range p {
				worst = max(worst, math.Abs(float64(x)-p64.data[i])/(1+math.Abs(p64.data[i])))
			}
			if limit := 5 * (40*r.LR*max(1, r.RMS*math.Sqrt(float64(max(rows, columns)))) + 1) * 0x1p-24; worst > limit {
				t.Errorf("%s, %d × %d: a parameter is %.3g off, want at most %.3g", name, rows, columns, worst, limit)
			}
			m, err := o.Buffer(0, "momentum")
			if err != nil {
				t.Fatal(err)
			}
			for i, x := range m {
				if math.Abs(float64(x)-m64.data[i]) > 1e-6*math.Abs(m64.data[i])+1e-4*m64.norm()/math.Sqrt(float64(len(m))) {
					t.Fatalf("%s, %d × %d: the momentum is %g, want %g", name, rows, columns, x, m64.data[i])
				}
			}
		}
	}
}

func newMuon(t testing.TB, r update.Muon, rows, columns int) *update.Optimizer {
	t.Helper()
	o, err := update.NewSet([]update.Tensor{{Size: rows * columns, Columns: columns}}, r)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestMuonOrthogonal has a step of a well-conditioned matrix be nearly orthogonal: with the
// coefficients of all frameworks singular values come to lie between .6 and 1.3.
func TestMuonOrthogonal(t *testing.T) {
	const rows, columns = 20, 50
	r := torch.Muon()
	r.LR, r.WeightDecay = 1, 0
	o := newMuon(t, r, rows, columns)
	p, g := make([]float32, rows*columns), make([]float32, rows*columns)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range g {
		g[i] = float32(rng.NormFloat64())
	}
	if err := o.Step(p, g); err != nil {
		t.Fatal(err)
	}
	x := newMatrix64(rows, columns)
	for i, y := range p {
		x.data[i] = float64(y)
	}
	s := x.times(x.transposed())
	for i := range rows {
		if d := s.data[i*rows+i]; d < .36 || d > 1.7 {
			t.Errorf("row %d has the squared length %g", i, d)
		}
		for j := range i {
			if d := s.data[i*rows+j]; math.Abs(d) > .35 {
				t.Errorf("the product of rows %d and %d is %g", i, j, d)
			}
		}
	}
}

// trainMuon takes steps of matrices, and of a vector with another rule.
func trainMuon(t *testing.T, r update.Rule, shapes [][2]int, table kernels.Table, workers int) [][]float32 {
	t.Helper()
	tensors := []update.Tensor{{Size: 99, Rule: 1}}
	for _, s := range shapes {
		tensors = append(tensors, update.Tensor{Size: s[0] * s[1], Columns: s[1]})
	}
	o, err := update.NewSet(tensors, r, torch.AdamW())
	if err != nil {
		t.Fatal(err)
	}
	if err := o.SetTable(table); err != nil {
		t.Fatal(err)
	}
	if err := o.SetWorkers(workers); err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(7, 7))
	params, grads := make([][]float32, len(tensors)), make([][]float32, len(tensors))
	for k, x := range tensors {
		params[k], grads[k] = make([]float32, x.Size), make([]float32, x.Size)
	}
	for step := range 3 {
		for k := range grads {
			for i := range grads[k] {
				grads[k][i] = float32(rng.Int32N(1<<24)-1<<23) * 0x1p-23
			}
		}
		some := append([][]float32{}, grads...)
		if step == 1 {
			some[2] = nil
		}
		if err := o.StepSet(params, some); err != nil {
			t.Fatal(err)
		}
	}
	return params
}

// TestMuonBits wants the same bits of every table and any number of workers, of tensors
// that are small, large enough to be shared, and in a set with vectors of another rule.
func TestMuonBits(t *testing.T) {
	if testing.Short() {
		t.Skip("plain Go multiplies for some seconds")
	}
	shapes := [][2]int{{5, 7}, {270, 260}, {64, 130}, {1, 30}}
	tables := kernels.Available()
	want := trainMuon(t, torch.Muon(), shapes, tables[len(tables)-1], 1)
	for _, table := range tables[:len(tables)-1] {
		for _, workers := range []int{1, 2, 5} {
			for k, p := range trainMuon(t, torch.Muon(), shapes, table, workers) {
				for i, x := range p {
					if math.Float32bits(x) != math.Float32bits(want[k][i]) {
						t.Fatalf("%v, %d workers: element %d of tensor %d is %g, want %g", table, workers, i, k, x, want[k][i])
					}
				}
			}
		}
	}
}

// TestMuonPinned has the bits that Muon came to when it was written, on every CPU.
func TestMuonPinned(t *testing.T) {
	pinned := map[string]uint64{
		"torch": 0x79f51debb0bde617, "torch, unclamped": 0xffd67e08eb228ea7,
		"keras": 0xeb7ef703cdff5d8b, "keras, plain": 0x867eb96abc741b92,
		"optax": 0xff3b278dcb9d48dc, "optax, 4 iterations, no Nesterov": 0x7c89ceea1e1c23cc,
	}
	for name, r := range muons() {
		for _, table := range kernels.Available() {
			h := fnv.New64a()
			for _, p := range trainMuon(t, r, [][2]int{{5, 7}, {20, 33}, {9, 2}, {1, 30}}, table, 2) {
				if err := binary.Write(h, binary.LittleEndian, p); err != nil {
					t.Fatal(err)
				}
			}
			if h.Sum64() != pinned[name] {
				t.Errorf("%s, %v: the bits are %#016x, want %#016x", name, table, h.Sum64(), pinned[name])
			}
		}
	}
}

// TestMuonAllocs steps without allocating.
func TestMuonAllocs(t *testing.T) {
	o := newMuon(t, torch.Muon(), 60, 90)
	p, g := make([]float32, 60*90), make([]float32, 60*90)
	step := func() {
		if err := o.Step(p, g); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := allocs.PerRun(5, step); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// TestMuonVectors refuses them.
func TestMuonVectors(t *testing.T) {
	_, err := update.New(10, torch.Muon())
	if e, ok := err.(*update.ArgError); !ok || e.Arg != "tensors[0].Columns" {
		t.Errorf("a vector: %v", err)
	}
}

// A muonCase is a trajectory of a running framework: tables/muon.py of testdata made it.
type muonCase struct {
	Name    string
	Columns int
	Steps   []int
	Options update.Muon
}

// TestMuonGolden follows PyTorch, Keras and Optax for 60 steps. Distances are in lengths of
// a step's element, LR·ρ: what rounding does to a matrix with singular values of all sizes
// is enlarged 500 times by the iteration, and in 60 steps adds up. PyTorch's own bfloat16
// is 150 times as far away as its code is with float32.
func TestMuonGolden(t *testing.T) {
	const usual = 2e-3
	limits := map[string]float64{"torch_bfloat16": .2}
	for _, framework := range []string{"torch", "keras", "optax"} {
		var cases []muonCase
		if err := json.Unmarshal(readGolden(t, "muon/"+framework+".json"), &cases); err != nil {
			t.Fatal(err)
		}
		for _, c := range cases {
			limit := usual
			if x, ok := limits[c.Name]; ok {
				limit = x
			}
			far, exact := c.follow(t)
			t.Logf("%s: %.2g steps off the framework, which is %.2g off float64", c.Name, far, exact)
			if far > limit {
				t.Errorf("%s: %.3g steps off, want at most %g", c.Name, far, limit)
			}
			if limit > usual || testing.Short() {
				continue
			}
			for option, told := range muonMutants(c.Options) {
				c.Options = told
				if off, _ := c.follow(t); off < limit {
					t.Errorf("%s: nobody sees another %s", c.Name, option)
				}
			}
		}
	}
}

// muonMutants are a rule with another number for each option that is there, and with other
// switches.
func muonMutants(r update.Muon) map[string]update.Muon {
	list := map[string]update.Muon{}
	change := func(option string, f func(r *update.Muon)) {
		other := r
		f(&other)
		list[option] = other
	}
	change("Momentum", func(r *update.Muon) { r.Momentum *= .99 })
	change("Nesterov", func(r *update.Muon) { r.Nesterov = !r.Nesterov })
	change("A", func(r *update.Muon) { r.A *= 1.01 })
	change("B", func(r *update.Muon) { r.B *= 1.01 })
	change("C", func(r *update.Muon) { r.C *= 1.01 })
	change("Iterations", func(r *update.Muon) { r.Iterations++ })
	if r.WeightDecay > 0 {
		change("WeightDecay", func(r *update.Muon) { r.WeightDecay *= 1.1 })
	}
	if r.Nesterov {
		change("BiasCorrection", func(r *update.Muon) { r.BiasCorrection = !r.BiasCorrection })
	}
	if r.RMS > 0 {
		change("RMS", func(r *update.Muon) { r.RMS *= 1.01 })
	} else {
		change("RMS", func(r *update.Muon) { r.Spectral, r.Unclamped, r.Transposed, r.RMS = false, false, false, .2 })
	}
	return list
}

// follow is the largest distances of a parameter from the framework's, and of the
// framework's from float64.
func (c muonCase) follow(t *testing.T) (far, exact float64) {
	t.Helper()
	gradients, p := readFloats(t, "golden/matrix.bin"), readFloats(t, "golden/matrix_params.bin")
	want := readFloats(t, "muon/"+c.Name+".bin")
	rows := len(p) / c.Columns
	o := newMuon(t, c.Options, rows, c.Columns)
	p64, m64, g64 := newMatrix64(rows, c.Columns), newMatrix64(rows, c.Columns), newMatrix64(rows, c.Columns)
	for i, x := range p {
		p64.data[i] = float64(x)
	}
	step := c.Options.LR * max(1, c.Options.RMS*math.Sqrt(float64(max(rows, c.Columns))))
	for k := 1; k <= c.Steps[len(c.Steps)-1]; k++ {
		g := gradients[(k-1)*len(p):][:len(p)]
		for i, x := range g {
			g64.data[i] = float64(x)
		}
		if err := o.Step(p, g); err != nil {
			t.Fatal(err)
		}
		muon64(c.Options, k, p64, m64, g64)
		if slices.Contains(c.Steps, k) {
			for i, x := range want[:len(p)] {
				far = max(far, math.Abs(float64(p[i])-float64(x))/step)
				exact = max(exact, math.Abs(p64.data[i]-float64(x))/step)
			}
			want = want[len(p):]
		}
	}
	if len(want) != 0 {
		t.Errorf("%s: %d numbers are left over", c.Name, len(want))
	}
	return far, exact
}
