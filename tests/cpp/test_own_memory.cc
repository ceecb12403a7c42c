#include <atomic>
#include <cstring>
#include <thread>
#include <vector>

#include "base/allocator.h"
#include "base/own_memory.h"
#include "base/tensor.h"
#include "check.h"

namespace sixloop {
namespace {

// A form of a tensor of int64: each element and one. `made` counts how often it was.
std::shared_ptr<const Form> form_of(const Tensor& t, int64_t kind, int& made) {
  const FormKey key{t.raw(), nullptr, {kind, t.size(), 0}};
  return kept_form<int64_t>(memory_of(t), key, t.size(), [&](int64_t* to) {
    ++made;
    for (int64_t i = 0; i < t.size(); ++i) to[i] = t.data<int64_t>()[i] + 1;
  });
}

void write(const Tensor& t, int64_t value) {
  const Writer writer(t);
  for (int64_t i = 0; i < t.size(); ++i) t.data<int64_t>()[i] = value;
}

Tensor of_size(int64_t size) { return Tensor::zeros({size}, DType::int64); }

TEST(a_form_serves_until_somebody_writes) {
  const Tensor t = of_size(1000);
  int made = 0;
  CHECK(kept_form_bytes() == 0);
  CHECK_EQ(form_of(t, 1, made)->data<int64_t>()[999], 1);
  CHECK_EQ(form_of(t, 1, made)->data<int64_t>()[999], 1);
  CHECK_EQ(made, 1);
  CHECK_EQ(kept_form_bytes(), allocated_bytes(8000));
  CHECK_EQ(memory_of(t)->kept_bytes(), kept_form_bytes());
  const uint64_t before = memory_of(t)->version();
  write(t, 5);
  CHECK(memory_of(t)->version() > before);
  CHECK_EQ(kept_form_bytes(), 0);
  CHECK_EQ(form_of(t, 1, made)->data<int64_t>()[999], 6);
  CHECK_EQ(made, 2);
}

TEST(views_of_one_memory_share_its_form) {
  const Tensor t = of_size(12);
  const Tensor view = t.reshape({3, 4}), part = Tensor::borrow(t.data<int64_t>() + 4, {4}, DType::int64, t.owner());
  CHECK(memory_of(view) == memory_of(t) && memory_of(part) == memory_of(t));
  int made = 0;
  form_of(t, 1, made);
  write(part, 3);
  CHECK_EQ(kept_form_bytes(), 0);
  CHECK_EQ(form_of(view, 1, made)->data<int64_t>()[5], 4);
  CHECK_EQ(made, 2);
  int64_t other[4] = {};
  CHECK(memory_of(Tensor::borrow(other, {4}, DType::int64, nullptr)) == nullptr);
  CHECK(form_of(Tensor::borrow(other, {4}, DType::int64, nullptr), 1, made) == nullptr);
}

TEST(nothing_is_kept_while_somebody_may_write) {
  const Tensor t = of_size(10);
  int made = 0;
  form_of(t, 1, made);
  {
    const Writer first(t);
    CHECK_EQ(kept_form_bytes(), 0);
    const Writer second(t.reshape({2, 5}));
    CHECK(form_of(t, 1, made) == nullptr);
  }
  CHECK_EQ(made, 1);
  CHECK(form_of(t, 1, made) != nullptr);
}

TEST(what_is_written_while_a_form_is_made_ends_it) {
  const Tensor t = of_size(10);
  const FormKey key{t.raw(), nullptr, {1, 0, 0}};
  const auto stale = kept_form<int64_t>(memory_of(t), key, 10, [&](int64_t* to) {
    std::memset(to, 0, 80);
    write(t, 2);
  });
  CHECK(stale != nullptr);  // for the call that made it
  CHECK_EQ(kept_form_bytes(), 0);
}

TEST(another_form_takes_the_place_when_asked_for_twice_in_a_row) {
  const Tensor t = of_size(10);
  int made = 0;
  form_of(t, 1, made);
  CHECK(form_of(t, 2, made) == nullptr);
  CHECK(form_of(t, 1, made) != nullptr);
  CHECK(form_of(t, 2, made) == nullptr);
  CHECK_EQ(made, 1);
  CHECK(form_of(t, 2, made) != nullptr);
  CHECK(form_of(t, 1, made) == nullptr);
  CHECK_EQ(made, 2);
  CHECK_EQ(kept_form_bytes(), allocated_bytes(80));
}

TEST(forms_are_bounded_and_can_be_dropped) {
  const int64_t limit = memory_stats().cache_limit;
  std::vector<Tensor> tensors;
  int made = 0;
  for (int i = 0; i < 4; ++i) tensors.push_back(of_size(1000));
  set_cache_limit(3 * allocated_bytes(8000));
  for (const Tensor& t : tensors) form_of(t, 1, made);
  CHECK_EQ(made, 3);
  CHECK_EQ(kept_form_bytes(), 3 * allocated_bytes(8000));
  tensors.erase(tensors.begin() + 1);  // with its form
  CHECK_EQ(kept_form_bytes(), 2 * allocated_bytes(8000));
  const auto in_use = form_of(tensors[0], 1, made);
  drop_kept_forms();
  CHECK_EQ(kept_form_bytes(), 0);
  CHECK_EQ(in_use->data<int64_t>()[7], 1);
  set_cache_limit(limit);
}

TEST(threads_that_read_and_write_at_once_keep_nothing_stale) {
  const Tensor t = of_size(256);
  std::atomic<bool> done{false};
  std::atomic<int64_t> written{0};
  std::vector<std::thread> readers;
  std::atomic<int> wrong{0};
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      while (!done) {
        const int64_t least = written;
        const FormKey key{t.raw(), nullptr, {1, 0, 0}};
        // The elements are read as atomics: a reader may meet a writer here.
        const auto form = kept_form<int64_t>(memory_of(t), key, 256, [&](int64_t* to) {
          for (int j = 0; j < 256; ++j) to[j] = __atomic_load_n(t.data<int64_t>() + j, __ATOMIC_RELAXED);
        });
        for (int j = 0; form != nullptr && j < 256; ++j) {
          if (form->data<int64_t>()[j] < least) ++wrong;
        }
      }
    });
  }
  for (int64_t value = 1; value <= 3000; ++value) {
    {
      const Writer writer(t);
      for (int j = 0; j < 256; ++j) __atomic_store_n(t.data<int64_t>() + j, value, __ATOMIC_RELAXED);
    }
    written = value;
    if (value % 100 == 0) drop_kept_forms();
  }
  done = true;
  for (std::thread& reader : readers) reader.join();
  CHECK_EQ(wrong.load(), 0);
}

}  // namespace
}  // namespace sixloop
