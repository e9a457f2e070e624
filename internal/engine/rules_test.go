package engine

import (
	"math"
	"reflect"
	"unsafe"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// parts calls a kernel that is a function in Go for the buffers of each tensor of a list,
// which package kernels keeps to itself.
func parts(list *kernels.List, buffers int, kernel func(b [][]float32)) {
	calls := reflect.ValueOf(list).Elem().FieldByName("parts")
	for k := range calls.Len() {
		for at := 0; at < calls.Index(k).Len(); at += buffers {
			b := make([][]float32, buffers)
			for j := range b {
				x := calls.Index(k).Index(at + j)
				b[j] = unsafe.Slice((*float32)(x.UnsafePointer()), x.Len())
			}
			kernel(b)
		}
	}
}

// A rate is the scalars of most rules here.
type rate struct {
	fallback.Common
	lr, t float64
}

func newRate(in *StepInput) rate { return rate{in.Common, in.LR, float64(in.T)} }

// lars is LARS (You, Gitman, Ginsburg 2017) with momentum: the norms of a tensor, then the
// step.
func lars(o Options) Rule {
	const momentum = .9
	norms := func(_ kernels.Table, list *kernels.List, c *rate, s *Sums) {
		parts(list, 2, func(b [][]float32) {
			for i, p := range b[0] {
				x := float64(b[1][i]) * float64(c.Scale)
				s[0][i%fallback.Lanes] += float64(p) * float64(p)
				s[1][i%fallback.Lanes] += float64(x * x)
			}
		})
	}
	move := func(_ kernels.Table, list *kernels.List, c *rate) {
		parts(list, 3, func(b [][]float32) {
			for i := range b[0] {
				b[2][i] = float32(momentum*float64(b[2][i])) + float32(c.lr*float64(c.Scale)*float64(b[1][i]))
				b[0][i] -= b[2][i]
			}
		})
	}
	trust := func(in *StepInput) rate {
		r := newRate(in)
		if in.Sums[0] > 0 && in.Sums[1] > 0 {
			r.lr *= math.Sqrt(in.Sums[0] / in.Sums[1])
		}
		return r
	}
	return Rule{Plan: Plan{State: []Slot{{Name: "momentum", Fades: momentum}}, Passes: []Pass{
		Summing(OverTensor, norms, newRate, ParamsName, GradsName),
		Elements(move, trust),
	}}, Options: o}
}

// larsReference is LARS in float64.
func larsReference(m *model, rule, tensor int, g []float64) {
	p, b := m.params[tensor], m.slot("momentum", tensor, len(g), 0)
	ratio := math.Sqrt(squares(p) / squares(g))
	if squares(p) == 0 || squares(g) == 0 {
		ratio = 1
	}
	for i := range p {
		b[i] = .9*b[i] + m.rules[rule].LR*ratio*g[i]
		p[i] -= b[i]
	}
}

// adafactor is Adafactor (Shazeer, Stern 2018) with a fixed β₂: means of squares by row and
// by column, a second moment from both, and steps whose root mean square is at most 1.
func adafactor(o Options) Rule {
	const beta, eps = .9, 1e-6
	type scalars struct {
		lr, scale, mean, clip float64 // mean of all squares, the step's divisor
	}
	direction := func(m *Matrix, c *scalars, row, column int) float64 {
		v := float64(m.State[0][row]) * float64(m.State[1][column]) / c.mean
		return float64(m.Grads[row*m.Columns+column]) * c.scale / math.Sqrt(v)
	}
	moments := func(_ kernels.Table, m *Matrix, c *scalars) {
		for i := range m.Rows {
			sum := 0.
			for j, x := range m.Grads[i*m.Columns:][:m.Columns] {
				square := float64(x)*c.scale*float64(x)*c.scale + eps
				sum += square
				m.ColumnSums[j] += square
			}
			m.State[0][i] = float32(beta*float64(m.State[0][i]) + (1-beta)*sum/float64(m.Columns))
		}
	}
	columns := func(_ kernels.Table, m *Matrix, c *scalars) {
		mean := 0.
		for j, sum := range m.ColumnSums {
			m.State[1][j] = float32(beta*float64(m.State[1][j]) + (1-beta)*sum/float64(m.Rows))
		}
		for _, x := range m.State[0] {
			mean += float64(x) / float64(m.Rows)
		}
		m.State[2][0] = float32(mean)
	}
	length := func(_ kernels.Table, m *Matrix, c *scalars) {
		for i := range m.Rows {
			for j := range m.Columns {
				u := direction(m, c, i, j)
				m.Sums[0][j%fallback.Lanes] += u * u
			}
		}
	}
	move := func(_ kernels.Table, m *Matrix, c *scalars) {
		for i := range m.Rows {
			for j := range m.Columns {
				m.Params[i*m.Columns+j] -= float32(c.lr * direction(m, c, i, j) / c.clip)
			}
		}
	}
	of := func(in *StepInput) scalars {
		s := scalars{lr: in.LR, scale: float64(in.Scale), mean: float64(in.PerTensor[0]), clip: 1}
		if in.Elements > 0 {
			s.clip = max(1, math.Sqrt(in.Sums[0]/float64(in.Elements)))
		}
		return s
	}
	return Rule{Plan: Plan{
		State: []Slot{{Name: "row", Extent: PerRow, Square: true}, {Name: "column", Extent: PerColumn, Square: true}, {Name: "mean", Extent: PerTensor, Square: true}},
		Passes: []Pass{
			ByRows(ByColumn, moments, of), Whole(NoSums, columns, of), ByRows(OverTensor, length, of), ByRows(NoSums, move, of),
		}}, Options: o}
}

func adafactorReference(m *model, rule, tensor int, g []float64) {
	const beta, eps = .9, 1e-6
	p, of := m.params[tensor], &m.tensors[tensor]
	rows, columns := of.rows(), of.columns()
	r, c := m.slot("row", tensor, rows, 0), m.slot("column", tensor, columns, 0)
	for i := range rows {
		r[i] *= beta
	}
	for j := range columns {
		c[j] *= beta
	}
	for i, x := range g {
		r[i/columns] += (1 - beta) * (x*x + eps) / float64(columns)
		c[i%columns] += (1 - beta) * (x*x + eps) / float64(rows)
	}
	mean := 0.
	for _, x := range r {
		mean += x / float64(rows)
	}
	u := make([]float64, len(g))
	for i, x := range g {
		u[i] = x / math.Sqrt(r[i/columns]*c[i%columns]/mean)
	}
	clip := max(1, math.Sqrt(squares(u)/float64(len(u))))
	for i := range p {
		p[i] -= m.rules[rule].LR * u[i] / clip
	}
}

// prodigy is Prodigy (Mishchenko, Defazio 2023): the distance d to the solution, estimated
// from sums over all tensors, is the step size of them all.
func prodigy(o Options) Rule {
	type scalars struct {
		lr, scale, d float64
	}
	root := math.Sqrt(prodigyBeta2)
	moments := func(_ kernels.Table, list *kernels.List, c *scalars, s *Sums) {
		parts(list, 6, func(b [][]float32) {
			for i := range b[0] {
				x := float64(b[1][i]) * c.scale
				start, sum, m, v := &b[2][i], &b[3][i], &b[4][i], &b[5][i]
				s[0][i%fallback.Lanes] += c.lr * x * (float64(*start) - float64(b[0][i]))
				*sum = float32(root*float64(*sum) + (1-root)*c.d*c.d*c.lr*x)
				*m = float32(prodigyBeta1*float64(*m) + (1-prodigyBeta1)*c.d*x)
				*v = float32(prodigyBeta2*float64(*v) + (1-prodigyBeta2)*c.d*c.d*x*x)
				s[1][i%fallback.Lanes] += math.Abs(float64(*sum))
			}
		})
	}
	distance := func(in *StepInput) Kept {
		d, r := in.PerTensor[0], in.PerTensor[1]
		r = float32(root*float64(r) + (1-root)*float64(d)*float64(d)*in.Sums[0])
		if in.Sums[1] > 0 {
			d = max(d, float32(float64(r)/in.Sums[1]))
		}
		return Kept{First: d, Second: r}
	}
	move := func(_ kernels.Table, list *kernels.List, c *scalars) {
		parts(list, 3, func(b [][]float32) {
			for i := range b[0] {
				b[0][i] -= float32(c.lr * c.d * float64(b[1][i]) / (math.Sqrt(float64(b[2][i])) + c.d*prodigyEps))
			}
		})
	}
	of := func(in *StepInput) scalars {
		return scalars{in.LR, float64(in.Scale), float64(in.PerTensor[0])}
	}
	return Rule{Plan: Plan{
		State: []Slot{{Name: "start", First: Params, Fades: 1}, {Name: "s", Fades: root}, {Name: "m", Fades: prodigyBeta1}, {Name: "v", Fades: prodigyBeta2, Square: true},
			{Name: "d", Extent: PerTensor, First: Constant(prodigyFirst)}, {Name: "r", Extent: PerTensor}},
		Passes: []Pass{
			Summing(OverAll, moments, of), Keep(distance), Elements(move, of, ParamsName, "m", "v"),
		}}, Options: o}
}

const prodigyBeta1, prodigyBeta2, prodigyEps, prodigyFirst = .8, .9, 1e-3, .0625

// prodigyReference takes a step of all tensors at once.
func prodigyReference(m *model, grads [][]float64) {
	root := math.Sqrt(prodigyBeta2)
	if m.slots["d"] == nil {
		m.slots["d"] = map[int][]float64{0: {prodigyFirst, 0}}
	}
	global := m.slots["d"][0] // d and r
	d := global[0]
	var up, down float64
	for k, g := range grads {
		p, lr := m.params[k], m.rules[m.tensors[k].Rule].LR
		if g == nil {
			continue
		}
		start := m.slotAs("start", k, p)
		s, mean, v := m.slot("s", k, len(g), 0), m.slot("m", k, len(g), 0), m.slot("v", k, len(g), 0)
		for i, x := range g {
			up += lr * x * (start[i] - p[i])
			s[i] = root*s[i] + (1-root)*d*d*lr*x
			mean[i] = prodigyBeta1*mean[i] + (1-prodigyBeta1)*d*x
			v[i] = prodigyBeta2*v[i] + (1-prodigyBeta2)*d*d*x*x
			down += math.Abs(s[i])
		}
	}
	global[1] = root*global[1] + (1-root)*d*d*up
	if down > 0 {
		global[0] = max(d, global[1]/down)
	}
	for k, g := range grads {
		if g == nil {
			continue
		}
		p, mean, v := m.params[k], m.slot("m", k, len(g), 0), m.slot("v", k, len(g), 0)
		for i := range p {
			p[i] -= m.rules[m.tensors[k].Rule].LR * global[0] * mean[i] / (math.Sqrt(v[i]) + global[0]*prodigyEps)
		}
	}
}

// scheduleFree is Schedule-Free SGD (Defazio and others 2024). The parameters are where
// gradients are taken, y = (1-β)z + βx; z, which begins as they do, takes the steps, and x
// is the mean of all z.
func scheduleFree(o Options) Rule {
	move := func(_ kernels.Table, list *kernels.List, c *rate) {
		parts(list, 3, func(b [][]float32) {
			for i := range b[0] {
				y, z := scheduleFreeStep(float64(b[0][i]), float64(b[2][i]), float64(b[1][i])*float64(c.Scale), c.lr, c.t)
				b[0][i], b[2][i] = float32(y), float32(z)
			}
		})
	}
	return Rule{Plan: Plan{State: []Slot{{Name: "z", First: Params, Fades: 1}}, Passes: One(move, newRate)}, Options: o}
}

func scheduleFreeStep(y, z, g, lr, t float64) (nextY, nextZ float64) {
	const beta = .75
	x := (y - (1-beta)*z) / beta
	z -= lr * g
	x += (z - x) / t
	return (1-beta)*z + beta*x, z
}

func scheduleFreeReference(m *model, rule, tensor int, g []float64) {
	p := m.params[tensor]
	z := m.slotAs("z", tensor, p)
	m.taken[tensor]++
	for i, x := range g {
		p[i], z[i] = scheduleFreeStep(p[i], z[i], x, m.rules[rule].LR, float64(m.taken[tensor]))
	}
}
