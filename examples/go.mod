module github.com/lockstep-go/lockstep/examples

go 1.26.0

require (
	github.com/lockstep-go/lockstep v0.1.0
	github.com/lockstep-go/lockstep/bench v0.1.0
)

require (
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	golang.org/x/sys v0.50.0 // indirect
)

replace (
	github.com/lockstep-go/lockstep => ..
	github.com/lockstep-go/lockstep/bench => ../bench
)
