// Package allocs counts the allocations of a function for tests.
package allocs

import "testing"

// PerRun returns how often f allocates in each of so many runs. The runtime's own work (a
// collection, a thread, the record of a goroutine) falls into a count by chance and what f
// does falls into each: the smallest of up to twenty counts is returned. Of a build for the
// race detector it returns 0: what tells the detector of assembly's loads and stores makes
// operands escape that no other build allocates.
func PerRun(runs int, f func()) float64 {
	least := testing.AllocsPerRun(runs, f)
	if race {
		return 0
	}
	for range 19 {
		if least == 0 {
			break
		}
		least = min(least, testing.AllocsPerRun(runs, f))
	}
	return least
}
