#include "optimizer/simt.h"

#include <array>

#include "cuda/map.h"
#include "optimizer/kernels-inl.h"

namespace sixloop::cuda {
namespace {

constexpr int kUpdateThreads = 256;
constexpr int kPacks = 4;  // of a thread
// Elements of a block: a thread's packs are a block's width apart.
template <class T>
constexpr int64_t kChunk = int64_t{kUpdateThreads} * kPacks * Pack<T>::N;

// Arrays of one launch. The table is a parameter of the kernel, which may take 4 KB.
constexpr int kMostArrays = 64;

// A parameter with what its update reads and writes.
template <class T, int kSlots>
struct Update {
  T* param;
  const T* grad;
  T* slots[kSlots == 0 ? 1 : kSlots];
  int64_t n;
  bool packs;
};

template <class T, int kSlots>
struct Table {
  Update<T, kSlots> updates[kMostArrays];
  unsigned first_block[kMostArrays];  // blocks of all arrays before this one
  int count;
};

// What changes from step to step, read by the kernel itself.
template <class V>
__device__ __forceinline__ void set_live(SgdStep<V>& step, const double* live) {
  step.lr = V{static_cast<typename V::T>(live[0])};
}
template <class V>
__device__ __forceinline__ void set_live(MomentumStep<V>& step, const double* live) {
  step.lr = V{static_cast<typename V::T>(live[0])};
}
template <class V>
__device__ __forceinline__ void set_live(RmspropStep<V>& step, const double* live) {
  step.lr = V{static_cast<typename V::T>(live[0])};
}
template <class V>
__device__ __forceinline__ void set_live(AdamStep<V>& step, const double* live) {
  step.rate = V{static_cast<typename V::T>(live[0])};
  step.root = V{static_cast<typename V::T>(live[1])};
  step.shrink = V{static_cast<typename V::T>(live[2])};
}

// The step on N elements.
template <int N, class Step, class T, int kSlots>
__device__ __forceinline__ void update_elements(const Step& step, Pack<T>& p, const Pack<T>& g, Pack<T>* slots) {
  using V = Lane<T>;
#pragma unroll
  for (int j = 0; j < N; ++j) {
    V value{p.v[j]};
    if constexpr (kSlots == 0) {
      step(value, V{g.v[j]});
    } else if constexpr (kSlots == 1) {
      V slot{slots[0].v[j]};
      step(value, V{g.v[j]}, slot);
      slots[0].v[j] = slot.v;
    } else {
      V slot{slots[0].v[j]}, other{slots[1].v[j]};
      step(value, V{g.v[j]}, slot, other);
      slots[0].v[j] = slot.v;
      slots[1].v[j] = other.v;
    }
    p.v[j] = value.v;
  }
}

// The elements of one pack, i being the first.
template <class Step, class T, int kSlots>
__device__ __forceinline__ void update_pack(const Step& step, const Update<T, kSlots>& u, int64_t i) {
  constexpr int N = Pack<T>::N;
  Pack<T> p, g, slots[kSlots == 0 ? 1 : kSlots];
  if (u.packs && i + N <= u.n) {
    p = load_pack(u.param + i);
    g = load_pack(u.grad + i);
#pragma unroll
    for (int s = 0; s < kSlots; ++s) slots[s] = load_pack(u.slots[s] + i);
    update_elements<N, Step, T, kSlots>(step, p, g, slots);
    store_pack(p, u.param + i);
#pragma unroll
    for (int s = 0; s < kSlots; ++s) store_pack(slots[s], u.slots[s] + i);
    return;
  }
  for (int64_t j = i; j < u.n && j < i + N; ++j) {
    p.v[0] = u.param[j];
    g.v[0] = u.grad[j];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) slots[s].v[0] = u.slots[s][j];
    update_elements<1, Step, T, kSlots>(step, p, g, slots);
    u.param[j] = p.v[0];
#pragma unroll
    for (int s = 0; s < kSlots; ++s) u.slots[s][j] = slots[s].v[0];
  }
}

template <class Step, class T, int kSlots>
__global__ void __launch_bounds__(kUpdateThreads)
    update_kernel(Step step, const double* live, const Table<T, kSlots> table) {
  if (live != nullptr) {
    if (live[3] == 0) return;
    set_live(step, live);
  }
  // The last array that begins at or before this block.
  int low = 0, high = table.count;
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    (table.first_block[middle] <= blockIdx.x ? low : high) = middle;
  }
  const Update<T, kSlots> u = table.updates[low];
  const int64_t begin = (blockIdx.x - table.first_block[low]) * kChunk<T> + threadIdx.x * Pack<T>::N;
#pragma unroll
  for (int k = 0; k < kPacks; ++k) {
    update_pack<Step, T, kSlots>(step, u, begin + int64_t{k} * kUpdateThreads * Pack<T>::N);
  }
}

