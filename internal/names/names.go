// Package names turns Go's names into those of C and Python.
package names

import (
	"regexp"
	"strings"
)

// words are those that frameworks write as one, whatever their letters.
var words = strings.NewReplacer("AdaGrad", "Adagrad", "AMSGrad", "Amsgrad", "RMSprop", "Rmsprop", "AdEMAMix", "Ademamix", "RAdam", "Radam", "LaProp", "Laprop", "NAdam", "Nadam", "AdamW", "Adamw", "NovoGrad", "Novograd")

var between = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// C is a name in C: sum_squares for SumSquares.
func C(name string) string {
	return strings.ToLower(between.ReplaceAllString(words.Replace(name), "${1}${3}_${2}${4}"))
}
