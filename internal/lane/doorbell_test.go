package lane_test

import (
	"fmt"
	"testing"
)

// This is a model of the doorbell as the package's comment has it: goroutines that write and read rings, each of whose steps
// touches one shared word. All interleavings are gone through. A state from which nobody can go on, and in which somebody
// is not done, is a wake-up that was lost.

// step is where a goroutine of the model is. What it does next:
type step uint8

const (
	work     step = iota // go on with what it knows; without any, look
	looking              // load the peer's index
	before               // note how many waits have ended
	falling              // asleep = 1
	second               // load the peer's index again
	entering             // become the one that waits for the bell, or find that a wait has ended since
	sleeping             // take the bell, or an error
	waking               // count the wait as ended
	rising               // asleep = 0
	third                // load the peer's index again
	store                // publish its own index
	load                 // load the peer's flag
	swap                 // swap it for 0
	ring                 // ring
	done
)

type model struct {
	total         [2]uint8 // bytes to pass through each ring; if both are used, two goroutines share each bell
	ring, quarter uint8    // a ring's size, and what is taken at a time
	errors        uint8    // how many waits may end by an error

	noSecondLook, noCount bool // mistakes
}

type modelRing struct {
	tail, head   uint8 // published
	asleep, full uint8
}

type modelEnd struct {
	bell, wakes uint8
	waiting     bool
}

type modelGoroutine struct {
	at     step
	own    uint8 // its own index
	peer   uint8 // the peer's as it is known
	before uint8
	failed bool // the wait
}

type modelState struct {
	rings  [2]modelRing
	ends   [2]modelEnd
	gs     [4]modelGoroutine // those with even numbers write; two after each other share a ring
	errors uint8
}

// explore returns how many states there are, and one in which a wake-up was lost, if there is one.
func (m model) explore() (states int, lost *modelState) {
	first := modelState{}
	seen := map[modelState]bool{first: true}
	todo := []modelState{first}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		moved, finished := false, true
		for g := range s.gs {
			finished = finished && s.gs[g].at == done
			for _, next := range m.next(s, g) {
				moved = true
				if !seen[next] {
					seen[next] = true
					todo = append(todo, next)
				}
			}
		}
		if !moved && !finished {
			return len(seen), &s
		}
	}
	return len(seen), nil
}

// next returns the states that one step of goroutine g leads to: none if it is done or has to wait.
func (m model) next(s modelState, g int) []modelState {
	switch me := &s.gs[g]; me.at {
	case done:
		return nil
	case work:
		return m.works(s, g)
	case sleeping:
		return m.sleeps(s, g)
	case entering:
		if mine := m.of(&s, g).mine; mine.waiting && (mine.wakes == me.before || m.noCount) {
			return nil
		}
		m.wait(m.of(&s, g), me)
	case store, load, swap, ring:
		publish(m.of(&s, g), me)
	default:
		m.wait(m.of(&s, g), me)
	}
	return []modelState{s}
}

// modelView is the state as one goroutine names it.
type modelView struct {
	mine, other    *modelEnd
	flag, peerFlag *uint8
	index          *uint8
	peerIndex      uint8
	writes         bool
	total          uint8
}

func (m model) of(s *modelState, g int) modelView {
	r := &s.rings[g/2]
	v := modelView{&s.ends[(g/2+g)%2], &s.ends[(g/2+g+1)%2], &r.asleep, &r.full, &r.head, r.tail,
		g%2 == 0, m.total[g/2]}
	if v.writes {
		v.flag, v.peerFlag, v.index, v.peerIndex = &r.full, &r.asleep, &r.tail, r.head
	}
	return v
}

// works copies as many bytes as it likes, if there are any.
func (m model) works(s modelState, g int) []modelState {
	me, v := &s.gs[g], m.of(&s, g)
	n := m.can(me, v.writes, m.total[g/2])
	switch {
	case me.own == m.total[g/2]:
		me.at = done
		return []modelState{s}
	case n == 0:
		me.at = looking
		return []modelState{s}
	}
	var all []modelState
	for k := uint8(1); k <= n; k++ {
		t := s
		t.gs[g].own += k
		t.gs[g].at = store
		if !v.writes && t.gs[g].own-*v.index < m.quarter {
			t.gs[g].at = work
		}
		all = append(all, t)
	}
	return all
}

// sleeps ends the wait by an error, or by the bell.
func (m model) sleeps(s modelState, g int) []modelState {
	var all []modelState
	if s.errors < m.errors {
		t := s
		t.errors++
		t.gs[g].failed, t.gs[g].at = true, waking
		all = append(all, t)
	}
	if mine := m.of(&s, g).mine; mine.bell > 0 {
		mine.bell, s.gs[g].at = 0, waking
		all = append(all, s)
	}
	return all
}

// wait is a step on the way to sleep, or back.
func (m model) wait(v modelView, me *modelGoroutine) {
	look := func(yes, no step) {
		me.peer, me.at = v.peerIndex, no
		if m.can(me, v.writes, v.total) > 0 {
			me.at = yes
		}
	}
	switch me.at {
	case looking:
		look(work, before)
	case before:
		me.before, me.at = v.mine.wakes, falling
	case falling:
		*v.flag, me.at = 1, second
		if m.noSecondLook {
			me.at = entering
		}
	case second:
		if look(rising, entering); me.at == rising {
			me.failed = true // it returns
		}
	case entering:
		me.at = rising
		if v.mine.wakes == me.before || m.noCount {
			v.mine.waiting, me.at = true, sleeping
		}
	case waking:
		v.mine.waiting, me.at = false, rising
		v.mine.wakes++
	case rising:
		*v.flag, me.at = 0, third
	case third:
		again := before
		if me.failed {
			again = looking // of the next Read or Write
		}
		look(work, again)
		me.failed = false
	}
}

// publish is a step of telling the peer how far it is.
func publish(v modelView, me *modelGoroutine) {
	switch me.at {
	case store:
		*v.index, me.at = me.own, load
	case load:
		me.at = work
		if *v.peerFlag != 0 {
			me.at = swap
		}
	case swap:
		me.at = work
		if *v.peerFlag != 0 {
			me.at = ring
		}
		*v.peerFlag = 0
	case ring:
		v.other.bell, me.at = 1, work
	}
}

// can returns how many bytes a goroutine can write or read by what it knows.
func (m model) can(g *modelGoroutine, writes bool, total uint8) uint8 {
	if writes {
		return min(m.ring-(g.own-g.peer), total-g.own, m.quarter)
	}
	return min(g.peer-g.own, m.quarter)
}

func TestDoorbell(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		model
		lost bool
	}{
		{"one way", model{total: [2]uint8{4}, ring: 2, quarter: 1, errors: 1}, false},
		{"one way, room by quarters", model{total: [2]uint8{5}, ring: 4, quarter: 2, errors: 1}, false},
		{"both ways", model{total: [2]uint8{2, 1}, ring: 1, quarter: 1, errors: 1}, false},
		{"without the second look", model{total: [2]uint8{4}, ring: 2, quarter: 1, noSecondLook: true}, true},
		{"both ways without counting the waits", model{total: [2]uint8{2, 1}, ring: 1, quarter: 1, noCount: true}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			states, lost := tt.explore()
			t.Logf("%d states", states)
			if (lost != nil) != tt.lost {
				t.Errorf("a lost wake-up: %t, want %t\n%s", lost != nil, tt.lost, fmt.Sprintf("%+v", lost))
			}
		})
	}
}
