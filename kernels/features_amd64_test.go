//go:build !purego && !noasm

package kernels

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/cpuid/v2"
)

// TestHas needs both the CPU's word and the permission for a feature.
func TestHas(t *testing.T) {
	if !cpuid.CPU.Supports(cpuid.SSE2) {
		t.Fatal("amd64 without SSE2")
	}
	if f := has("SSE2", cpuid.SSE2, true); f != (feature{"SSE2", true}) {
		t.Errorf("what the CPU has is %v", f)
	}
	if has("SSE2", cpuid.SSE2, false).has {
		t.Error("what is switched off is there")
	}
	cpuid.CPU.Disable(cpuid.SSE2)
	defer cpuid.CPU.Enable(cpuid.SSE2)
	if has("SSE2", cpuid.SSE2, true).has {
		t.Error("what the CPU lacks is there")
	}
}

// TestOwnOrder holds the tables of this CPU to the order for its vendor and model.
func TestOwnOrder(t *testing.T) {
	want := inOrder(cpuid.CPU.VendorID, cpuid.CPU.Model)
	if !slices.EqualFunc(candidates, want, func(a, b candidate) bool { return a.table == b.table }) {
		t.Errorf("%v, model %d: the tables are in another order", cpuid.CPU.VendorID, cpuid.CPU.Model)
	}
}

// telling says that this process is to tell what it would run, and no more.
const telling = "LOCKSTEP_TEST_TELLS"

// TestGODEBUG switches features off for a process of its own: the tables that need them
// are gone there, those that do not are as they are here, and Info says why.
func TestGODEBUG(t *testing.T) {
	if os.Getenv(telling) != "" {
		for _, table := range Available() {
			fmt.Println("available", table)
		}
		fmt.Println(Info())
		return
	}
	if emulated {
		t.Skip("a process of its own would not be emulated")
	}
	for feature, name := range map[string]string{"avx2": "AVX2", "fma": "FMA3", "avx512f": "AVX512F", "avx512vl": "AVX512VL", "bmi2": "BMI2"} {
		var want []string
		for _, table := range Available() {
			if !asks(table, name) {
				want = append(want, table.ISA())
			}
		}
		told := tell(t, "cpu."+feature+"=off")
		var got []string
		for line := range strings.Lines(told) {
			if isa, ok := strings.CutPrefix(line, "available "); ok {
				got = append(got, strings.TrimSpace(isa))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("without %s the tables are %v, want %v", name, got, want)
		}
		if len(want) < len(Available()) && !regexp.MustCompile("lacks "+name+`\b.* GODEBUG=\S*cpu\.`+feature+"=off").MatchString(told) {
			t.Errorf("without %s: %s", name, told)
		}
	}
}

// TestForcedOut forces a table whose features are switched off, which the program says and
// a test that asks for it too.
func TestForcedOut(t *testing.T) {
	if emulated {
		t.Skip("a process of its own would not be emulated")
	}
	for _, table := range []Table{avx2Table, avx2newtonTable, avx512Table} {
		c := exec.Command(os.Args[0], "-test.run=^TestRequired$")
		c.Env = append(os.Environ(), Variable+"="+table.ISA(), "GODEBUG=cpu.avx2=off")
		out, err := c.CombinedOutput()
		if why := regexp.MustCompile(`"` + table.ISA() + `": this CPU lacks .*AVX2`); err == nil || len(why.FindAll(out, -1)) < 2 {
			t.Errorf("%v: %v\n%s", table, err, out)
		}
	}
}

// TestInfoForced has a process with a forced table say so.
func TestInfoForced(t *testing.T) {
	c := exec.Command(os.Args[0], "-test.run=^TestInfo$")
	c.Env = append(os.Environ(), Variable+"="+goTable.ISA())
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// asks reports whether a table asks for a feature.
func asks(t Table, name string) bool {
	return slices.ContainsFunc(candidates, func(c candidate) bool {
		return c.table == t && slices.ContainsFunc(c.features, func(f feature) bool { return f.name == name })
	})
}

// tell runs this test in a process with features switched off and with no table forced.
func tell(t *testing.T, godebug string) string {
	t.Helper()
	c := exec.Command(os.Args[0], "-test.run=^TestGODEBUG$")
	if before := os.Getenv("GODEBUG"); before != "" {
		godebug = before + "," + godebug
	}
	c.Env = append(os.Environ(), telling+"=1", Variable+"=", "GODEBUG="+godebug)
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}
