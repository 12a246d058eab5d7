/* View: a look at a block's part in place, as a Python object with the buffer protocol; and look,
 * which makes one.
 *
 * - A root holds an ABI handle; views of a list hold their root. The handle is released exactly
 * once: when the last of them is gone, or earlier by release() when no buffer (array, memoryview,
 * DLPack capsule) is left over it. So memory under a buffer never goes away, and every use after
 * release() is an error.
 * - A view also holds `keep`, the Python object that closes the store, as long: a store outlives
 * what looks at it.
 * - writable is for reservations, whose handle (0 here) the layer above commits or aborts.
 * Threads: as the GIL lets them; weft_view and weft_release never wait, so it is kept. */
#ifndef WEFT_PYTHON_VIEW_H
#define WEFT_PYTHON_VIEW_H
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>

#include "raise.h"
#include "weft.h"

typedef struct View {
    PyObject_HEAD PyObject* keep;
    struct View* root; /* NULL: this one holds the handle */
    weft_store* store;
    uint64_t handle; /* 0: none, or released */
    char* address;
    Py_ssize_t size;
    Py_ssize_t buffers; /* taken and not given back */
    int writable;
    int released;
} View;

/* Lets go of all that the view holds, unless a buffer of it is out. */
static void weft_view_end(View* view) {
    if (view->buffers != 0) {
        return;
    }
    if (view->handle != 0) {
        uint64_t handle = view->handle;
        view->handle = 0;
        weft_release(view->store, &handle,
                     1); /* refused only after the store's end or in a child */
    }
    Py_CLEAR(view->root);
    Py_CLEAR(view->keep);
}

static void weft_view_gone(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    weft_view_end((View*)self);
    type->tp_free(self);
}

static int weft_view_buffer(PyObject* self, Py_buffer* out, int flags) {
    View* view = (View*)self;
    if (view->released) {
        PyErr_SetString(PyExc_BufferError, "the view has been released");
        out->obj = NULL;
        return -1;
    }
    if (PyBuffer_FillInfo(out, self, view->address, view->size, !view->writable, flags) < 0) {
        return -1;
    }
    view->buffers++;
    return 0;
}

static void weft_view_buffer_back(PyObject* self, Py_buffer* out) {
    (void)out;
    View* view = (View*)self;
    view->buffers--;
    if (view->released) {
        weft_view_end(view);
    }
}

static PyObject* weft_view_release(PyObject* self, PyObject* unused) {
    (void)unused;
    ((View*)self)->released = 1;
    weft_view_end((View*)self);
    Py_RETURN_NONE;
}

static Py_ssize_t weft_view_size(PyObject* self) { return ((View*)self)->size; }

static PyBufferProcs weft_view_as_buffer = {weft_view_buffer, weft_view_buffer_back};
static PySequenceMethods weft_view_as_sequence = {.sq_length = weft_view_size};
static PyMethodDef weft_view_methods[] = {{"release", weft_view_release, METH_NOARGS,
                                           "Lets the block go: now, or when the last array over it "
                                           "is gone. Twice is once. Threads: any."},
                                          {NULL, NULL, 0, NULL}};
static PyMemberDef weft_view_members[] = {
    {"released", T_BOOL, offsetof(View, released), READONLY, "Whether release() has been called."},
    {NULL, 0, 0, 0, NULL}};
static PyTypeObject weft_view_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "weft._lowlevel.View",
    .tp_basicsize = sizeof(View),
    .tp_dealloc = weft_view_gone,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
    .tp_doc = "Memory of a block, by the buffer protocol.",
    .tp_methods = weft_view_methods,
    .tp_members = weft_view_members,
    .tp_as_buffer = &weft_view_as_buffer,
    .tp_as_sequence = &weft_view_as_sequence,
};

static int weft_view_ready(PyObject* module) {
    if (PyType_Ready(&weft_view_type) < 0) {
        return -1;
    }
    Py_INCREF(&weft_view_type);
    return PyModule_AddObject(module, "View", (PyObject*)&weft_view_type);
}

