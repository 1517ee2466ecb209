package host

import "iter"

// A byPort has a value for each port, in pages that are made when the first of their ports is used, and stay. It is for what every
// connection asks of ports that sockets are bound to, which are few. For the ports of connections, which lie anywhere, it would take
// 100 to 370 bytes more for each than a map.
type byPort[T any] struct {
	pages [1 << 16 / portsOfPage]*[portsOfPage]T
}

const portsOfPage = 8

// at is the value of a port, nil if its page has not been made.
func (b *byPort[T]) at(port uint16) *T {
	if page := b.pages[port/portsOfPage]; page != nil {
		return &page[port%portsOfPage]
	}
	return nil
}

// make is the value of a port.
func (b *byPort[T]) make(port uint16) *T {
	page := &b.pages[port/portsOfPage]
	if *page == nil {
		*page = new([portsOfPage]T)
	}
	return &(*page)[port%portsOfPage]
}

// all goes through the ports of the pages that have been made, in order.
func (b *byPort[T]) all() iter.Seq2[uint16, *T] {
	return func(yield func(uint16, *T) bool) {
		for i, page := range b.pages {
			if page == nil {
				continue
			}
			for k := range page {
				if !yield(uint16(i*portsOfPage+k), &page[k]) {
					return
				}
			}
		}
	}
}
