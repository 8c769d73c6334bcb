package pool

import "sync"

// notices tells the observer of workers, one thing after the other, without holding anybody up. While there is nothing to
// tell there is no goroutine.
type notices struct {
	mu    sync.Mutex // guards all below
	list  []func()
	empty chan struct{} // closed when the list has been told; nil while there is nothing
}

// post has f called. The caller may hold the pool's mu.
func (n *notices) post(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list = append(n.list, f)
	if n.empty == nil {
		n.empty = make(chan struct{})
		go n.tell()
	}
}

func (n *notices) tell() {
	for {
		n.mu.Lock()
		list := n.list
		n.list = nil
		if len(list) == 0 {
			close(n.empty)
			n.empty = nil
			n.mu.Unlock()
			return
		}
		n.mu.Unlock()
		for _, f := range list {
			f()
		}
	}
}

// wait waits until everything was told.
func (n *notices) wait() {
	n.mu.Lock()
	empty := n.empty
	n.mu.Unlock()
	if empty != nil {
		<-empty
	}
}

// noteConnected tells the observer that w was had. The caller holds mu.
func (p *Pool) noteConnected(w *worker) {
	if o := p.config.Observer; o != nil && o.WorkerConnected != nil {
		e := WorkerConnected{p.config.Name, w.pid()}
		p.notices.post(func() { o.WorkerConnected(e) })
	}
}

// noteEnded tells the observer that w has ended. The caller holds mu.
func (p *Pool) noteEnded(w *worker, reason string) {
	if o := p.config.Observer; o != nil && o.WorkerEnded != nil {
		e := WorkerEnded{p.config.Name, w.pid(), reason, w.checkouts}
		p.notices.post(func() { o.WorkerEnded(e) })
	}
}
