// Command adamw_bf16 takes a step of AdamW along a gradient of BF16: what it links is looked at
// by a test.
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
	if err := opt.SetCopies(update.TypedList([][]update.BF16{make([]update.BF16, 4)})); err != nil {
		log.Fatal(err)
	}
	if err := opt.StepTyped([][]float32{make([]float32, 4)}, update.TypedList([][]update.BF16{make([]update.BF16, 4)})); err != nil {
		log.Fatal(err)
	}
}
