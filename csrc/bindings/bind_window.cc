#include "base/error.h"
#include "bindings/bindings.h"

namespace sixloop {
namespace {

bool is_sequence(py::handle value) { return py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value); }

[[noreturn]] void padding_error(const char* op, py::handle value) {
  const std::string text = message("[", op,
                                   "] padding must be a whole number, a pair (h, w), a pair of pairs ((top, bottom), "
                                   "(left, right)), \"valid\" or \"same\"; got ",
                                   py::repr(value).cast<std::string>());
  if (py::isinstance<py::str>(value) || is_sequence(value)) throw std::invalid_argument(text);
  throw TypeError(text);
}

// One axis of a pair: an int for both sides, or (before, after).
void parse_sides(const char* op, py::handle whole, py::handle side, int64_t& before, int64_t& after) {
  if (is_sequence(side)) {
    const auto items = py::reinterpret_borrow<py::sequence>(side);
    if (items.size() != 2) padding_error(op, whole);
    before = parse_int(op, "padding", items[0]);
    after = parse_int(op, "padding", items[1]);
  } else {
    before = after = parse_int(op, "padding", side);
  }
}

}  // namespace

Window parse_window(const Call& call, std::array<int64_t, 2> kernel, py::handle strides, py::handle padding,
                    py::handle dilation, int64_t input_h, int64_t input_w) {
  const char* op = call.op();
  const std::array<int64_t, 2> stride = call.pair("strides", strides);
  const std::array<int64_t, 2> step = call.pair("dilation", dilation);
  Window window{kernel[0], kernel[1], stride[0], stride[1], step[0], step[1], 0, 0, 0, 0};
  if (py::isinstance<py::str>(padding)) {
    const std::string name = padding.cast<std::string>();
    if (name != "valid" && name != "same") padding_error(op, padding);
    check_window(op, window);
    if (name == "same") pad_same(op, window, input_h, input_w);
    return window;
  }
  if (is_sequence(padding)) {
    const auto sides = py::reinterpret_borrow<py::sequence>(padding);
    if (sides.size() != 2) padding_error(op, padding);
    const py::object rows = sides[0];
    const py::object columns = sides[1];
    parse_sides(op, padding, rows, window.pad_top, window.pad_bottom);
    parse_sides(op, padding, columns, window.pad_left, window.pad_right);
  } else {
    if (PyBool_Check(padding.ptr()) || !PyIndex_Check(padding.ptr())) padding_error(op, padding);
    const int64_t all = parse_int(op, "padding", padding);
    window.pad_top = window.pad_bottom = window.pad_left = window.pad_right = all;
  }
  check_window(op, window);
  return window;
}

void bind_window(py::module_& m) {
  m.def("resolve_padding", [](const py::object& size, const py::object& kernel, const py::object& strides,
                              const py::object& dilation, const py::object& padding) {
    const Call call("resolve_padding");
    const std::array<int64_t, 2> extent = call.pair("size_hw", size);
    const Window w =
        parse_window(call, call.pair("kernel_hw", kernel), strides, padding, dilation, extent[0], extent[1]);
    return py::make_tuple(py::make_tuple(w.pad_top, w.pad_bottom), py::make_tuple(w.pad_left, w.pad_right));
  });
}

}  // namespace sixloop
