#include "cuda/arena_plan.h"

#include <algorithm>

namespace sixloop::cuda {

int64_t place(std::vector<Span>& spans) {
  std::vector<Span*> order;
  for (Span& span : spans) order.push_back(&span);
  std::stable_sort(order.begin(), order.end(), [](const Span* a, const Span* b) { return a->bytes > b->bytes; });
  std::vector<Span*> placed;  // by offset
  int64_t total = 0;
  for (Span* span : order) {
    int64_t offset = 0;
    for (const Span* other : placed) {
      if (other->end <= span->begin || span->end <= other->begin) continue;
      if (offset + span->bytes <= other->offset) break;
      offset = std::max(offset, other->offset + other->bytes);
    }
    span->offset = offset;
    total = std::max(total, offset + span->bytes);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), span,
                                   [](const Span* a, const Span* b) { return a->offset < b->offset; }),
                  span);
  }
  return total;
}

}  // namespace sixloop::cuda
