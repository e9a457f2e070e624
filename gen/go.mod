module github.com/lockstep-go/lockstep/gen

go 1.26.0

require (
	github.com/klauspost/cpuid/v2 v2.4.2
	github.com/lockstep-go/lockstep v0.0.0
	github.com/mmcloughlin/avo v0.6.0
	golang.org/x/arch v0.32.0
	golang.org/x/mod v0.42.0
	golang.org/x/tools v0.52.0
)

require golang.org/x/sys v0.49.0 // indirect

replace github.com/lockstep-go/lockstep => ../

require golang.org/x/sync v0.24.0 // indirect
