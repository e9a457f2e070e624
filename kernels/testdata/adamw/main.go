// Command adamw takes one step of AdamW: what it links is looked at by a test.
package main

import (
	"log"

	"github.com/lockstep-go/lockstep/update"
	"github.com/lockstep-go/lockstep/update/torch"
)

func main() {
	opt, err := update.New(4, torch.AdamW())
	if err != nil {
		log.Fatal(err)
	}
	if err := opt.Step(make([]float32, 4), make([]float32, 4)); err != nil {
		log.Fatal(err)
	}
}
