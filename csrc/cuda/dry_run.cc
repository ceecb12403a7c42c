#include "cuda/dry_run.h"

#include <algorithm>

#include "base/error.h"
#include "cuda/runtime.h"

namespace sixloop::cuda {
namespace {

thread_local DryRun* current_run = nullptr;

// Arrays of a dry run begin at multiples of this, as those of the pool do, the first of them where a pointer may be
// moved either way.
constexpr uintptr_t kAlignment = 512, kFirst = uintptr_t{1} << 44;

// "(product_kernel<Tile, Left>)" becomes "product".
std::string plain_name(std::string kernel) {
  kernel.erase(0, kernel.find_first_not_of('('));
  kernel.erase(std::min(kernel.size(), kernel.find_first_of("<)")));
  constexpr const char* kEnd = "_kernel";
  if (const size_t at = kernel.rfind(kEnd); at != std::string::npos) kernel.erase(at);
  return kernel;
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

void add_once(std::vector<std::string>* list, const std::string& text) {
  if (std::find(list->begin(), list->end(), text) == list->end()) list->push_back(text);
}

const char* method_of(Cores cores) {
  constexpr const char* kMethods[] = {"ordinary cores", "tensor cores by mma.sync",
                                      "tensor cores by wgmma, operands by cp.async",
                                      "tensor cores by wgmma, operands by TMA"};
  return kMethods[static_cast<int>(cores)];
}

}  // namespace

struct DryRun::Memory {
  uintptr_t next = kFirst;
  int64_t allocated = 0, peak = 0;
};

const char* name_of(Cores cores) {
  constexpr const char* kNames[] = {"simt", "mma", "wgmma", "wgmma_tma"};
  return kNames[static_cast<int>(cores)];
}

DryRun::DryRun(const char* op, std::optional<Capability> capability)
    : capability_{9, 0}, memory_(std::make_shared<Memory>()) {
#if !defined(SIXLOOP_HAS_CUDA)
  throw DeviceError(message("[", op, "] there are no plans for cuda: ", why()));
#endif
  constexpr int64_t kLeastMajor = 8;
  if (capability) {
    capability_ = *capability;
  } else if (available()) {
    capability_ = cuda::capability();
  }
  if (capability_.major < kLeastMajor || capability_.minor < 0) {
    value_error("[", op, "] capability must be at least (", kLeastMajor, ", 0); got (", capability_.major, ", ",
                capability_.minor, ")");
  }
  current_run = this;
}

DryRun::~DryRun() { current_run = nullptr; }

DryRun* DryRun::current() { return current_run; }

Tensor DryRun::array(const Shape& shape, DType dtype) {
  (void)shape.size();
  return Tensor::borrow(reinterpret_cast<void*>(kFirst), shape, dtype, nullptr, Device::cuda);
}

std::shared_ptr<void> DryRun::allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  Memory& memory = *memory_;
  void* const p = reinterpret_cast<void*>(memory.next);
  memory.next += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  memory.allocated += static_cast<int64_t>(bytes);
  memory.peak = std::max(memory.peak, memory.allocated);
  return std::shared_ptr<void>(p, [bytes, owner = memory_](void*) { owner->allocated -= static_cast<int64_t>(bytes); });
}

bool is_dry_run() { return current_run != nullptr; }

void note_tile(const TileNote& tile) {
  if (current_run != nullptr) current_run->note_tile(tile);
}

void note_reason(const char* reason) {
  if (current_run != nullptr) current_run->note_reason(reason);
}

void DryRun::note_reason(const std::string& reason) { add_once(&reasons_, reason); }

void DryRun::note_launch(const char* kernel, int64_t blocks, int64_t threads, size_t shared_bytes) {
  LaunchNote note{plain_name(kernel), tile_, blocks, threads, static_cast<int64_t>(shared_bytes), 1};
  if (tile_) {
    note.kernel = message("product_", tile_->type, "_", tile_->m, "x", tile_->n, "__", name_of(tile_->cores));
  }
  tile_.reset();
  for (LaunchNote& other : launches_) {
    if (other.kernel == note.kernel && other.tile == note.tile && other.blocks == blocks && other.threads == threads &&
        other.shared_bytes == note.shared_bytes) {
      ++other.count;
      return;
    }
  }
  launches_.push_back(std::move(note));
}

Plan DryRun::plan(const Tensor& result, const char* algorithm, std::string reason) {
  std::vector<std::string> methods;
  for (const LaunchNote& launch : launches_) {
    if (launch.tile) add_once(&methods, method_of(launch.tile->cores));
  }
  if (methods.empty() && !launches_.empty()) methods.push_back(method_of(Cores::simt));
  if (reason.empty()) reason = joined(reasons_, "; ");
  return {algorithm, std::move(reason), joined(methods, " and "), launches_, memory_->peak - result.bytes()};
}

}  // namespace sixloop::cuda
