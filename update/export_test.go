package update

import (
	"reflect"

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

// Slots are a rule's state, and whether its small numbers are kept.
func Slots(r Rule) (slots []engine.Slot, kept bool) {
	return r.plan().State, r.options().KeepSubnormals
}
