package loss

import (
	"math"
	"runtime"
	"testing"
	"weak"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestLongPenalty adds the gradient of a penalty over buffers that are several calls long,
// each element's to its own.
func TestLongPenalty(t *testing.T) {
	const n = 2*kernels.MaxLen + 5
	w, grad := uniform(n, -3, 3, 40), make([]float32, n)
	for i := range grad {
		grad[i] = float32(i % 7)
	}
	if _, err := (Penalty{L1: .25, L2: .5}).Eval(w, grad); err != nil {
		t.Fatal(err)
	}
	for i, x := range w {
		want := float64(i%7) + .5*float64(x) + math.Copysign(.25, float64(x))
		if math.Abs(float64(grad[i])-want) > 1e-6 {
			t.Fatalf("gradient %d is %g, want %g", i, grad[i], want)
		}
	}
}

// TestShape cuts matrices as the sums' order asks: into at most so many segments, of whole
// blocks, none with fewer rows than it must have nor with more than it need have.
func TestShape(t *testing.T) {
	const long = tune.LinearLong / tune.LinearLongRows
	blocks := map[int]int{0: tune.LinearBlockRows, 1: tune.LinearBlockRows, 100: tune.LinearBlock / 100, tune.LinearBlock / 3: tune.LinearLongRows,
		long: tune.LinearLongRows, long + 1: 1}
	for columns, block := range blocks {
		l, err := NewLinear(Squared, columns, false)
		if err != nil {
			t.Fatal(err)
		}
		for _, rows := range []int{1, 31, 32, 33, 64*32 - 1, 64 * 32, 64*32 + 1, 6401, 100_000, 100_001} {
			s := l.shape(rows)
			least := max(tune.LinearSegmentRows, (rows+tune.LinearSegments-1)/tune.LinearSegments)
			switch {
			case s.block != block || s.run%block != 0 || s.run > max(block, tune.LinearRunRows) || s.run+block <= tune.LinearRunRows:
				t.Errorf("%d columns: blocks of %d rows in runs of %d, want %d", columns, s.block, s.run, block)
			case s.segment%block != 0 || s.segment < least || s.segment >= least+block:
				t.Errorf("%d rows of %d columns: segments of %d, want %d in blocks of %d", rows, columns, s.segment, least, block)
			case s.segments > tune.LinearSegments || s.segments*s.segment < rows || (s.segments-1)*s.segment >= rows:
				t.Errorf("%d rows of %d columns: %d segments of %d", rows, columns, s.segments, s.segment)
			}
		}
	}
}

// TestForgetWorkers has none of several workers keep the caller's buffers alive.
func TestForgetWorkers(t *testing.T) {
	const columns = 16
	rows := tune.LinearParallel / columns
	l, err := NewLinear(Squared, columns, false)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.SetWorkers(4); err != nil {
		t.Fatal(err)
	}
	x, grad := make([]float32, rows*columns), make([]float32, columns)
	for range 10 {
		y := make([]float32, rows)
		first := weak.Make(&y[0])
		if _, err := l.Gradient(x, y, x[:columns], grad); err != nil {
			t.Fatal(err)
		}
		y = nil
		runtime.GC()
		if first.Value() != nil {
			t.Fatal("the labels are kept")
		}
	}
	runtime.KeepAlive(l)
}
