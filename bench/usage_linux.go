package main

import (
	"syscall"
	"time"
)

// peakMemory is the most memory that this program has had at once, in bytes.
func peakMemory() int64 { return int64(usage().Maxrss) << 10 }

// processorTime is how long this program has been at work, on all processors together.
func processorTime() time.Duration {
	u := usage()
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// usage is 0 where the system does not tell.
func usage() (u syscall.Rusage) {
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return syscall.Rusage{}
	}
	return u
}
