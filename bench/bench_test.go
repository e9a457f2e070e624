package main

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/bench/yardstick"
	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/kernels"
)

// TestCheckFinds breaks a kernel on purpose, in one bit of one length.
func TestCheckFinds(t *testing.T) {
	sgd := kernels.All()[slices.IndexFunc(kernels.All(), func(k kernels.Kernel) bool { return k.Name == "SGD" })]
	reference := sgd.Bare(kernels.Table(0)).(func([][]float32, *fallback.SGDScalars))
	broken := func(list [][]float32, c *fallback.SGDScalars) {
		reference(list, c)
		p := list[0]
		if len(p) == 97 {
			p[96] = math.Float32frombits(math.Float32bits(p[96]) ^ 1)
		}
	}
	beyond := func(list [][]float32, c *fallback.SGDScalars) {
		reference(list, c)
		p := list[0]
		if len(p) == 33 {
			p[:34][33] = 7
		}
	}
	for name, kernel := range map[string]any{"a bit": broken, "beyond the end": beyond} {
		c := check([]pair{{"test", sgd, kernel, reference}}, true)
		if c.OK() || c.Differ == 0 || len(c.Failures) != int(c.Differ) {
			t.Errorf("%s: not found: %+v", name, c)
		}
	}
	if c := check([]pair{{"test", sgd, reference, reference}}, true); !c.OK() || c.Comparisons == 0 {
		t.Errorf("the reference differs from itself: %+v", c)
	}
}

// TestTuned holds the tuned loops to the reference within rounding.
func TestTuned(t *testing.T) {
	for _, o := range ops {
		if o.tuned == nil {
			continue
		}
		x, y := newArena(1000).streams(1000), newArena(1000).streams(1000)
		step := o.call(kernels.Table(0), x)
		for range 3 {
			step()
			o.tuned(y)
		}
		for k := range x {
			for i := range x[k] {
				if d := math.Abs(float64(x[k][i] - y[k][i])); d > 1e-6 {
					t.Fatalf("%s: buffer %d differs by %g at %d", o.name, k, d, i)
				}
			}
		}
	}
}

// TestYardsticks calls each twice: it must store something, and leave what it
// works on in place as it was.
func TestYardsticks(t *testing.T) {
	for _, table := range kernels.Available() {
		y := yardstick.For(table.ISA())
		if y == nil {
			continue
		}
		for _, o := range ops {
			if o.limit == nil {
				continue
			}
			n := kernels.MaxLen + rowLen
			a := newArena(n)
			before := slices.Clone(a)
			b := a.streams(n)
			o.limit(y, b)
			if slices.Equal(a, before) {
				t.Errorf("%s/%s: the yardstick stores nothing", table.ISA(), o.name)
			}
			o.limit(y, b)
			if same := slices.Equal(a, before); same != o.pattern.inPlace {
				t.Errorf("%s/%s: two calls of the yardstick leave the same values: %v", table.ISA(), o.name, same)
			}
		}
	}
}

// TestPlain compares the plain formulas with the reference, which is the same where
// no number is small.
func TestPlain(t *testing.T) {
	const n = rowLen + 5
	for _, table := range kernels.Available() {
		y := yardstick.For(table.ISA())
		if y == nil {
			continue
		}
		a := newArena(n)
		b := slices.Clone(a)
		x, z := a.streams(n), b.streams(n)
		for range 3 {
			y.Adam(x[:4], adamC)
			fallback.Adam(z[0], z[1], z[2], z[3], adamC)
			y.AdaGrad(x[:3], adaGradC)
			fallback.AdaGrad(z[0], z[1], z[2], adaGradC)
		}
		if !slices.Equal(a, b) {
			t.Errorf("%s: the plain formulas give other numbers", table.ISA())
		}
	}
}

// TestOps runs every op of every table with room for it, and looks at what the
// numbers have become.
func TestOps(t *testing.T) {
	const n = 2 * rowLen
	names := map[string]bool{}
	defer func() {
		for _, k := range kernels.All() {
			if !names[k.Name] && k.Name != "Adam" { // which is there as AdamW
				t.Errorf("%s is not timed", k.Name)
			}
		}
	}()
	for _, o := range ops {
		if names[o.name] {
			t.Errorf("%s is there twice", o.name)
		}
		names[o.name] = true
		for _, table := range kernels.Available() {
			a := newArena(n)
			call := o.call(table, a.streams(n))
			for range 100 {
				call()
			}
			for _, x := range a {
				if x != x || math.IsInf(float64(x), 0) || x != 0 && math.Abs(float64(x)) < 1e-30 {
					t.Errorf("%s/%s leaves %g", table.ISA(), o.name, x)
					break
				}
			}
		}
	}
}

