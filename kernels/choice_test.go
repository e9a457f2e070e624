package kernels

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// emulated is whether the tests run under an emulator.
var emulated = os.Getenv("LOCKSTEP_EMULATED") != ""

// TestRequired fails when a table named in LOCKSTEP_REQUIRE cannot run here, or
// one of it is forced and another one is in use.
func TestRequired(t *testing.T) {
	var have []string
	for _, table := range Available() {
		have = append(have, table.ISA())
	}
	for _, isa := range strings.Fields(os.Getenv("LOCKSTEP_REQUIRE")) {
		if !slices.Contains(have, isa) {
			t.Errorf("%s is required and not available: %s", isa, Info())
		}
	}
	if err := Check(); err != nil {
		t.Error(err)
	}
	if forced := environment.isa; forced != "" && forced != Active().ISA() {
		t.Errorf("%s=%s and %s is in use", Variable, forced, Active().ISA())
	}
}

// TestNames asks for tables that there are none of, or not here.
func TestNames(t *testing.T) {
	for _, isa := range []string{"sse9", "AVX2", " ", ""} {
		if table, err := ByName(isa); err == nil || !strings.Contains(err.Error(), strconv.Quote(isa)) {
			t.Errorf("ByName(%q) = %v, %v", isa, table, err)
		}
	}
	for _, table := range Available() {
		if got, err := ByName(table.ISA()); got != table || err != nil {
			t.Errorf("ByName(%q) = %v, %v", table.ISA(), got, err)
		}
	}
	for _, c := range candidates {
		if missing := c.missing(); len(missing) > 0 {
			if _, err := ByName(c.table.ISA()); err == nil || !strings.Contains(err.Error(), missing[0]) {
				t.Errorf("ByName(%q) does not name %s: %v", c.table.ISA(), missing[0], err)
			}
		}
	}
}

// TestAtMost has no table of registers that are too wide, and the best of the others.
func TestAtMost(t *testing.T) {
	for _, bits := range []int{0, 128, 256, 512} {
		got := AtMost(bits)
		if got.Bits() > bits {
			t.Errorf("AtMost(%d) is %v", bits, got)
		}
		for _, table := range Available() {
			if table == got {
				break
			}
			if table.Bits() <= bits {
				t.Errorf("AtMost(%d) is %v, and %v is better", bits, got, table)
			}
		}
	}
}

// TestUse changes the table from within, and tells it.
func TestUse(t *testing.T) {
	was := active.Load()
	defer active.Store(was)
	for _, table := range Available() {
		if err := Use(table); err != nil || Active() != table {
			t.Errorf("Use(%v): %v, and %v is in use", table, err, Active())
		}
		if info := Info(); !strings.Contains(info, table.ISA()+" (chosen by Use)") {
			t.Errorf("Info does not tell: %s", info)
		}
	}
	for _, table := range []Table{Table(len(names)), 255} {
		if err := Use(table); err == nil || Active() == table {
			t.Errorf("Use(%v): %v", table, err)
		}
	}
}

// child is a variable that makes TestInfo print what Info says, in a process of its own.
const child = "LOCKSTEP_TEST_INFO"

// TestInfo reads what Info says.
func TestInfo(t *testing.T) {
	os.Setenv(Variable, "sse9") // is read once, and Info tells what was
	defer os.Setenv(Variable, environment.isa)
	info := Info()
	for _, want := range []string{Active().ISA() + " (" + Why() + ")", runtime.GOARCH, runtime.Version(), "(devel)", cpuName()} {
		if !strings.Contains(info, want) {
			t.Errorf("%q does not say %q", info, want)
		}
	}
	if strings.Contains(info, "sse9") {
		t.Errorf("%q is what the variable has become", info)
	}
	if os.Getenv(child) != "" {
		fmt.Println(info)
	}
	if forced := environment.isa != "" && Check() == nil; forced != strings.Contains(Info(), "forced by "+Variable) {
		t.Errorf("a table is forced: %v, and %q", forced, Info())
	}
	active := 0
	for _, s := range Explain() {
		if asks := s.ISA != goTable.ISA(); asks != (len(s.Requires) > 0) {
			t.Errorf("%s requires %v", s.ISA, s.Requires)
		}
		could := !s.Active && len(s.Missing) == 0 && s.ISA != goTable.ISA()
		if could != strings.Contains(Info(), "; "+s.ISA+" could run") {
			t.Errorf("%s could run as well: %v, and %q", s.ISA, could, Info())
		}
		if s.Active {
			active++
		}
	}
	if active != 1 {
		t.Errorf("%d tables are active", active)
	}
}

