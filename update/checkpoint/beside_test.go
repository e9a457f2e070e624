package checkpoint

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/update"
)

// TestResumesBeside goes on from a file to the same bits of parameters, averages and slow
// parameters, wherever between two averages the run was left.
func TestResumesBeside(t *testing.T) {
	begin := map[string]func(t *testing.T, r *run){
		"average":   func(t *testing.T, r *run) { must(t, r.SetAverage(update.TorchEMA(.9))) },
		"corrected": func(t *testing.T, r *run) { must(t, r.SetAverage(update.OptaxEMA(.9))) },
		"seldom": func(t *testing.T, r *run) {
			must(t, r.SetAverage(update.Averaging{Every: 10, Equal: true, Overwrite: 15}))
		},
		"lookahead": func(t *testing.T, r *run) { must(t, r.SetLookahead(update.Lookahead{Period: 6, Step: .5})) },
		"both": func(t *testing.T, r *run) {
			must(t, r.SetAverage(update.Averaging{Every: 3, Decay: .9, FromStart: true}))
			must(t, r.SetLookahead(update.Lookahead{Period: 4, Step: .5}))
		},
	}
	for name, begin := range begin {
		for _, at := range []int{0, 4, 13, 20} {
			whole, first := newRun(t, shapes, adamAndLion()...), newRun(t, shapes, adamAndLion()...)
			begin(t, whole)
			begin(t, first)
			whole.steps(t, 31)
			first.steps(t, at)
			path := filepath.Join(t.TempDir(), "state")
			must(t, Save(path, first.Optimizer, Options{}))

			second := newRun(t, shapes, adamAndLion()...)
			begin(t, second)
			second.params = first.params
			_, err := Load(path, second.Optimizer)
			must(t, err)
			if got := second.Averages(); got != first.Averages() {
				t.Errorf("%s, from step %d: %d averages, want %d", name, at, got, first.Averages())
			}
			second.steps(t, 31-at)
			for k := range shapes {
				if !slices.Equal(second.params[k], whole.params[k]) {
					t.Errorf("%s, from step %d: tensor %d differs", name, at, k)
				}
			}
			if want, got := state(t, whole.Optimizer), state(t, second.Optimizer); got != want {
				t.Errorf("%s, from step %d: %s\nwant %s", name, at, got, want)
			}
		}
	}
}

// TestBesideIsKept has a file with averages go to an optimizer that keeps none, which is
// refused, and through Read and Write, which leave it as it is.
func TestBesideIsKept(t *testing.T) {
	r := newRun(t, shapes, adamAndLion()...)
	must(t, r.SetAverage(update.TorchSWA(0)))
	r.steps(t, 5)
	path := filepath.Join(t.TempDir(), "state")
	must(t, Save(path, r.Optimizer, Options{}))

	o := newRun(t, shapes, adamAndLion()...)
	before := state(t, o.Optimizer)
	if _, err := Load(path, o.Optimizer); err == nil || !strings.Contains(err.Error(), "the optimizer keeps no params_average") {
		t.Errorf("got %v", err)
	}
	if after := state(t, o.Optimizer); after != before {
		t.Errorf("%s\nwas %s", after, before)
	}

	f, err := Read(path)
	must(t, err)
	if slots := f.Tensors[0].Buffers; f.Averages != 5 || len(slots) != 4 || slots[3].Slot != update.AverageName {
		t.Errorf("%d averages, buffers %v", f.Averages, slots)
	}
	must(t, Write(path+"2", f))
	a, err := os.ReadFile(path)
	must(t, err)
	b, err := os.ReadFile(path + "2")
	must(t, err)
	if !slices.Equal(a, b) {
		t.Error("written again it is another file")
	}
	for _, n := range []int64{-1, 0} {
		f.Averages = n
		if err := Write(path, f); err == nil {
			t.Errorf("wrote averages, %d of them", n)
		}
	}
}

// TestPythonKeepsBeside has a file for the tests of Python, which read it and write it again,
// and reads what they have written.
func TestPythonKeepsBeside(t *testing.T) {
	r := newRun(t, shapes, adamAndLion()...)
	must(t, r.SetAverage(update.Averaging{Every: 2, Decay: .9}))
	must(t, r.SetLookahead(update.Lookahead{Period: 3, Step: .5}))
	r.steps(t, 5)
	path := filepath.Join(t.TempDir(), "state")
	must(t, Save(path, r.Optimizer, Options{Shapes: map[string][]int{"weights": {7, 5}, "scale": {}, "empty": {0, 3}}}))
	golden(t, path, "testdata/go_averages.safetensors")

	want := state(t, r.Optimizer)
	r.steps(t, 1)
	_, err := Load("testdata/python_averages.safetensors", r.Optimizer)
	must(t, err)
	if got := state(t, r.Optimizer); got != want {
		t.Errorf("from Python %s\nwant %s", got, want)
	}
}

