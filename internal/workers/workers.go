// Package workers shares work among the caller's goroutine and helpers that live as long
// as calls follow each other closely.
//
// A pool may be used in a testing/synctest bubble and outside of it, in turn, whoever
// started its helpers: nothing waits by a clock, which in a bubble stands still while a
// goroutine runs, nor by a channel, a sync.Cond or a sync.WaitGroup, which belong to a
// bubble. Times between calls are read from a clock, and only say how long to wait.
package workers

import (
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// A Task is what is done with each unit. No two goroutines are the same worker at a time;
// the caller's is 0, and all are below the pool's limit.
type Task interface{ Do(unit, worker int) }

// A Pool shares the units of a call. One goroutine at a time may use it.
type Pool struct {
	least   int // size of a call that is shared
	apart   int // and of one that does not come soon after another
	limit   int // goroutines, the caller's included
	helpers []*helper

	follows bool      // the call goes on with what the one before has begun
	closely bool      // the first of such calls came soon after the last of those before
	ended   time.Time // when that was

	// Who has taken a unit may read these.
	task   Task
	units  int
	faults bool // what the caller has set by debug.SetPanicOnFault

	left    atomic.Int64        // units that nobody has taken, or less than 0
	pending atomic.Int64        // units that are not done
	caught  atomic.Pointer[any] // what a helper has panicked with
	stay    atomic.Bool         // helpers wait for the next call
	waiting atomic.Bool         // the caller does, for word to be unlocked
	word    sync.Mutex          // locked while nobody is to hear that all units are done
}

// atWork counts the calls of all pools that are large enough to be shared.
var atWork atomic.Int64

// New makes a pool. Calls of a size below the least are left to the caller, and those below
// apart that do not come soon after another: helpers would have to be woken for them.
func New(least, apart int) *Pool {
	p := &Pool{least: least, apart: apart, limit: 1}
	p.word.Lock()
	return p
}

// SetLimit sets how many goroutines a call may use.
func (p *Pool) SetLimit(n int) {
	p.limit = n
	for len(p.helpers) < n-1 {
		h := &helper{p: p, worker: len(p.helpers) + 1}
		h.run = h.live
		p.helpers = append(p.helpers, h)
	}
}

// Run does the units of a task of a size. more says that another call goes on with the
// work at once.
//
// A panic ends it: the other workers leave the units that none has taken, and Run panics
// with the same value as soon as none is at work. A helper takes over the caller's
// debug.SetPanicOnFault.
func (p *Pool) Run(t Task, units, size int, more bool) {
	n := min(p.limit, units)
	if n <= 1 || size < p.least {
		alone(t, units)
		return
	}
	n = min(n, p.limit/int(atWork.Add(1))) // processors are shared with other calls
	defer p.end(more)
	if !p.follows {
		p.closely = time.Since(p.ended) < tune.Close
	}
	if n <= 1 || size < p.apart && !p.closely && !p.follows && !more {
		alone(t, units)
		return
	}
	p.stay.Store(p.closely || more)
	p.share(t, units, n-1)
}

// end takes note of the end of a call.
func (p *Pool) end(more bool) {
	atWork.Add(-1)
	p.follows = more
	if !more {
		p.ended = time.Now()
	}
}

func alone(t Task, units int) {
	for k := range units {
		t.Do(k, 0)
	}
}

// share does the units with so many helpers.
func (p *Pool) share(t Task, units, helpers int) {
	p.task, p.units = t, units
	p.faults = debug.SetPanicOnFault(false)
	debug.SetPanicOnFault(p.faults)
	p.caught.Store(nil)
	p.pending.Store(int64(units))
	p.left.Swap(int64(units)) // QEMU has loads overtake arm64's stores that none may overtake, but no swap
	p.engage(helpers)
	p.join()
	if v := p.caught.Load(); v != nil {
		panic(*v)
	}
}

// join works beside the helpers. If it panics they may yet be at work.
func (p *Pool) join() {
	defer p.await()
	p.work(0)
}

// engage puts helpers to work, those who are awake first. One who comes late finds no
// unit, and no one has waited for him.
func (p *Pool) engage(want int) {
	for _, h := range p.helpers[:p.limit-1] {
		if want > 0 && h.comes() {
			want--
		}
	}
	for _, h := range p.helpers[:p.limit-1] {
		if want > 0 && h.state.CompareAndSwap(gone, busy) {
			want--
			go h.run()
		}
	}
}

// work takes units until none is left, the first ones first.
func (p *Pool) work(worker int) {
	for {
		k := int(p.left.Add(-1))
		if k < 0 {
			return
		}
		p.do(p.units-1-k, worker)
	}
}

func (p *Pool) do(unit, worker int) {
	if worker > 0 {
		debug.SetPanicOnFault(p.faults)
	}
	whole := false
	defer func() {
		if whole {
			p.done(1)
			return
		}
		if worker > 0 {
			p.catch(recover())
		}
		p.done(1 + max(0, p.left.Swap(0)))
	}()
	p.task.Do(unit, worker)
	whole = true
}

// catch keeps what a helper has panicked with for the caller.
func (p *Pool) catch(v any) { p.caught.CompareAndSwap(nil, &v) }

// done counts units, and gives word if they were the last.
func (p *Pool) done(units int64) {
	if p.pending.Add(-units) == 0 && p.waiting.Swap(false) {
		p.word.Unlock()
	}
}
