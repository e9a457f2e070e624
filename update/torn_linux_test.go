package update_test

import (
	"math"
	"os"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/update"
)

// TestTorn has a step panic on state that cannot be written. What follows is refused until
// a state is imported, and then goes on as if nothing had been.
func TestTorn(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, n := range []int{16, 20000} {
		for _, before := range []int{0, 2} { // the third step with the same buffers asks less
			page, err := syscall.Mmap(-1, 0, 4*20480, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
			must(t, err)
			state := unsafe.Slice((*float32)(unsafe.Pointer(&page[0])), n)
			o, err := update.NewSet([]update.Tensor{{Size: n, State: map[string][]float32{"momentum": state}}}, heavyBall)
			must(t, err)
			must(t, o.SetWorkers(1))
			plain, p, q, g := newOne(t, n, heavyBall), uniform(n, 1), uniform(n, 1), uniform(n, 2)
			for range before {
				must(t, o.Step(p, g))
				must(t, plain.Step(q, g))
			}
			saved, err := o.Export()
			must(t, err)

			if before == 0 { // and clipped
				must(t, o.SetMaxNorm(1e-3))
			}
			must(t, syscall.Mprotect(page, syscall.PROT_READ))
			if caught(func() { _ = o.Step(p, g) }) == nil {
				t.Errorf("%d elements, step %d: no panic", n, before+1)
			}
			must(t, o.SetMaxNorm(math.Inf(1)))
			must(t, syscall.Mprotect(page, syscall.PROT_READ|syscall.PROT_WRITE))
			for range 2 {
				wantArg(t, "after a panic", o.Step(p, g), "the last step")
				wantArg(t, "after a panic", o.Begin(), "the last step")
			}
			must(t, o.Import(saved))
			copy(p, q)
			for range 2 {
				must(t, o.Step(p, g))
				must(t, plain.Step(q, g))
			}
			wantEqual(t, "after an import", o, plain, 0, 0, p, q)
			must(t, syscall.Munmap(page))
		}
	}
}

// TestTornPart has a part of a step panic that the caller carries out.
func TestTornPart(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const n = 1000
	o, plain, p, q, g := newOne(t, n, heavyBall), newOne(t, n, heavyBall), uniform(n, 1), uniform(n, 1), uniform(n, 2)
	saved, err := o.Export()
	must(t, err)
	m := newMapped(t, n)
	must(t, o.Begin())
	must(t, m.file.Truncate(0))
	if caught(func() { _ = o.Apply(0, 0, p, m.floats) }) == nil {
		t.Fatal("no panic")
	}
	wantArg(t, "after a panic", o.End(), "the last step")
	wantArg(t, "after a panic", o.Step(p, g), "the last step")
	must(t, o.Import(saved))
	copy(p, q)
	must(t, o.Begin())
	must(t, o.Apply(0, 0, p, g))
	must(t, o.End())
	must(t, plain.Step(q, g))
	wantEqual(t, "after an import", o, plain, 0, 0, p, q)
}

// TestTornShards has steps of sums panic. What they were the sum of is not that of the steps
// after an import.
func TestTornShards(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	for _, n := range []int{16, 20000} {
		o, plain, p, q, g := newOne(t, n, heavyBall), newOne(t, n, heavyBall), uniform(n, 1), uniform(n, 1), uniform(n, 2)
		must(t, o.SetWorkers(1))
		saved, err := o.Export()
		must(t, err)
		m := newMapped(t, n)
		must(t, m.file.Truncate(0))
		if caught(func() { _ = o.StepShards([][]float32{p}, [][][]float32{{g}, {m.floats}}) }) == nil {
			t.Fatalf("%d elements: no panic", n)
		}
		wantArg(t, "after a panic", o.Step(p, g), "the last step")
		must(t, o.Import(saved))
		copy(p, q)
		for step := range 3 {
			switch step {
			case 1: // in parts
				must(t, o.Begin())
				must(t, o.Apply(0, 0, p, g))
				must(t, o.End())
			case 2: // of other buffers, which are looked at anew
				must(t, o.Step(p, clones([][]float32{g})[0]))
			default:
				must(t, o.Step(p, g))
			}
			must(t, plain.Step(q, g))
		}
		wantEqual(t, "after an import", o, plain, 0, 0, p, q)
	}
}

// TestTornAround has an exchange with averages and a micro-batch panic.
func TestTornAround(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const n = 20000
	o, p, g := newOne(t, n, heavyBall), uniform(n, 1), uniform(n, 2)
	must(t, o.SetAverage(update.TorchEMA(.9)))
	must(t, o.Step(p, g))
	m := newMapped(t, n)
	must(t, m.file.Truncate(0))
	if caught(func() { _ = o.SwapAverage([][]float32{m.floats}) }) == nil {
		t.Fatal("no panic")
	}
	wantArg(t, "after half of an exchange", o.Step(p, g), "the last step")

	o = newOne(t, n, heavyBall)
	a := update.NewAccumulator(o)
	must(t, a.Add([][]float32{g}, 1))
	if caught(func() { _ = a.Add([][]float32{m.floats}, 1) }) == nil {
		t.Fatal("no panic")
	}
	if a.Weight() != 0 {
		t.Errorf("%g is left of what was added", a.Weight())
	}
	plain, q := newOne(t, n, heavyBall), clones([][]float32{p})[0]
	must(t, a.StepSet([][]float32{p}, [][]float32{g}, 1))
	must(t, plain.Step(q, g))
	wantEqual(t, "after half of a micro-batch", o, plain, 0, 0, p, q)
}
