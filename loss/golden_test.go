package loss

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The files of testdata/golden were written by PyTorch 2.15, Keras 3.15 and Optax 0.2.8. The
// .bin of a case holds its gradient, and for the reduction none its losses too.

// unit is the largest relative error of one float32 operation. All tolerances
// are counts of it.
const unit = 0x1p-24

// A tolerance is how far the frameworks' numbers may be from ours.
//
// Where gradients and losses are some products and differences, everyone rounds
// the same few times, and nothing may differ. Logarithms and exponentials are
// up to two units off on either side, and a few roundings follow. A value is
// a float32 sum there, so it has a rounding for each level of a tree of 257,
// of which we have one or none.
type tolerance struct{ value, grad, each float64 }

var tolerances = map[string]tolerance{ // worst seen
	"MSE":           {1, 0, 0}, // 0.3
	"Hinge":         {1, 0, 0}, // 0.2
	"SquaredHinge":  {3, 0, 0}, // 1.3
	"BCE":           {3, 6, 4}, // 1.2, 3.7, 2.0
	"BCEWithLogits": {8, 6, 5}, // 4.2, 4.0, 3.1
	"MAE":           {3, 1, 0},
	"Huber":         {3, 1, 2},
	"SmoothL1":      {3, 2, 2},
	"LogCosh":       {4, 8, 8}, // in which the frameworks cancel
	"SoftMargin":    {8, 6, 5},
	"PoissonNLL":    {8, 24, 24}, // in which larger numbers cancel
	"GaussianNLL":   {8, 24, 8},
	"KLDivergence":  {8, 8, 8},
	"Focal":         {8, 8, 8},
	"L1":            {3, 0, 0}, // 1.6
	"L2":            {3, 0, 0}, // 0.8
	"ElasticNet":    {1, 0, 0}, // 0.2
}

type goldenCase struct {
	Name, Loss, Clamp, Reduction, Pred, Target string
	PosWeight, L1, L2, Value                   float64
	ZeroOne                                    bool

	Delta, Beta, Eps, Gamma, Smoothing float64
	Alpha                              *float64
	Log, Full, Weighted, Probabilities bool
	Weights                            string
	Rows                               int
}

// eval calls what the case stands for.
func (c goldenCase) eval(t *testing.T, pred, grad, each []float32) (float64, error) {
	if c.Target == "" {
		if strings.HasPrefix(c.Name, "keras") { // its factor was half of l2
			return KerasL1L2(c.L1, c.L2/2).Eval(pred, grad)
		}
		return Penalty{L1: c.L1, L2: c.L2}.Eval(pred, grad)
	}
	var labels Labels
	if c.ZeroOne {
		labels = ZeroOne
	}
	var clamp Clamp
	if c.Clamp == "keras" {
		clamp = ClampProbability
	}
	r := map[string]Reduction{"mean": Mean, "sum": Sum, "none": None, "batchmean": BatchMean, "weightedmean": WeightedMean}[c.Reduction]
	if c.Weighted && r == Mean {
		r = WeightedMean
	}
	s := Scaling{Rows: c.Rows}
	if c.Weights != "" {
		s.Weight = readFloats(t, c.Weights)
	}
	target := readFloats(t, c.Target)
	if c.Loss == "GaussianNLL" { // whose means and variances are one file
		n := len(target)
		l := GaussianNLL{Reduction: r, Eps: c.Eps, Full: c.Full, Scaling: s}
		return l.Eval(pred[:n], target, pred[n:], grad[:n], grad[n:], each[:n])
	}
	l := map[string]Loss{
		"MSE":           MSE{Reduction: r, Scaling: s},
		"MAE":           MAE{Reduction: r, Scaling: s},
		"Huber":         Huber{Reduction: r, Delta: c.Delta, Scaling: s},
		"SmoothL1":      SmoothL1{Reduction: r, Beta: c.Beta, Scaling: s},
		"LogCosh":       LogCosh{Reduction: r, Scaling: s},
		"SoftMargin":    SoftMargin{Reduction: r, Scaling: s},
		"PoissonNLL":    PoissonNLL{Reduction: r, Rates: !c.Log, Eps: c.Eps, Full: c.Full, Scaling: s},
		"KLDivergence":  KLDivergence{Reduction: r, LogTarget: c.Log, Probabilities: c.Probabilities, Scaling: s},
		"Focal":         Focal{Reduction: r, Gamma: c.Gamma, Alpha: c.Alpha, Probabilities: c.Probabilities, Smoothing: c.Smoothing, Scaling: s},
		"BCE":           BCE{Reduction: r, Clamp: clamp, Smoothing: c.Smoothing, Scaling: s},
		"BCEWithLogits": BCEWithLogits{Reduction: r, PosWeight: posWeight(c.PosWeight), Smoothing: c.Smoothing, Scaling: s},
		"Hinge":         Hinge{Reduction: r, Labels: labels, Scaling: s},
		"SquaredHinge":  SquaredHinge{Reduction: r, Labels: labels, Scaling: s},
	}[c.Loss]
	return l.Eval(pred, target, grad, each)
}

