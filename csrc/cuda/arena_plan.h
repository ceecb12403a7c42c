// Where the arrays of a recorded step lie in its memory.
#pragma once

#include <cstdint>
#include <vector>

namespace sixloop::cuda {

constexpr int64_t kForEver = INT64_MAX;

// One allocation: bytes, when it was made and freed (in allocations and frees since the beginning), where it gets its
// place.
struct Span {
  int64_t bytes;
  int64_t begin;
  int64_t end = kForEver;
  int64_t offset = 0;
};

// Gives every span a place such that no two overlap that live at the same time; returns the bytes of all. The largest
// come first, each to the lowest place that is free throughout its life.
int64_t place(std::vector<Span>& spans);

}  // namespace sixloop::cuda
