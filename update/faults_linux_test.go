package update_test

import (
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"syscall"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/update"
)

// mapped is a file in memory. What is beyond its end cannot be read.
type mapped struct {
	file   *os.File
	bytes  []byte
	floats []float32
}

func newMapped(t *testing.T, n int) *mapped {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "gradients"))
	must(t, err)
	must(t, file.Truncate(int64(4*n)))
	b, err := syscall.Mmap(int(file.Fd()), 0, 4*n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	must(t, err)
	t.Cleanup(func() {
		must(t, syscall.Munmap(b))
		must(t, file.Close())
	})
	return &mapped{file, b, unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), n)}
}

// has reports whether a fault was in the mapping.
func (m *mapped) has(fault any) bool {
	e, ok := fault.(interface {
		runtime.Error
		Addr() uintptr
	})
	return ok && e.Addr()-uintptr(unsafe.Pointer(&m.bytes[0])) < uintptr(len(m.bytes))
}

// TestFaults truncates a gradient that is mapped. Who has asked for panics gets one,
// whoever of the workers met the end, and nothing but a step that has begun to write is
// torn.
func TestFaults(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const n = tune.ApartLen
	for name, rule := range map[string]update.Rule{"Adam": plainAdam, "LAMB": update.LAMB{Options: update.Options{LR: .01}, Beta1: .9, Beta2: .99, Eps: 1e-6}} {
		for round := range 12 {
			clips := round%3 == 2
			o, plain, p, q, g := newOne(t, n, rule), newOne(t, n, rule), uniform(n, 1), uniform(n, 1), uniform(n, 2)
			must(t, o.SetWorkers(4))
			m := newMapped(t, n)
			copy(m.floats, g)
			must(t, o.Step(p, m.floats))
			must(t, plain.Step(q, g))
			saved, err := o.Export()
			must(t, err)

			if clips {
				must(t, o.SetMaxNorm(1))
			}
			must(t, m.file.Truncate(int64(round*n/3)))
			fault := caught(func() { _ = o.Step(p, m.floats) })
			if !m.has(fault) {
				t.Errorf("%s: the step panics with %v", name, fault)
			}
			if was := debug.SetPanicOnFault(true); !was {
				t.Error("the caller's setting has changed")
			}
			if clips {
				must(t, o.SetMaxNorm(math.Inf(1)))
			} else {
				wantArg(t, "after a fault", o.Step(p, g), "the last step")
				must(t, o.Import(saved))
				copy(p, q)
			}
			for range 2 {
				must(t, o.Step(p, g))
				must(t, plain.Step(q, g))
			}
			wantEqual(t, name+" after a fault", o, plain, 0, 0, p, q)
		}
	}
}

// TestFaultsObserved has a mapped gradient truncated while it is observed. Once it is there
// again the step has its norm; or it is forgotten.
func TestFaultsObserved(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const n = 5 * tune.UnitLen
	o, plain, p, q, g := newOne(t, n, plainAdam), newOne(t, n, plainAdam), uniform(n, 1), uniform(n, 1), uniform(n, 2)
	must(t, o.SetMaxNorm(1))
	must(t, plain.SetMaxNorm(1))
	m := newMapped(t, n)
	for _, forgets := range []bool{false, true} {
		must(t, m.file.Truncate(0))
		if fault := caught(func() { _ = o.Observe(0, 0, m.floats) }); !m.has(fault) {
			t.Errorf("the part is taken with %v", fault)
		}
		must(t, m.file.Truncate(4*n))
		copy(m.floats, g)
		if forgets {
			o.ForgetObserved()
			must(t, o.Observe(0, 0, g))
			must(t, o.Step(p, g))
		} else {
			must(t, o.Step(p, m.floats))
		}
		must(t, plain.Step(q, g))
		wantEqual(t, "after a fault", o, plain, 0, 0, p, q)
		if o.GradNorm() != plain.GradNorm() {
			t.Errorf("the norm is %g, want %g", o.GradNorm(), plain.GradNorm())
		}
	}
}

func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}
