module github.com/lockstep-go/lockstep/bench/peers/worker

go 1.26.0
