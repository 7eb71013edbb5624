// What the modules of `bottomup_fast.runtime` raise for bad input.
#pragma once

#include <pybind11/pybind11.h>

#include <exception>

#include "bottomup/types.h"

namespace bottomup {

/// Makes the module's Error a `bottomup_fast.InputError`.
inline void raise_input_errors() {
  namespace py = pybind11;
  py::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      std::rethrow_exception(pointer);
    } catch (const Error &error) {
      const py::object type = py::module_::import("bottomup_fast.errors").attr("InputError");
      PyErr_SetString(type.ptr(), error.what());
    }
  });
}

} // namespace bottomup
