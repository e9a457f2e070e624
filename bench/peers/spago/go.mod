module github.com/lockstep-go/lockstep/bench/peers/spago

go 1.26.0

require github.com/lockstep-go/lockstep/bench/peers/worker v0.0.0

require (
	github.com/google/flatbuffers v23.5.26+incompatible // indirect
	github.com/nlpodyssey/spago v1.1.0
)

replace github.com/lockstep-go/lockstep/bench/peers/worker => ../worker
