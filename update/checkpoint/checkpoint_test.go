package checkpoint

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/optax"
	"github.com/lockstep-go/lockstep/update/textbook"
	"github.com/lockstep-go/lockstep/update/torch"
)

var write = flag.Bool("write", false, "write testdata/go*.safetensors, for the tests of Python")

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A run is an optimizer with its parameters.
type run struct {
	*update.Optimizer
	params [][]float32
}

func newRun(t *testing.T, tensors []update.Tensor, rules ...update.Rule) *run {
	t.Helper()
	o, err := update.NewSet(tensors, rules...)
	must(t, err)
	r := &run{Optimizer: o}
	for k, tensor := range tensors {
		r.params = append(r.params, numbers(tensor.Size, uint64(k)))
	}
	return r
}

func numbers(n int, seed uint64) []float32 {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// steps takes steps of which every other has no gradient of tensor 1, and none one of a tensor
// that is late.
func (r *run) steps(t *testing.T, n int) {
	t.Helper()
	for range n {
		var grads [][]float32
		for k, p := range r.params {
			g := numbers(len(p), uint64(100*r.Steps())+uint64(k))
			if k == 1 && r.Steps()%2 == 1 || r.Tensors()[k].Name == "late" {
				g = nil
			}
			grads = append(grads, g)
		}
		must(t, r.StepSet(r.params, grads))
	}
}

var shapes = []update.Tensor{{Name: "weights", Size: 35}, {Name: "bias", Size: 5, Rule: 1}, {Name: "scale", Size: 1}, {Name: "empty", Rule: 1}}

func adamAndLion() []update.Rule {
	adam, lion := torch.Adam(), optax.Lion(1e-3)
	adam.AMSGrad, adam.L1 = true, .01
	return []update.Rule{adam, lion}
}

// TestResumes goes on from a file to the same bits, by every rule.
func TestResumes(t *testing.T) {
	for _, e := range registry.All() {
		for _, s := range e.Samples {
			t.Run(s.Name, func(t *testing.T) { resumes(t, s.Rule) })
		}
	}
	soap := textbook.SOAP() // of which one side has no preconditioner, and so buffers of no elements
	soap.MaxPrecondDim, soap.PreconditionFrequency = 4, 2
	t.Run("SOAP", func(t *testing.T) { resumes(t, soap) })
}

func resumes(t *testing.T, r update.Rule) {
	t.Helper()
	tensors := []update.Tensor{{Name: "a", Size: 20, Columns: 5}, {Name: "b", Size: 7}, {Name: "late", Size: 3}}
	whole, first := newRun(t, tensors, r), newRun(t, tensors, r)
	must(t, whole.SetLR(.003))
	must(t, first.SetLR(.003))
	whole.steps(t, 3)
	first.steps(t, 3)
	path := filepath.Join(t.TempDir(), "state.safetensors")
	must(t, Save(path, first.Optimizer, Options{Extra: map[string]int{"epoch": 3}}))

	second := newRun(t, []update.Tensor{tensors[2], tensors[0], tensors[1]}, r)
	second.params = [][]float32{first.params[2], first.params[0], first.params[1]}
	f, err := Load(path, second.Optimizer)
	must(t, err)
	if string(f.Extra) != `{"epoch":3}` {
		t.Errorf("extra is %s", f.Extra)
	}
	if second.LR() != .003 {
		t.Errorf("the rate is %v", second.LR())
	}
	for range 4 {
		grads := [][]float32{numbers(3, 7), numbers(20, uint64(second.Steps())), numbers(7, 9)}
		must(t, second.StepSet(second.params, grads))
		must(t, whole.StepSet(whole.params, [][]float32{grads[1], grads[2], grads[0]}))
	}
	for k, p := range [][]float32{second.params[1], second.params[2], second.params[0]} {
		if !slices.Equal(p, whole.params[k]) {
			t.Errorf("tensor %d differs", k)
		}
	}
}

// TestLate has a tensor that has taken no step: what all tensors share it has from the file,
// into an optimizer that has been at work too, and begins as its parameters are then.
func TestLate(t *testing.T) {
	tensors := []update.Tensor{{Name: "a", Size: 20}, {Name: "b", Size: 7}, {Name: "late", Size: 3}}
	for _, used := range []bool{false, true} {
		r := newRun(t, tensors, torch.Prodigy())
		r.steps(t, 5)
		path := filepath.Join(t.TempDir(), "state.safetensors")
		must(t, Save(path, r.Optimizer, Options{}))
		to := newRun(t, tensors, torch.Prodigy())
		if used {
			must(t, to.StepSet(to.params, [][]float32{numbers(20, 1), numbers(7, 2), numbers(3, 3)}))
		}
		_, err := Load(path, to.Optimizer)
		must(t, err)
		for _, name := range []string{"d", "numerator", "d_max"} {
			got, err := to.Buffer(2, name)
			must(t, err)
			want, err := r.Buffer(0, name)
			must(t, err)
			if got[0] != want[0] || want[0] == 0 {
				t.Errorf("used %v: %s is %g, want the %g of all", used, name, got[0], want[0])
			}
		}
		must(t, to.StepSet([][]float32{r.params[0], r.params[1], {1, 2, 3}}, [][]float32{nil, nil, {4, 5, 6}}))
		if p0, err := to.Buffer(2, "p0"); err != nil || !slices.Equal(p0, []float32{1, 2, 3}) {
			t.Errorf("used %v: p0 is %g (%v), want the parameters 1, 2 and 3", used, p0, err)
		}
	}
}

func saved(t *testing.T) (path string, r *run) {
	t.Helper()
	r = newRun(t, shapes, adamAndLion()...)
	r.steps(t, 5)
	must(t, r.SetGradScale(.5))
	must(t, r.SetMaxNorm(3))
	path = filepath.Join(t.TempDir(), "state.safetensors")
	must(t, Save(path, r.Optimizer, Options{Shapes: map[string][]int{"weights": {7, 5}, "scale": {}, "empty": {0, 3}}}))
	return path, r
}

// state is all that a file may change.
func state(t *testing.T, o *update.Optimizer) string {
	t.Helper()
	s, err := o.Export()
	must(t, err)
	return fmt.Sprintf("%+v %v %v", s, o.GradScale(), o.MaxNorm())
}

// TestSettings go over, and equal states are equal files.
func TestSettings(t *testing.T) {
	path, r := saved(t)
	other := newRun(t, shapes, adamAndLion()...)
	_, err := Load(path, other.Optimizer)
	must(t, err)
	if want, got := state(t, r.Optimizer), state(t, other.Optimizer); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	f, err := Read(path)
	must(t, err)
	again := path + "2"
	must(t, Write(again, f))
	a, err := os.ReadFile(path)
	must(t, err)
	b, err := os.ReadFile(again)
	must(t, err)
	if !bytes.Equal(a, b) {
		t.Errorf("written again it is another file:\n%q\n%q", a, b)
	}
}

// TestMisfits leaves the optimizer as it was.
func TestMisfits(t *testing.T) {
	path, _ := saved(t)
	rules := adamAndLion()
	renamed, resized, regrouped := slices.Clone(shapes), slices.Clone(shapes), slices.Clone(shapes)
	renamed[0].Name, resized[0].Size, regrouped[0].Rule = "weight", 34, 1
	for want, o := range map[string]*run{
		`it has no tensor "weight"`:                       newRun(t, renamed, rules...),
		`"weights" has the shape [7 5], want 34 elements`: newRun(t, resized, rules...),
		`"weights" is by rule 0, want 1`:                  newRun(t, regrouped, rules...),
		`it is of 4 tensors, want 3`:                      newRun(t, shapes[:3], rules...),
		`it is of 2 rules, want 3`:                        newRun(t, shapes, rules[0], rules[1], rules[1]),
		`rule 0 is Adam (amsgrad), want Adam (adam)`:      newRun(t, shapes, torch.Adam(), rules[1]),
		`rule 1 is Lion (lion), want SGD (sgd)`:           newRun(t, shapes, rules[0], torch.SGD()),
	} {
		o.steps(t, 1)
		before := state(t, o.Optimizer)
		if _, err := Load(path, o.Optimizer); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		if after := state(t, o.Optimizer); after != before {
			t.Errorf("%s: %s\nwas %s", want, after, before)
		}
	}
	// What the optimizer itself finds, after its scale was set.
	o := newRun(t, shapes, rules...)
	must(t, o.SetMaxTensorNorm(1))
	before := state(t, o.Optimizer)
	if _, err := Load(path, o.Optimizer); err == nil {
		t.Error("loaded two norms to clip to")
	}
	if after := state(t, o.Optimizer); after != before {
		t.Errorf("%s\nwas %s", after, before)
	}
}

// TestUnwritable are what nobody could read back.
func TestUnwritable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, tensors := range [][]update.Tensor{
		{{Name: "a", Size: 1}, {Name: "a", Size: 1}},
		{{Size: 1}, {Name: "0", Size: 1}},
		{{Name: "a/m", Size: 1}, {Name: "a", Size: 1}},
	} {
		o, err := update.NewSet(tensors, torch.SGD())
		must(t, err)
		err = Save(path, o, Options{})
		if named := tensors[0].Name == "a/m"; (err == nil) != named {
			t.Errorf("%v: %v", tensors, err)
		}
	}
	o, err := update.NewSet([]update.Tensor{{Name: "a", Size: 6}}, torch.SGD())
	must(t, err)
	for _, with := range []Options{
		{Extra: []int{1}}, {Extra: math.Inf(1)}, {Extra: func() {}},
		{Shapes: map[string][]int{"a": {2, 4}}}, {Shapes: map[string][]int{"b": {6}}}, {Shapes: map[string][]int{"a": {-2, -3}}},
	} {
		if err := Save(path, o, with); err == nil {
			t.Errorf("saved %v", with)
		}
	}
	for _, at := range []string{filepath.Join(path, "unknown"), t.TempDir()} {
		if err := Save(at, o, Options{}); err == nil {
			t.Errorf("saved as %s", at)
		}
	}
}

