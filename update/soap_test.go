package update_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/lockstep-go/lockstep/update"
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
