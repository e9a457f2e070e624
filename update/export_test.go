package update

import (
	"reflect"
	"runtime"
	"strings"

	"github.com/lockstep-go/lockstep/internal/engine"
)

// Passes are the types of the calls of a rule's passes.
func Passes(r Rule) []string {
	var list []string
	for _, p := range r.plan().Passes {
		list = append(list, reflect.ValueOf(p).FieldByName("call").Elem().Type().String())
	}
	return list
}

// Kernels are the names of the functions that a rule's passes call, where they call one of
// package kernels themselves and take all buffers.
func Kernels(r Rule) []string {
	var list []string
	for _, p := range r.plan().Passes {
		kernel := reflect.ValueOf(p).FieldByName("call").Elem().Elem().FieldByName("kernel")
		name := runtime.FuncForPC(kernel.Pointer()).Name()
		if _, of, ok := strings.Cut(name, "/kernels."); ok && reflect.ValueOf(p).FieldByName("names").Len() == 0 {
			list = append(list, of)
		}
	}
	return list
}

// Slots are a rule's state, and whether its small numbers are kept.
func Slots(r Rule) (slots []engine.Slot, kept bool) {
	return r.plan().State, r.options().KeepSubnormals
}
