// The golden vectors are a module of their own, so that nobody who needs the library
// downloads them.
module github.com/lockstep-go/lockstep/loss/testdata

go 1.26.0
