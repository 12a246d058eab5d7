package main

// A cutter turns the bytes that engines write into text that may be sent: whole letters of UTF-8,
// nothing from a stop on, nothing that may yet turn out to be the begin of one.

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

type cutter struct {
	stops   []string
	pending []byte
	stopped bool
}

// add takes the next bytes; it gives what may be sent of them and of those before.
func (c *cutter) add(more []byte) string {
	if c.stopped {
		return ""
	}
	c.pending = append(c.pending, more...)
	if begin := firstStop(c.pending, c.stops); begin >= 0 {
		c.stopped = true
		return c.take(begin)
	}
	keep := 0
	for _, stop := range c.stops {
		for size := min(len(stop)-1, len(c.pending)); size > keep; size-- {
			if bytes.HasSuffix(c.pending, []byte(stop[:size])) {
				keep = size
				break
			}
		}
	}
	return c.take(c.whole(len(c.pending) - keep))
}

// firstStop gives where the stop begins that is whole first, the longer one of two; -1: there is
// none. So it does not matter in which pieces the bytes come.
func firstStop(text []byte, stops []string) int {
	begin, end := -1, len(text)+1
	for _, stop := range stops {
		at := bytes.Index(text, []byte(stop))
		if at >= 0 && (at+len(stop) < end || at+len(stop) == end && at < begin) {
			begin, end = at, at+len(stop)
		}
	}
	return begin
}

// end gives what is left when nothing follows.
func (c *cutter) end() string {
	if c.stopped {
		return ""
	}
	return c.take(len(c.pending))
}

// whole gives where the last letter that is not finished within size begins, else size.
func (c *cutter) whole(size int) int {
	for back := 1; back < utf8.UTFMax && back <= size; back++ {
		if at := size - back; utf8.RuneStart(c.pending[at]) {
			if !utf8.FullRune(c.pending[at:size]) {
				return at
			}
			break
		}
	}
	return size
}

func (c *cutter) take(size int) string {
	text := strings.ToValidUTF8(string(c.pending[:size]), "\uFFFD")
	c.pending = c.pending[size:]
	return text
}
