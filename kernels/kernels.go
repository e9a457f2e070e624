// Package kernels chooses one table of kernels for this CPU. It has no
// arithmetic of its own: what a kernel computes is said by the function of the
// same name in package fallback, and every table gives the same bits as it.
//
// Each kernel is a function of a table, a list of buffers, and its scalars. A program
// links the kernels that it calls and no others.
//
// LOCKSTEP_ISA=avx512 (avx512newton, avx2, avx2newton, neon, go) forces a table; a name that is unknown or
// cannot run here panics, so that a forced table is never quietly another one.
// The variable is read once. GODEBUG=cpu.avx2=off and the like are honoured.
package kernels

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/lockstep-go/lockstep/internal/tune"
)

//go:generate go -C ../gen run .
//go:generate go -C ../gen run ./vectors

// MaxLen is the most elements that one call of assembly is given. Assembly
// cannot be preempted, and longer calls would hold up the garbage collector: 64
// Ki elements take some tens of microseconds.
const MaxLen = tune.MaxLen

// Variable is the environment variable that forces a table.
const Variable = "LOCKSTEP_ISA"

// A Table is the kernels of one instruction set. The zero value is the reference in
// Go. A kernel that is called with a table that Available does not list crashes.
type Table uint8

// ISA names the instruction set: avx512, avx2, neon, a variant of one, or go for the
// reference.
func (t Table) ISA() string { return names[t] }

func (t Table) String() string { return t.ISA() }

// A Shape says how a kernel walks a buffer.
type Shape uint8

const (
	Stream Shape = iota // one element after the other: of a tensor, or of a row
	Matrix              // rows × columns, row-major
	PerRow              // one element for each row
)

// A Buffer is a parameter of a kernel.
type Buffer struct {
	Name  string
	Shape Shape
}

// A Kernel is a kernel by its name, for tests and benchmarks of all.
type Kernel struct {
	Name    string
	Buffers []Buffer // in the order of a list, or of the parameters if one is a matrix

	Func      any // the function of this name: the safe call
	Reference any // of this name in package fallback

	// Bare is the kernel of a table without checks and not split: its list is bare
	// slices, and assembly trusts their lengths.
	Bare func(t Table) any
}

// Available lists the tables that this CPU can run, best first. The last one is
// the reference in Go.
func Available() []Table {
	var tables []Table
	for _, c := range candidates {
		if len(c.missing()) == 0 {
			tables = append(tables, c.table)
		}
	}
	return append(tables, goTable)
}

// Active is the table in use: the best one available, or the one that is forced.
func Active() Table { return active }

var active = must(pick(os.Getenv(Variable)))

func pick(isa string) (Table, error) {
	available := Available()
	if isa == "" {
		return available[0], nil
	}
	var names []string
	for _, t := range available {
		if t.ISA() == isa {
			return t, nil
		}
		names = append(names, t.ISA())
	}
	why := "no such table in this build"
	for _, c := range candidates {
		if c.table.ISA() == isa {
			why = "this CPU lacks " + strings.Join(c.missing(), ", ")
		}
	}
	return goTable, fmt.Errorf("kernels: %s=%s: %s; available here: %s", Variable, isa, why, strings.Join(names, ", "))
}

func must(t Table, err error) Table {
	if err != nil {
		panic(err)
	}
	return t
}

// A candidate is a table with what it asks of the CPU.
type candidate struct {
	table    Table
	features []feature
}

// A feature is one that a table's instructions need. Has is false too where the
// operating system does not save the registers.
type feature struct {
	name string
	has  bool
}

func (c candidate) missing() []string {
	var names []string
	for _, f := range c.features {
		if !f.has {
			names = append(names, f.name)
		}
	}
	return names
}

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
		s := Status{ISA: c.table.ISA(), Active: c.table == active, Missing: c.missing()}
		for _, f := range c.features {
			s.Requires = append(s.Requires, f.name)
		}
		list = append(list, s)
	}
	return append(list, Status{ISA: goTable.ISA(), Active: active == goTable})
}

// Info says in a few words what runs and why, for reports of bugs.
func Info() string {
	why := "the best here"
	switch {
	case os.Getenv(Variable) != "":
		why = "forced by " + Variable
	case len(candidates) == 0:
		why = "the only one in this build"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "lockstep: %s (%s) on %s, %s/%s, %s", active, why, cpuName(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	for _, s := range Explain() {
		switch {
		case len(s.Missing) > 0:
			fmt.Fprintf(&b, "; %s lacks %s", s.ISA, strings.Join(s.Missing, ", "))
			if debug := os.Getenv("GODEBUG"); strings.Contains(debug, "cpu.") {
				fmt.Fprintf(&b, " with GODEBUG=%s", debug)
			}
		case !s.Active && s.ISA != goTable.ISA():
			fmt.Fprintf(&b, "; %s could run", s.ISA)
		}
	}
	return b.String()
}

// rowsPerCall is how many rows of a matrix of so many elements a call takes: at most
// MaxLen elements, or one row where rows side by side are slow.
func rowsPerCall(elements, columns int) int {
	switch {
	case columns > MaxLen:
		panic(fmt.Sprintf("kernels: a row of %d elements, want at most %d", columns, MaxLen))
	case tune.RowsApart(elements, columns):
		return 1
	}
	return MaxLen / max(1, columns)
}
