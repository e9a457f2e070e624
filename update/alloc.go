package update

import "github.com/lockstep-go/lockstep/internal/engine"

// Alloc returns so many buffers of n zeros each, for parameters, gradients and
// state that a step goes through side by side. Each begins on a cache line, and at
// another place within a page than the others. Where the system has huge pages on
// request (Linux), large buffers ask for them; elsewhere they are ordinary memory.
// The garbage collector frees them together, when none is in use any more.
//
// State that an optimizer allocates itself is laid out so too, for parameters and
// gradients that are at the beginnings of pages or come from one Alloc.
func Alloc(n, buffers int) [][]float32 { return engine.Alloc(n, buffers) }
