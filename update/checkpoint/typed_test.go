package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

// inFewerBits are types of Adam's state.
var inFewerBits = map[string]update.StateType{"m": update.StateFloat8, "v": update.StateBF16}

func newTyped(t *testing.T, types map[string]update.StateType) *run {
	t.Helper()
	r := newRun(t, []update.Tensor{{Name: "a", Size: 5000}, {Name: "b", Size: 7}, {Name: "late", Size: 4500}}, torch.Adam())
	must(t, r.SetStateTypes(types, 3))
	return r
}

// TestTypedState goes on from a file with state in fewer bits, whose names and types any
// reader of the format sees.
func TestTypedState(t *testing.T) {
	r := newTyped(t, inFewerBits)
	r.steps(t, 3)
	path := filepath.Join(t.TempDir(), "state.safetensors")
	must(t, Save(path, r.Optimizer, Options{Shapes: map[string][]int{"a": {100, 50}}}))
	to := newTyped(t, inFewerBits)
	to.steps(t, 1)
	_, err := Load(path, to.Optimizer)
	must(t, err)
	want, err := r.Export()
	must(t, err)
	got, err := to.Export()
	must(t, err)
	if !reflect.DeepEqual(got.Tensors, want.Tensors) {
		t.Error("the state is another")
	}

	file, err := os.ReadFile(path)
	must(t, err)
	n := binary.LittleEndian.Uint64(file)
	header := map[string]json.RawMessage{}
	must(t, json.Unmarshal(file[8:8+n], &header))
	data := file[8+n:]
	for key, wanted := range map[string]stored{
		"a/m": {"U8", []int{100, 50}, [2]int64{0, 5000}}, "a/m.scales": {"F32", []int{20}, [2]int64{5000, 5080}}, "a/v": {"BF16", []int{100, 50}, [2]int64{5080, 15080}},
		"b/m": {"F32", []int{7}, [2]int64{15080, 15108}}, "late/v": {"BF16", []int{4500}, [2]int64{19708, 28708}},
	} {
		var have stored
		must(t, json.Unmarshal(header[key], &have))
		if !reflect.DeepEqual(have, wanted) {
			t.Errorf("%s is %v, want %v", key, have, wanted)
		}
	}
	a := want.Tensors[0].Typed
	if !bytes.Equal(data[:5000], a["m"].Codes) || binary.LittleEndian.Uint16(data[5080+2*77:]) != uint16(a["v"].BF16[77]) {
		t.Error("the file has other numbers")
	}
	if !strings.Contains(string(header[meta]), `\"types\":{\"m\":\"float8\",\"v\":\"bfloat16\"}`) {
		t.Errorf("the description has not the types: %s", header[meta])
	}
}

// TestTypedStateOfPython has state in fewer bits after the steps that the tests of Python take
// too, and goes on from there.
func TestTypedStateOfPython(t *testing.T) {
	tensors := []update.Tensor{{Name: "weights", Size: 4900, Columns: 70}, {Name: "bias", Size: 7}}
	rule := torch.Adam()
	rule.LR, rule.Beta1, rule.Beta2 = .125, .5, .75
	grads := [][]float32{make([]float32, 4900), make([]float32, 7)}
	for _, g := range grads {
		for i := range g {
			g[i] = float32(i%3-1) / float32(int(1)<<(i%5))
		}
	}
	begun := func() *run {
		r := newRun(t, tensors, rule)
		must(t, r.SetStateTypes(inFewerBits, 3))
		return r
	}
	r := begun()
	for range 3 {
		must(t, r.StepSet(r.params, grads))
	}
	path := filepath.Join(t.TempDir(), "state")
	must(t, Save(path, r.Optimizer, Options{Shapes: map[string][]int{"weights": {70, 70}}}))
	golden(t, path, "testdata/go_typed.safetensors")

	other := begun()
	_, err := Load("testdata/python_typed.safetensors", other.Optimizer)
	must(t, err)
	for k := range r.params {
		other.params[k] = slices.Clone(r.params[k])
	}
	grads = [][]float32{numbers(4900, 5), numbers(7, 6)} // whose rounding is at random
	for _, o := range []*run{r, other} {
		must(t, o.StepSet(o.params, grads))
	}
	if got, want := state(t, other.Optimizer), state(t, r.Optimizer); got != want || !reflect.DeepEqual(other.params, r.params) {
		t.Error("from Python steps go on otherwise")
	}
}

