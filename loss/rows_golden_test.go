package loss

import (
	"fmt"
	"math"
	"testing"
)

// TestGoldenRows compares with PyTorch's cross-entropy, whose losses are differences of
// numbers like the logits.
func TestGoldenRows(t *testing.T) {
	var data struct {
		Logits           []*float32
		Labels           []int64
		Targets, Weights []float32
		Cases            []struct {
			Reduction      string
			Smoothing      float64
			Weighted, Soft bool
			Value          float64
			Each           []float64
			Gradient       []float64
		}
	}
	readJSON(t, "rows.json", &data)
	if len(data.Cases) < 16 {
		t.Fatalf("%d golden cases", len(data.Cases))
	}
	classes := len(data.Weights)
	for _, c := range data.Cases {
		o := CrossEntropyOptions{Ignore: Label(TorchIgnore), Smoothing: c.Smoothing}
		o.Reduction = map[string]Reduction{"mean": Mean, "none": None}[c.Reduction]
		b := Rows{Labels: data.Labels}
		if c.Weighted {
			o.Weights = data.Weights
		}
		if c.Soft {
			b.Labels, b.Targets = nil, data.Targets
		}
		largest := 0.0
		for _, z := range data.Logits {
			x := float32(math.Inf(-1)) // of which JSON has none
			if z != nil {
				x = *z
			} else if c.Soft || c.Smoothing > 0 {
				x = -4
			}
			b.Logits = append(b.Logits, x)
			if z != nil {
				largest = max(largest, math.Abs(float64(x)))
			}
		}
		value, grad, each := evalRows(t, newCrossEntropy(t, classes, o), b)
		name := fmt.Sprintf("%s, smoothing %g, weighted %v, soft %v", c.Reduction, c.Smoothing, c.Weighted, c.Soft)
		near(t, name, value, c.Value, 4, max(largest, math.Abs(c.Value)))
		for i, e := range c.Each {
			near(t, name+": loss", float64(each[i]), e, 4, max(largest, math.Abs(e)))
		}
		for i, g := range c.Gradient {
			near(t, name+": gradient", float64(grad[i]), g, 8, max(1, math.Abs(g)))
		}
	}
}
