package loss

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestGoldenRows compares with PyTorch, Keras and Optax, whose losses are differences of numbers
// like the logits.
func TestGoldenRows(t *testing.T) {
	type goldenRows struct {
		Reduction, Loss               string
		Smoothing, Margin, Gamma, Eps float64
		Limit                         float32
		Weighted, Soft, Squared       bool
		Clean, Every, Probabilities   bool
		Value                         float64
		Each                          []float64
		Gradient                      []float64
	}
	var data struct {
		Logits                      []*float32
		Labels                      []int64
		Targets, Weights, Estimates []float32
		Cases                       []goldenRows
	}
	readJSON(t, "rows.json", &data)
	cases := data.Cases
	for _, name := range []string{"rows_keras.json", "rows_optax.json"} {
		data.Cases = nil // which the decoder writes over
		readJSON(t, name, &data)
		cases = append(cases, data.Cases...)
	}
	if len(cases) < 64 {
		t.Fatalf("%d golden cases", len(cases))
	}
	reductions := map[string]Reduction{"mean": Mean, "none": None}
	models := map[string]RowModel{"NLL": NLL, "MultiMargin": MultiMargin, "CrammerSinger": CrammerSinger, "CategoricalHinge": CategoricalHinge, "SoftmaxFocal": SoftmaxFocal}
	classes := len(data.Weights)
	for k, c := range cases {
		b := Rows{Labels: slices.Clone(data.Labels)}
		if c.Soft {
			b.Labels, b.Targets = nil, data.Targets
		}
		for i, y := range b.Labels {
			if y == TorchIgnore && c.Every {
				b.Labels[i] = 0
			}
		}
		largest := 0.0
		for _, z := range data.Logits {
			x := float32(math.Inf(-1)) // of which JSON has none
			if z != nil {
				x = *z
			} else if c.Clean {
				x = -4
			}
			if c.Limit > 0 {
				x = clip(x, -c.Limit, c.Limit)
			}
			b.Logits = append(b.Logits, x)
			if z != nil {
				largest = max(largest, math.Abs(float64(x)))
			}
		}
		if c.Probabilities {
			b.Logits, largest = data.Estimates, 8 // times 1 - q is off by a unit of 1
		}
		name := fmt.Sprintf("case %d, %s %s", k, c.Loss, c.Reduction)
		if c.Loss == "CosineEmbedding" {
			compareCosine(t, name, CosineEmbedding{Reduction: reductions[c.Reduction], Margin: c.Margin, Eps: c.Eps}, b.Logits, data.Targets, c.Value, c.Each, c.Gradient)
			continue
		}
		o := CrossEntropyOptions{Ignore: Label(TorchIgnore), Smoothing: c.Smoothing}
		o.Reduction = reductions[c.Reduction]
		if c.Weighted {
			o.Weights = data.Weights
		}
		l := newCrossEntropy(t, classes, o)
		if c.Loss != "" {
			of := RowLossOptions{Model: models[c.Loss], Reduction: o.Reduction, Weights: o.Weights, Ignore: o.Ignore, Squared: c.Squared, Gamma: c.Gamma, Probabilities: c.Probabilities, Smoothing: c.Smoothing}
			if c.Margin != 0 {
				of.Margin = &c.Margin
			}
			l = &newRowLoss(t, classes, of).rows
		}
		value, grad, each := evalRows(t, l, b)
		near(t, name, value, c.Value, 4, max(largest, math.Abs(c.Value)))
		for i, e := range c.Each {
			near(t, name+": loss", float64(each[i]), e, 4, max(largest, math.Abs(e)))
		}
		for i, g := range c.Gradient {
			near(t, name+": gradient", float64(grad[i]), g, 8, max(1, math.Abs(g)))
		}
	}
}

// compareCosine has labels of 1 and -1 in turn, or where there is no margin of 1.
func compareCosine(t *testing.T, name string, l CosineEmbedding, x, y []float32, value float64, each, gradient []float64) {
	t.Helper()
	const rows = 6
	b := Pairs{X: x, Y: y, GradX: make([]float32, len(x)), Each: make([]float32, rows)}
	if l.Margin != 0 {
		b.Labels = []float32{1, -1, 1, -1, 1, -1}
	}
	got, err := l.Eval(rows, b)
	if err != nil {
		t.Fatal(err)
	}
	near(t, name, got, value, 8, 1)
	for i, e := range each {
		near(t, name+": loss", float64(b.Each[i]), e, 8, 1)
	}
	for i, g := range gradient {
		near(t, name+": gradient", float64(b.GradX[i]), g, 8, 1)
	}
}
