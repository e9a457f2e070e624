package main

import (
	"cmp"
	"runtime"
	"strings"

	"github.com/klauspost/cpuid/v2"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Machine is what the figures were measured on.
type Machine struct {
	CPU      string
	Features []string // those of vectors
	Cores    int      // that this program may use
	L1       int      // data cache of a core, in bytes; 0 where the CPU does not tell
	L2, L3   int
	System   string
	Go       string
	Table    string // in use
	Info     string
	Tables   []kernels.Status
}

func machine() *Machine {
	return &Machine{
		CPU:      cpuid.CPU.BrandName,
		Features: vectorFeatures(),
		Cores:    runtime.GOMAXPROCS(0),
		L1:       max(0, cpuid.CPU.Cache.L1D),
		L2:       max(0, cpuid.CPU.Cache.L2),
		L3:       max(0, cpuid.CPU.Cache.L3),
		System:   runtime.GOOS + "/" + runtime.GOARCH,
		Go:       runtime.Version(),
		Table:    kernels.Active().ISA(),
		Info:     kernels.Info(),
		Tables:   kernels.Explain(),
	}
}

// place is where a working set of so many bytes fits: 0 is L1, 3 memory. Of a large L3,
// which is shared, it gets no more than a part.
func (m *Machine) place(bytes int) int {
	l1, l2, l3 := m.caches()
	for k, size := range []int{l1, l2, min(l3, 128<<20)} {
		if bytes <= size {
			return k
		}
	}
	return 3
}

// caches are the sizes of the caches, or usual ones where the CPU does not tell.
func (m *Machine) caches() (l1, l2, l3 int) {
	return cmp.Or(m.L1, 32<<10), cmp.Or(m.L2, 512<<10), cmp.Or(m.L3, 8<<20)
}

func vectorFeatures() []string {
	var list []string
	for _, f := range cpuid.CPU.FeatureSet() {
		for _, prefix := range []string{"SSE2", "SSE4", "AVX", "FMA3", "BMI2", "F16C", "ASIMD", "SVE"} {
			if strings.HasPrefix(f, prefix) {
				list = append(list, f)
				break
			}
		}
	}
	return list
}

// name is the CPU's.
func (m *Machine) name() string {
	if m.CPU == "" {
		return "a CPU that does not tell its name"
	}
	return m.CPU
}

func (m *Machine) print(s *screen) {
	s.heading("Machine")
	s.paragraph("%s, %d cores for this program, %s, %s", m.name(), m.Cores, m.System, m.Go)
	s.paragraph("caches: L1 %s, L2 %s, L3 %s", bytesOf(m.L1), bytesOf(m.L2), bytesOf(m.L3))
	s.paragraph("features: %s", strings.Join(m.Features, " "))
	s.paragraph("\nA table is the kernels of one instruction set. The one in use is %s, %s.\n", m.Table, kernels.Why())

	g := newGrid("table", "", "asks for", "lacks here")
	for _, t := range m.Tables {
		g.add(statusTexts(t)...)
	}
	s.print(g)
}

// statusTexts are a table's name, what it does here, what it asks for, and what of that
// the CPU lacks.
func statusTexts(t kernels.Status) []string {
	state, requires, lacks := "can run", strings.Join(t.Requires, ", "), "nothing"
	if t.Active {
		state = "in use"
	}
	if len(t.Missing) > 0 {
		state, lacks = "cannot run", strings.Join(t.Missing, ", ")
	}
	if requires == "" {
		requires = "Go alone: the reference"
	}
	return []string{t.ISA, state, requires, lacks}
}
