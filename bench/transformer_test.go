package main

import (
	"math"
	"slices"
	"testing"
)

// TestDecoder compares gradients of the transformer with differences of its loss, which float32
// has to some digits.
func TestDecoder(t *testing.T) {
	d := newDecoder()
	in, next := newSentences(1, 200).windows([]int{0, 50, 111})
	d.backward(in, next)
	for k, w := range d.weights() {
		grads, off, all := slices.Clone(w.g), 0., 0.
		for i := 0; i < len(grads); i += 1 + len(grads)/20 {
			const step = 1.0 / 1024
			at := w.p[i]
			w.p[i] = at + step
			up := d.backward(in, next)
			w.p[i] = at - step
			down := d.backward(in, next)
			w.p[i] = at
			g := float64(grads[i])
			off, all = math.Hypot(off, (up-down)/(2*step)-g), math.Hypot(all, g)
		}
		if !(off < .05*all) { // ReLU has corners
			t.Errorf("tensor %d: gradients of norm %g are %g from differences", k, all, off)
		}
	}
}

// TestCausal changes letters, of which those before know nothing.
func TestCausal(t *testing.T) {
	d := newDecoder()
	in, _ := newSentences(1, 200).windows([]int{0, 50})
	before := slices.Clone(d.forward(in))
	const changed = 20
	in[changed] = (in[changed] + 1) % int64(len(letters))
	after := d.forward(in)
	for i := range in {
		same := slices.Equal(before[i*len(letters):][:len(letters)], after[i*len(letters):][:len(letters)])
		if want := i < changed || i >= decoderContext; same != want {
			t.Errorf("letter %d: the logits are the same is %v, want %v", i, same, want)
		}
	}
}

// TestSentences wants whole sentences that the seed alone decides.
func TestSentences(t *testing.T) {
	s := newSentences(1, 1)
	var text []byte
	for _, c := range s.text {
		text = append(text, letters[c])
	}
	t.Logf("%q, %.3f nats a letter", text, s.nats)
	if text[len(text)-1] != ' ' || text[len(text)-2] != '.' {
		t.Errorf("%q is no sentence", text)
	}
	if again := newSentences(1, 1); !slices.Equal(s.text, again.text) || slices.Equal(s.text, newSentences(2, 1).text) {
		t.Error("the seed does not say what the text is")
	}
}
