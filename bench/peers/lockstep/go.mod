module github.com/lockstep-go/lockstep/bench/peers/lockstep

go 1.26.0

require (
	github.com/lockstep-go/lockstep v0.0.0
	github.com/lockstep-go/lockstep/bench/peers/worker v0.0.0
)

require (
	github.com/klauspost/cpuid/v2 v2.4.2 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace (
	github.com/lockstep-go/lockstep => ../../..
	github.com/lockstep-go/lockstep/bench/peers/worker => ../worker
)
