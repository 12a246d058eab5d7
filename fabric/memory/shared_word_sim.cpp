// Which model the accesses go to.
#include "fabric/memory/shared_word_sim.h"

#include <cstdlib>

namespace weft::fabric::sim {
namespace {

// The one static: SharedWord must stay 8 bytes and has no place for a pointer to its model.
Model* the_model = nullptr;

}  // namespace

Model::Model() {
    if (the_model != nullptr) abort();
    the_model = this;
}

Model::~Model() { the_model = nullptr; }

Model& model() { return *the_model; }

}  // namespace weft::fabric::sim
