package main

import (
	"errors"
	"fmt"
	"net"
	"net/rpc"
	"slices"
	"sync"
)

// A Hub is where ranks meet: each call of one waits for those of all others.
//
// When a rank is lost, what all are waiting for can no longer come. The hub then begins a
// new era: calls of the old one end with errLost, and ranks go back to the last checkpoint
// that all have written.
type Hub struct {
	ranks int

	mu      sync.Mutex
	changed *sync.Cond
	era     int
	meets   map[string]*meeting // by what it is about
	hash    string              // of the parameters, once all ranks are done
}

// A meeting has what each rank brings, in the order of the ranks.
type meeting struct {
	parts [][]float32
	here  int
	left  int // ranks that have got their result
	sum   []float32
	hash  string
}

// A Part is what a rank brings to a meeting, of which all bring the same About.
type Part struct {
	Era, Rank int
	About     string
	Lo, Hi    int // which part of the result it wants
	Data      [][]float32
	Hash      string // of the parameters, from rank 0 when it is done
}

const errLost = "a rank was lost"

func newHub(ranks int) *Hub {
	h := &Hub{ranks: ranks, meets: map[string]*meeting{}}
	h.changed = sync.NewCond(&h.mu)
	return h
}

// lost begins a new era, and reports whether the rank is needed in it: once all are done,
// nobody is.
func (h *Hub) lost() (needed bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.hash != "" {
		return false
	}
	h.era++
	h.meets = map[string]*meeting{}
	h.changed.Broadcast()
	return true
}

// result is the hash of the parameters, once all ranks are done.
func (h *Hub) result() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.hash
}

// Era is the one of now, for a rank that begins or has gone back.
func (h *Hub) Era(_ int, era *int) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	*era = h.era
	return nil
}

// Sum adds what all ranks bring, in the order of ranks and of each rank's buffers, so that
// the sum's bits do not depend on how many ranks these buffers are shared among.
func (h *Hub) Sum(p Part, result *[]float32) error {
	return h.meet(p, result, func(m *meeting) {
		for _, part := range m.parts {
			if m.sum == nil {
				m.sum = slices.Clone(part)
				continue
			}
			for i, x := range part {
				m.sum[i] += x
			}
		}
	})
}

// Join puts what all ranks bring one after the other.
func (h *Hub) Join(p Part, result *[]float32) error {
	return h.meet(p, result, func(m *meeting) { m.sum = slices.Concat(m.parts...) })
}

// Done keeps each rank until all are at the end: before that, one that is lost needs all
// others to go back with.
func (h *Hub) Done(p Part, result *[]float32) error {
	return h.meet(p, result, func(m *meeting) { h.hash = m.hash })
}

// meet waits for all ranks. The last one has the result made.
func (h *Hub) meet(p Part, result *[]float32, make func(*meeting)) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.Era != h.era {
		return errors.New(errLost)
	}
	m := h.meets[p.About]
	if m == nil {
		m = &meeting{parts: slices.Repeat([][]float32{nil}, h.ranks*len(p.Data))}
		h.meets[p.About] = m
	}
	if p.Rank < 0 || p.Rank >= h.ranks || len(p.Data)*h.ranks != len(m.parts) {
		return fmt.Errorf("rank %d of %d brings %d buffers", p.Rank, h.ranks, len(p.Data))
	}
	copy(m.parts[p.Rank*len(p.Data):], p.Data)
	if p.Rank == 0 {
		m.hash = p.Hash
	}
	if m.here++; m.here == h.ranks {
		make(m)
		h.changed.Broadcast()
	}
	for m.here < h.ranks {
		// A meeting that all have come to gives all of them its result, or some would go on
		// where others go back.
		if h.changed.Wait(); m.here < h.ranks && p.Era != h.era {
			return errors.New(errLost)
		}
	}
	if p.Lo < 0 || p.Hi < p.Lo || p.Hi > len(m.sum) {
		return fmt.Errorf("rank %d wants %d to %d of %d numbers", p.Rank, p.Lo, p.Hi, len(m.sum))
	}
	*result = m.sum[p.Lo:p.Hi]
	if m.left++; m.left == h.ranks && h.meets[p.About] == m { // not the next era's
		delete(h.meets, p.About)
	}
	return nil
}

// serve listens on this machine alone.
func (h *Hub) serve() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	server := rpc.NewServer()
	if err := server.Register(h); err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil { // closed
				return
			}
			go server.ServeConn(conn)
		}
	}()
	return l, nil
}