// TestSlowOfSome refuses slow parameters of some tensors alone, in what is written and what is
// read.
func TestSlowOfSome(t *testing.T) {
	r := newRun(t, shapes, adamAndLion()...)
	must(t, r.SetLookahead(update.Lookahead{Period: 3, Step: .5}))
	r.steps(t, 5)
	path := filepath.Join(t.TempDir(), "state")
	must(t, Save(path, r.Optimizer, Options{}))
	f, err := Read(path)
	must(t, err)
	last := &f.Tensors[len(f.Tensors)-1]
	last.Buffers = slices.DeleteFunc(last.Buffers, func(b Buffer) bool { return b.Slot == update.SlowName })
	const want = "has slow parameters: false, want them of all tensors or none"
	if err := Write(path, f); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("written: %v", err)
	}
	text, err := f.describe()
	must(t, err)
	if err := new(File).parse(string(text)); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("read: %v", err)
	}
}

// TestBesideHasTheShape refuses averages and slow parameters of another shape than their
// tensor's, in what is written and what is read.
func TestBesideHasTheShape(t *testing.T) {
	for _, slot := range []string{update.AverageName, update.SlowName} {
		f := &File{Groups: []Group{{Rule: "A", State: "a", Options: map[string]any{"lr": 1.}}}}
		f.Tensors = []Tensor{{Name: "w", Shape: []int{2, 3}, Buffers: []Buffer{{Slot: slot, Data: make([]float32, 6)}}}}
		if slot == update.AverageName {
			f.Averages = 1
		}
		var b bytes.Buffer
		must(t, f.encode(&b))
		_, err := decode(bytes.NewReader(b.Bytes()), int64(b.Len()))
		must(t, err)

		flat := bytes.Replace(b.Bytes(), []byte(`"F32","shape":[2,3]`), []byte(`"F32","shape":[6]  `), 1)
		if _, err := decode(bytes.NewReader(flat), int64(len(flat))); err == nil || !strings.Contains(err.Error(), "is F32 [6], want F32 [2 3]") {
			t.Errorf("%s: read: %v", slot, err)
		}
		f.Tensors[0].Buffers[0].Data = make([]float32, 5)
		if err := f.encode(io.Discard); err == nil || !strings.Contains(err.Error(), "has 5 numbers, want them of the shape [2 3]") {
			t.Errorf("%s: written: %v", slot, err)
		}
	}
}

// TestNames refuses what JSON would make another name of.
func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"ü/w\x00": true, "a\xff": false} {
		o, err := update.NewSet([]update.Tensor{{Name: name, Size: 1}}, adamAndLion()[0])
		must(t, err)
		if err := Save(filepath.Join(t.TempDir(), "state"), o, Options{}); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func writes(text string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
}

// TestLinks follows links to where they lead, also if nothing is there yet, or if the way
// goes back from a folder that is a link itself.
func TestLinks(t *testing.T) {
	folder := t.TempDir()
	deep := filepath.Join(folder, "a", "b")
	must(t, os.MkdirAll(deep, 0o777))
	link := func(to string, at ...string) string {
		path := filepath.Join(at...)
		if err := os.Symlink(to, path); err != nil {
			t.Skip("no symbolic links here")
		}
		return path
	}
	short := link(deep, folder, "short")
	for _, c := range []struct{ path, file string }{
		{link("later", folder, "dangling"), filepath.Join(folder, "later")},
		{link(filepath.Join(folder, "dangling2"), folder, "first"), filepath.Join(folder, "end")},
		{link("../up", short, "back"), filepath.Join(folder, "a", "up")},
		{short + string(filepath.Separator) + ".." + string(filepath.Separator) + "side", filepath.Join(folder, "a", "side")},
	} {
		if filepath.Base(c.path) == "first" {
			link("end", folder, "dangling2")
		}
		for _, text := range []string{"one", "two"} {
			must(t, replace(c.path, writes(text)))
			b, err := os.ReadFile(c.file)
			must(t, err)
			if string(b) != text {
				t.Errorf("%s: %q at %s", c.path, b, c.file)
			}
		}
	}
	if info, err := os.Lstat(filepath.Join(folder, "dangling")); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link is %v, %v", info, err)
	}
	if err := replace(link("loop", folder, "loop"), writes("")); err == nil {
		t.Error("went through a loop")
	}
}

// TestMode has a new file be what the umask leaves of 0666.
func TestMode(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "plan9" {
		t.Skip("files have no such mode here")
	}
	folder := t.TempDir()
	usual, err := os.Create(filepath.Join(folder, "usual"))
	must(t, err)
	must(t, usual.Close())
	want, err := os.Stat(usual.Name())
	must(t, err)
	path := filepath.Join(folder, "state")
	must(t, replace(path, writes("")))
	got, err := os.Stat(path)
	must(t, err)
	if got.Mode() != want.Mode() {
		t.Errorf("the mode is %v, want %v", got.Mode(), want.Mode())
	}
}
