// Package lane is a duplex byte stream through shared memory, between an app and one worker process. Neither trusts the
// other.
//
//	m, err := lane.Create(lane.DefaultRing) // the app makes the memory, sends m.File() to the worker, and closes the file
//	end := lane.NewApp(m, bell, now, net)
//
//	m, err := lane.Open(fd) // the worker maps what it got
//	end := lane.NewWorker(m, bell)
//
// An End is an io.ReadWriter. One goroutine may read from it while another one writes. What is awake takes bytes out of
// the rings without a system call; what sleeps is woken by its Bell, which is one byte on the socket that the two have
// anyway.
//
// # The memory
//
// A memfd, sealed so that its size can't change: a mapped file that shrinks would kill its readers. It has a page of
// words, then the ring that the app writes, then the one that the worker writes. The words of each side, the app's from
// byte 0 of the page and the worker's from byte 512, at these offsets:
//
//	0    tail    how many bytes it has written, ever. Only this side stores it.
//	8    look    how long the worker is to look for the next request before it sleeps. Only the app stores it. See look.go.
//	128  head    how many bytes it has read, ever, and so given back to the peer as room. Only this side stores it. A peer that
//	             waits for room is woken by quarters of the ring.
//	256  asleep  1 while it sleeps because there is nothing to read. It stores 1, and both store 0.
//	384  full    1 while it sleeps because there is no room to write. It stores 1, and both store 0.
//
// tail and head have 64 bits, the others 32, all in the order of the machine. Words that different sides store, and
// words that are stored at different times, are on cache lines of their own.
//
// # States
//
// Of a side that reads; of one that writes with room for bytes, full for asleep, and head for tail:
//
//	awake     finds bytes → takes them; finds none → looking, or falling
//	looking   finds bytes → awake; its time is over → falling. No word tells the peer of it.
//	falling   asleep = 1, then another look: finds bytes → rising; finds none → sleeping
//	sleeping  waits for the bell, however it ends → rising
//	rising    asleep = 0, then another look: finds bytes → awake; finds none → an error if the bell had one, else falling
//
// Of the peer: having stored tail, it loads asleep; if that isn't 0 it swaps it for 0, and if that took a 1, it rings.
//
// Either the sleeper's second look comes after the store of tail, and then it finds the bytes; or the peer's load of
// asleep comes after the store of asleep, and then it rings. For that, all words are loaded and stored by package
// sync/atomic, which is sequentially consistent. Bytes are copied into a ring before tail is stored, and out of it
// after tail was loaded and before head is stored. Those that go past the caches are there by then as well, because
// stream ends with a store fence. A bell too many does no harm: the sleeper looks, finds nothing, and falls asleep
// again. A bell whose sleeper had left by an error or by its look stays in the socket, and is one too many then. The
// test of the doorbell goes through all interleavings.
//
// A side that reads and writes at once has two sleepers but one bell. One of them waits for it, the other one for the
// first, and whatever ends the wait has both look.
//
// # Trust
//
// A side never reads its own words back: what it has written and read it knows by itself. Each word of the peer is
// loaded once, and checked before it is used: an index must leave between 0 and a ring's size of bytes, or the end
// returns ErrCorrupt; the look is cut to maxLook, and to maxGiving where the core is given away; any value of asleep and
// full but 0 means 1, and costs a byte on the socket. Bytes are only copied, and whoever decodes them decodes the copy. So
// a peer can garble or delay what it sends, no more.
package lane
