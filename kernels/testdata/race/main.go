// Command race takes two steps on one buffer at a time: go build -race.
package main

import (
	"log"
	"sync"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

func main() {
	params, grads := make([]float32, 1000), make([]float32, 1000)
	var steps sync.WaitGroup
	for range 2 {
		opt, err := update.New(len(params), torch.AdamW())
		if err != nil {
			log.Fatal(err)
		}
		steps.Go(func() {
			if err := opt.Step(params, grads); err != nil {
				log.Fatal(err)
			}
		})
	}
	steps.Wait()
}
