// The flow bank kernels of dds_fast._cuda.
#pragma once

#include <pybind11/pybind11.h>

void bind_bank(pybind11::module_& module);
