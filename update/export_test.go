package update

import "reflect"

// Passes are the types of the calls of a rule's passes.
func Passes(r Rule) []string {
	var list []string
	for _, p := range r.plan().Passes {
		list = append(list, reflect.ValueOf(p).FieldByName("call").Elem().Type().String())
	}
	return list
}
