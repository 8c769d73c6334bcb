//go:build !linux

package scoreboard

// Published is a page that nobody can find here: that takes /proc.
type Published struct{ *Page }

// Publish makes a pool's page.
func Publish(name string) *Published {
	p := &Published{new(Page)}
	p.begin(name)
	return p
}

// Close does nothing.
func (p *Published) Close() {}
