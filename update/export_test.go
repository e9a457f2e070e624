package update

import "reflect"

// Passes are the types of the passes of a rule.
func Passes(r Rule) []string {
	var list []string
	for _, p := range r.plan().passes {
		list = append(list, reflect.TypeOf(p).String())
	}
	return list
}
