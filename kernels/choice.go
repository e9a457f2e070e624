package kernels

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
)

// Variable is the environment variable that forces a table.
const Variable = "LOCKSTEP_ISA"

// environment is what the variables were when the program began: what they are set to
// later changes nothing.
var environment = struct{ isa, debug string }{os.Getenv(Variable), os.Getenv("GODEBUG")}

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

// AtMost returns the best table whose registers have no more than so many bits: 256 is
// for a process whose other work AVX-512 must not slow down.
func AtMost(bits int) Table {
	for _, t := range Available() {
		if t.Bits() <= bits {
			return t
		}
	}
	return goTable
}

// ByName returns the table of an instruction set, as LOCKSTEP_ISA names it. If it is
// unknown or cannot run here the error says why, and what could.
func ByName(isa string) (Table, error) {
	var names []string
	for _, t := range Available() {
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
	return goTable, fmt.Errorf("kernels: %q: %s; available here: %s", isa, why, strings.Join(names, ", "))
}

// A choice is the table in use, and whether Use has made it.
type choice struct {
	table Table
	used  bool
}

var (
	active           atomic.Pointer[choice]
	environmentError error
)

func init() {
	var first Table
	first, environmentError = begin(environment.isa)
	active.Store(&choice{table: first})
	if environmentError != nil {
		println(environmentError.Error())
	}
}

// begin is the choice that is made when a program begins: the table that the variable
// names, or the best.
func begin(isa string) (Table, error) {
	best := Available()[0]
	if isa == "" {
		return best, nil
	}
	t, err := ByName(isa)
	if err != nil {
		return best, fmt.Errorf("%w; LOCKSTEP_ISA is ignored, and %s runs", err, best)
	}
	return t, nil
}

// Active is the table in use: what Use has chosen, else the one that is forced, else the
// best one available.
func Active() Table { return active.Load().table }

// Use makes t the table of optimizers that are made from now on, and of losses. The bits
// of all results stay the same. A table that Available does not list is an error.
func Use(t Table) error {
	for _, a := range Available() {
		if a == t {
			active.Store(&choice{t, true})
			return nil
		}
	}
	return fmt.Errorf("kernels: table %v, want one that can run here, of %v", t, Available())
}

// Check returns an error if LOCKSTEP_ISA names a table that is unknown or cannot run
// here. A test that forces a table calls it, so that it does not test another one.
func Check() error { return environmentError }
