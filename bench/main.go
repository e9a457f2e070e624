// Command bench shows what this machine does with the kernels: which are picked
// and why, that they give the same bits as the reference, models of real data
// trained by every optimizer, and how fast it all is. It ends with a code other
// than 0 if any part fails.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"time"

	"github.com/lockstep-go/lockstep/bench/verify"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Report is all figures of a run, as -json writes them.
type Report struct {
	Machine *Machine
	Check   *Check `json:",omitempty"`
	Train   *Train `json:",omitempty"`
	Speed   *Speed `json:",omitempty"`
	Seconds float64
	OK      bool
}

// options are the flags.
type options struct {
	check, train, speed bool
	verify              bool
	sizes               string
	table               string
	kernels             string
	reps                int
	full, short         bool
	json, html, peers   string
}

func main() {
	var o options
	flag.BoolVar(&o.check, "check", false, "compare every kernel with the reference, bit for bit")
	flag.BoolVar(&o.train, "train", false, "train the models of the text and of real data")
	flag.BoolVar(&o.speed, "speed", false, "measure the kernels (no part named: all of them)")
	flag.BoolVar(&o.verify, "verify", false, "train real data with every rule and print a hash of what comes out, the same on every machine, and no more")
	flag.StringVar(&o.sizes, "sizes", "", "`sizes` to measure at: places, or elements such as 64Ki (none: "+places+", with -html a grid)")
	flag.StringVar(&o.table, "table", "", "check and measure this `table` alone; "+kernels.Variable+" forces the one that trains")
	flag.StringVar(&o.kernels, "kernels", "", "measure the kernels whose name this `pattern` matches")
	flag.IntVar(&o.reps, "reps", 0, "`rounds` of each measurement (0: 9, with -short 3)")
	flag.BoolVar(&o.full, "full", false, "measure every kernel of every table, not a choice that takes a minute")
	flag.BoolVar(&o.short, "short", false, "less of everything, for CI: within 25 seconds")
	flag.StringVar(&o.json, "json", "", "write all figures to this `file`")
	flag.StringVar(&o.html, "html", "", "write charts and all figures as a page to this `file`")
	flag.StringVar(&o.peers, "peers", "", "show what bench/peers/run --json wrote to this `file` on the page of -html")
	flag.Parse()
	ok, err := run(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// run runs the parts that were asked for and reports whether they passed.
func run(o options) (ok bool, err error) {
	if flag.NArg() > 0 {
		return false, fmt.Errorf("%q is no flag", flag.Arg(0))
	}
	if o.verify {
		return true, printSums(os.Stdout)
	}
	if !o.check && !o.train && !o.speed {
		o.check, o.train, o.speed = true, true, true
	}
	start := time.Now()
	r := &Report{Machine: machine(), OK: true}
	tables, err := choose(o.table)
	if err != nil {
		return false, err
	}
	measurements, rounds, err := o.plan(r.Machine, tables)
	if err != nil {
		return false, err
	}
	beside, err := o.readPeers()
	if err != nil {
		return false, err
	}

	w := os.Stdout
	r.Machine.print(w)
	if o.check {
		r.Check = check(pairs(assembly(tables)), o.short)
		r.Check.print(w)
		r.OK = r.OK && r.Check.OK()
	}
	if o.train {
		r.Train = train()
		r.Train.print(w, terminal(w))
		r.OK = r.OK && r.Train.OK()
	}
	if o.speed {
		r.Speed = speed(measurements, rounds)
		if o.table == "" {
			r.Speed.Claims = claims(r.Machine, rounds, o.short)
		}
		r.Speed.Pause = pause(64<<20, 10)
		r.Speed.print(w)
		r.OK = r.OK && r.Speed.OK()
	}
	r.Seconds = time.Since(start).Seconds()
	fmt.Fprintf(w, "\n%.0f seconds: %s\n", r.Seconds, verdict(r.OK))
	if o.html != "" {
		if err := writeHTML(o.html, r, beside, start); err != nil {
			return false, err
		}
	}
	if o.json != "" {
		b, err := json.MarshalIndent(r, "", "\t")
		if err != nil {
			return false, err
		}
		return r.OK, os.WriteFile(o.json, append(b, '\n'), 0o644)
	}
	return r.OK, nil
}

// printSums prints what every rule comes to, as the README has it.
func printSums(w io.Writer) error {
	sums, err := verify.Run()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| rule | SHA-256 after %d steps |\n|---|---|\n", verify.Steps)
	for _, s := range sums {
		fmt.Fprintf(w, "| %s | `%s` |\n", s.Rule, s.SHA256)
	}
	return nil
}

// plan makes the list of measurements and says how many rounds they take.
func (o options) plan(m *Machine, tables []kernels.Table) ([]measurement, int, error) {
	sizes, err := parseSizes(o.sizesAsked(), m)
	if err != nil {
		return nil, 0, err
	}
	only, err := regexp.Compile(o.kernels)
	if err != nil {
		return nil, 0, err
	}
	rounds := o.reps
	switch {
	case rounds < 0:
		return nil, 0, fmt.Errorf("-reps is %d, want at least 1", rounds)
	case rounds == 0 && o.short:
		rounds = 3
	case rounds == 0:
		rounds = 9
	}
	if o.html != "" && !o.full {
		return charted(plan(tables, sizes, true, only), tables[0]), rounds, nil
	}
	return plan(tables, sizes, o.full, only), rounds, nil
}

// choose returns the tables that the flag -table leaves, the one in use first.
func choose(isa string) ([]kernels.Table, error) {
	list := []kernels.Table{kernels.Active()}
	var names []string
	for _, t := range kernels.Available() {
		names = append(names, t.ISA())
		if t.ISA() == isa {
			return []kernels.Table{t}, nil
		}
		if t.ISA() != kernels.Active().ISA() {
			list = append(list, t)
		}
	}
	if isa != "" {
		return nil, fmt.Errorf("-table is %q, want one that this CPU can run: %v", isa, names)
	}
	return list, nil
}

// assembly leaves out the reference.
func assembly(tables []kernels.Table) []kernels.Table {
	var list []kernels.Table
	for _, t := range tables {
		if t.ISA() != "go" {
			list = append(list, t)
		}
	}
	return list
}