// TestDamaged turns each bit and cuts everywhere.
func TestDamaged(t *testing.T) {
	path, _ := saved(t)
	whole, err := os.ReadFile(path)
	must(t, err)
	want, err := Read(path)
	must(t, err)
	refused := func(b []byte, what string) {
		t.Helper()
		f, err := decode(bytes.NewReader(b), int64(len(b)))
		var e *Error
		if err != nil && !errors.As(err, &e) {
			t.Fatalf("%s: %v", what, err)
		}
		if err == nil && fmt.Sprint(f) != fmt.Sprint(want) {
			t.Fatalf("%s: taken for another state", what)
		}
	}
	for at := range whole {
		for bit := range 8 {
			b := slices.Clone(whole)
			b[at] ^= 1 << bit
			refused(b, fmt.Sprintf("bit %d of byte %d", bit, at))
		}
		if _, err := decode(bytes.NewReader(whole[:at]), int64(at)); err == nil {
			t.Fatalf("cut at %d", at)
		}
	}
	if _, err := decode(bytes.NewReader(append(whole, 0)), int64(len(whole)+1)); err == nil {
		t.Error("a byte more")
	}
}

// file is a safetensors file of a header and so many bytes.
func file(header string, size int) []byte {
	b := []byte{byte(len(header)), byte(len(header) >> 8), byte(len(header) >> 16), 0, 0, 0, 0, 0}
	return append(append(b, header...), make([]byte, size)...)
}

