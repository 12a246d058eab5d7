/* call(store, queue, op): one op and its event in one crossing, for the synchronous layer.
 *
 * The caller owns the queue meanwhile, and nothing else is in flight on it, so the one event that
 * comes is the op's. The GIL is not held while it waits. An interrupt (Ctrl-C) cancels the op, and
 * the call returns only with the op's event: after it nothing touches the op's memory any more, so
 * no buffer is given back too early. */
#ifndef WEFT_PYTHON_CALL_H
#define WEFT_PYTHON_CALL_H
#include <string.h>

#include "raise.h"
#include "weft.h"

enum { kSliceMs = 100 }; /* how late an interrupt may be noticed */

/* Waits for the op's event; on an interrupt asks for its end and goes on waiting. 1: the event,
 * else a negative code. */
static int32_t weft_call_wait(weft_queue* queue, uint64_t tag, weft_event* event,
                              int* interrupted) {
    for (;;) {
        int32_t got;
        Py_BEGIN_ALLOW_THREADS got = weft_reap(queue, event, 1, kSliceMs);
        Py_END_ALLOW_THREADS if (got < 0 || (got == 1 && event->tag == tag)) { return got; }
        if (got == 0 && !*interrupted && PyErr_CheckSignals() < 0) {
            *interrupted = 1;
            weft_op cancel;
            memset(&cancel, 0, sizeof cancel);
            cancel.tag = ~tag;
            cancel.kind = WEFT_OP_CANCEL;
            cancel.offset = tag;
            weft_submit(queue, &cancel, 1);
        }
    }
}

/* After an interrupt nobody will learn what the op opened: give it back. The CANCEL's own event may
 * still be due; the queue returns to the pool empty. */
static void weft_call_undo(weft_store* store, weft_queue* queue, const weft_op* op,
                           const weft_event* event) {
    int opened = event->handle != 0 &&
                 (event->status >= 0 || event->value > 0 || event->status == -WEFT_EMISS);
    if (opened &&
        (op->kind == WEFT_OP_VIEW || op->kind == WEFT_OP_MATCH || op->kind == WEFT_OP_WAIT)) {
        weft_release(store, &event->handle, 1);
    } else if (opened && op->kind == WEFT_OP_RESERVE) {
        weft_op drop;
        memset(&drop, 0, sizeof drop);
        drop.tag = ~op->tag;
        drop.kind = WEFT_OP_ABORT;
        drop.space = op->space;
        drop.offset = event->handle;
        weft_submit(queue, &drop, 1);
    }
    weft_event rest;
    while (weft_reap(queue, &rest, 1, kSliceMs) == 1) {
    }
}

/* call(store, queue, op) -> (status, value, handle, detail). op: 64 bytes, tag any. */
static PyObject* weft_call(PyObject* self, PyObject* arguments) {
    (void)self;
    PyObject *store_object, *queue_object;
    Py_buffer bytes;
    if (!PyArg_ParseTuple(arguments, "OOy*:call", &store_object, &queue_object, &bytes)) {
        return NULL;
    }
    weft_op op;
    weft_event event;
    int32_t done = -WEFT_EINVAL;
    int interrupted = 0;
    weft_store* store = (weft_store*)PyLong_AsVoidPtr(store_object);
    weft_queue* queue = (weft_queue*)PyLong_AsVoidPtr(queue_object);
    if (!PyErr_Occurred()) {
        if (bytes.len == (Py_ssize_t)sizeof op) {
            memcpy(&op, bytes.buf, sizeof op);
            Py_BEGIN_ALLOW_THREADS done = weft_submit(queue, &op, 1);
            if (done == 1) {
                done = weft_reap(queue, &event, 1, 0); /* a local op may have ended inside submit */
            }
            Py_END_ALLOW_THREADS if (done == 0) {
                done = weft_call_wait(queue, op.tag, &event, &interrupted);
            }
        } else {
            PyErr_Format(PyExc_ValueError, "call: an op is %zu bytes, not %zd", sizeof op,
                         bytes.len);
        }
    }
    PyBuffer_Release(&bytes);
    if (interrupted) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        if (done == 1) {
            weft_call_undo(store, queue, &op, &event);
        }
        PyErr_Restore(type, value, trace);
        return NULL;
    }
    if (done < 0) {
        if (!PyErr_Occurred()) {
            weft_raise(done, NULL);
        }
        return NULL;
    }
    return Py_BuildValue("iKKI", (int)event.status, (unsigned long long)event.value,
                         (unsigned long long)event.handle, (unsigned)event.detail);
}
#endif
