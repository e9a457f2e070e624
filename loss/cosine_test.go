package loss

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
	"github.com/lockstep-go/lockstep/kernels"
)

// cosine64 is the loss of a pair in float64, and its gradients.
func cosine64(l CosineEmbedding, x, y []float32, label float64) (loss float64, dx, dy []float64) {
	xx, yy, xy := l.Eps, l.Eps, 0.0
	for i := range x {
		xx += float64(x[i]) * float64(x[i])
		yy += float64(y[i]) * float64(y[i])
		xy += float64(x[i]) * float64(y[i])
	}
	c, slope := xy/math.Sqrt(xx*yy), -1.0
	if loss = 1 - c; label < 0 {
		loss, slope = max(0, c-l.Margin), 1
		if loss == 0 {
			slope = 0
		}
	}
	for i := range x {
		dx = append(dx, slope*(float64(y[i])/math.Sqrt(xx*yy)-c*float64(x[i])/xx))
		dy = append(dy, slope*(float64(x[i])/math.Sqrt(xx*yy)-c*float64(y[i])/yy))
	}
	return loss, dx, dy
}

func pairsOf(rows, columns int) Pairs {
	n := rows * columns
	b := Pairs{X: uniform(n, -1, 2, 1), Y: uniform(n, -1, 2, 2), Labels: signs(uniform(rows, 0, 1, 3)), Weights: uniform(rows, .5, 2, 4)}
	b.GradX, b.GradY, b.Each = make([]float32, n), make([]float32, n), make([]float32, rows)
	copy(b.X[:columns/2], b.Y) // and pairs that are nearly alike
	return b
}

var cosineShapes = [][2]int{{1, 1}, {5, 3}, {40, 128}, {3, 4096}, {2, 4097}, {2, 20_001}, {1, 300_000}}

// TestCosineEmbedding compares with float64, value and gradients by both.
func TestCosineEmbedding(t *testing.T) {
	for _, shape := range cosineShapes {
		rows, columns := shape[0], shape[1]
		for _, l := range []CosineEmbedding{{Eps: 1e-12}, {Margin: .2, Reduction: Sum}, {Margin: -.5, Eps: .5, Reduction: None}} {
			b := pairsOf(rows, columns)
			b.Scale = Weight(-3)
			value, err := l.Eval(rows, b)
			if err != nil {
				t.Fatal(err)
			}
			total, divisor := 0.0, 1.0
			if l.Reduction == Mean {
				divisor = float64(rows)
			}
			for i := range rows {
				x, y, w := b.X[i*columns:][:columns], b.Y[i*columns:][:columns], float64(b.Weights[i])
				loss, dx, dy := cosine64(l, x, y, float64(b.Labels[i]))
				near(t, fmt.Sprintf("%v: loss %d", shape, i), float64(b.Each[i]), loss*w, rowsUnits, 2)
				total += loss * w
				largest := 0.0
				for j := range dx {
					largest = max(largest, math.Abs(dx[j]), math.Abs(dy[j]))
				}
				for j := range dx {
					scale := -3 * w / divisor
					size := max(largest, 1/math.Sqrt(float64(columns))) * math.Abs(scale) * 4
					near(t, fmt.Sprintf("%v: by x", shape), float64(b.GradX[i*columns+j]), dx[j]*scale, rowsUnits, size)
					near(t, fmt.Sprintf("%v: by y", shape), float64(b.GradY[i*columns+j]), dy[j]*scale, rowsUnits, size)
				}
			}
			near(t, fmt.Sprintf("%v: value", shape), value, total/divisor, rowsUnits, 2*float64(rows))
		}
	}
}

func TestCosineEmbeddingDifferences(t *testing.T) {
	const h = 0x1p-7
	l := CosineEmbedding{Margin: .1, Eps: 1e-12}
	b := pairsOf(4, 5)
	if _, err := l.Eval(4, b); err != nil {
		t.Fatal(err)
	}
	for which, x := range [][]float32{b.X, b.Y} {
		grad := [][]float32{b.GradX, b.GradY}[which]
		for i := range x {
			of, old := Pairs{X: b.X, Y: b.Y, Labels: b.Labels, Weights: b.Weights}, x[i]
			x[i] = old + h
			up, _ := l.Eval(4, of)
			x[i] = old - h
			down, _ := l.Eval(4, of)
			x[i] = old
			if want := (up - down) / (2 * h); math.Abs(float64(grad[i])-want) > 1e-3 {
				t.Errorf("gradient %d of %d is %g, differences say %g", i, which, grad[i], want)
			}
		}
	}
}

