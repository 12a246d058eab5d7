/* How a code becomes an exception: weft.errors.failure(code, words) makes it, so that classes are
 * Python's alone. */
#ifndef WEFT_PYTHON_RAISE_H
#define WEFT_PYTHON_RAISE_H
#include <Python.h>
#include <stdint.h>

/* Sets the exception for `code`, negative as the ABI returns it. words: NULL or "" where there are
 * none. */
static void weft_raise(int32_t code, const char* words) {
    PyObject* errors = PyImport_ImportModule("weft.errors");
    if (errors == NULL) {
        return;
    }
    PyObject* failure =
        PyObject_CallMethod(errors, "failure", "is", (int)-code, words == NULL ? "" : words);
    Py_DECREF(errors);
    if (failure != NULL) {
        PyErr_SetObject((PyObject*)Py_TYPE(failure), failure);
        Py_DECREF(failure);
    }
}

/* Sets InvalidError; format has one %R, for the value that is wrong. */
static void weft_raise_of(const char* format, PyObject* value) {
    PyObject* words = PyUnicode_FromFormat(format, value);
    const char* text = words == NULL ? NULL : PyUnicode_AsUTF8(words);
    if (text != NULL) {
        weft_raise(-1 /* WEFT_EINVAL */, text);
    }
    Py_XDECREF(words);
}
#endif
