package role

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"syscall"
	"unsafe"
)

// build identifies the running file, also when another one has its name now, by what the linker wrote into it. Its time
// is not looked at: that changes when somebody touches the file.
func build() string {
	f, err := os.Open("/proc/self/exe")
	if err != nil {
		return ""
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ""
	}
	if id := buildID(f); id != nil {
		h := fnv.New64a()
		h.Write(id)
		return fmt.Sprintf("%x-%x", info.Size(), h.Sum64())
	}
	st, ok := info.Sys().(*syscall.Stat_t) // it was linked without an id, or packed: this very file
	if !ok {
		return ""
	}
	return fmt.Sprintf("%x-%x-%x", info.Size(), st.Dev, st.Ino)
}

// elfLayout is where an ELF header, and an entry of its program header table, have what is needed here.
type elfLayout struct {
	header, tableAt, entrySize, entries int
	entry, offset, size                 int
	word                                func([]byte) uint64
}

// layout returns that of programs like this one.
func layout() elfLayout {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		return elfLayout{64, 32, 54, 56, 56, 8, 32, binary.NativeEndian.Uint64}
	}
	return elfLayout{52, 28, 42, 44, 32, 4, 16, func(b []byte) uint64 { return uint64(binary.NativeEndian.Uint32(b)) }}
}

// buildID returns what Go's linker, or else the system's, has noted in a program file of this machine's kind, or nil.
func buildID(f io.ReaderAt) (id []byte) {
	l := layout()
	header := make([]byte, l.header)
	if _, err := f.ReadAt(header, 0); err != nil || string(header[:4]) != "\x7fELF" {
		return nil
	}
	size, n := binary.NativeEndian.Uint16(header[l.entrySize:]), binary.NativeEndian.Uint16(header[l.entries:])
	if int(size) < l.entry {
		return nil
	}
	table := make([]byte, int(size)*int(n))
	if _, err := f.ReadAt(table, int64(l.word(header[l.tableAt:]))); err != nil {
		return nil
	}
	const typeNote, maxNotes = 4, 64 << 10
	for ; len(table) > 0; table = table[size:] {
		if binary.NativeEndian.Uint32(table) != typeNote {
			continue
		}
		notes := make([]byte, min(l.word(table[l.size:]), maxNotes))
		if _, err := f.ReadAt(notes, int64(l.word(table[l.offset:]))); err != nil {
			continue
		}
		if found, byGo := noteID(notes); byGo {
			return found
		} else if found != nil {
			id = found
		}
	}
	return id
}

// noteID picks the id out of a list of ELF notes.
func noteID(notes []byte) (id []byte, byGo bool) {
	align := func(n uint32) int { return int(n+3) &^ 3 }
	for len(notes) >= 12 {
		name, desc, kind := binary.NativeEndian.Uint32(notes), binary.NativeEndian.Uint32(notes[4:]), binary.NativeEndian.Uint32(notes[8:])
		notes = notes[12:]
		if name > 1<<20 || desc > 1<<20 || align(name)+int(desc) > len(notes) {
			break
		}
		owner, value := string(notes[:name]), notes[align(name):align(name)+int(desc)]
		switch {
		case owner == "Go\x00\x00" && kind == 4 && desc > 0:
			return value, true
		case owner == "GNU\x00" && kind == 3 && desc > 0:
			id = value
		}
		notes = notes[min(align(name)+align(desc), len(notes)):]
	}
	return id, false
}
