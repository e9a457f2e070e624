package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestWorkersCharts draws what is beside one worker, and nothing else.
func TestWorkersCharts(t *testing.T) {
	took := func(s float64) Time { return Time{Median: s} }
	s := &Speed{Claims: []Claim{
		{Section: workersSection, Case: bareCase, Beside: besideOne, N: 4 << 20, Workers: 2, Time: took(2), Other: took(3)},
		{Section: workersSection, Case: adamW, Beside: besideOne, N: 4 << 20, Workers: 2, Time: took(4), Other: took(8)},
		{Section: workersSection, Case: adamW, Beside: besideBare, N: 4 << 20, Workers: 2, Time: took(4), Other: took(5)},
		{Section: "L2", Case: adamW, Beside: besideOne, N: 4 << 20, Workers: 2, Time: took(4), Other: took(9)},
	}}
	section := s.workers()
	var got []string
	for _, c := range section.Charts {
		for _, line := range c.Series {
			if len(line.Points) != 1 {
				t.Errorf("%s: %s has %d points", c.Title, line.Name, len(line.Points))
			}
			got = append(got, line.Name)
		}
	}
	want := []string{adamW + ", 2 workers", bareCase + ", 2 workers",
		adamW + ", 2 workers", adamW + ", one, beside 2", bareCase + ", 2 workers", bareCase + ", one, beside 2"}
	if !slices.Equal(got, want) {
		t.Errorf("lines are %q\nwant %q", got, want)
	}
	if y := section.Charts[0].Series[0].Points[0].Y; y != 2 {
		t.Errorf("two workers are %g times one, want 2", y)
	}
}

// TestReach takes the goal from a claim that cannot reach it.
func TestReach(t *testing.T) {
	nothing := func() (it, other *candidate) { return &candidate{call: func() {}}, &candidate{call: func() {}} }
	p := pending{Claim: Claim{Speedup: true, Goal: 1e9}, pair: nothing, reach: scales(1 << 20)}
	bare := Claim{Section: workersSection, Case: bareCase, N: 1 << 20, Ratio: 1.2}
	if c := p.measure(1, []Claim{bare}); c.Goal != 0 || !c.OK() {
		t.Errorf("the memory gives 1.2 and the goal is %g", c.Goal)
	}
	for _, list := range [][]Claim{nil, {{Section: workersSection, Case: bareCase, N: 4 << 20, Ratio: 1.2}}, {{Section: workersSection, Case: bareCase, N: 1 << 20, Ratio: 1.95}}} {
		if c := p.measure(1, list); c.Goal != 1e9 || c.OK() {
			t.Errorf("after %+v the goal is %g", list, c.Goal)
		}
	}
}

func TestGoals(t *testing.T) {
	all, missed := goals([]Claim{{Goal: 1.1, Ratio: 1}, {Goal: 1.1, Ratio: 1.2}, {Speedup: true, Goal: 2, Ratio: 1.9}, {Speedup: true, Goal: 2, Ratio: 2}, {Ratio: 9}})
	if all != 4 || missed != 2 {
		t.Errorf("%d of %d goals are missed, want 2 of 4", missed, all)
	}
}

// TestPendingClaims restricts claims as the flags do.
func TestPendingClaims(t *testing.T) {
	m := &Machine{L1: 32 << 10, L2: 1 << 20, L3: 32 << 20}
	names := func(o options) []string {
		list, err := o.pendingClaims(m)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range list {
			names = append(names, p.Section+": "+p.Case)
			if opOf(p.kernel) == nil {
				t.Errorf("%s is of %q, which is no kernel", p.Case, p.kernel)
			}
		}
		return names
	}
	everything := names(options{})
	for _, c := range []struct {
		o             options
		some, without string
	}{
		{options{kernels: "Momentum"}, "L2: Momentum", "AdamW"},
		{options{kernels: "AdamW", sizes: "memory"}, "Memory layout", "No cliffs"},
		{options{sizes: "L2"}, "AdaGrad by", "Memory layout"},
		{options{sizes: "4Ki"}, "No cliffs", "Memory layout"},
	} {
		list := strings.Join(names(c.o), "\n")
		if !strings.Contains(list, c.some) || strings.Contains(list, c.without) {
			t.Errorf("%+v leaves\n%s", c.o, list)
		}
	}
	if list := names(options{kernels: "^Exp$"}); len(list) != 0 {
		t.Errorf("claims of Exp are %q", list)
	}
	for _, part := range []string{"eps 1e-15: gradients always 1e-14", "gradients in new buffers", "with L2, in memory", "a list of one", "4 shards", "moments of 8 bits", "128 x 128000", "binary cross-entropy"} {
		if !strings.Contains(strings.Join(everything, "\n"), part) {
			t.Errorf("no claim says %q", part)
		}
	}
}

