#include "base/batch_invariant.h"

#include <atomic>

namespace sixloop {
namespace {

std::atomic<bool> setting{false};

}  // namespace

bool batch_invariant() { return setting.load(std::memory_order_relaxed); }
void set_batch_invariant(bool on) { setting.store(on, std::memory_order_relaxed); }

}  // namespace sixloop
