package kernels_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/pprof"
	"testing"
	"time"

	. "github.com/lockstep-go/lockstep/kernels"
)

// underProfile calls a kernel for some time.
//
//go:noinline
func underProfile(d time.Duration) {
	x, lanes := numbers(64<<10), new([32]float64)
	list := NewList(1, [][]float32{x})
	for start := time.Now(); time.Since(start) < d; {
		SumSquares(Active(), list, lanes)
	}
}

// above is a kernel and the Go functions that call it, one to a line.
var above = regexp.MustCompile(`asm/\w+\.SumSquares[^\n]*\n[^\n]*kernels\.(runSumSquares|SumSquares)[^\n]*\n(?s:.*?)underProfile`)

// needsProfile skips where there is no kernel of assembly or no time.
func needsProfile(t *testing.T) {
	if testing.Short() || emulated || len(native()) == 0 || Active() == reference {
		t.Skip("profiles assembly for some time")
	}
}

// TestProfile has a profile show who called a kernel.
func TestProfile(t *testing.T) {
	needsProfile(t)
	traces := profile(t, time.Second)
	for d := 2 * time.Second; d < 20*time.Second && !above.Match(traces); d *= 2 {
		traces = profile(t, d) // others have the processor
	}
	if !above.Match(traces) {
		t.Errorf("no trace leads from the kernel to its caller:\n%s", traces)
	}
}

// profile has the traces of a kernel that is called for some time.
func profile(t *testing.T, d time.Duration) []byte {
	name := filepath.Join(t.TempDir(), "cpu.prof")
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := pprof.StartCPUProfile(file); err != nil {
		t.Skip(err)
	}
	underProfile(d)
	pprof.StopCPUProfile()
	out, err := exec.Command("go", "tool", "pprof", "-traces", name).CombinedOutput()
	if err != nil {
		t.Skipf("%v\n%s", err, out)
	}
	return out
}

// TestPerf has perf show it, which follows frame pointers.
func TestPerf(t *testing.T) {
	needsProfile(t)
	dir := t.TempDir()
	program, name := filepath.Join(dir, "busy"), filepath.Join(dir, "perf.data")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/busy").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command("perf", "record", "-q", "-g", "-o", name, program).CombinedOutput(); err != nil {
		t.Skipf("no perf here: %v\n%s", err, out)
	}
	out, err := exec.Command("perf", "script", "-F", "ip,sym", "-i", name).Output()
	if err != nil || len(out) == 0 {
		t.Skipf("perf has nothing to show: %v", err)
	}
	if !above.Match(out) {
		t.Errorf("no trace leads from the kernel to its caller:\n%.3000s", out)
	}
}
