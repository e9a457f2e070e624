package kernels

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

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
	if forced := os.Getenv(Variable); forced != "" && forced != Active().ISA() {
		t.Errorf("%s=%s and %s is in use", Variable, forced, Active().ISA())
	}
}

func TestPickRefuses(t *testing.T) {
	for _, isa := range []string{"sse9", "AVX2", " "} {
		if table, err := pick(isa); err == nil || !strings.Contains(err.Error(), isa) {
			t.Errorf("pick(%q) = %v, %v", isa, table, err)
		}
	}
	candidates := candidates
	for _, c := range candidates {
		if missing := c.missing(); len(missing) > 0 {
			if _, err := pick(c.table.ISA()); err == nil || !strings.Contains(err.Error(), missing[0]) {
				t.Errorf("pick(%q) does not name %s: %v", c.table.ISA(), missing[0], err)
			}
		}
	}
}

func TestInfo(t *testing.T) {
	if info := Info(); !strings.Contains(info, Active().ISA()) {
		t.Errorf("%q does not name the table in use", info)
	}
	if forced := os.Getenv(Variable) != ""; forced != strings.Contains(Info(), "forced by "+Variable) {
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

// everywhere are features of every CPU of an architecture: MMX+ is what prefetching is
// listed under, which all of amd64 has.
var everywhere = []string{"MMX+", "SSE", "SSE2"}

// TestGuarded holds every table to its CPU check: no kernel may use an
// instruction beyond the features that its table asks for.
func TestGuarded(t *testing.T) {
	requires := regexp.MustCompile(`(?m)^// Requires: (.*)$`)
	for _, c := range candidates {
		files, err := filepath.Glob(filepath.Join("asm", c.table.ISA(), "*.s"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files of assembly (%v)", c.table.ISA(), len(files), err)
		}
		var asked []string
		for _, f := range c.features {
			asked = append(asked, f.name)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			lines := requires.FindAllSubmatch(text, -1)
			if len(lines) == 0 {
				t.Errorf("%s does not say what it requires", name)
			}
			for _, m := range lines {
				for _, f := range strings.Split(string(m[1]), ", ") {
					if !slices.Contains(asked, f) && !slices.Contains(everywhere, f) {
						t.Errorf("%s requires %s, which the table %v does not ask for", name, f, c.table)
					}
				}
			}
		}
	}
}