static View* weft_view_make(PyTypeObject* type, PyObject* keep, View* root, weft_store* store,
                            uint64_t handle, const weft_item* item, int writable) {
    View* view = (View*)type->tp_alloc(type, 0);
    if (view == NULL) {
        return NULL;
    }
    Py_INCREF(keep);
    view->keep = keep;
    Py_XINCREF(root);
    view->root = root;
    view->store = store;
    view->handle = handle;
    view->address = item == NULL ? NULL : (char*)(uintptr_t)item->offset;
    view->size = item == NULL ? 0 : (Py_ssize_t)item->size;
    view->writable = writable;
    return view;
}

/* One View for each item, None where its status is negative; they share `handle` by a root of their
 * own. */
static PyObject* weft_view_list(PyTypeObject* type, PyObject* keep, weft_store* store,
                                uint64_t handle, const weft_item* items, Py_ssize_t count,
                                int writable) {
    /* The root goes before its views let go of `keep`, and so holds none itself: each view counts
     * once. */
    View* root = weft_view_make(&weft_view_type, Py_None, NULL, store, handle, NULL, writable);
    if (root == NULL) {
        if (!writable) {
            weft_release(store, &handle, 1);
        }
        return NULL;
    }
    PyObject* list = PyList_New(count);
    for (Py_ssize_t at = 0; list != NULL && at < count; at++) {
        PyObject* view = Py_None;
        if (items[at].status < 0) {
            Py_INCREF(view);
        } else {
            view = (PyObject*)weft_view_make(type, keep, root, store, 0, &items[at], writable);
        }
        if (view == NULL) {
            Py_CLEAR(list);
        } else {
            PyList_SET_ITEM(list, at, view);
        }
    }
    Py_DECREF(root);
    return list;
}

/* A key: a str (its bytes' key), an int below 2^128, or the first 16 bytes of a buffer (an item).
 * 0, or -1 and an error. */
