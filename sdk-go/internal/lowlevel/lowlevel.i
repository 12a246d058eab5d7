// lowlevel: the C ABI as Go functions, one each, for the layer above; SWIG reads this and capi/weft.h.
// - Handles (weft_store *, weft_queue *) are Go uint64, as the ABI looks them up and never trusts them.
// - Ops, items and events are Go structs, built in Go memory and passed as they lie: structs.go has them and asserts their
//   sizes. A slice is a pointer and a count. No field is read or written by a call.
// - Results are as the ABI gives them, a negated code where something failed; the layer above makes errors of them.
// - Nothing is kept by C after a call but the addresses in ops, which are integers: ../../queue.go says why that holds.
// - pkg-config, which go runs in this folder, is asked for install-libweft-dev.pc, which requires weft: who has no libweft reads that
//   name.
// What must be fast is in look.h and look.go beside this.
%module lowlevel
%include <stdint.i>

%insert(cgo_comment) %{
#cgo pkg-config: ./install-libweft-dev.pc
%}
%{
#include "weft.h"
%}

#define WEFT_API
%ignore weft_op;
%ignore weft_item;
%ignore weft_event;
%ignore weft_error;
%ignore weft_namespace;
%rename("%(strip:[weft_])s", %$isfunction) "";

// Numbers keep their widths: without these Go gets int and uint, which are wider.
%typemap(gotype) int32_t "int32"
%typemap(gotype) uint32_t "uint32"
%typemap(gotype) uint64_t "uint64"

// Handles.
%define HANDLE(TYPE)
%typemap(gotype) TYPE * "uint64"
%typemap(in) TYPE * %{ $1 = (TYPE *)(uintptr_t)$input; %}
%typemap(gotype) TYPE **out "*uint64"
%typemap(in) TYPE **out %{ $1 = (TYPE **)$input; %}
%enddef
HANDLE(weft_store)
HANDLE(weft_queue)

// One struct or number, in Go memory.
%define ONE(PARAMETER, GOTYPE)
%typemap(gotype) PARAMETER "*GOTYPE"
%typemap(in) PARAMETER %{ $1 = ($1_ltype)$input; %}
%enddef
ONE(weft_error *error, Failure)
ONE(weft_namespace *out, Layout)
ONE(weft_item *item, Item)
ONE(uint32_t *region_out, uint32)
ONE(uint64_t *address_out, uint64)
ONE(uint64_t *handle_out, uint64)
ONE(uint8_t *chain, byte)

// Many of them: a slice.
%define MANY(POINTER, COUNT, GOTYPE)
%typemap(gotype) (POINTER, COUNT) "[]GOTYPE"
%typemap(in) (POINTER, COUNT) %{ $1 = ($1_ltype)$input.array; $2 = ($2_ltype)$input.len; %}
%enddef
MANY(const weft_op *ops, uint32_t count, Op)
MANY(weft_event *events, uint32_t capacity, Event)
MANY(const weft_item *items, uint32_t count, Item)
MANY(weft_item *items, uint32_t count, Item)
MANY(weft_item *items, uint32_t capacity, Item)
MANY(const uint32_t *tokens, uint32_t token_count, uint32)
MANY(const uint64_t *handles, uint32_t count, uint64)
MANY(const uint64_t *bases, uint32_t count, uint64)
MANY(char *json_out, uint32_t capacity, byte)
MANY(const uint8_t *bytes, uint64_t size, byte)

%include "weft.h"
