package scoreboard

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Published is a page that others can find as long as it is not closed.
type Published struct {
	*Page
	file *os.File
	mem  []byte
}

// Publish makes a pool's page. If the system has none to give, nobody sees it, and all else is the same.
func Publish(name string) *Published {
	p := &Published{Page: new(Page)}
	f, err := anonymousFile(Pool)
	if err != nil {
		return p
	}
	size := int(unsafe.Sizeof(Page{}))
	mem, err := mapNew(f, size)
	if err != nil {
		f.Close()
		return p
	}
	seal(f)
	p.Page, p.file, p.mem = (*Page)(unsafe.Pointer(&mem[0])), f, mem
	p.begin(name)
	runtime.AddCleanup(p, func(mem []byte) { unix.Munmap(mem) }, mem)
	return p
}

// Close takes the page out of sight. It can be written to as long as p can be reached.
func (p *Published) Close() {
	if p.file != nil {
		p.file.Close()
	}
}
