package update

import (
	"fmt"
	"math"

	"github.com/lockstep-go/lockstep/internal/engine"
	"github.com/lockstep-go/lockstep/internal/tune"
)

// Alloc returns so many buffers of n zeros each, for parameters, gradients and
// state that a step goes through side by side. Each begins on a cache line, and at
// another place within a page than the others. The garbage collector frees them
// together, when none is in use any more. Numbers below 0, or more than memory has
// addresses for, are a panic with an ArgError.
//
// The buffers are memory of Go's heap, which GOMEMLIMIT and its statistics count, and are
// in memory from the beginning: a page that the system had to find in the middle of a
// kernel would hold up the garbage collector. Where the system has huge pages on request
// (Linux), large buffers are made of them: see SetHugePages.
//
// State that an optimizer allocates itself is laid out so too, for parameters and
// gradients that are at the beginnings of pages or come from one Alloc.
func Alloc(n, buffers int) [][]float32 {
	const most = math.MaxInt / 8 // elements of all, so that their bytes can be counted
	if n < 0 {
		panic(&ArgError{"n", n, "at least 0"})
	}
	if buffers < 0 || buffers > most/(n+tune.Page) {
		panic(&ArgError{"buffers", buffers, fmt.Sprintf("at least 0, and at most %d elements of all", most)})
	}
	return engine.Alloc(n, buffers)
}

// SetHugePages says whether large buffers that are made from now on are put on huge pages
// where the system has them; at first they are. It is a setting of the program.
//
// The system is asked for them at once, and no advice stays with the memory: when the
// buffers are freed it is memory of Go's heap like any other, which returns to the
// system page by page. What the system was told for good, never to use them, holds.
func SetHugePages(on bool) { engine.SetHugePages(on) }
