// A module of its own and without packages, so that the Go module's zip has no C in it.
module github.com/lockstep-go/lockstep/c

go 1.26.0