func TestGolden(t *testing.T) {
	cases, _ := goldenFiles(t)
	if len(cases) < 131 {
		t.Fatalf("%d golden cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			pred, want := readFloats(t, c.Pred), readFloats(t, c.Name+".bin")
			n := len(pred)
			grad, each := make([]float32, n), make([]float32, n)
			value, err := c.eval(t, pred, grad, each)
			if err != nil {
				t.Fatal(err)
			}
			slope := 1.0
			if c.Reduction != "sum" && c.Reduction != "none" {
				slope /= float64(n)
			}
			tol := tolerances[c.Loss]
			if c.Loss == "Focal" && c.Probabilities { // of which Keras has the wrong class as 1 less the right one
				tol.grad = 24
			}
			if c.Weights != "" { // a rounding more for each weight, and one for their sum
				tol.value, tol.grad, tol.each = tol.value+2, tol.grad+3, tol.each+1
			}
			near(t, "value", value, c.Value, tol.value, c.Value)
			for i := range n {
				// A gradient is a difference of numbers near 1, a loss one of
				// numbers like the prediction: so far PyTorch's cancel.
				g := float64(want[i])
				near(t, "gradient", float64(grad[i]), g, tol.grad, max(math.Abs(g), slope))
				if c.Reduction == "none" && n+i < len(want) {
					e := float64(want[n+i])
					near(t, "loss", float64(each[i]), e, tol.each, max(math.Abs(e), math.Abs(float64(pred[i])), 1))
				}
			}
		})
	}
}

// TestGoldenKinks is where a loss has no one gradient, and the clips of Keras.
func TestGoldenKinks(t *testing.T) {
	_, kinks := goldenFiles(t)
	evals := map[string]func(pred, target, grad []float32) (float64, error){
		"hinge":         func(p, y, g []float32) (float64, error) { return Hinge{}.Eval(p, y, g, nil) },
		"squared_hinge": func(p, y, g []float32) (float64, error) { return SquaredHinge{}.Eval(p, y, g, nil) },
		"abs":           func(p, _, g []float32) (float64, error) { return Penalty{L1: 1}.Eval(p, g) },
		"bce_clip": func(p, y, g []float32) (float64, error) {
			return BCE{Clamp: ClampProbability}.Eval(p, y, g, nil)
		},
		"kl_clip": func(p, y, g []float32) (float64, error) { return KLDivergence{Probabilities: true}.Eval(p, y, g, nil) },
		"focal_clip": func(p, y, g []float32) (float64, error) {
			return Focal{Gamma: 2, Probabilities: true}.Eval(p, y, g, nil)
		},
	}
	which := map[string]string{
		"torch_clamp_hinge": "hinge", "torch_relu_hinge": "hinge", "torch_maximum_hinge": "hinge",
		"keras_hinge": "hinge", "keras_hinge_minus": "hinge",
		"keras_squared_hinge": "squared_hinge", "torch_abs": "abs", "keras_l1": "abs", "keras_bce_clip": "bce_clip",
		"keras_kl_clip": "kl_clip", "keras_focal_clip": "focal_clip",
	}
	for _, k := range kinks {
		if k.Name == "torch_hinge_embedding" { // max(0, 1 - x), which has no label
			continue
		}
		grad := []float32{0}
		value, err := evals[which[k.Name]]([]float32{float32(k.Pred)}, []float32{float32(k.Target)}, grad)
		if err != nil {
			t.Fatal(err)
		}
		want := k.Gradient
		if which[k.Name] == "hinge" { // ours is 0, theirs 0, ∓½ or ∓1
			want = 0
		}
		least := 0.0
		if which[k.Name] == "focal_clip" { // Keras has the wrong class as 1 less the right one
			least = 1
		}
		near(t, k.Name, value, k.Value, 2, max(math.Abs(k.Value), least))
		near(t, k.Name+" gradient", float64(grad[0]), want, 2, max(math.Abs(want), least))
	}
}