func TestStreamsDoNotOverlap(t *testing.T) {
	for _, n := range []int{rowLen, 5 * rowLen, 1 << 16} {
		b := newArena(1 << 16).streams(n)
		for k, s := range b {
			for i := range s {
				s[i] = float32(k)
			}
		}
		for k, s := range b {
			for i := range s {
				if s[i] != float32(k) {
					t.Fatalf("n=%d: stream %d is written by stream %g", n, k, s[i])
				}
			}
		}
	}
}

func TestQuantile(t *testing.T) {
	x := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, .25: 2, .5: 3, .75: 4, 1: 5, .6: 3.4} {
		if got := quantile(x, q); math.Abs(got-want) > 1e-12 {
			t.Errorf("quantile %g is %g, want %g", q, got, want)
		}
	}
	if got := quantile([]float64{7}, .5); got != 7 {
		t.Errorf("the median of 7 is %g", got)
	}
}

// TestMeasure times something whose time is known. Where others have the processor nothing
// takes long, but not in all tries.
func TestMeasure(t *testing.T) {
	for try := 1; ; try++ {
		slow := &candidate{call: func() { time.Sleep(3 * time.Millisecond) }}
		fast := &candidate{call: func() {}, even: true, every: 2}
		measure(4, slow, fast)
		if got := slow.result(); got.Median < .003 || got.Rounds != 4 {
			t.Errorf("3 ms take %+v", got)
		}
		got := fast.result()
		if got.Median > 1e-6 && try < 20 {
			continue
		}
		if got.Median > 1e-6 || got.Rounds != 2 || fast.inner%2 != 0 {
			t.Errorf("nothing takes %+v in calls of %d", got, fast.inner)
		}
		return
	}
}

func TestParseSizes(t *testing.T) {
	m := &Machine{L1: 48 << 10, L2: 2 << 20, L3: 480 << 20}
	list, err := parseSizes("L1, L2,L3,memory,64Ki,1000", m)
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for _, s := range list {
		got = append(got, s.elements(4))
	}
	if want := []int{1536, 64 << 10, 1 << 20, 16 << 20, 64 << 10, 768}; !slices.Equal(got, want) {
		t.Errorf("sizes are %v, want %v", got, want)
	}
	for _, bad := range []string{"", "L4", "0", "-1", "2Gi", "4KiB", "1,,2"} {
		if _, err := parseSizes(bad, m); err == nil {
			t.Errorf("%q is a size", bad)
		}
	}
}

// TestRunAgain trains once more: the same data, order and bits.
func TestRunAgain(t *testing.T) {
	p := problems()[1]
	m := method{name: "SGD", rule: sgd(.1), epochs: 3, batch: 32, schedule: constant, tolerance: 1}
	x, y := p.run(m), p.run(m)
	if x.Loss != y.Loss || !(x.Loss < math.Ln2) || x.Batch != 32 {
		t.Errorf("two runs end at %v and %v", x.Loss, y.Loss)
	}
}

func TestExample(t *testing.T) {
	for _, r := range example() {
		if !r.OK {
			t.Errorf("%+v", r)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int]string{0: "0", 1000: "1000", 1024: "1 Ki", 48 << 10: "48 Ki", 1<<20 + 17: "1048593", 64 << 20: "64 Mi"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) is %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int]string{0: "unknown", 1000: "1000 B", 1 << 20: "1 MiB"} {
		if got := bytesOf(n); got != want {
			t.Errorf("bytesOf(%d) is %q, want %q", n, got, want)
		}
	}
}

func TestPause(t *testing.T) {
	p := pause(1<<20, 1)
	for try := 1; try < 10 && p.Stops == 0; try++ {
		p = pause(1<<20, 1) // others had the processor
	}
	if p.Stops == 0 || p.Worst <= 0 {
		t.Errorf("no stops: %+v", p)
	}
}
