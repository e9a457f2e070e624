package c11

import (
	"regexp"
	"strings"
)

// words are those that frameworks write as one, whatever their letters.
var words = strings.NewReplacer("AdaGrad", "Adagrad", "AMSGrad", "Amsgrad", "RMSprop", "Rmsprop")

var between = regexp.MustCompile(`([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])`)

// Name is a name in C: sum_squares for SumSquares.
func Name(name string) string {
	return strings.ToLower(between.ReplaceAllString(words.Replace(name), "${1}${3}_${2}${4}"))
}