// slots_of(args) are the arrays that the optimizer keeps for a parameter, as an std::array.
template <int kSlots, class Step, class T, class Args, class SlotsOf>
void update(const Step& step, const std::vector<Args>& args, const std::vector<int64_t>& n, const double* live,
            const SlotsOf& slots_of) {
  Table<T, kSlots> table{};
  unsigned blocks = 0;
  const auto launch_table = [&] {
    if (table.count == 0) return;
    SIXLOOP_LAUNCH((update_kernel<Step, T, kSlots>), blocks, kUpdateThreads, 0, current_stream(), step, live, table);
    table.count = 0;
    blocks = 0;
  };
  for (size_t i = 0; i < args.size(); ++i) {
    if (table.count == kMostArrays) launch_table();
    Update<T, kSlots>& u = table.updates[table.count];
    u.param = args[i].param;
    u.grad = args[i].grad;
    u.n = n[i];
    u.packs = aligned_for_packs(u.param, u.grad);
    if constexpr (kSlots > 0) {
      const auto slots = slots_of(args[i]);
      for (int s = 0; s < kSlots; ++s) {
        u.slots[s] = slots[s];
        u.packs = u.packs && aligned_for_packs(u.slots[s]);
      }
    }
    table.first_block[table.count++] = blocks;
    blocks += static_cast<unsigned>(ceil_div(n[i], kChunk<T>));
  }
  launch_table();
}

template <class T>
void sgd_of(const std::vector<SgdArgs<T>>& args, const std::vector<int64_t>& n, const double* live) {
  if (args.empty()) return;
  if (args[0].velocity == nullptr) {
    update<0, SgdStep<Lane<T>>, T>(SgdStep<Lane<T>>(args[0]), args, n, live, nullptr);
  } else {
    update<1, MomentumStep<Lane<T>>, T>(MomentumStep<Lane<T>>(args[0]), args, n, live,
                                        [](const SgdArgs<T>& a) { return std::array<T*, 1>{a.velocity}; });
  }
}

template <class T>
void adam_of(const std::vector<AdamArgs<T>>& args, const std::vector<int64_t>& n, const double* live) {
  if (args.empty()) return;
  update<2, AdamStep<Lane<T>>, T>(AdamStep<Lane<T>>(args[0]), args, n, live,
                                  [](const AdamArgs<T>& a) { return std::array<T*, 2>{a.m, a.v}; });
}

template <class T>
void rmsprop_of(const std::vector<RmspropArgs<T>>& args, const std::vector<int64_t>& n, const double* live) {
  if (args.empty()) return;
  update<1, RmspropStep<Lane<T>>, T>(RmspropStep<Lane<T>>(args[0]), args, n, live,
                                     [](const RmspropArgs<T>& a) { return std::array<T*, 1>{a.square_avg}; });
}

}  // namespace

void sgd(const std::vector<SgdArgs<float>>& args, const std::vector<int64_t>& n, const double* live) {
  sgd_of(args, n, live);
}
void sgd(const std::vector<SgdArgs<double>>& args, const std::vector<int64_t>& n, const double* live) {
  sgd_of(args, n, live);
}
void adam(const std::vector<AdamArgs<float>>& args, const std::vector<int64_t>& n, const double* live) {
  adam_of(args, n, live);
}
void adam(const std::vector<AdamArgs<double>>& args, const std::vector<int64_t>& n, const double* live) {
  adam_of(args, n, live);
}
void rmsprop(const std::vector<RmspropArgs<float>>& args, const std::vector<int64_t>& n, const double* live) {
  rmsprop_of(args, n, live);
}
void rmsprop(const std::vector<RmspropArgs<double>>& args, const std::vector<int64_t>& n, const double* live) {
  rmsprop_of(args, n, live);
}

}  // namespace sixloop::cuda
