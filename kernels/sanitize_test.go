package kernels_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// emulated machines have neither the time nor the tools for tests that build programs.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

// TestSanitizers builds programs that use memory wrongly with the sanitizers that are to
// be had, which must report it though all happens in assembly.
func TestSanitizers(t *testing.T) {
	for _, c := range []struct{ flag, program, how, want string }{
		{"-race", "race", "", "WARNING: DATA RACE"},
		{"-asan", "asan", "overflow", "ERROR: AddressSanitizer"},
		{"-asan", "asan", "freed", "heap-use-after-free"},
		{"-asan", "asan", "right", "0\n"},
	} {
		t.Run(c.flag+c.how, func(t *testing.T) {
			if testing.Short() || emulated || len(native()) == 0 {
				t.Skip("builds a program of assembly")
			}
			program := sanitized(t, c.flag, c.program)
			out, err := exec.Command(program, c.how).CombinedOutput()
			if !strings.Contains(string(out), c.want) || (err == nil) != (c.how == "right") {
				t.Errorf("want %q and not %v\n%s", c.want, err, out)
			}
		})
	}
}

// sanitized builds a program, or skips where the sanitizer cannot even be linked with one
// that does nothing.
func sanitized(t *testing.T, flag, name string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", flag, "-o", filepath.Join(dir, "empty"), "./testdata/empty").CombinedOutput(); err != nil {
		t.Skipf("no %s here: %s", flag, out)
	}
	program := filepath.Join(dir, name)
	if out, err := exec.Command("go", "build", flag, "-o", program, "./testdata/"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}