// TestGoldenLinear compares with float64 results of float64 data.
func TestGoldenLinear(t *testing.T) {
	var data struct {
		X                  [][]float64
		W, Y               []float64
		Labels01, LabelsPM []float64
		Counts             []float64
		B                  float64
		Cases              []struct {
			Loss, Target string
			Intercept    bool
			Value        float64
			Gradient     []float64
		}
	}
	readJSON(t, "linear.json", &data)
	var x []float32
	for _, row := range data.X {
		x = append(x, single(row)...)
	}
	models := map[string]Model{"Squared": Squared, "Logistic": Logistic, "Hinge": HingeLoss, "SquaredHinge": SquaredHingeLoss,
		"Poisson": PoissonLoss, "Huber": HuberLoss, "Absolute": AbsoluteLoss, "Quantile": QuantileLoss, "LogCosh": LogCoshLoss}
	targets := map[string][]float64{"y": data.Y, "labels01": data.Labels01, "labelspm": data.LabelsPM, "counts": data.Counts}
	if len(data.Cases) != 2*len(models) {
		t.Fatalf("%d golden cases of %d models", len(data.Cases), len(models))
	}
	for _, c := range data.Cases {
		w, y := single(data.W), single(targets[c.Target])
		if c.Intercept {
			w = append(w, float32(data.B))
		}
		l, _, _, _ := linearData(t, models[c.Loss], 0, len(data.W), c.Intercept)
		grad := make([]float32, len(w))
		value, err := l.Gradient(x, y, w, grad)
		if err != nil {
			t.Fatal(err)
		}
		_, expected := linear64(models[c.Loss], x, y, w)
		near(t, c.Loss+" value", value, c.Value, linearTolerance, expected[len(w)])
		for j := range w {
			near(t, c.Loss+" gradient", float64(grad[j]), c.Gradient[j], linearTolerance, expected[j])
		}
	}
}

// near fails where got is more than count units of scale off.
func near(t *testing.T, what string, got, want, count, scale float64) {
	t.Helper()
	if off := math.Abs(got-want) / unit; !(off <= count*scale) {
		t.Errorf("%s is %g, want %g: %.3g units of %.3g off, %.3g may be", what, got, want, off/scale, scale, count)
	}
}

func single(x []float64) []float32 {
	var s []float32
	for _, v := range x {
		s = append(s, float32(v))
	}
	return s
}

func readJSON(t *testing.T, name string, v any) {
	t.Helper()
	if _, err := os.Stat("../gen/go.mod"); err != nil {
		if _, err := os.Stat("testdata"); err != nil {
			t.Skip("this is no clone of the repository: there are no golden vectors")
		}
	}
	text, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err == nil {
		err = json.Unmarshal(text, v)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// goldenFiles are what each framework has written.
func goldenFiles(t *testing.T) (cases []goldenCase, kinks []kink) {
	t.Helper()
	for _, framework := range []string{"torch", "keras", "optax"} {
		var file struct {
			Cases []goldenCase
			Kinks []kink
		}
		readJSON(t, framework+".json", &file)
		cases, kinks = append(cases, file.Cases...), append(kinks, file.Kinks...)
	}
	return cases, kinks
}

// A kink is where a loss has no one gradient.
type kink struct {
	Name                          string
	Pred, Target, Value, Gradient float64
}

func readFloats(t *testing.T, name string) []float32 {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "golden", name))
	if err != nil {
		t.Fatal(err)
	}
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// posWeight is a golden case's weight, where 0 stands for none.
func posWeight(x float64) *float64 {
	if x == 0 {
		return nil
	}
	return &x
}