// TestTypedStateBegins has a file without the state of a tensor that has taken no step.
func TestTypedStateBegins(t *testing.T) {
	r := newTyped(t, inFewerBits)
	r.steps(t, 2)
	path := filepath.Join(t.TempDir(), "state.safetensors")
	must(t, Save(path, r.Optimizer, Options{}))
	f, err := Read(path)
	must(t, err)
	f.Tensors[2].Buffers = f.Tensors[2].Buffers[:1]
	must(t, Write(path, f))
	to := newTyped(t, inFewerBits)
	_, err = Load(path, to.Optimizer)
	must(t, err)
	got, err := to.Export()
	must(t, err)
	want, err := r.Export()
	must(t, err)
	if !reflect.DeepEqual(got.Tensors, want.Tensors) {
		t.Error("the state is another")
	}
}

// TestTypedStateRefused has files for other types, and such as nobody writes.
func TestTypedStateRefused(t *testing.T) {
	r := newTyped(t, inFewerBits)
	r.steps(t, 2)
	dir := t.TempDir()
	path := filepath.Join(dir, "state.safetensors")
	must(t, Save(path, r.Optimizer, Options{}))
	for name, types := range map[string]map[string]update.StateType{"float32": nil, "bfloat16": {"m": update.StateBF16, "v": update.StateBF16}} {
		to := newTyped(t, types)
		_, err := Load(path, to.Optimizer)
		var e *update.ArgError
		if !errors.As(err, &e) || e.Arg != `Tensors[0].Typed["m"].Type` || e.Value != update.StateFloat8 || !strings.Contains(e.Want, name) {
			t.Errorf("%s: the error is %v", name, err)
		}
	}
	whole, err := os.ReadFile(path)
	must(t, err)
	n := int(binary.LittleEndian.Uint64(whole))
	for _, at := range []int{8 + n + 17, 8 + n + 5017, 8 + n + 5080 + 17} { // a code, a scale, a BF16
		damaged := slices.Clone(whole)
		damaged[at] ^= 1
		if _, err := decode(bytes.NewReader(damaged), int64(len(damaged))); err == nil || !strings.Contains(err.Error(), "checksum") {
			t.Errorf("with byte %d changed: %v", at, err)
		}
	}
	change := func(from, to string, wanted string) {
		t.Helper()
		if len(from) != len(to) || !bytes.Contains(whole, []byte(from)) {
			t.Fatalf("%q cannot become %q", from, to)
		}
		other := bytes.Replace(whole, []byte(from), []byte(to), 1)
		if _, err := decode(bytes.NewReader(other), int64(len(other))); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: the error is %v, want %q", to, err, wanted)
		}
	}
	change(`{\"m\":\"float8\"`, `{\"m\":\"float9\"`, `"a/m" is of the type "float9"`)
	change(`{\"m\":\"float8\"`, `{\"n\":\"float8\"`, `"a/n" has a type and is no buffer`)
	change(`"a/m.scales"`, `"a/m.scalez"`, `lacks the buffer "a/m.scales"`)
	change(`"dtype":"U8"`, `"dtype":"I8"`, `"a/m" is I8 [5000], want U8 [5000]`)
	change(`"shape":[20]`, `"shape":[21]`, `"a/m.scales" is F32 [21], want F32 [20]`)

	f, err := Read(path)
	must(t, err)
	for what, spoil := range map[string]func(s *update.TypedState){
		`"a/m" has 4999 numbers`:      func(s *update.TypedState) { s.Codes = s.Codes[1:] },
		`"a/m.scales" has 19 numbers`: func(s *update.TypedState) { s.Scales = s.Scales[1:] },
	} {
		b := &f.Tensors[0].Buffers[0]
		was := *b
		spoil(&b.Typed)
		if err := f.encode(new(bytes.Buffer)); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: the error is %v", what, err)
		}
		*b = was
	}
}
