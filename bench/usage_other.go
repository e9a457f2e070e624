//go:build !linux

package main

import "time"

// peakMemory is 0: other systems tell it in other units, or not at all.
func peakMemory() int64 { return 0 }

// processorTime is 0 likewise.
func processorTime() time.Duration { return 0 }
