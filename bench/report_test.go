package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/kernels"
)

// synthetic is a report that has a bit of everything.
func synthetic() *Report {
	took := func(s float64) Time { return Time{s, .9 * s, 1.1 * s, 3} }
	r := &Report{OK: true, Date: "2026-11-25T01:02:03Z", Build: Build{"unreleased", "0123456789abcdef+changes"}, PeakMemory: 15e8}
	r.Machine = &Machine{CPU: `<script>alert("CPU")</script>`, Features: []string{"AVX2"}, Cores: 2, L1: 32 << 10, L2: 1 << 20, L3: 32 << 20,
		System: "linux/amd64", Go: "go1.26", Table: "avx2", Tables: []kernels.Status{
			{ISA: "avx512", Requires: []string{"AVX512F"}, Missing: []string{"AVX512F"}}, {ISA: "avx2", Active: true}, {ISA: "go"}}}
	r.Check = &Check{Tables: []string{"avx2"}, Kernels: 34, Calls: 1234567, Comparisons: 1234567890, Differ: 1, Failures: []string{"avx2/SGD: differs"}}
	r.Train = &Train{
		Example: []ExampleRow{{"Momentum", 2, 2, true}},
		Runs: []*Run{
			{Problem: "first", Optimizer: "SGD", Batch: 442, Epochs: 100, Optimum: 2, Curve: []Point{{0, 9}, {1, 5}, {100, 2}}, ScoreName: "R2", OK: true},
			{Problem: "first", Optimizer: "Momentum, lr inside", Optimum: 2, Curve: []Point{{0, 9}, {100, 2.1}}},
			{Problem: "second", Optimizer: "Adam", Optimum: 2, Curve: []Point{{0, 9}, {100, 2.1}}},
		},
		Networks: []*NetworkRun{
			{Problem: digitsTitle, Model: "regression", Types: "float32", Epochs: 2, Curve: []NetworkPoint{{2, .5}, {.1, .9}}, OK: true},
			{Problem: digitsTitle, Model: "two layers", Types: "state in 8 bits", Epochs: 3, Curve: []NetworkPoint{{2, .5}, {.1, .9}, {.01, .98}}, Beside: 1.01},
		},
	}
	r.Speed = &Speed{Rounds: 3, Pause: &Pause{Optimizer: "SGD", N: 1 << 20, Steps: 8, Stops: 9, Tries: 3, Worst: 4e-3, Plain: 1e-3, Bound: 1e-3}}
	for _, isa := range []string{"go", "avx2"} {
		for k, o := range ops {
			for _, n := range []int{4 << 10, 1 << 20} {
				f := Figure{Kernel: o.name, Table: isa, Size: count(n), N: n, Bytes: n * o.moved, Tuned: o.tuned != nil,
					Time: took(float64(n+k) * 1e-10), Go: took(float64(n) * 1e-9), GBps: 10, GParamps: float64(k+1) / 3, TimesGo: 9.4}
				if isa != "go" {
					f.Limit, f.OfLimit = took(float64(n)*1e-11), .1
				}
				r.Speed.Figures = append(r.Speed.Figures, f)
			}
		}
	}
	for _, k := range []int{2, 4} {
		for _, n := range []int{64 << 10, 1 << 20} {
			r.Speed.Claims = append(r.Speed.Claims, Claim{Section: workersSection, Case: "AdamW", Beside: "one worker", N: n, Workers: k,
				Time: took(1e-4 / float64(k)), Other: took(1e-4), Ratio: float64(k), Speedup: true, Goal: 1.9})
		}
	}
	r.Speed.Claims = append(r.Speed.Claims,
		Claim{Section: "No cliffs", Case: "zeros", Beside: "ordinary numbers", N: 16, Time: took(3e-6), Other: took(1e-6), Ratio: 3, Goal: 1.15},
		Claim{Section: "Memory layout", Case: "AdamW", Beside: "buffers of make", N: 16, Time: took(1e-6), Other: took(1e-6), Ratio: 1})
	return r
}