static int weft_key_from(PyObject* object, weft_item* item) {
    if (PyUnicode_Check(object)) {
        Py_ssize_t size;
        const char* text = PyUnicode_AsUTF8AndSize(object, &size);
        if (text == NULL) {
            return -1;
        }
        int32_t code = weft_key_of((const uint8_t*)text, (uint64_t)size, item);
        if (code < 0) {
            weft_raise(code, NULL);
        }
        return code < 0 ? -1 : 0;
    }
    if (PyLong_Check(object)) {
        PyObject* bits = PyLong_FromLong(64);
        PyObject* high = bits == NULL ? NULL : PyNumber_Rshift(object, bits);
        item->key_lo = PyLong_AsUnsignedLongLongMask(object);
        item->key_hi = high == NULL ? 0 : PyLong_AsUnsignedLongLong(high);
        Py_XDECREF(bits);
        Py_XDECREF(high);
        if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Clear();
            weft_raise_of("key %R: an int from 0 to 2**128 - 1", object);
        }
        return PyErr_Occurred() ? -1 : 0;
    }
    if (PyBytes_Check(object) || PyByteArray_Check(object)) {
        PyErr_SetString(PyExc_TypeError,
                        "bytes are not a key: weft.key_of(bytes) makes one of content");
        return -1;
    }
    Py_buffer bytes;
    if (PyObject_GetBuffer(object, &bytes, PyBUF_SIMPLE) < 0) {
        PyErr_Format(PyExc_TypeError,
                     "a key is a str, an int below 2**128 or one item of Keys, not %s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    int right = bytes.len == (Py_ssize_t)sizeof(weft_item);
    if (right) {
        memcpy(item, bytes.buf, 2 * sizeof(uint64_t));
    } else {
        PyErr_Format(PyExc_TypeError, "a key is one item of %zu bytes, not %zd", sizeof(weft_item),
                     bytes.len);
    }
    PyBuffer_Release(&bytes);
    return right ? 0 : -1;
}

/* split(key) -> (key_hi, key_lo) */
static PyObject* weft_split(PyObject* self, PyObject* arguments) {
    (void)self;
    PyObject* key;
    weft_item item = {0};
    if (!PyArg_ParseTuple(arguments, "O:split", &key) || weft_key_from(key, &item) < 0) {
        return NULL;
    }
    return Py_BuildValue("KK", (unsigned long long)item.key_hi, (unsigned long long)item.key_lo);
}

/* address(buffer, writable) -> (address, bytes); the caller keeps a buffer of it as long as the
 * address is used. */
static PyObject* weft_address(PyObject* self, PyObject* arguments) {
    (void)self;
    PyObject* object;
    int writable;
    Py_buffer bytes;
    if (!PyArg_ParseTuple(arguments, "Op:address", &object, &writable) ||
        PyObject_GetBuffer(object, &bytes, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject* result = Py_BuildValue("Kn", (unsigned long long)(uintptr_t)bytes.buf, bytes.len);
    PyBuffer_Release(&bytes);
    return result;
}

/* A closed store has no keep: its handle may still be open for the views that live. 0, or -1 and
 * ClosedError. */
static int weft_view_open(PyObject* keep) {
    if (keep == Py_None) {
        weft_raise(-WEFT_ECLOSED, "the store is closed");
    }
    return keep == Py_None ? -1 : 0;
}

/* look(type, keep, store, space, part, key) -> view | None: weft_view of one block. */
static PyObject* weft_look(PyObject* self, PyObject* arguments) {
    (void)self;
    PyTypeObject* type;
    PyObject *keep, *store_object, *key;
    unsigned space, part;
    weft_item item = {0};
    if (!PyArg_ParseTuple(arguments, "O!OOIIO:look", &PyType_Type, &type, &keep, &store_object,
                          &space, &part, &key) ||
        weft_view_open(keep) < 0 || weft_key_from(key, &item) < 0) {
        return NULL;
    }
    weft_store* store = (weft_store*)PyLong_AsVoidPtr(store_object);
    uint64_t handle = 0;
    int32_t found = weft_view(store, space, part, &item, 1, &handle);
    if (found < 0) {
        weft_raise(found, NULL);
        return NULL;
    }
    if (found == 0) {
        Py_RETURN_NONE;
    }
    PyObject* view = (PyObject*)weft_view_make(type, keep, NULL, store, handle, &item, 0);
    if (view == NULL) {
        weft_release(store, &handle, 1);
    }
    return view;
}

/* look_list(type, keep, store, space, part, items) -> [view, ...]: weft_view of the lead blocks;
 * items are only read. */
static PyObject* weft_look_list(PyObject* self, PyObject* arguments) {
    (void)self;
    PyTypeObject* type;
    PyObject *keep, *store_object;
    unsigned space, part;
    Py_buffer bytes;
    if (!PyArg_ParseTuple(arguments, "O!OOIIy*:look_list", &PyType_Type, &type, &keep,
                          &store_object, &space, &part, &bytes)) {
        return NULL;
    }
    if (weft_view_open(keep) < 0) {
        PyBuffer_Release(&bytes);
        return NULL;
    }
    weft_store* store = (weft_store*)PyLong_AsVoidPtr(store_object);
    size_t count = (size_t)bytes.len / sizeof(weft_item);
    weft_item* items = (weft_item*)malloc(count * sizeof(weft_item) + 1);
    PyObject* list = NULL;
    if (items == NULL) {
        PyErr_NoMemory();
    } else {
        memcpy(items, bytes.buf, count * sizeof(weft_item));
        uint64_t handle = 0;
        int32_t found = weft_view(store, space, part, items, (uint32_t)count, &handle);
        if (found < 0) {
            weft_raise(found, NULL);
        } else {
            list = weft_view_list(type, keep, store, handle, items, found, 0);
        }
    }
    free(items);
    PyBuffer_Release(&bytes);
    return list;
}

/* hold(type, keep, store, handle, items, writable) -> [view | None, ...]: what a VIEW or RESERVE op
 * opened. */
static PyObject* weft_hold(PyObject* self, PyObject* arguments) {
    (void)self;
    PyTypeObject* type;
    PyObject *keep, *store_object;
    unsigned long long handle;
    Py_buffer bytes;
    int writable;
    if (!PyArg_ParseTuple(arguments, "O!OOKy*p:hold", &PyType_Type, &type, &keep, &store_object,
                          &handle, &bytes, &writable)) {
        return NULL;
    }
    PyObject* list = weft_view_list(type, keep, (weft_store*)PyLong_AsVoidPtr(store_object),
                                    writable ? 0 : handle, (const weft_item*)bytes.buf,
                                    bytes.len / (Py_ssize_t)sizeof(weft_item), writable);
    PyBuffer_Release(&bytes);
    return list;
}
#endif
