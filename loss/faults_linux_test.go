package loss

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// TestLinearFaults truncates a matrix that is mapped. Who has asked for panics gets one,
// whoever of the workers met the end, and nothing is written.
func TestLinearFaults(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("an emulator's faults are its own")
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	const columns, rows, bytes = 64, tune.LinearParallel / 64, 4 * tune.LinearParallel
	l, x, y, w := linearData(t, Squared, rows, columns, false)
	if err := l.SetWorkers(4); err != nil {
		t.Fatal(err)
	}
	want := make([]float32, columns)
	value, err := l.Gradient(x, y, w, want)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 12 {
		file, err := os.Create(filepath.Join(t.TempDir(), "matrix"))
		if err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(int64(bytes * round / 12)); err != nil {
			t.Fatal(err)
		}
		b, err := syscall.Mmap(int(file.Fd()), 0, bytes, syscall.PROT_READ, syscall.MAP_SHARED)
		if err != nil {
			t.Fatal(err)
		}
		grad := make([]float32, columns)
		fault := caught(func() { _, _ = l.Gradient(unsafe.Slice((*float32)(unsafe.Pointer(&b[0])), rows*columns), y, w, grad) })
		e, ok := fault.(interface {
			runtime.Error
			Addr() uintptr
		})
		if !ok || e.Addr()-uintptr(unsafe.Pointer(&b[0])) >= bytes {
			t.Errorf("the gradient panics with %v", fault)
		}
		if !slices.Equal(grad, make([]float32, columns)) {
			t.Error("a gradient was written")
		}
		if v, err := l.Gradient(x, y, w, grad); err != nil || v != value || !slices.Equal(grad, want) {
			t.Errorf("after a fault: other bits, or %v", err)
		}
		if err := syscall.Munmap(b); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}