// peersFile is what peers/run writes with --json.
const peersFile = `{"machine": {"cpu": "AMD EPYC", "cores": 2, "system": "Linux x86_64", "date": "2026-11-25"}, "rounds": 9, "seconds": 0.03,
"systems": {"lockstep": {"version": "abc", "threads": null}, "torch-fused": {"version": "2.9.1", "threads": null}, "spago": {"version": "v1.1.0", "threads": 1}},
"left_out": {"gorgonia, AdamW": "after 10 steps its parameters <differ>"},
"check": {"n": 65543, "steps": 10, "tolerance": 1e-4, "worst": 2e-6}, "idle": null,
"entries": [
{"system": "torch-fused", "rule": "adamw", "threads": 1, "n": 4096, "parameters_per_second": 1e8, "seconds": 4e-5, "spread": 0.1, "ours_to_it": 31.5, "ours_to_it_same": 30},
{"system": "torch-fused-staggered", "rule": "adamw", "layout": "staggered", "threads": 1, "n": 1048576, "parameters_per_second": 1.9e9, "seconds": 4e-5, "spread": 0.1, "ours_to_it": 1.05, "ours_to_it_same": 1.05},
{"system": "lockstep-plain", "rule": "adamw", "threads": 1, "n": 1048576, "parameters_per_second": 1.8e9, "seconds": 4e-5, "spread": 0.1, "ours_to_it": 1.1, "ours_to_it_same": 1},
{"system": "torch-fused", "rule": "adamw", "work": "clip", "tensors": 10000, "threads": 1, "n": 640000, "parameters_per_second": 5e8, "seconds": 4e-5, "spread": 0.1, "ours_to_it": 4, "ours_to_it_same": 4.5},
{"system": "lockstep", "rule": "adamw", "threads": 1, "n": 4096, "parameters_per_second": 3e9, "seconds": 1e-6, "spread": 0.1, "ours_to_it": 1},
{"system": "torch-fused", "rule": "adamw", "threads": 1, "n": 1048576, "parameters_per_second": 1e9, "seconds": 1e-3, "spread": 0.1, "ours_to_it": 2.25, "ours_to_it_same": 1.03},
{"system": "lockstep", "rule": "adamw", "threads": 1, "n": 1048576, "parameters_per_second": 2e9, "seconds": 5e-4, "spread": 0.1, "ours_to_it": 1},
{"system": "spago", "rule": "adam", "threads": 1, "n": 1048576, "parameters_per_second": 1e8, "seconds": 1e-2, "spread": 0.1, "ours_to_it": 20},
{"system": "lockstep", "rule": "linear", "threads": 2, "n": 25600000, "parameters_per_second": 5e9, "seconds": 5e-3, "spread": 0.1, "ours_to_it": 1}
]}`

func syntheticPeers(t *testing.T) *peers {
	file := filepath.Join(t.TempDir(), "peers.json")
	if err := os.WriteFile(file, []byte(peersFile), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := options{peers: file, html: "x"}.readPeers()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// rendered is a page, which is to be well formed and to ask for nothing beside it.
func rendered(t *testing.T, r *Report, p *peers) string {
	t.Helper()
	var b bytes.Buffer
	if err := newPage(r, p).Write(&b); err != nil {
		t.Fatal(err)
	}
	s := b.String()
	d := xml.NewDecoder(strings.NewReader(s))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("not well formed: %v", err)
		}
	}
	for _, outside := range regexp.MustCompile(`(?i)https?://[^"' <]*|<script|<link|src=|url\(`).FindAllString(s, -1) {
		if outside != "http://www.w3.org/2000/svg" {
			t.Errorf("the page has %s", outside)
		}
	}
	return s
}

func titles(page string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`(?s)<figure>\s*<h3>(.*?)</h3>\s*<svg`).FindAllStringSubmatch(page, -1) {
		list = append(list, m[1])
	}
	return list
}

func TestReport(t *testing.T) {
	s := rendered(t, synthetic(), syntheticPeers(t))
	want := []string{"SGD", "Momentum", "AdaGrad", "AdamW",
		"avx2: updates", "avx2: losses", "avx2: functions", "avx2: sums and matrices",
		"go, the reference: updates", "go, the reference: losses", "go, the reference: functions", "go, the reference: sums and matrices",
		"Times one worker, by size", "Speed, by size", "AdamW, 1 thread", "first", "second", "digits, networks"}
	if got := titles(s); !slices.Equal(got, want) {
		t.Errorf("charts are %q\nwant %q", got, want)
	}
	for _, o := range ops {
		if !strings.Contains(s, "</svg>"+o.name+"</li>") || !strings.Contains(s, ">"+o.name+"</td>") {
			t.Errorf("%s is not in a chart and in the figures", o.name)
		}
	}
	for _, text := range []string{"Lockstep unreleased, commit 0123456789ab with changes, measured on 2026-11-25 on", "2026-11-25T01:02:03Z", "at most 1.5 GB", "&lt;script&gt;", "AVX512F", "1,234,567,890", "avx2/SGD: differs", `class="bad">1: FAILED`,
		"roof (avx2)", "tuned Go loop", ">L1<", "12 bytes a parameter in 2 buffers", `class="good">reached`, `class="bad">missed`,
		"4 of 5 goals are reached", `class="bad">at worst within 4.00 ms, beside a plain loop 1.00 ms in 3 tries`, "Momentum, lr inside", "spago (Adam)", ">2000<", "100 (31.50 / 30.00)", "1000 (2.25 / 1.03)", ">500 (4.00 / 4.50)<", "10,000 x 64", "2.9.1",
		"At 1 Mi Lockstep is 2.25 times as fast as the fastest other, torch-fused, each with buffers of its own choice, and 1.03 times on the same buffers.",
		"AdamW, clipped, many tensors, 1 thread", "&lt;differ&gt;", "Linear model, gradient, 2 threads"} {
		if !strings.Contains(s, text) {
			t.Errorf("the page lacks %q", text)
		}
	}
}

