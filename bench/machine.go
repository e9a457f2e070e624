package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
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

func (m *Machine) print(w io.Writer) {
	heading(w, "Machine")
	cpu := m.CPU
	if cpu == "" {
		cpu = "a CPU that does not tell its name"
	}
	fmt.Fprintf(w, "%s, %d cores for this program, %s, %s\n", cpu, m.Cores, m.System, m.Go)
	fmt.Fprintf(w, "caches: L1 %s, L2 %s, L3 %s\n", bytesOf(m.L1), bytesOf(m.L2), bytesOf(m.L3))
	fmt.Fprintf(w, "%s\n", wrap("features: "+strings.Join(m.Features, " "), 100))
	why := "the best that this CPU can run"
	if os.Getenv(kernels.Variable) != "" {
		why = "forced by " + kernels.Variable
	}
	fmt.Fprintf(w, "\nThe table in use is %s, %s.\n\n", m.Table, why)

	t := newTable("table", "", "asks for", "lacks here")
	for _, s := range m.Tables {
		state, lacks := "can run", "nothing"
		if s.Active {
			state = "in use"
		}
		if len(s.Missing) > 0 {
			state, lacks = "cannot run", strings.Join(s.Missing, ", ")
		}
		requires := strings.Join(s.Requires, ", ")
		if requires == "" {
			requires = "Go alone: the reference"
		}
		t.AppendRow(table.Row{s.ISA, state, requires, lacks})
	}
	fmt.Fprintln(w, t.Render())
}