// TestTypesLen has -sizes ask for more parameters than usual, and nothing else.
func TestTypesLen(t *testing.T) {
	m := &Machine{L1: 32 << 10, L2: 1 << 20, L3: 32 << 20}
	for _, c := range []struct {
		o    options
		want int
	}{
		{options{}, 16 << 20},
		{options{short: true}, 4 << 20},
		{options{html: "page"}, 16 << 20},
		{options{sizes: "memory"}, 16 << 20},
		{options{sizes: "memory", short: true}, 4 << 20},
		{options{sizes: "8Mi"}, 16 << 20},
		{options{sizes: "124000000"}, 124_000_000},
	} {
		list, err := c.o.pendingClaims(m)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		for _, p := range list {
			if p.Section != "Types" {
				continue
			}
			if found++; p.N != c.want || p.bytes != c.want*stepBytes {
				t.Errorf("%+v: %s takes %d parameters, %d bytes, want %d", c.o, p.Case, p.N, p.bytes, c.want)
			}
		}
		if found < len(typedCases) {
			t.Errorf("%+v: %d claims of types", c.o, found)
		}
	}
}

func TestOnly(t *testing.T) {
	if _, err := (options{kernels: "nosuch"}).only(); err == nil || !strings.Contains(err.Error(), "nosuch") || !strings.Contains(err.Error(), "Momentum") {
		t.Errorf("-kernels nosuch: %v", err)
	}
	if _, err := (options{kernels: "("}).only(); err == nil {
		t.Error("-kernels ( is a pattern")
	}
}

// TestLimits looks for the fastest of all that load and store the same.
func TestLimits(t *testing.T) {
	sgd, adam, exp := opOf("SGD"), opOf(adamW), opOf("SumSquares")
	small := size{"L1", 1 << 10, 0}
	list := []measurement{{sgd, 1, small}, {opOf("Fade"), 1, small}, {adam, 1, small}, {exp, 1, small}}
	s := &Speed{Figures: []Figure{
		{Time: Time{Median: 2}, Limit: Time{Median: 3}}, {Time: Time{Median: 4}, Limit: Time{Median: 5}},
		{Time: Time{Median: 9}, Limit: Time{Median: 3}}, {Time: Time{Median: 1}},
	}}
	s.limits(list)
	for k, want := range []float64{1, .5, 1. / 3, 0} {
		if got := s.Figures[k].OfLimit; got != want {
			t.Errorf("%s is %g of the limit, want %g", list[k].op.name, got, want)
		}
	}
}

func TestPauseText(t *testing.T) {
	once := (&Pause{Tries: 1, Worst: 2e-4, Plain: 1e-4, Bound: 1e-3, OK: true}).text()
	if once != "at worst within 0.20 ms, beside a plain loop 0.10 ms (bound 1 ms, or twice the loop's where others hold up both): ok" {
		t.Error(once)
	}
	often := (&Pause{Tries: 7, Worst: 9e-3, Plain: 8e-3, Bound: 1e-3, OK: true}).text()
	if !strings.HasPrefix(often, "at worst within 9.00 ms, beside a plain loop 8.00 ms in 7 tries") {
		t.Error(often)
	}
}

func TestSummary(t *testing.T) {
	r := synthetic()
	if got, want := r.summary(), "avx2; AdamW 9.4x plain Go; 10 % of memory; 1 calls differ; 1/5 goals missed"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	r.Speed, r.Train, r.Check = nil, nil, new(Check)
	if got := r.summary(); got != "avx2; no bit differs" {
		t.Error(got)
	}
}

// TestBuild asks for what this is.
func TestBuild(t *testing.T) {
	if b := build(); b.Version == "" || !strings.HasPrefix(b.text(), "Lockstep ") {
		t.Errorf("%+v", b)
	}
	if _, err := os.Stat("../.git"); err == nil && len(gitCommit()) < 40 {
		t.Errorf("the commit is %q", gitCommit())
	}
}

func TestPrepareFailsAtOnce(t *testing.T) {
	start := time.Now()
	for _, o := range []options{{kernels: "nosuch"}, {sizes: "L9"}, {json: "/nowhere/x"}, {html: "/nowhere/x"}, {peers: "x"}, {table: "sse9"}, {reps: -1}} {
		if _, err := o.prepare(); err == nil {
			t.Errorf("%+v is understood", o)
		}
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("after %v", took)
	}
}
