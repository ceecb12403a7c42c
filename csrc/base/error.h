// Errors of the library: std::invalid_argument becomes Python's ValueError, TypeError its TypeError, std::bad_alloc its
// MemoryError, NotImplemented its NotImplementedError, another std::runtime_error its RuntimeError. Messages read
// "[op] rule; got values".
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

#include "base/shape.h"

namespace sixloop {

class TypeError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// What an op cannot do yet, on this device.
class NotImplemented : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

inline std::ostream& operator<<(std::ostream& out, const Shape& shape) { return out << shape.str(); }

template <class... Parts>
std::string message(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

template <class... Parts>
[[noreturn]] void value_error(const Parts&... parts) {
  throw std::invalid_argument(message(parts...));
}

template <class... Parts>
[[noreturn]] void type_error(const Parts&... parts) {
  throw TypeError(message(parts...));
}

}  // namespace sixloop
