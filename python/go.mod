// A module of its own and without packages, so that the Go module's zip has no Python in it.
module github.com/lockstep-go/lockstep/python

go 1.26.0
