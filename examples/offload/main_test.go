package main

import (
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/fallback"
	"github.com/lockstep-go/lockstep/update"
)

// TestOffload has the bits of steps that wait for all gradients, weights that the device has
// rounded, and digits told.
func TestOffload(t *testing.T) {
	one, err := train(4, asTheyArrive)
	if err != nil {
		t.Fatal(err)
	}
	other, err := train(4, whenAllAreThere)
	if err != nil {
		t.Fatal(err)
	}
	if one.hash() != other.hash() {
		t.Error("steps of pieces as they arrive have other bits than those that wait")
	}
	for k, master := range one.master {
		for i, p := range master {
			if one.weights[k][i] != fallback.ToBF16(p) {
				t.Fatalf("the device has %v for %v of %s", one.weights[k][i].Float32(), p, tensors[k].Name)
			}
		}
	}
	if a := one.accuracy(); a < .85 {
		t.Errorf("%.3f of the digits, want .85", a)
	}
}

// TestFirstPiece has the first piece stepped while others are not there yet.
func TestFirstPiece(t *testing.T) {
	one, err := train(1, asTheyArrive)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.host.Begin(); err != nil {
		t.Fatal(err)
	}
	before := one.hash()
	arriving := one.link(0)
	p := <-arriving
	if p.tensor != len(tensors)-1 {
		t.Errorf("the first piece is of tensor %d, want the last", p.tensor)
	}
	master := one.master[p.tensor][p.at:][:len(p.grads)]
	if err := one.host.ApplyTyped(p.tensor, p.at, master, update.TypedOf(p.grads)); err != nil {
		t.Fatal(err)
	}
	if one.hash() == before {
		t.Error("it has moved nothing")
	}
	if one.host.End() == nil {
		t.Error("a step of one piece is complete")
	}
	for range arriving { // what is sent wants to be taken
	}
}

// TestLarge takes steps of a model that is large.
func TestLarge(t *testing.T) {
	m, err := compare(300_000)
	if err != nil {
		t.Fatal(err)
	}
	if least := m.step - 100*time.Microsecond; m.link < least || m.after < least || m.asTheyArrive < least {
		t.Errorf("steps come before their gradients: %+v", m)
	}
}

func TestRefused(t *testing.T) {
	if run(0, 1) == nil || run(1, 0) == nil {
		t.Error("it runs for nothing")
	}
}
