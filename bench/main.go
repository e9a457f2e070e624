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
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/bench/verify"
	"github.com/lockstep-go/lockstep/kernels"
)

// A Report is all figures of a run, as -json writes them.
type Report struct {
	Date string // RFC 3339
	Build
	Machine    *Machine
	Check      *Check `json:",omitempty"`
	Train      *Train `json:",omitempty"`
	Speed      *Speed `json:",omitempty"`
	Seconds    float64
	PeakMemory int64 // bytes; 0 where the system does not tell
	OK         bool
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
	flag.BoolVar(&o.train, "train", false, "train models of real data, networks in several types, and a line through three points")
	flag.BoolVar(&o.speed, "speed", false, "measure the kernels (no part named: all of them)")
	flag.BoolVar(&o.verify, "verify", false, "train real data with every rule and print a hash of what comes out, the same on every machine, and no more")
	flag.StringVar(&o.sizes, "sizes", "", "`sizes` to measure at, and claims whose buffers fit the same places: places, or elements such as 64Ki; beyond 16Mi that many parameters of steps with types too (none: "+places+", with -html a grid)")
	flag.StringVar(&o.table, "table", "", "check and measure this `table` alone; "+kernels.Variable+" forces the one that trains")
	flag.StringVar(&o.kernels, "kernels", "", "measure the kernels, and claims of them, whose name this `pattern` matches")
	flag.IntVar(&o.reps, "reps", 0, "`rounds` of each measurement (0: 9, with -short 3)")
	flag.BoolVar(&o.full, "full", false, "measure every kernel of every table, not a choice that takes a minute")
	flag.BoolVar(&o.short, "short", false, "less of everything, for CI: about two minutes on two cores")
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
	j, err := o.prepare()
	if err != nil {
		return false, err
	}
	defer j.drop()
	j.measure(newScreen(os.Stdout))
	return j.report.OK, j.write()
}

// A job is a run whose flags are all understood.
type job struct {
	options
	report       *Report
	tables       []kernels.Table
	measurements []measurement
	claims       []pending
	rounds       int
	peers        *peers
	html, json   *output
}

// prepare fails on everything that can fail before minutes have gone by.
func (o options) prepare() (j *job, err error) {
	j = &job{options: o, report: &Report{Date: time.Now().Format(time.RFC3339), Build: build(), Machine: machine(), OK: true}}
	if j.tables, err = choose(o.table); err != nil {
		return nil, err
	}
	if j.measurements, j.rounds, err = o.plan(j.report.Machine, j.tables); err != nil {
		return nil, err
	}
	if j.claims, err = o.pendingClaims(j.report.Machine); err != nil {
		return nil, err
	}
	if j.peers, err = o.readPeers(); err != nil {
		return nil, err
	}
	if j.html, err = newOutput(o.html); err != nil {
		return nil, err
	}
	if j.json, err = newOutput(o.json); err != nil {
		j.html.drop()
		return nil, err
	}
	return j, nil
}

// measure runs the parts and prints each when it is done.
func (j *job) measure(w *screen) {
	r, start := j.report, time.Now()
	w.paragraph("%s, %s", r.Build.text(), r.Date)
	r.Machine.print(w)
	if j.check {
		r.Check = check(pairs(assembly(j.tables)), j.short)
		r.Check.print(w)
	}
	if j.train {
		r.Train = train(j.short)
		r.Train.print(w)
	}
	if j.speed {
		r.Speed = speed(j.measurements, j.rounds)
		if j.table == "" {
			r.Speed.Claims = claims(j.claims, j.rounds)
		}
		r.Speed.Pause = pause(pauseLen, 10)
		r.Speed.print(w)
	}
	r.OK = (r.Check == nil || r.Check.OK()) && (r.Train == nil || r.Train.OK()) && (r.Speed == nil || r.Speed.OK())
	r.Seconds, r.PeakMemory = time.Since(start).Seconds(), peakMemory()
	w.paragraph("\n%.0f seconds, at most %.1f GB of memory: %s", r.Seconds, float64(r.PeakMemory)/1e9, verdict(r.OK))
	w.paragraph("%s", r.summary())
}

// write writes the files.
func (j *job) write() error {
	if j.html != nil {
		if err := j.html.write(newPage(j.report, j.peers).Write); err != nil {
			return err
		}
	}
	if j.json == nil {
		return nil
	}
	return j.json.write(func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "\t")
		return e.Encode(j.report)
	})
}

// drop takes back the files that were not written.
func (j *job) drop() {
	j.html.drop()
	j.json.drop()
}

// summary is the run in a few words.
func (r *Report) summary() string {
	list := []string{r.Machine.Table}
	if r.Speed != nil {
		list = append(list, r.Speed.summary(r.Machine.Table)...)
	}
	if r.Check != nil {
		list = append(list, r.Check.summary())
	}
	if r.Speed != nil {
		if all, missed := goals(r.Speed.Claims); all > 0 {
			list = append(list, fmt.Sprintf("%d/%d goals missed", missed, all))
		}
	}
	return strings.Join(list, "; ")
}

// summary is AdamW's speed beside plain Go at the smallest size of all, and beside what
// memory allows at the largest.
func (s *Speed) summary(isa string) []string {
	var list []string
	figures := byTable(s.of(adamW), isa)
	if n := len(figures); n > 0 {
		list = append(list, fmt.Sprintf("%s %.1fx plain Go", adamW, figures[0].TimesGo))
		if large := figures[n-1]; large.OfLimit > 0 {
			list = append(list, percent(large.OfLimit)+" of memory")
		}
	}
	return list
}

// printSums prints what every rule comes to, as the README has it.
func printSums(w io.Writer) error {
	sums, err := verify.Run()
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "| rule | SHA-256 after %d steps, with types after %d |\n|---|---|\n", verify.Steps, verify.MixedSteps)
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
	only, err := o.only()
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

// only matches the names of the kernels that -kernels leaves, some at least.
func (o options) only() (*regexp.Regexp, error) {
	only, err := regexp.Compile(o.kernels)
	if err != nil {
		return nil, fmt.Errorf("-kernels: %w", err)
	}
	var names []string
	for _, op := range ops {
		if only.MatchString(op.name) {
			return only, nil
		}
		names = append(names, op.name)
	}
	return nil, fmt.Errorf("-kernels is %q, want a pattern that matches one of %s", o.kernels, strings.Join(names, ", "))
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
