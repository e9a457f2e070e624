// Package worker is the part that the Go processes of bench/peers share: the
// protocol with the program that measures them, the data and the clock.
//
// A worker reads one command a line and answers each with one line of JSON. It
// sleeps in between, so that the others have the processors to themselves.
//
//	list                                        the systems, their versions and rules
//	run SYSTEM RULE SHAPE THREADS SECONDS       nanoseconds for a step
//	check SYSTEM RULE SHAPE THREADS STEPS FILE  the parameters after so many steps
//	drop                                        forget all buffers
//
// SHAPE is the size of one tensor, or of many as 148x4512. RULE has a second part
// where a step has more to do:
//
//	adam+l2     WeightDecay times the parameter is added to the gradient
//	adamw+clip  the gradients of all tensors are scaled to a norm of at most MaxNorm
//	adamw+new   each step finds every gradient in another buffer
//	adamw+around  all that mixed precision and averaging put around a step: the gradients,
//	            LossScale times as large, are unscaled and looked at for infinities, then as
//	            with clip; an average of the parameters with AverageDecay follows them, and the
//	            gradients are zeros in the end
package worker

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A System is something to measure.
type System struct {
	Name    string                   `json:"name"`
	Version string                   `json:"version"`
	Rules   []string                 `json:"rules"`
	Threads int                      `json:"threads"` // at most; 0 is any number
	Layout  Layout                   `json:"layout"`
	Many    bool                     `json:"many"` // takes more than one tensor
	New     func(Task) (*Job, error) `json:"-"`
}

// A Layout is where large buffers lie.
type Layout string

const (
	Plain     Layout = ""          // where the system or the language puts them
	Staggered Layout = "staggered" // as update.Alloc lays them out
)

// A Task is what a system is to do. Of the rule linear Size is the number of
// elements of the matrix.
type Task struct {
	Rule    string
	Work    string // l2, clip, new, around, or nothing more than the rule's own
	Tensors int
	Size    int // of each tensor
	Threads int
}

// newTask reads the words RULE, SHAPE and THREADS of a command.
func newTask(rule, shape, threads string) (t Task, err error) {
	t.Rule, t.Work, _ = strings.Cut(rule, "+")
	tensors, size, many := strings.Cut(shape, "x")
	if !many {
		tensors, size = "1", shape
	}
	for _, n := range []struct {
		word string
		to   *int
	}{{tensors, &t.Tensors}, {size, &t.Size}, {threads, &t.Threads}} {
		if *n.to, err = strconv.Atoi(n.word); err != nil || *n.to < 1 {
			return t, fmt.Errorf("%q is no positive number", n.word)
		}
	}
	return t, nil
}

// A Job is a task with its buffers.
type Job struct {
	Step   func() error
	Result func() []float32 // the parameters, or of the rule linear the gradient

	// Refill puts back a gradient that a step overwrites, or hands over other
	// buffers. It is not timed: in training a new gradient is there anyway.
	Refill func()
}

// Main serves the systems until its input ends.
func Main(systems ...System) {
	// What a system prints must not get between the answers.
	out := json.NewEncoder(os.Stdout)
	os.Stdout = os.Stderr
	s := server{systems: systems, jobs: map[key]*Job{}}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		answer, err := s.answer(strings.Fields(in.Text()))
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := out.Encode(answer); err != nil {
			return
		}
	}
}

type key struct {
	system string
	Task
}

type server struct {
	systems []System
	jobs    map[key]*Job
}

// answer carries out a command. A system's panic is an answer too.
func (s *server) answer(command []string) (answer any, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	switch {
	case len(command) == 1 && command[0] == "list":
		return s.systems, nil
	case len(command) == 1 && command[0] == "drop":
		clear(s.jobs)
		debug.FreeOSMemory()
		return struct{}{}, nil
	case len(command) == 6 && command[0] == "run":
		return s.run(command)
	case len(command) == 7 && command[0] == "check":
		return s.check(command)
	}
	return nil, fmt.Errorf("%q is no command", command)
}

// job returns the job of a command's first five words, made at its first use.
func (s *server) job(command []string, fresh bool) (*Job, error) {
	task, err := newTask(command[2], command[3], command[4])
	if err != nil {
		return nil, err
	}
	if runtime.GOMAXPROCS(0) != task.Threads {
		runtime.GOMAXPROCS(task.Threads)
	}
	at := key{command[1], task}
	if j := s.jobs[at]; j != nil && !fresh {
		return j, nil
	}
	k := slices.IndexFunc(s.systems, func(s System) bool { return s.Name == command[1] })
	if k < 0 {
		return nil, fmt.Errorf("there is no system %q here", command[1])
	}
	j, err := s.systems[k].New(task)
	if err == nil && !fresh {
		s.jobs[at] = j
	}
	return j, err
}

func (s *server) run(command []string) (any, error) {
	seconds, err := strconv.ParseFloat(command[5], 64)
	if err != nil {
		return nil, err
	}
	j, err := s.job(command, false)
	if err != nil {
		return nil, err
	}
	step, err := j.measure(time.Duration(seconds * float64(time.Second)))
	if err != nil {
		return nil, err
	}
	return map[string]any{"nanoseconds": step}, nil
}

func (s *server) check(command []string) (any, error) {
	steps, err := strconv.Atoi(command[5])
	if err != nil {
		return nil, err
	}
	j, err := s.job(command, true)
	if err != nil {
		return nil, err
	}
	if _, err := j.steps(steps); err != nil {
		return nil, err
	}
	f, err := os.Create(command[6])
	if err != nil {
		return nil, err
	}
	if err := binary.Write(f, binary.LittleEndian, j.Result()); err != nil {
		f.Close()
		return nil, err
	}
	return struct{}{}, f.Close()
}

// samples is the number of parts of a turn. The best counts: other programs take
// turns on this processor too. Each is long enough to have its share of a
// system's garbage collections.
const samples = 3

// measure takes steps for about so long and returns how long one takes. Those of
// the first tenth do not count: they take back the caches from the worker whose
// turn it was before. A step longer than the time is one step, which no cache
// would help.
func (j *Job) measure(budget time.Duration) (step float64, err error) {
	first, err := j.steps(1)
	if err != nil || first >= budget {
		return float64(first), err
	}
	batch := max(1, int(budget/50/max(first, 1)))
	for warm := first; warm < budget/10; {
		d, err := j.steps(batch)
		if err != nil {
			return 0, err
		}
		warm += d
		batch = max(1, int(budget/50*time.Duration(batch)/max(d, 1)))
	}
	for k := range samples {
		var took time.Duration
		count := 0
		for took < budget/samples {
			d, err := j.steps(batch)
			if err != nil {
				return 0, err
			}
			took += d
			count += batch
		}
		if each := float64(took) / float64(count); k == 0 || each < step {
			step = each
		}
	}
	return step, nil
}

// steps takes some steps and returns the time that they took.
func (j *Job) steps(n int) (took time.Duration, err error) {
	if j.Refill == nil {
		start := time.Now()
		for range n {
			if err := j.Step(); err != nil {
				return 0, err
			}
		}
		return time.Since(start), nil
	}
	for range n {
		j.Refill()
		start := time.Now()
		if err := j.Step(); err != nil {
			return 0, err
		}
		took += time.Since(start)
	}
	return took, nil
}

// ModuleVersion is the version of a module that this program is built with.
func ModuleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return "unknown version"
}
