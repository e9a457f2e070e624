// Command differential takes the steps of rules that its input describes, for run, which
// compares them with PyTorch's: a JSON object a line, and one for each in return.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"math"
	"os"

	"github.com/lockstep-go/lockstep/internal/registry"
	"github.com/lockstep-go/lockstep/update"
)

// A request is a rule with its options, parameters, and their gradients in each step, as
// bits of float32.
type request struct {
	Rule    string
	Options json.RawMessage
	Params  []uint32
	Grads   [][]uint32
}

// A reply is the parameters after the last step.
type reply struct{ Params []uint32 }

func main() {
	log.SetFlags(0)
	if err := answer(os.Stdin, os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func answer(in io.Reader, out io.Writer) error {
	requests, w := json.NewDecoder(bufio.NewReader(in)), bufio.NewWriter(out)
	for {
		var r request
		if err := requests.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		p, err := r.train()
		if err != nil {
			return fmt.Errorf("%s with %s: %w", r.Rule, r.Options, err)
		}
		if err := json.NewEncoder(w).Encode(reply{bits(p)}); err != nil {
			return err
		}
		if err := w.Flush(); err != nil {
			return err
		}
	}
}

// train takes the steps.
func (r *request) train() ([]float32, error) {
	rule, err := registry.Decode(r.Rule, r.Options)
	if err != nil {
		return nil, err
	}
	o, err := update.New(len(r.Params), rule)
	if err != nil {
		return nil, err
	}
	p := floats(r.Params)
	for _, g := range r.Grads {
		if err := o.Step(p, floats(g)); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func floats(x []uint32) []float32 {
	f := make([]float32, len(x))
	for i, b := range x {
		f[i] = math.Float32frombits(b)
	}
	return f
}

func bits(x []float32) []uint32 {
	b := make([]uint32, len(x))
	for i, f := range x {
		b[i] = math.Float32bits(f)
	}
	return b
}
