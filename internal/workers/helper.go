package workers

import (
	"runtime"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/internal/tune"
)

// A helper is a goroutine beside the caller's. It lives as long as calls follow each
// other closely: a pool that is not at work has none.
type helper struct {
	p      *Pool
	worker int
	state  atomic.Int32
	run    func() // made once, so that go allocates nothing
}

const (
	gone  = iota // there is no goroutine
	awake        // it waits for work
	busy         // it works, or will as soon as it has a processor
)

// live works for as long as there is work.
func (h *helper) live() {
	for {
		h.p.work(h.worker)
		if !h.rest() {
			return
		}
	}
}

// comes has a helper who is there work, and says whether there is one. Who is at work comes
// back: see rest.
func (h *helper) comes() bool {
	for {
		switch h.state.Load() {
		case gone:
			return false
		case busy:
			return true
		}
		if h.state.CompareAndSwap(awake, busy) {
			return true
		}
	}
}

// rest waits for work, after some, and says whether it has come.
func (h *helper) rest() bool {
	h.state.Store(awake)
	// A call that began in between has seen a helper at work, and counts on it.
	if h.p.left.Load() > 0 && h.state.CompareAndSwap(awake, busy) {
		return true
	}
	for turns := 0; h.state.Load() == awake; turns++ {
		leaves := turns > tune.Patience || !h.p.stay.Load()
		if leaves && h.state.CompareAndSwap(awake, gone) {
			return false
		}
		runtime.Gosched()
	}
	return true
}

// await returns when all units are done.
func (p *Pool) await() {
	for turns := 0; p.pending.Load() > 0; turns++ {
		if turns < tune.Patience {
			runtime.Gosched()
			continue
		}
		p.waiting.Store(true)
		if p.pending.Load() > 0 || !p.waiting.Swap(false) {
			p.word.Lock()
		}
		return
	}
}
