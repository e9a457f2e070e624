//go:build !(goexperiment.simd && amd64)

package main

import "github.com/lockstep-go/lockstep/bench/peers/worker"

func experimental() []worker.System { return nil }
