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
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

// muons are Muon's variants.
func muons() map[string]update.Muon {
	unclamped, plain, even := torch.Muon(), keras.Muon(), optax.Muon(.01)
	unclamped.Unclamped = true
	plain.Nesterov, plain.RMS = false, 0
	even.Nesterov, even.Iterations = false, 4
	adaptive, schatten, spectral, aol := optax.Muon(.01), optax.Muon(.02), optax.Muon(.02), optax.Muon(.02)
	adaptive.Adaptive, adaptive.Dion, adaptive.A, adaptive.B, adaptive.C = true, true, 0, 0, 0
	schatten.SchattenNorm, schatten.Eps, schatten.EpsFloor, schatten.Iterations = true, 0, 1e-4, 4
	spectral.SpectralNorm = true
	aol.AOL, aol.Eps, aol.EpsFloor, aol.Adaptive = true, 0, 1e-4, true
	exact, long := textbook.NorMuon(.02), torch.Muon()
	exact.Spectral, exact.RMS, exact.ExactRMS, exact.WeightDecay = false, .2, true, .1
	long.Beta2, long.EpsRow, long.Adaptive, long.Spectral, long.RMS = .9, 1e-8, true, false, .2
	return map[string]update.Muon{
		"torch": torch.Muon(), "keras": keras.Muon(), "optax": optax.Muon(.02),
		"torch, unclamped": unclamped, "keras, plain": plain, "optax, 4 iterations, no Nesterov": even,
		"optax, adaptive, of Dion": adaptive, "optax, schatten": schatten, "optax, spectral": spectral, "optax, aol": aol,
		"NorMuon": textbook.NorMuon(.02), "NorMuon, exact": exact, "NorMuon, adaptive": long,
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

// eigenvalues are those of a symmetric matrix, by Jacobi's rotations.
func (m matrix64) eigenvalues() []float64 {
	a, n := slices.Clone(m.data), m.rows
	for range 60 {
		for i := range n {
			for j := range i {
				if a[i*n+j] == 0 {
					continue
				}
				theta := math.Atan2(2*a[i*n+j], a[i*n+i]-a[j*n+j]) / 2
				c, s := math.Cos(theta), math.Sin(theta)
				for k := range n {
					x, y := a[k*n+i], a[k*n+j]
					a[k*n+i], a[k*n+j] = c*x+s*y, c*y-s*x
				}
				for k := range n {
					x, y := a[i*n+k], a[j*n+k]
					a[i*n+k], a[j*n+k] = c*x+s*y, c*y-s*x
				}
			}
		}
	}
	list := make([]float64, n)
	for i := range n {
		list[i] = a[i*n+i]
	}
	return list
}

// A muon64 takes Muon's steps in float64, as Jordan's text has them, with products on the left
// whatever the shape.
type muon64 struct {
	update.Muon
	p, m matrix64
	v    []float64 // of rows
	t    int
	size float64 // of the last step beside an orthogonal one
}

func newMuon64(r update.Muon, p []float32, columns int) *muon64 {
	rows := len(p) / columns
	s := &muon64{Muon: r, p: newMatrix64(rows, columns), m: newMatrix64(rows, columns), v: make([]float64, rows)}
	for i, x := range p {
		s.p.data[i] = float64(x)
	}
	return s
}

// direction is u.
func (r *muon64) direction(g []float32) matrix64 {
	mu, x := r.Momentum, newMatrix64(r.p.rows, r.p.columns)
	c, direct := 1., 1.
	if r.BiasCorrection {
		c, direct = 1-math.Pow(mu, float64(r.t)), 1-math.Pow(mu, float64(r.t))
		if r.Nesterov {
			c = 1 - math.Pow(mu, float64(r.t+1))
		}
	}
	for i := range g {
		y := float64(g[i])
		r.m.data[i] = mu*r.m.data[i] + (1-mu)*y
		x.data[i] = r.m.data[i] / c
		if r.Nesterov {
			x.data[i] = mu*r.m.data[i]/c + (1-mu)*y/direct
		}
	}
	return x
}

// begin divides u by its norm, or norms.
func (r *muon64) begin(u matrix64) matrix64 {
	if r.AOL && u.rows > u.columns {
		return r.begin(u.transposed()).transposed()
	}
	x, s := matrix64{u.rows, u.columns, slices.Clone(u.data)}, u.times(u.transposed())
	norm := u.norm()
	switch {
	case r.SchattenNorm:
		norm = math.Sqrt(s.norm())
	case r.SpectralNorm:
		norm = math.Sqrt(slices.Max(s.eigenvalues()))
	}
	for i := range x.data {
		if r.AOL {
			sum := 0.
			for _, y := range s.data[i/u.columns*s.columns:][:s.columns] {
				sum += math.Abs(y)
			}
			norm = math.Sqrt(sum)
		}
		x.data[i] /= max(norm+r.Eps, r.EpsFloor)
	}
	return x
}

// orthogonal is X after its iterations.
func (r *muon64) orthogonal(u matrix64) matrix64 {
	x := r.begin(u)
	for k := range r.Iterations {
		a, b, c := r.A, r.B, r.C
		if r.Dion {
			a, b, c = dion[k][0], dion[k][1], dion[k][2]
		}
		s := x.times(x.transposed())
		once := s.times(x)
		twice := s.times(once)
		for i := range x.data {
			x.data[i] = a*x.data[i] + b*once.data[i] + c*twice.data[i]
		}
	}
	return x
}

// dion are optax.contrib._muon._DION_NS_COEFFS.
var dion = [][]float64{{4.0848, -6.8946, 2.9270}, {3.9505, -6.3029, 2.6377}, {3.7418, -5.5913, 2.3037}, {2.8769, -3.1427, 1.2046}, {2.8366, -3.0525, 1.2012}}

// normalize is NorMuon's part of a step, as its authors' program has it.
func (r *muon64) normalize(x matrix64) {
	before := x.norm()
	for i := range x.rows {
		row := matrix64{1, x.columns, x.data[i*x.columns:][:x.columns]}
		mean := row.norm() * row.norm() / float64(x.columns)
		r.v[i] += (1 - r.Beta2) * (mean - r.v[i])
		for j := range row.data {
			row.data[j] *= 1 / (math.Sqrt(r.v[i]) + r.EpsRow)
		}
	}
	if r.ExactRMS {
		before = math.Sqrt(float64(x.rows * x.columns))
	}
	by := before / (x.norm() + r.EpsRow)
	for i := range x.data {
		x.data[i] *= by
	}
}

func (r *muon64) step(g []float32) {
	r.t++
	u := r.direction(g)
	x := r.orthogonal(u)
	dual := 1.
	if r.Adaptive {
		dual = 0
		for i, y := range x.data {
			dual += u.data[i] * y
		}
	}
	if r.Beta2 > 0 {
		r.normalize(x)
	}
	rows, columns := float64(r.p.rows), float64(r.p.columns)
	if r.Transposed {
		rows, columns = columns, rows
	}
	length := 1.
	switch {
	case r.ExactRMS:
		length = r.RMS
	case r.RMS > 0:
		length = r.RMS * math.Sqrt(max(rows, columns))
	case r.Unclamped:
		length = math.Sqrt(rows / columns)
	case r.Spectral:
		length = math.Sqrt(max(1, rows/columns))
	}
	length *= dual
	r.size = length
	if r.ExactRMS {
		r.size *= math.Sqrt(max(rows, columns))
	}
	for i := range r.p.data {
		r.p.data[i] -= r.LR * (length*x.data[i] + r.WeightDecay*r.p.data[i])
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
			for i := range p {
				p[i] = float32(rng.NormFloat64())
			}
			want, size := newMuon64(r, p, columns), 1.
			for step := 1; step <= 5; step++ {
				for i := range g {
					g[i] = float32(rng.NormFloat64() * math.Pow(10, float64(step-3)))
				}
				if err := o.Step(p, g); err != nil {
					t.Fatal(err)
				}
				want.step(g)
				size = max(size, want.size)
			}
			worst := 0.
			for i, x := range p {
				worst = max(worst, math.Abs(float64(x)-want.p.data[i])/(1+math.Abs(want.p.data[i])))
			}
			if limit := 5 * (40*r.LR*size + 1) * 0x1p-24; worst > limit {
				t.Errorf("%s, %d × %d: a parameter is %.3g off, want at most %.3g", name, rows, columns, worst, limit)
			}
			compareMuon(t, o, want, name)
		}
	}
}

// compareMuon compares state with that of float64.
func compareMuon(t *testing.T, o *update.Optimizer, want *muon64, name string) {
	t.Helper()
	list := map[string][]float64{"momentum": want.m.data}
	if want.Beta2 > 0 {
		list["row_var"] = want.v
	}
	for buffer, want := range list {
		got, err := o.Buffer(0, buffer)
		if err != nil {
			t.Fatal(err)
		}
		scale := matrix64{1, len(want), want}.norm() / math.Sqrt(float64(len(want)))
		for i, x := range got {
			if math.Abs(float64(x)-want[i]) > 1e-6*math.Abs(want[i])+1e-4*scale {
				t.Fatalf("%s, %d elements: %s is %g, want %g", name, len(want), buffer, x, want[i])
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
	all := muons()["NorMuon, adaptive"]
	all.AOL, all.Iterations = true, 2
	tables := kernels.Available()
	for name, r := range map[string]update.Rule{"torch": torch.Muon(), "NorMuon, adaptive, AOL": all} {
		want := trainMuon(t, r, shapes, tables[len(tables)-1], 1)
		for _, table := range tables[:len(tables)-1] {
			for _, workers := range []int{1, 2, 5} {
				for k, p := range trainMuon(t, r, shapes, table, workers) {
					for i, x := range p {
						if math.Float32bits(x) != math.Float32bits(want[k][i]) {
							t.Fatalf("%s, %v, %d workers: element %d of tensor %d is %g, want %g", name, table, workers, i, k, x, want[k][i])
						}
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
		"optax, adaptive, of Dion": 0xab103cece66cd38c, "optax, schatten": 0xe995ff86eebbd6df,
		"optax, spectral": 0xa273df65c5d0e53c, "optax, aol": 0xa23a9941c5677056,
		"NorMuon": 0x821852b28d6de2a1, "NorMuon, exact": 0x5f0466416d005a17, "NorMuon, adaptive": 0x91b99972811792a1,
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
	for name, r := range muons() {
		o := newMuon(t, r, 60, 90)
		p, g := make([]float32, 60*90), uniform(60*90, 1)
		step := func() {
			if err := o.Step(p, g); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := allocs.PerRun(5, step); n != 0 {
			t.Errorf("%s: %g allocations", name, n)
		}
	}
}

// TestMuonExtremes has rows of zeros, tiny and huge gradients, and no gradient at all leave
// finite parameters, and zeros where they were.
func TestMuonExtremes(t *testing.T) {
	for name, r := range muons() {
		for _, scale := range []float32{0, 1e-38, 1e-20, 1e20, 1e37} {
			r.LR, r.WeightDecay = 1e-38, 0
			o := newMuon(t, r, 4, 6)
			p := make([]float32, 24)
			g := uniform(24, 9)
			for i := range g {
				g[i] *= scale
			}
			clear(g[6:12])
			for range 3 {
				if err := o.Step(p, g); err != nil {
					t.Fatal(err)
				}
			}
			for i, x := range p {
				if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) || i/6 == 1 && x != 0 {
					t.Fatalf("%s, gradients of %g: element %d is %g", name, scale, i, x)
				}
			}
		}
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
			far, exact, sizes := c.follow(t, nil)
			t.Logf("%s: %.2g steps off the framework, which is %.2g off float64", c.Name, far, exact)
			if far > limit {
				t.Errorf("%s: %.3g steps off, want at most %g", c.Name, far, limit)
			}
			if limit > usual || testing.Short() {
				continue
			}
			for option, told := range muonMutants(c.Options) {
				c.Options = told
				if off, _, _ := c.follow(t, sizes); off < limit {
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
	change("Adaptive", func(r *update.Muon) { r.Adaptive = !r.Adaptive })
	if r.Dion {
		change("Dion", func(r *update.Muon) { r.Dion, r.A, r.B, r.C = false, 3.4445, -4.775, 2.0315 })
	} else {
		change("A", func(r *update.Muon) { r.A *= 1.01 })
		change("B", func(r *update.Muon) { r.B *= 1.01 })
		change("C", func(r *update.Muon) { r.C *= 1.01 })
		change("Iterations", func(r *update.Muon) { r.Iterations++ })
	}
	change("SchattenNorm", func(r *update.Muon) { r.SchattenNorm, r.SpectralNorm, r.AOL = !r.SchattenNorm, false, false })
	change("SpectralNorm", func(r *update.Muon) { r.SchattenNorm, r.SpectralNorm, r.AOL = false, !r.SpectralNorm, false })
	change("AOL", func(r *update.Muon) { r.SchattenNorm, r.SpectralNorm, r.AOL = false, false, !r.AOL })
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
// framework's from float64, and the size of each step, which float64 tells, in which most of
// the time goes: it is not asked where sizes are given.
func (c muonCase) follow(t *testing.T, sizes []float64) (far, exact float64, found []float64) {
	t.Helper()
	gradients, p := readFloats(t, "golden/matrix.bin"), readFloats(t, "golden/matrix_params.bin")
	want := readFloats(t, "muon/"+c.Name+".bin")
	o := newMuon(t, c.Options, len(p)/c.Columns, c.Columns)
	p64 := newMuon64(c.Options, p, c.Columns)
	size := 1.
	for k := 1; k <= c.Steps[len(c.Steps)-1]; k++ {
		g := gradients[(k-1)*len(p):][:len(p)]
		if err := o.Step(p, g); err != nil {
			t.Fatal(err)
		}
		if sizes == nil {
			p64.step(g)
			found = append(found, p64.size)
		} else {
			found = append(found, sizes[k-1])
		}
		size = max(size, found[k-1])
		if slices.Contains(c.Steps, k) {
			for i, x := range want[:len(p)] {
				far = max(far, math.Abs(float64(p[i])-float64(x))/(c.Options.LR*size))
				exact = max(exact, math.Abs(p64.p.data[i]-float64(x))/(c.Options.LR*size))
			}
			want = want[len(p):]
		}
	}
	if len(want) != 0 {
		t.Errorf("%s: %d numbers are left over", c.Name, len(want))
	}
	return far, exact, found
}
