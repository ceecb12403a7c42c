#include "bindings/bindings.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "sixloop's kernels. Use sixloop.ops, which documents them.";
  sixloop::bind_base(m);
  sixloop::bind_conv2d(m);
  sixloop::bind_cuda(m);
  sixloop::bind_elementwise(m);
  sixloop::bind_gemm(m);
  sixloop::bind_optimizer(m);
  sixloop::bind_random(m);
  sixloop::bind_window(m);
  sixloop::bind_pool2d(m);
  sixloop::bind_softmax(m);
  sixloop::bind_norm(m);
}
