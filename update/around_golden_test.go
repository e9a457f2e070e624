package update_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// readGolden reads a file of testdata, which is not in the module's zip.
func readGolden(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if os.IsNotExist(err) {
		if _, err := os.Stat("../gen/go.mod"); err != nil {
			t.Skip("this is no clone of the repository: there are no golden vectors")
		}
	}
	must(t, err)
	return b
}

// readFloats reads one of float32.
func readFloats(t *testing.T, name string) []float32 {
	t.Helper()
	data := readGolden(t, name)
	x := make([]float32, len(data)/4)
	_, err := binary.Decode(data, binary.LittleEndian, x)
	must(t, err)
	return x
}

// aroundGolden are the cases of tables/around.py: what is set, or how many steps are
// accumulated.
var aroundGolden = map[string]struct {
	average   update.Averaging
	lookahead update.Lookahead
	micro     int
	adaptive  [2]float64 // clipping and eps
	center    bool
}{
	"torch_ema":           {average: update.TorchEMA(.9)},
	"torch_ema_low":       {average: update.TorchEMA(.3)},
	"torch_swa":           {average: every(3, update.TorchSWA(7))},
	"keras_ema":           {average: update.KerasEMA()},
	"keras_ema_overwrite": {average: update.Averaging{Every: 1, Decay: .8, Overwrite: 7}},
	"keras_accumulation":  {micro: 3},
	"tensorflow_ema":      {average: update.TensorFlowEMA(.9)},
	"tensorflow_ema_warm": {average: update.Averaging{Every: 1, Decay: .9, FromStart: true, WarmUp: true}},
	"optax_ema":           {average: update.OptaxEMA(.9)},
	"optax_lookahead":     {lookahead: update.Lookahead{Period: 5, Step: .5}},
	"optax_lookahead_far": {lookahead: update.Lookahead{Period: 3, Step: .8}},
	"optax_accumulation":  {micro: 3},

	"optax_matrix_adaptive_clip": {adaptive: [2]float64{.1, 1e-3}},
	"optax_matrix_centralize":    {center: true},
	"optax_matrix_both":          {adaptive: [2]float64{.5, .01}, center: true},
}

func every(n int64, a update.Averaging) update.Averaging {
	a.Every = n
	return a
}

// TestAroundGolden follows PyTorch, Keras, TensorFlow and Optax for 60 steps of gradient
// descent with an average, lookahead or accumulation. In each step each side rounds at most
// eight times what is not larger than all that has been: so far they may be apart.
func TestAroundGolden(t *testing.T) {
	const all, columns, roundings, lost = 257, 8, 2 * 8, 0x1p-126 // what frameworks flush
	recorded := []int{1, 2, 3, 10, 30, 60}
	initial, gradients := readFloats(t, "golden/params.bin"), readFloats(t, "golden/gradients.bin")
	files, err := filepath.Glob("testdata/around/*.bin")
	must(t, err)
	if len(files) != len(aroundGolden) {
		t.Errorf("%d files and %d cases", len(files), len(aroundGolden))
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".bin")
		c, ok := aroundGolden[name]
		if !ok {
			t.Errorf("no case %s", name)
		}
		want := readFloats(t, "around/"+name+".bin")
		tensor := update.Tensor{Size: all}
		if strings.Contains(name, "matrix") {
			tensor = update.Tensor{Size: all - 1, Columns: columns}
		}
		size := tensor.Size
		o, err := update.NewSet([]update.Tensor{tensor}, update.SGD{Options: update.Options{LR: float64(float32(.05))}})
		must(t, err)
		params, most := slices.Clone(initial[:size]), make([]float64, size)
		must(t, o.SetCentralize(c.center))
		if c.adaptive[0] > 0 {
			must(t, o.SetAdaptiveClip(c.adaptive[0], c.adaptive[1]))
		}
		must(t, o.SetAverage(c.average))
		must(t, o.SetLookahead(c.lookahead))
		accumulator := update.NewAccumulator(o)
		largest := 0.
		for step := 1; step <= len(gradients)/all; step++ {
			grad := gradients[(step-1)*all:][:size]
			switch {
			case c.micro == 0:
				must(t, o.Step(params, grad))
			case step%c.micro > 0:
				must(t, accumulator.Add([][]float32{grad}, 1))
			default:
				must(t, accumulator.StepSet([][]float32{params}, [][]float32{grad}, 1))
			}
			for i := range grad {
				most[i] = max(most[i], math.Abs(float64(params[i])), .05*math.Abs(float64(grad[i])))
				for j := range columns {
					if c.center { // the mean has an error of the largest in the row
						most[i] = max(most[i], .05*math.Abs(float64(grad[i/columns*columns+j])))
					}
				}
			}
			if !slices.Contains(recorded, step) {
				continue
			}
			beside := params
			for _, name := range []string{update.AverageName, update.SlowName} {
				if x, err := o.Buffer(0, name); err == nil {
					beside = x
				}
			}
			for k, got := range [][]float32{params, beside} {
				theirs := want[:size]
				want = want[size:]
				if k == 1 && c.average.Equal && step < 10 { // PyTorch's is the model at first
					continue
				}
				for i, x := range got {
					off := math.Abs(float64(x)-float64(theirs[i])) / (most[i]*0x1p-24 + lost)
					if largest = max(largest, off); !(off <= float64(roundings*step)) {
						t.Errorf("%s, step %d, buffer %d, element %d: %g, want %g", name, step, k, i, x, theirs[i])
					}
				}
			}
			if t.Failed() {
				return
			}
		}
		if len(want) > 0 {
			t.Errorf("%s: %d numbers are left", name, len(want))
		}
		t.Logf("%s: %.1f units of 2⁻²⁴", name, largest)
	}
}
