package loss

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"os"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/internal/workers"
	"github.com/lockstep-go/lockstep/kernels"
)

// severalLen is a length that several workers share even if no call came before.
const severalLen = max(tune.ApartLen, 4*kernels.MaxLen) + 77

// with is a loss on so many workers, with a scaling.
func with(l Loss, n Workers, s Scaling) Loss {
	v := reflect.New(reflect.TypeOf(l)).Elem()
	v.Set(reflect.ValueOf(l))
	v.FieldByName("Workers").SetInt(int64(n))
	v.FieldByName("Scaling").Set(reflect.ValueOf(s))
	return v.Interface().(Loss)
}

// TestWorkers has the bits of every loss be the same for any number of workers.
func TestWorkers(t *testing.T) {
	x, y := uniform(severalLen, .01, .99, 90), uniform(severalLen, 0, 1, 91)
	weight := uniform(severalLen, 0, 2, 92)
	for _, l := range losses {
		for r, s := range map[Reduction]Scaling{Mean: {}, WeightedMean: {Weight: weight}, None: {Weight: weight[:1], Rows: 1}} {
			var want, wantEach []float32
			var wantValue float64
			for _, n := range []Workers{1, 2, 7} {
				grad, each := make([]float32, severalLen), make([]float32, severalLen)
				value := mustEval(t, with(l.of(r), n, s), x, y, grad, each)
				if n == 1 {
					want, wantEach, wantValue = grad, each, value
				}
				if value != wantValue || !slices.Equal(grad, want) || !slices.Equal(each, wantEach) {
					t.Errorf("%s, reduction %d: the bits of %d workers differ", l.name, r, n)
				}
			}
		}
	}
}

// TestWorkersShare has as many goroutines at work as there may be, each with a room of its own.
func TestWorkersShare(t *testing.T) {
	x := make([]float32, severalLen)
	for _, n := range []Workers{1, 3} {
		var mu sync.Mutex
		rooms, deadline := map[*room]bool{}, time.Now().Add(30*time.Second)
		run := func(_ *call, p part) {
			for here := 0; here < int(n) && time.Now().Before(deadline); runtime.Gosched() {
				mu.Lock()
				rooms[p.room] = true
				here = len(rooms)
				mu.Unlock()
			}
		}
		if _, err := eval(Sum, &Scaling{}, n, data{pred: x, target: x, grad: make([]float32, severalLen), each: make([]float32, severalLen)}, form{run: run}); err != nil {
			t.Fatal(err)
		}
		if len(rooms) != int(n) {
			t.Errorf("%d rooms for %d workers", len(rooms), n)
		}
	}
}

// TestManyBlocks adds up more blocks than are shared at a time, each once and in order.
func TestManyBlocks(t *testing.T) {
	const blocks = 2*tune.LossBlocks + 3
	const n = (blocks-1)*kernels.MaxLen + 5
	c := calls.Get().(*call)
	defer c.end()
	c.begin(3)
	var seen [blocks]atomic.Int32
	got := c.total(n, func(_ *call, _ *room, lo, end int) float64 {
		block := lo / kernels.MaxLen
		seen[block].Add(1)
		if want := min(kernels.MaxLen, n-lo); lo%kernels.MaxLen != 0 || end-lo != want {
			t.Errorf("block %d is %d elements, want %d", block, end-lo, want)
		}
		return 1 / float64(block+1)
	}, false)
	want := 0.0
	for block := range seen {
		want += 1 / float64(block+1)
		if k := seen[block].Load(); k != 1 {
			t.Errorf("block %d was done %d times", block, k)
		}
	}
	if got != want {
		t.Errorf("the sum is %v, want %v: another order", got, want)
	}
}

// TestWorkersPanic hands a worker's panic to the caller, and goes on.
func TestWorkersPanic(t *testing.T) {
	x := make([]float32, severalLen)
	for range 20 {
		run := func(_ *call, p part) {
			if p.at+len(p.pred) == severalLen {
				panic("the end")
			}
		}
		if got := recovered(func() { _, _ = eval(Sum, &Scaling{}, 4, data{pred: x, target: x}, form{run: run}) }); got != "the end" {
			t.Fatalf("the call panics with %v", got)
		}
		if v := mustEval(t, MAE{Reduction: Sum, Workers: 4}, x, x, nil, nil); v != 0 {
			t.Errorf("after a panic the value is %g", v)
		}
	}
}

