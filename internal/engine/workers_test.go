package engine

import (
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/internal/tune"
	"github.com/lockstep-go/lockstep/kernels"
)

// A meeting is a kernel that waits for other goroutines to be in it too.
type meeting struct {
	want int
	wait time.Duration

	mu           sync.Mutex
	inside, most int
	over         bool // all that were wanted have met, or one has waited in vain
	open         chan struct{}
}

func (m *meeting) begin(*StepInput) (none struct{}) {
	m.most, m.over, m.open = 0, false, make(chan struct{})
	return none
}

func (m *meeting) run(kernels.Table, *kernels.List, *struct{}) {
	m.add(1)
	select {
	case <-m.open:
	case <-time.After(m.wait):
		m.end()
	}
	m.add(-1)
}

func (m *meeting) add(n int) {
	m.mu.Lock()
	m.inside += n
	m.most = max(m.most, m.inside)
	met := m.inside == m.want
	m.mu.Unlock()
	if met {
		m.end()
	}
}

func (m *meeting) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.over {
		m.over = true
		close(m.open)
	}
}

// TestWorkersMeet counts the goroutines that are in a kernel at the same time: as
// many as there are workers and no more, and one where a step is small.
func TestWorkersMeet(t *testing.T) {
	before := runtime.NumGoroutine()
	for _, c := range []struct{ n, workers, want int }{
		{tune.ApartLen, 1, 1}, {tune.ApartLen, 2, 2}, {4 * tune.ApartLen, 3, 3}, {tune.ParallelLen - 1, 3, 1},
	} {
		p, g := make([]float32, c.n), make([]float32, c.n)
		for m, wait := range map[*meeting]time.Duration{
			{want: c.want}:     time.Minute,
			{want: c.want + 1}: 20 * time.Millisecond,
		} {
			m.wait = wait
			e := New([]Tensor{{Size: c.n}}, []Rule{{Plan: Plan{Passes: One(m.run, m.begin)}}})
			e.SetWorkers(c.workers)
			for range 2 {
				e.Begin(1, nil)
				e.Run([][]float32{p}, [][]float32{g})
				if m.most > c.want || m.most < c.want && m.want == c.want {
					t.Errorf("%d elements, %d workers: %d goroutines at the same time, want %d", c.n, c.workers, m.most, c.want)
				}
			}
		}
	}
	for since := time.Now(); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Since(since) > time.Minute {
			t.Fatalf("%d goroutines are left over", runtime.NumGoroutine()-before)
		}
	}
}
