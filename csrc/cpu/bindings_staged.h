#pragma once

#include <pybind11/pybind11.h>

// Adds the stages of the staged search to the module.
void bind_staged(pybind11::module_& module);
