package kernels

import (
	"cmp"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"strings"
)

// A Status is what there is to say about a table on this CPU.
type Status struct {
	ISA      string
	Active   bool
	Requires []string // CPU features
	Missing  []string // those of them that are absent or switched off
}

// Explain tells, for each table built into this program, whether it runs here
// and what it lacks.
func Explain() []Status {
	var list []Status
	for _, c := range candidates {
		s := Status{ISA: c.table.ISA(), Active: c.table == Active(), Missing: c.missing()}
		for _, f := range c.features {
			s.Requires = append(s.Requires, f.name)
		}
		list = append(list, s)
	}
	return append(list, Status{ISA: goTable.ISA(), Active: Active() == goTable})
}

// Info says in a few words what runs and why, for reports of bugs: the version of this
// module, the table and how it was chosen, the CPU, what other tables lack, GODEBUG, and
// how arithmetic on this thread differs from what Go takes for granted.
func Info() string {
	var b strings.Builder
	fmt.Fprintf(&b, "lockstep %s: %s (%s) on %s, %s/%s, %s", version(), Active(), Why(), cpuName(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	for _, s := range Explain() {
		switch {
		case len(s.Missing) > 0:
			fmt.Fprintf(&b, "; %s lacks %s", s.ISA, strings.Join(s.Missing, ", "))
		case !s.Active && s.ISA != goTable.ISA():
			fmt.Fprintf(&b, "; %s could run", s.ISA)
		}
	}
	if environment.debug != "" {
		fmt.Fprintf(&b, "; GODEBUG=%s", environment.debug)
	}
	for _, m := range arithmetic() {
		fmt.Fprintf(&b, "; on this thread %s", m)
	}
	if err := Check(); err != nil {
		fmt.Fprintf(&b, "; %v", err)
	}
	return b.String()
}

// Why says how the table in use was chosen.
func Why() string {
	switch {
	case active.Load().used:
		return "chosen by Use"
	case environment.isa != "" && Check() == nil:
		return "forced by " + Variable
	case len(candidates) == 0:
		return "the only one in this build"
	}
	return "the best here"
}

const module = "github.com/lockstep-go/lockstep"

// version is that of this module in the program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of an unknown version"
	}
	for _, m := range append(info.Deps, &info.Main) {
		if m.Path != module {
			continue
		}
		if m.Replace != nil {
			m = m.Replace
		}
		return cmp.Or(m.Version, "(devel)")
	}
	return "of an unknown version"
}

// Numbers to compute with that the compiler does not know.
var one, least, tiny float32 = 1, 0x1p-126, 0x1p-140

// arithmetic tells what is unusual about float operations on this thread, whose mode a
// library in C may have set: one that is linked with -Ofast does when it is loaded.
func arithmetic() []string {
	var list []string
	if math.Float32bits(least*0.5) == 0 {
		list = append(list, "subnormal results are made 0 (FTZ)")
	}
	if math.Float32bits(tiny*0x1p60) == 0 {
		list = append(list, "subnormal numbers are taken for 0 (DAZ)")
	}
	switch less, more := one-0x1p-30, -one-0x1p-30; {
	case one+0x1p-30 != one:
		list = append(list, "results are rounded up")
	case more != -one:
		list = append(list, "results are rounded down")
	case less != one:
		list = append(list, "results are rounded to 0")
	}
	return list
}
