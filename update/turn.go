package update

import "sync/atomic"

// A turn is what one goroutine at a time has.
type turn struct{ taken uint32 }

// take reports whether it was free.
func (t *turn) take() bool { return atomic.CompareAndSwapUint32(&t.taken, 0, 1) }