func recovered(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

// TestWorkersForget has nothing of a call keep the caller's buffers alive, nor a room.
func TestWorkersForget(t *testing.T) {
	x := make([]float32, severalLen)
	c := &call{crew: crew[*room]{pool: workers.New(1, 1)}}
	c.form, c.data, c.weight = form{run: (*call).mse, posWeights: x}, data{pred: x, target: x}, x
	c.table, c.step = kernels.Active(), tune.LossBlock
	c.begin(2)
	c.total(len(x), (*call).losses, false)
	c.end()
	if !reflect.ValueOf(c.form).IsZero() || !reflect.ValueOf(c.data).IsZero() || c.weight != nil || slices.ContainsFunc(c.rooms, func(r *room) bool { return r != nil }) {
		t.Error("something is left of a call")
	}
}

// TestCosineEmbeddingWorkers compares bits.
func TestCosineEmbeddingWorkers(t *testing.T) {
	for _, shape := range [][2]int{{tune.ApartLen/100 + 7, 100}, {3, tune.ApartLen / 3 * 2}} {
		var want uint64
		for _, n := range []Workers{1, 2, 3, 7, 0} {
			b := pairsOf(shape[0], shape[1])
			value, err := CosineEmbedding{Eps: 1e-12, Margin: .2, Workers: n}.Eval(shape[0], b)
			if err != nil {
				t.Fatal(err)
			}
			h := fnv.New64a()
			binary.Write(h, binary.LittleEndian, value)
			for _, x := range [][]float32{b.GradX, b.GradY, b.Each} {
				binary.Write(h, binary.LittleEndian, x)
			}
			if n == 1 {
				want = h.Sum64()
			}
			if h.Sum64() != want {
				t.Errorf("%v: the bits of %d workers differ", shape, n)
			}
		}
	}
}

// TestSoftmaxWorkers compares bits.
func TestSoftmaxWorkers(t *testing.T) {
	for _, shape := range [][2]int{{tune.ApartLen/100 + 7, 100}, {3, tune.ApartLen / 3 * 2}} {
		rows, columns := shape[0], shape[1]
		x, up := uniform(rows*columns, -9, 9, 1), uniform(rows*columns, -1, 1, 2)
		var want uint64
		for _, n := range []Workers{1, 2, 3, 7, 0} {
			y, sums, grad, h := make([]float32, len(x)), make([]float32, rows), slices.Clone(up), fnv.New64a()
			if err := errors.Join(Softmax(y, x, rows, n), LogSumExp(sums, x, rows, n)); err != nil {
				t.Fatal(err)
			}
			binary.Write(h, binary.LittleEndian, y)
			binary.Write(h, binary.LittleEndian, sums)
			if err := errors.Join(LogSoftmax(y, x, rows, n), LogSoftmaxGrad(grad, y, rows, n)); err != nil {
				t.Fatal(err)
			}
			binary.Write(h, binary.LittleEndian, y)
			binary.Write(h, binary.LittleEndian, grad)
			if n == 1 {
				want = h.Sum64()
			}
			if h.Sum64() != want {
				t.Errorf("%v: the bits of %d workers differ", shape, n)
			}
		}
	}
}

// TestSoftmaxWorkersShare has as many goroutines make rows as there may be, each with a room of its
// own.
func TestSoftmaxWorkersShare(t *testing.T) {
	const columns, rows = 64, severalLen / 64
	x := make([]float32, rows*columns)
	for _, n := range []Workers{1, 3} {
		var mu sync.Mutex
		rooms, deadline := map[*rowRoom]bool{}, time.Now().Add(30*time.Second)
		wait := func(_ *rowCall, r *rowRoom, _, _ int) {
			for here := 0; here < int(n) && time.Now().Before(deadline); runtime.Gosched() {
				mu.Lock()
				rooms[r] = true
				here = len(rooms)
				mu.Unlock()
			}
		}
		if err := shareRows(wait, x, x, rows, columns, n); err != nil {
			t.Fatal(err)
		}
		if len(rooms) != int(n) {
			t.Errorf("%d rooms for %d workers", len(rooms), n)
		}
	}
}

// TestCallsShare has every call that workers share be seen at work on two goroutines at once.
func TestCallsShare(t *testing.T) {
	if os.Getenv("LOCKSTEP_EMULATED") != "" {
		t.Skip("who is at work is the same on every machine")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	const classes, rows = 64, severalLen / 64
	x, y := uniform(classes*rows, .1, 1, 1), make([]float32, classes*rows)
	b := Rows{Logits: x, Labels: make([]int64, rows), Grad: y}
	entropy, margins := newCrossEntropy(t, classes, CrossEntropyOptions{}), newRowLoss(t, classes, RowLossOptions{Model: MultiMargin})
	for name, call := range map[string]func() error{
		"MSE": func() error { _, err := MSE{}.Eval(x, x, y, nil); return err },
		"CosineEmbedding": func() error {
			_, err := CosineEmbedding{Eps: 1}.Eval(rows, Pairs{X: x, Y: x, GradX: y})
			return err
		},
		"CrossEntropy":   func() error { _, err := entropy.Eval(b); return err },
		"RowLoss":        func() error { _, err := margins.Eval(b); return err },
		"Softmax":        func() error { return Softmax(y, x, rows, 0) },
		"LogSoftmax":     func() error { return LogSoftmax(y, x, rows, 0) },
		"LogSoftmaxGrad": func() error { return LogSoftmaxGrad(y, x, rows, 0) },
		"LogSumExp":      func() error { return LogSumExp(y[:rows], x, rows, 0) },
	} {
		if !seenTogether(t, call) {
			t.Errorf("%s: no two goroutines at work", name)
		}
	}
}

// unitFrame is a goroutine in a unit of work, on a stack.
var unitFrame = regexp.MustCompile(`lockstep/loss\.\(\*\w+\)\.Do\(`)

// seenTogether makes a call again and again until two goroutines are seen in units of it.
func seenTogether(t *testing.T, call func() error) bool {
	t.Helper()
	var stop atomic.Bool
	done := make(chan error)
	go func() {
		var err error
		for err == nil && !stop.Load() {
			err = call()
		}
		done <- err
	}()
	seen, stacks := false, make([]byte, 1<<20)
	for end := time.Now().Add(20 * time.Second); !seen && time.Now().Before(end); {
		all := string(stacks[:runtime.Stack(stacks, true)])
		seen = len(unitFrame.FindAllString(all, 2)) > 1
	}
	stop.Store(true)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestWorkersErrors(t *testing.T) {
	for _, n := range []Workers{-1, 1 << 20} {
		grad := []float32{7}
		_, err := MSE{Workers: n}.Eval(grad[:1:1], []float32{1}, nil, nil)
		if err == nil || !strings.Contains(err.Error(), "Workers is") {
			t.Errorf("%d workers: %v", n, err)
		}
		_, err = CosineEmbedding{Workers: n}.Eval(1, Pairs{X: []float32{1}, Y: []float32{1}, GradX: grad})
		if err == nil || !strings.Contains(err.Error(), "Workers is") || grad[0] != 7 {
			t.Errorf("%d workers: %v", n, err)
		}
		x := []float32{1}
		for name, err := range map[string]error{
			"Softmax": Softmax(grad, x, 1, n), "LogSoftmax": LogSoftmax(grad, x, 1, n),
			"LogSoftmaxGrad": LogSoftmaxGrad(grad, x, 1, n), "LogSumExp": LogSumExp(grad, x, 1, n),
		} {
			if err == nil || !strings.Contains(err.Error(), "Workers is") || grad[0] != 7 {
				t.Errorf("%s, %d workers: %v", name, n, err)
			}
		}
	}
}