// TestForeign has files that claim what is not there, without that they get the memory.
func TestForeign(t *testing.T) {
	describe := func(shape, offsets string) []byte {
		text := fmt.Sprintf(`{\"groups\":[{\"rule\":\"A\",\"state\":\"a\",\"options\":{\"lr\":1}}],\"tensors\":[{\"name\":\"a\",\"group\":0,\"steps\":0,\"shape\":%s,\"buffers\":[\"m\"]}],\"steps\":0,\"grad_scale\":1,\"max_norm\":0,\"extra\":{}}`, shape)
		return file(fmt.Sprintf(`{"__metadata__":{"lockstep":"1 00 %s"},"a/m":{"dtype":"F32","shape":%s,"data_offsets":%s}}`, text, shape, offsets), 4)
	}
	cases := map[string]struct {
		b    []byte
		want string
	}{
		"empty":      {nil, "ends before its header"},
		"header":     {[]byte{255, 255, 255, 255, 255, 255, 255, 255, '{'}, "header would have"},
		"long":       {[]byte{0, 0, 0, 5, 0, 0, 0, 0, '{', '}'}, "header would have"},
		"no JSON":    {file("{", 0), "no JSON"},
		"foreign":    {file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, 4), "of no optimizer"},
		"version":    {file(`{"__metadata__":{"lockstep":"2 0 {}"}}`, 0), `version is "2"`},
		"huge":       {describe("[1099511627776]", "[0,4398046511104]"), "of 4 bytes"},
		"overflow":   {describe("[4611686018427387904,4]", "[0,0]"), "has the shape"},
		"negative":   {describe("[-1]", "[0,-4]"), "has the shape"},
		"wrapped":    {describe("[1]", "[9223372036854775804,-9223372036854775808]"), "damaged"},
		"elsewhere":  {describe("[0]", "[4,4]"), "at 4, want it at 0"},
		"too short":  {describe("[0]", "[0,0]"), "end at 0 of 4 bytes"},
		"checksum":   {describe("[1]", "[0,4]"), "checksum"},
		"fractional": {describe("[1.5]", "[0,4]"), "description is none"},
	}
	if strconv.IntSize == 32 { // no int has such a size
		for _, name := range []string{"huge", "overflow"} {
			c := cases[name]
			c.want = "description is none"
			cases[name] = c
		}
	}
	for name, c := range cases {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := decode(bytes.NewReader(c.b), int64(len(c.b)))
		runtime.ReadMemStats(&after)
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Why, c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
			t.Errorf("%s: %d bytes of memory", name, n)
		}
	}
}

