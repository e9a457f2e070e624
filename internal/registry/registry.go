// Package registry has one entry for each rule, as data: samples of its options and the
// bits that they lead to, options that must be refused, its formula, random options, the
// presets that make it, and how its kernels are timed. Tests, benchmarks and tables of
// documents go through the entries, so that a new rule is one file here.
package registry

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/lockstep-go/lockstep/update"
)

// An Entry is what there is to know of a rule, by the name of its type in package update.
type Entry struct {
	Name string

	// Samples take every path of the rule: each kernel, and the stages around it.
	Samples []Sample

	// Refused are options that no optimizer may be made with, besides what no number among
	// options can be: see TestRefuses.
	Refused []Refused

	// Factored are samples of a rule to which matrices are no vectors: it has another state of
	// them, or one of their rows. Tests go over matrices with these too: their Bits are of such.
	Factored []Sample

	// Apart says why tests that go through samples and formulas do not suit the rule: it has
	// neither, nor random options, and tests of its own.
	Apart string

	// Shares says that tensors share what follows from sums over all of them, so that what one
	// does depends on the others.
	Shares bool

	// Formula is a step as papers and frameworks write it.
	Formula Formula

	// Meant is the rule whose formula is computed, as documented, where options are
	// taken for other numbers than they are; nil where they are not.
	Meant func(r update.Rule) update.Rule

	// Random are the kinds of the rule with random options; if there are none, one whose
	// options are drawn by their names.
	Random []Kind

	// Presets are the functions of update/torch and others that make the rule.
	Presets []Preset

	// Verified are trained on real data and hashed in the README.
	Verified []Sample

	// Timed are the kernels of the rule's steps, but for those that other rules have too.
	Timed []Timed
}

// A Sample is a rule with options of a name.
type Sample struct {
	Name string
	Rule update.Rule
	Bits uint64 // a hash of what TestBits computes with it
}

// A Refused is a rule that must be refused: the argument that the error names, and how
// the value that it shows begins.
type Refused struct {
	Arg, Value string
	Rule       update.Rule
}

// A Kind makes a rule with random options.
type Kind struct {
	Name string
	Draw func(d Draw) update.Rule
}

// A Preset is what a function of a framework's package, or of the textbook's, returns.
// Where the framework has defaults these are they.
type Preset struct {
	Framework, Name string
	Rule            update.Rule
}

// Frameworks are those that presets follow, and whose running golden cases are of.
var Frameworks = []string{"torch", "keras", "optax", "tensorflow"}

// Textbook is what presets follow besides. It does not run, so that a rule which no
// framework has needs no golden cases.
const Textbook = "textbook"

var entries []*Entry

// register is called by each rule's file.
func register(e *Entry) *Entry {
	if len(e.Random) == 0 && e.Apart == "" {
		e.Random = []Kind{{e.Name, func(d Draw) update.Rule { return d.byName(e.Samples[0].Rule) }}}
	}
	entries = append(entries, e)
	slices.SortFunc(entries, func(a, b *Entry) int { return strings.Compare(a.Name, b.Name) })
	return e
}

// All are the entries, by name.
func All() []*Entry { return entries }

// Columns is how many columns a tensor of so many elements has where a rule takes matrices
// alone or has other steps of them: as near to a square as can be. Others take it for a vector.
func (e *Entry) Columns(n int) int {
	if e.Apart == "" {
		return 0
	}
	columns := 1
	for k := 1; k*k <= n; k++ {
		if n%k == 0 {
			columns = k
		}
	}
	return columns
}

// Of is the entry of a rule.
func Of(r update.Rule) *Entry { return named(reflect.TypeOf(r).Name()) }

func named(name string) *Entry {
	if e := find(name); e != nil {
		return e
	}
	panic("registry: there is no rule " + name)
}

func find(name string) *Entry {
	for _, e := range entries {
		if e.Name == name {
			return e
		}
	}
	return nil
}

// Get is the rule of a sample.
func Get(sample string) update.Rule {
	for _, s := range Samples() {
		if s.Name == sample {
			return s.Rule
		}
	}
	panic("registry: there is no sample " + sample)
}

// Samples are those of all rules.
func Samples() []Sample {
	var list []Sample
	for _, e := range entries {
		list = append(list, e.Samples...)
	}
	return list
}

// Options are those which every rule has.
func Options(r update.Rule) update.Options {
	return reflect.ValueOf(r).FieldByName("Options").Interface().(update.Options)
}

// With is a rule with other options.
func With(r update.Rule, change func(o *update.Options)) update.Rule {
	v := reflect.New(reflect.TypeOf(r)).Elem()
	v.Set(reflect.ValueOf(r))
	change(v.FieldByName("Options").Addr().Interface().(*update.Options))
	return v.Interface().(update.Rule)
}

// Decode makes a rule of the name of an entry from JSON, which has no other fields than
// the rule's options.
func Decode(name string, options []byte) (update.Rule, error) {
	v := reflect.New(reflect.TypeOf(named(name).Samples[0].Rule))
	d := json.NewDecoder(strings.NewReader(string(options)))
	d.DisallowUnknownFields()
	if err := d.Decode(v.Interface()); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v.Elem().Interface().(update.Rule), nil
}

// meant is the rule whose formula is computed.
func (e *Entry) meant(r update.Rule) update.Rule {
	if e.Meant == nil {
		return r
	}
	return e.Meant(r)
}