// TestTypo runs the program with a variable that names no table: it goes on, and says so.
func TestTypo(t *testing.T) {
	program, err := os.Executable()
	if err != nil || emulated || runtime.GOARCH == "wasm" {
		t.Skip("programs here do not run others")
	}
	cmd := exec.Command(program, "-test.run=^TestInfo$")
	cmd.Env = append(os.Environ(), Variable+"=avx52", child+"=1", "GODEBUG=panicnil=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s%s", err, out, stderr.String())
	}
	for _, text := range []string{string(out), stderr.String()} {
		if !strings.Contains(text, `"avx52": no such table`) {
			t.Errorf("nothing tells of the name in %q", text)
		}
	}
	if !strings.Contains(string(out), "GODEBUG=panicnil=1") {
		t.Errorf("Info does not tell GODEBUG: %s", out)
	}
	if _, err := begin("avx52"); err == nil {
		t.Error("a name that is none is no error")
	}
}

// everywhere are features of every CPU of an architecture: MMX+ is what prefetching is
// listed under, which all of amd64 has.
var everywhere = map[string][]string{"amd64": {"MMX+", "SSE", "SSE2"}, "arm64": {"ASIMD"}}[runtime.GOARCH]

// TestGuarded holds every table to its CPU check: no kernel may use an instruction
// beyond the features that its table asks for, and assembly that is of no table none
// beyond those of every CPU.
func TestGuarded(t *testing.T) {
	asked := map[string][]string{"mode": everywhere}
	for _, c := range candidates {
		list := slices.Clone(everywhere)
		for _, f := range c.features {
			list = append(list, f.name)
		}
		asked[c.table.ISA()] = list
	}
	files, err := filepath.Glob(filepath.Join("asm", "*", "*_"+runtime.GOARCH+".s"))
	if err != nil || len(files) == 0 && len(candidates) > 0 {
		t.Fatalf("%d files of assembly (%v)", len(files), err)
	}
	seen := map[string]bool{}
	for _, name := range files {
		folder := filepath.Base(filepath.Dir(name))
		seen[folder] = true
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		list, ok := asked[folder]
		if !ok && len(candidates) > 0 {
			t.Errorf("%s is of no table", name)
		}
		if ok {
			guarded(t, name, string(text), list)
		}
	}
	for folder := range asked {
		if !seen[folder] && len(candidates) > 0 {
			t.Errorf("%s has no assembly", folder)
		}
	}
}

// guarded reads what every function of a file requires.
func guarded(t *testing.T, name, text string, asked []string) {
	lines := regexp.MustCompile(`(?m)^// Requires: (.*)\nTEXT ·(\w+)`).FindAllStringSubmatch(text, -1)
	if functions := strings.Count(text, "\nTEXT ·"); len(lines) != functions || functions == 0 {
		t.Errorf("%s says of %d functions what they require, and has %d", name, len(lines), functions)
	}
	for _, m := range lines {
		for f := range strings.SplitSeq(m[1], ", ") {
			if !slices.Contains(asked, f) {
				t.Errorf("%s: %s requires %s, which nobody asks for", name, m[2], f)
			}
		}
	}
}
