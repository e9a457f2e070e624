// Command sharded trains a network on several processes of this machine, which share the
// optimizer's state as ZeRO 1 does: each has all parameters, computes gradients of its part
// of a batch, and steps a range of the flat buffer, of which alone it has state.
//
//	go run ./examples/sharded -ranks 4
//	go run ./examples/sharded -ranks 2 -steps 200    # goes on from the checkpoint of four
//
// The parameters are the same bits for 1, 2 and 4 ranks, because Lockstep's rules look at
// one element at a time and the hub adds gradients in one order. A rank that is killed
// (kill -9, of those that it prints) is started again, all go back to the last checkpoint,
// and the run ends with the bits of one that nobody disturbed.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
)

func main() {
	var (
		ranks = flag.Int("ranks", 2, "processes: 1, 2 or 4")
		steps = flag.Int("steps", 100, "steps in all")
		every = flag.Int("every", 20, "steps between checkpoints")
		dir   = flag.String("dir", "sharded-checkpoints", "folder of the checkpoints, from the last of which it goes on")
		rank  = flag.Int("rank", -1, "which rank this process is (the program starts them itself)")
		hub   = flag.String("hub", "", "where they meet")
	)
	flag.Parse()
	var err error
	hash := ""
	if *rank >= 0 {
		err = beRank(*rank, *ranks, *steps, *every, *dir, *hub)
	} else {
		hash, err = launch(*ranks, *steps, *every, *dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sharded:", err)
		os.Exit(1)
	}
	if hash != "" {
		fmt.Println(hash)
	}
}

func beRank(number, ranks, steps, every int, dir, hub string) error {
	r, err := newRank(number, ranks, steps, every, dir, hub)
	if err != nil {
		return err
	}
	if err := r.run(); err != nil {
		return fmt.Errorf("rank %d: %w", number, err)
	}
	return nil
}

// launch starts the ranks, and each one again that is killed before all are done. It has the
// hash of the parameters in the end.
func launch(ranks, steps, every int, dir string) (string, error) {
	if ranks < 1 || microbatches%ranks != 0 {
		return "", fmt.Errorf("%d ranks, want 1, 2 or 4", ranks)
	}
	if every < 1 || steps < 1 {
		return "", fmt.Errorf("%d steps and %d between checkpoints, want at least 1", steps, every)
	}
	hub := newHub(ranks)
	listener, err := hub.serve()
	if err != nil {
		return "", err
	}
	defer listener.Close()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	ended := make(chan error, ranks)
	for k := range ranks {
		go func() {
			for {
				cmd := exec.Command(self, "-rank", strconv.Itoa(k), "-ranks", strconv.Itoa(ranks), "-steps", strconv.Itoa(steps),
					"-every", strconv.Itoa(every), "-dir", dir, "-hub", listener.Addr().String())
				cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
				if err := cmd.Start(); err != nil {
					ended <- err
					return
				}
				fmt.Fprintf(os.Stderr, "rank %d is process %d\n", k, cmd.Process.Pid)
				err := cmd.Wait()
				if err == nil || cmd.ProcessState.Exited() { // not killed
					ended <- err
					return
				}
				fmt.Fprintf(os.Stderr, "rank %d: %v\n", k, err)
				if !hub.lost() {
					ended <- nil
					return
				}
			}
		}()
	}
	for range ranks {
		if err := <-ended; err != nil {
			return "", err // and the others end when the hub does
		}
	}
	return hub.result(), nil
}
