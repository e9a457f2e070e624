package loss

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/allocs"
)

// TestSoftmax compares the logarithms of sums and the probabilities with float64, in place
// and apart.
func TestSoftmax(t *testing.T) {
	for _, shape := range rowsShapes {
		for _, spread := range []float32{.1, 3, 30} {
			rows, columns := shape[0], shape[1]
			x := uniform(rows*columns, -spread, spread, 3)
			y, sums := make([]float32, len(x)), make([]float32, rows)
			if err := Softmax(y, x, rows, 0); err != nil {
				t.Fatal(err)
			}
			if err := LogSumExp(sums, x, rows, 0); err != nil {
				t.Fatal(err)
			}
			units := float64(rowsUnits + 2*spread)
			for i := range rows {
				row := x[i*columns:][:columns]
				top, sum := float64(slices.Max(row)), 0.0
				for _, v := range row {
					sum += math.Exp(float64(v) - top)
				}
				want := top + math.Log(sum)
				near(t, fmt.Sprintf("%v: logarithm %d", shape, i), float64(sums[i]), want, units, max(1, math.Abs(top)))
				for j, v := range row {
					p := math.Exp(float64(v)-top) / sum
					near(t, fmt.Sprintf("%v: probability %d of row %d", shape, j, i), float64(y[i*columns+j]), p, units, p)
				}
			}
			if err := Softmax(x, x, rows, 0); err != nil || !slices.Equal(x, y) {
				t.Errorf("%v: other bits in place, or %v", shape, err)
			}
		}
	}
}

// TestSoftmaxExtremes has rows of which nothing is left, beside others.
func TestSoftmaxExtremes(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	x := []float32{0, 0, -inf, 1, -inf, -inf, inf, 0, nan, 0, 1e4, -1e4}
	y, sums := make([]float32, 12), make([]float32, 6)
	if err := Softmax(y, x, 6, 0); err != nil {
		t.Fatal(err)
	}
	if err := LogSumExp(sums, x, 6, 0); err != nil {
		t.Fatal(err)
	}
	if want := []float32{.5, .5, 0, 1, nan, nan, nan, nan, nan, nan, 1, 0}; !slices.EqualFunc(y, want, same) {
		t.Errorf("probabilities %v, want %v", y, want)
	}
	if want := []float32{math.Ln2, 1, -inf, nan, nan, 1e4}; !slices.EqualFunc(sums, want, same) {
		t.Errorf("logarithms %v, want %v", sums, want)
	}
	if err := Softmax(nil, nil, 0, 0); err != nil {
		t.Error(err)
	}
}

func TestSoftmaxRefuses(t *testing.T) {
	memory := uniform(30, 0, 1, 1)
	before := slices.Clone(memory)
	x := memory[:12]
	for want, err := range map[string]error{
		"len(x) is 12, want 5 rows":         Softmax(memory[12:24], x, 5, 0),
		"len(x) is 12, want 0 rows":         LogSumExp(nil, x, 0, 0),
		"len(x) is 0, want 3 rows":          LogSumExp(memory[12:15], nil, 3, 0),
		"len(y) is 11":                      Softmax(memory[12:23], x, 3, 0),
		"len(y) is 2, want the number":      LogSumExp(memory[12:14], x, 3, 0),
		"want x, or a buffer apart from it": Softmax(memory[1:13], x, 3, 0),
		"want a buffer apart from x":        LogSumExp(memory[11:14], x, 3, 0),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if !slices.Equal(memory, before) {
		t.Error("something was written")
	}
}

func TestSoftmaxAllocations(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("what is allocated is the same on every machine")
	}
	x, y := uniform(70_000, 0, 1, 1), make([]float32, 70_000)
	for _, rows := range []int{1, 7, 1000} {
		n := allocs.PerRun(10, func() {
			if Softmax(y, x, rows, 0) != nil || LogSumExp(y[:rows], x, rows, 0) != nil {
				t.Fatal("an error")
			}
		})
		if n != 0 {
			t.Errorf("%d rows: %v allocations", rows, n)
		}
	}
}