// TestReplaces leaves the old file, and no other, where the new one cannot be written.
func TestReplaces(t *testing.T) {
	folder := t.TempDir()
	path := filepath.Join(folder, "state")
	must(t, os.WriteFile(path, []byte("old"), 0o600))
	link := filepath.Join(folder, "link")
	linked := os.Symlink(path, link) == nil
	why := errors.New("no room")
	if err := replace(path, func(w io.Writer) error { w.Write([]byte("new")); return why }); !errors.Is(err, why) {
		t.Errorf("got %v", err)
	}
	check := func(want string, files int) {
		t.Helper()
		b, err := os.ReadFile(path)
		must(t, err)
		list, err := os.ReadDir(folder)
		must(t, err)
		if string(b) != want || len(list) != files {
			t.Errorf("%q, %v", b, list)
		}
	}
	files := 1
	if linked {
		files, path = 2, link
	}
	check("old", files)
	must(t, replace(path, func(w io.Writer) error { _, err := w.Write([]byte("new")); return err }))
	check("new", files)
	info, err := os.Stat(path)
	must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("its mode is %v", info.Mode())
	}
}

// TestPython reads what Python's tests write, and writes what they read.
func TestPython(t *testing.T) {
	r := newRun(t, shapes, adamAndLion()...)
	f, err := Load("testdata/python.safetensors", r.Optimizer)
	must(t, err)
	if f.Steps != 5 || string(f.Extra) != `{"epoch":3}` {
		t.Errorf("%d steps, extra %s", f.Steps, f.Extra)
	}
	b := filepath.Join(t.TempDir(), "again")
	must(t, Save(b, r.Optimizer, Options{Shapes: map[string][]int{"weights": {7, 5}, "scale": {}, "empty": {0, 3}}, Extra: f.Extra}))
	g, err := Read(b)
	must(t, err)
	for k := range f.Groups { // as Python and Go name and write them
		if fmt.Sprint(f.Groups[k].Options) != fmt.Sprint(g.Groups[k].Options) {
			t.Errorf("options are %v, Python's %v", g.Groups[k].Options, f.Groups[k].Options)
		}
	}
	f.Groups, g.Groups = nil, nil
	byName := func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) }
	slices.SortFunc(f.Tensors, byName)
	slices.SortFunc(g.Tensors, byName)
	if fmt.Sprint(f) != fmt.Sprint(g) {
		t.Errorf("from Python %v\nread and written %v", f, g)
	}

	path, _ := saved(t)
	golden(t, path, "testdata/go.safetensors")
}

// golden compares a file with one in testdata, which it makes it with -write.
func golden(t *testing.T, path, kept string) {
	t.Helper()
	now, err := os.ReadFile(path)
	must(t, err)
	if *write {
		must(t, os.WriteFile(kept, now, 0o644))
	}
	then, err := os.ReadFile(kept)
	must(t, err)
	if !bytes.Equal(now, then) {
		t.Errorf("%s is not what is written now: if that is meant, go test ./update/checkpoint -write", kept)
	}
}

// FuzzDecode looks for a panic, and for memory that the input cannot fill.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"testdata/go.safetensors", "testdata/python.safetensors", "testdata/go_averages.safetensors", "testdata/go_rows.safetensors", "testdata/go_typed.safetensors"} {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(file(`{"__metadata__":{"lockstep":"1 00 {}"}}`, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		file, err := decode(bytes.NewReader(b), int64(len(b)))
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20+100*uint64(len(b)) {
			t.Errorf("%d bytes of memory for %d", n, len(b))
		}
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := file.encode(&again); err != nil {
			t.Errorf("what was read cannot be written: %v", err)
		}
	})
}

// TestNoSteps has an optimizer go back to no step, by rules whose state begins as the parameters:
// with the next step it does so anew, in this one and in one that has its file.
func TestNoSteps(t *testing.T) {
	rules := []update.Rule{torch.Prodigy(), registry.Get("madgrad")}
	first, second := newRun(t, shapes, rules...), newRun(t, shapes, rules...)
	first.steps(t, 5)
	must(t, first.SetSteps(0))
	path := filepath.Join(t.TempDir(), "state")
	must(t, Save(path, first.Optimizer, Options{}))
	_, err := Load(path, second.Optimizer)
	must(t, err)
	for k, p := range first.params {
		copy(second.params[k], p)
	}
	first.steps(t, 3)
	second.steps(t, 3)
	if want, got := state(t, first.Optimizer), state(t, second.Optimizer); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}
