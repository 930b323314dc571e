#pragma once

#include <pybind11/pybind11.h>

// Adds the factorisation kernels to the module.
void bind_nmf(pybind11::module_& module);
