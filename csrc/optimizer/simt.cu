#include "optimizer/simt.h"

#include "cuda/map.h"
#include "optimizer/kernels-inl.h"

namespace sixloop::cuda {
namespace {

// A parameter with what its update reads and writes. A launch over many parameters would take a table of these.
template <class T, int kSlots>
struct Update {
  T* param;
  const T* grad;
  T* slots[kSlots == 0 ? 1 : kSlots];
  int64_t n;
  bool packs;
};

// The step on elements [first, first + N) of an update.
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

constexpr int kUpdateThreads = 256;

template <class Step, class T, int kSlots>
__global__ void __launch_bounds__(kUpdateThreads) update_kernel(Step step, Update<T, kSlots> u) {
  const int64_t thread = static_cast<int64_t>(blockIdx.x) * kUpdateThreads + threadIdx.x;
  update_pack(step, u, thread * Pack<T>::N);
}

template <class Step, class T, class... Slots>
void update(const Step& step, int64_t n, T* param, const T* grad, Slots*... slots) {
  if (n == 0) return;
  constexpr int kSlots = sizeof...(Slots);
  const Update<T, kSlots> u{param, grad, {slots...}, n, aligned_for_packs(param, grad, slots...)};
  const auto blocks = static_cast<unsigned>(ceil_div(n, int64_t{kUpdateThreads} * Pack<T>::N));
  SIXLOOP_LAUNCH((update_kernel<Step, T, kSlots>), blocks, kUpdateThreads, 0, current_stream(), step, u);
}

template <class T>
void sgd_of(const SgdArgs<T>& a, int64_t n) {
  if (a.velocity == nullptr) {
    update(SgdStep<Lane<T>>(a), n, a.param, a.grad);
  } else {
    update(MomentumStep<Lane<T>>(a), n, a.param, a.grad, a.velocity);
  }
}

template <class T>
void adam_of(const AdamArgs<T>& a, int64_t n) {
  update(AdamStep<Lane<T>>(a), n, a.param, a.grad, a.m, a.v);
}

template <class T>
void rmsprop_of(const RmspropArgs<T>& a, int64_t n) {
  update(RmspropStep<Lane<T>>(a), n, a.param, a.grad, a.square_avg);
}

}  // namespace

void sgd(const SgdArgs<float>& args, int64_t n) { sgd_of(args, n); }
void sgd(const SgdArgs<double>& args, int64_t n) { sgd_of(args, n); }
void adam(const AdamArgs<float>& args, int64_t n) { adam_of(args, n); }
void adam(const AdamArgs<double>& args, int64_t n) { adam_of(args, n); }
void rmsprop(const RmspropArgs<float>& args, int64_t n) { rmsprop_of(args, n); }
void rmsprop(const RmspropArgs<double>& args, int64_t n) { rmsprop_of(args, n); }

}  // namespace sixloop::cuda
