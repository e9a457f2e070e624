// Command adamw_float8 takes a step of AdamW with state of 8 bits: what it links is looked at by a
// test.
package main

import (
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

func main() {
	opt, err := update.New(5000, torch.AdamW())
	if err != nil {
		log.Fatal(err)
	}
	if err := opt.SetStateTypes(map[string]update.StateType{"m": update.StateFloat8, "v": update.StateFloat8}, 1); err != nil {
		log.Fatal(err)
	}
	if err := opt.Step(make([]float32, 5000), make([]float32, 5000)); err != nil {
		log.Fatal(err)
	}
}