// TestCosineEmbeddingBits compares the tables, and keeps the bits what they are.
func TestCosineEmbeddingBits(t *testing.T) {
	defer kernels.Use(kernels.Active())
	for _, table := range kernels.Available() {
		if err := kernels.Use(table); err != nil {
			t.Fatal(err)
		}
		h := fnv.New64a()
		for _, shape := range cosineShapes {
			b := pairsOf(shape[0], shape[1])
			value, err := CosineEmbedding{Margin: .3, Eps: 1e-12}.Eval(shape[0], b)
			if err != nil {
				t.Fatal(err)
			}
			binary.Write(h, binary.LittleEndian, value)
			for _, x := range [][]float32{b.GradX, b.GradY, b.Each} {
				binary.Write(h, binary.LittleEndian, x)
			}
		}
		if got, want := h.Sum64(), uint64(0xcdaf182e9567789d); got != want {
			t.Errorf("%v: the bits have changed: %#x, were %#x", table, got, want)
		}
	}
}

// TestCosineEmbeddingExtremes has rows of zeros, large and infinite ones, and some that cost nothing.
func TestCosineEmbeddingExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, c := range []struct {
		x, y        []float32
		label, eps  float64
		weight      float32
		loss, first float64 // the gradient by x[0]
	}{
		{[]float32{0, 0}, []float32{1, 0}, 1, 1e-12, 1, 1, -1e6},
		{[]float32{0, 0}, []float32{1, 0}, 1, 0, 1, math.NaN(), math.NaN()},
		{[]float32{1e4, 0}, []float32{0, 1e4}, 1, 0, 1, 1, 0},
		{[]float32{0, 1}, []float32{3, 0}, -1, 0, 1, 0, 0},
		{[]float32{2, 0}, []float32{2, 0}, -1, 0, 3, 3, 0},
		{[]float32{nan, 0}, []float32{1, 0}, -1, 0, 1, math.NaN(), math.NaN()},
		{[]float32{inf, 0}, []float32{1, 0}, 1, 0, 1, math.NaN(), math.NaN()},
		{[]float32{nan, inf}, []float32{1, nan}, 1, 0, 0, 0, 0},
	} {
		b := Pairs{X: c.x, Y: c.y, Labels: []float32{float32(c.label)}, Weights: []float32{c.weight}, GradX: make([]float32, 2), GradY: make([]float32, 2)}
		value, err := CosineEmbedding{Eps: c.eps}.Eval(1, b)
		g := float64(b.GradX[0])
		if err != nil || !same64(value, c.loss) || !same64(g, c.first) && math.Abs(g-c.first) > 1e-6*math.Abs(c.first) {
			t.Errorf("%+v: %g, %g, %v", c, value, g, err)
		}
	}
	value, err := CosineEmbedding{}.Eval(0, Pairs{})
	if value == value || err != nil {
		t.Errorf("the mean of nothing is %g, %v", value, err)
	}
}

func TestCosineEmbeddingAllocations(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("what is allocated is the same on every machine")
	}
	b := pairsOf(3, 5000)
	if n := allocs.PerRun(10, func() {
		if _, err := (CosineEmbedding{}).Eval(3, b); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestCosineEmbeddingErrors(t *testing.T) {
	m := make([]float32, 40)
	good := Pairs{X: m[:6], Y: m[6:12], GradX: m[12:18], GradY: m[18:24], Each: m[24:26]}
	for want, change := range map[string]func(l *CosineEmbedding, b *Pairs){
		"Reduction is 4":         func(l *CosineEmbedding, _ *Pairs) { l.Reduction = WeightedMean },
		"Margin is 1.5":          func(l *CosineEmbedding, _ *Pairs) { l.Margin = 1.5 },
		"Eps is -1":              func(l *CosineEmbedding, _ *Pairs) { l.Eps = -1 },
		"Each is nil":            func(l *CosineEmbedding, b *Pairs) { l.Reduction, b.Each = None, nil },
		"len(Y) is 0, want 6":    func(_ *CosineEmbedding, b *Pairs) { b.Y = nil },
		"len(GradX) is 5":        func(_ *CosineEmbedding, b *Pairs) { b.GradX = m[12:17] },
		"len(Labels) is 1":       func(_ *CosineEmbedding, b *Pairs) { b.Labels = m[:1] },
		"Labels[1] is 0, want 1": func(_ *CosineEmbedding, b *Pairs) { b.Labels = []float32{-1, 0} },
		"Weights[0] is -1":       func(_ *CosineEmbedding, b *Pairs) { b.Weights = []float32{-1, 0} },
		"apart from X":           func(_ *CosineEmbedding, b *Pairs) { b.GradX = b.X },
		"apart from GradY":       func(_ *CosineEmbedding, b *Pairs) { b.GradX = b.GradY },
		"len(x) is 5":            func(_ *CosineEmbedding, b *Pairs) { b.X = m[:5] },
	} {
		l, b := CosineEmbedding{}, good
		change(&l, &b)
		m[12] = 7
		if _, err := l.Eval(2, b); err == nil || !strings.Contains(err.Error(), want) || m[12] != 7 {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if slices.Max(m[:12]) != 0 {
		t.Error("arguments were written")
	}
}
