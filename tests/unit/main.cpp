// The unit tests' main: doctest's own. Every *_test.cpp of this folder is linked in and runs here.
#define DOCTEST_CONFIG_IMPLEMENT_WITH_MAIN
#include <doctest/doctest.h>