// TestReportOfParts leaves parts out, as the flags do, and what is in them.
func TestReportOfParts(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *Report)
		charts int
	}{
		"nothing":      {func(r *Report) { *r = Report{} }, 0},
		"no machine":   {func(r *Report) { r.Machine = nil }, 17},
		"check alone":  {func(r *Report) { r.Train, r.Speed = nil, nil }, 0},
		"train alone":  {func(r *Report) { r.Check, r.Speed = nil, nil }, 3},
		"speed alone":  {func(r *Report) { r.Check, r.Train = nil, nil }, 14},
		"no claims":    {func(r *Report) { r.Speed.Claims = nil }, 15},
		"no pause":     {func(r *Report) { r.Speed.Pause = nil }, 17},
		"no figures":   {func(r *Report) { r.Speed.Figures = nil }, 5},
		"no limits":    {func(r *Report) { r.Speed.Figures = byTable(r.Speed.Figures, "go") }, 13},
		"two workers":  {func(r *Report) { r.Speed.Claims = r.Speed.Claims[:2] }, 17},
		"no reference": {func(r *Report) { r.Check.Kernels = 0 }, 17},
		"unknown op":   {func(r *Report) { r.Speed.Figures = []Figure{{Kernel: "New", Table: "avx9", N: 5}} }, 5},
		"zeros": {func(r *Report) {
			for k := range r.Speed.Figures {
				r.Speed.Figures[k] = Figure{Kernel: r.Speed.Figures[k].Kernel}
			}
			r.Train.Runs, r.Train.Networks = []*Run{{}}, nil
			r.Speed.Claims = make([]Claim, 3)
		}, 0},
	} {
		r := synthetic()
		c.change(r)
		if n := len(titles(rendered(t, r, nil))); n != c.charts {
			t.Errorf("%s: %d charts, want %d", name, n, c.charts)
		}
	}
}

// TestReportAgain reads what -json writes: nothing of a page is lost in it.
func TestReportAgain(t *testing.T) {
	b, err := json.Marshal(synthetic())
	if err != nil {
		t.Fatal(err)
	}
	r := new(Report)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, synthetic()) || rendered(t, r, nil) != rendered(t, synthetic(), nil) {
		t.Error("a report that went through JSON is another one")
	}
}

func TestReadPeers(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"empty": "", "other": `{"Machine": {"CPU": "x"}}`, "list": "[]"} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := (options{peers: file, html: "x"}).readPeers(); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: error is %v", name, err)
		}
	}
	if _, err := (options{peers: filepath.Join(dir, "absent"), html: "x"}).readPeers(); err == nil {
		t.Error("an absent file is read")
	}
	if _, err := (options{peers: "x"}).readPeers(); err == nil {
		t.Error("-peers is taken without -html")
	}
	if p, err := (options{}).readPeers(); p != nil || err != nil {
		t.Errorf("without a file: %v, %v", p, err)
	}
}

// TestCharted looks whether each roofline has every table with a kernel of its
// own, and whether nothing is measured twice.
func TestCharted(t *testing.T) {
	tables, err := choose("")
	if err != nil {
		t.Fatal(err)
	}
	list, _, err := options{html: "x"}.plan(&Machine{}, tables)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[[2]string]int{}
	for _, m := range list {
		sizes[[2]string{m.op.name, m.table.ISA()}]++
	}
	points := len(strings.Split(gridSizes, ","))
	for _, o := range ops {
		for k, table := range tables {
			n := sizes[[2]string{o.name, table.ISA()}]
			want := 0
			if o.main && k == 0 || slices.Contains(rooflines, o.name) {
				want = points
			}
			shared := sizes[[2]string{o.name, sibling(table.ISA())}] > 0
			if n != want && !(n == 0 && shared) {
				t.Errorf("%s of %s is measured at %d sizes, want %d", o.name, table.ISA(), n, want)
			}
		}
	}
	for _, table := range tables {
		other := sibling(table.ISA())
		n := sizes[[2]string{"SGD", table.ISA()}] + sizes[[2]string{"SGD", other}]
		if n != points {
			t.Errorf("SGD of %s and %s, which is one kernel, is measured at %d sizes, want %d", table.ISA(), other, n, points)
		}
	}
}

// sibling is the table that has the same kernels but for their square roots.
func sibling(isa string) string {
	const newton = "newton"
	if base, ok := strings.CutSuffix(isa, newton); ok {
		return base
	}
	return isa + newton
}

func TestSizesAsked(t *testing.T) {
	for _, c := range []struct {
		o    options
		want string
	}{
		{options{}, places},
		{options{short: true}, places},
		{options{html: "x"}, gridSizes},
		{options{html: "x", short: true}, shortSizes},
		{options{html: "x", sizes: "L1"}, "L1"},
	} {
		if got := c.o.sizesAsked(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.o, got, c.want)
		}
	}
}

func TestDigits(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := digits(n); got != want {
			t.Errorf("%d is %q, want %q", n, got, want)
		}
	}
}
