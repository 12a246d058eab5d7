package weft

// An engine's paged KV memory as a region for ops.

import "github.com/weft-kv/weft/sdk-go/internal/lowlevel"

// Pool is an engine's paged KV memory, described once. Ops of a Queue name it in Region, a page's
// first token (page times tokens of a page) in Offset, and layers in Start and Size.
type Pool struct {
	store  *Store
	region uint32
}

// Pool describes paged memory of an engine; layout is as weft_pool_open in weft.h has it: pages=,
// bytes= (of a head and token in one tensor), tensors=1 or 2, heads=, tokens=, page_stride=,
// head_stride=, token_stride= (bytes). bases are addresses, one for each layer and tensor, of
// memory that is not Go's, or is pinned, until Close. The pool must be closed before its store.
// Any goroutine.
func (s *Store) Pool(layout string, bases []uint64) (*Pool, error) {
	region, failure := new(uint32), newFailure()
	if code := lowlevel.Pool_open(s.handle, layout, bases, -1, region, failure); code < 0 {
		return nil, s.failed(code, said(failure))
	}
	return &Pool{s, *region}, nil
}

// Region is what ops name.
func (p *Pool) Region() uint32 { return p.region }

// Close forgets the memory; twice is once. ErrBusy where ops name it.
func (p *Pool) Close() error {
	code := lowlevel.Region_drop(p.store.handle, p.region)
	if code < 0 && Code(-code) != ErrClosed {
		return failed(code, "a pool that ops name")
	}
	return nil
}
