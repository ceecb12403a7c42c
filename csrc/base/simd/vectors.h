// Steps over dense elements, a vector or several at a time.
#pragma once

#include <cstdint>

namespace sixloop {
namespace {  // each ISA's file compiles a copy of its own

// The lanes of a vector that a step touches: all of them, or the first n.
template <class V>
struct AllLanes {
  V load(const typename V::T* p) const { return V::load(p); }
  void store(V v, typename V::T* p) const { v.store(p); }
  V load_bytes(const uint8_t* p) const { return V::load_bytes(p); }
  void store_bytes(V v, uint8_t* p) const { v.store_bytes(p); }
};

template <class V>
struct FirstLanes {
  int64_t n;
  V load(const typename V::T* p) const { return V::load_n(p, n); }
  void store(V v, typename V::T* p) const { v.store_n(p, n); }
  V load_bytes(const uint8_t* p) const {
    uint8_t bytes[V::N] = {};
    for (int i = 0; i < V::N && i < n; ++i) bytes[i] = p[i];
    return V::load_bytes(bytes);
  }
  void store_bytes(V v, uint8_t* p) const {
    uint8_t bytes[V::N];
    v.store_bytes(bytes);
    for (int i = 0; i < V::N && i < n; ++i) p[i] = bytes[i];
  }
};

// Calls f.template operator()<M>(lanes, i) for the M vectors from element i on, to cover `length` elements: M is
// kBlock, then 1. `whole`: the last vector may be touched in full.
template <class V, int kBlock, class F>
void for_vectors(int64_t length, bool whole, F f) {
  int64_t i = 0;
  if constexpr (kBlock > 1) {
    for (; i + kBlock * V::N <= length; i += kBlock * V::N) f.template operator()<kBlock>(AllLanes<V>{}, i);
  }
  for (; i + V::N <= length; i += V::N) f.template operator()<1>(AllLanes<V>{}, i);
  if (i == length) return;
  if (whole) {
    f.template operator()<1>(AllLanes<V>{}, i);
  } else {
    f.template operator()<1>(FirstLanes<V>{length - i}, i);
  }
}

// The same, one vector at a time: f(lanes, i).
template <class V, class F>
void for_each_vector(int64_t length, F f) {
  for_vectors<V, 1>(length, false, [&]<int M>(auto lanes, int64_t i) { f(lanes, i); });
}

}  // namespace
}  // namespace sixloop
