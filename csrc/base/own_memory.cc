#include "base/own_memory.h"

#include <mutex>
#include <utility>

#include <pthread.h>

#include "base/spin_lock.h"

namespace sixloop {
namespace {

// The forms of all memories. Their lock is never held where one is made or freed: those take the allocator's.
struct Forms {
  SpinLock mutex;
  OwnMemory* first = nullptr;
  int64_t bytes = 0;
};

Forms& forms() {
  // Never destroyed, and safe in a forked child: as the allocator's cache.
  static Forms* instance = [] {
    pthread_atfork([] { forms().mutex.lock(); }, [] { forms().mutex.unlock(); }, [] { forms().mutex.unlock(); });
    return new Forms;
  }();
  return *instance;
}

[[maybe_unused]] const Forms& made_at_load = forms();

// By the type of its deleter an owner is known to own such memory.
struct Release {
  OwnMemory* memory;
  void operator()(void*) const { delete memory; }
};

}  // namespace

OwnMemory::~OwnMemory() {
  drop();
  deallocate(data_, bytes_);
}

// A writer counts itself before it looks for a form, and keep() shows its form before it looks for writers: one of them
// sees the other.
void OwnMemory::begin_write() noexcept {
  ++writers_;
  drop();
}

void OwnMemory::end_write() noexcept {
  ++version_;
  --writers_;
}

OwnMemory::Found OwnMemory::find(const FormKey& key, int64_t bytes) {
  if (writers_ != 0) return {};
  const uint64_t now = version_;
  const int64_t limit = memory_stats().cache_limit;
  const int64_t size = allocated_bytes(bytes);
  std::lock_guard<SpinLock> lock(forms().mutex);
  // Writers drop the form before they write.
  if (form_ != nullptr && form_->key == key) {
    wanted_ = {};
    return {form_, std::nullopt};
  }
  const bool gives_way = form_ == nullptr || wanted_ == key;
  wanted_ = key;
  const int64_t others = forms().bytes - (form_ != nullptr ? form_->allocated : 0);
  if (!gives_way || others + size > limit) return {};
  return {nullptr, now};
}

void OwnMemory::keep(std::shared_ptr<const Form> form, uint64_t version) {
  std::shared_ptr<const Form> before;  // freed without the lock
  std::lock_guard<SpinLock> lock(forms().mutex);
  if (form_ != nullptr && form_->key == form->key) return;  // another thread was faster
  before = unlink();
  has_form_ = true;
  if (writers_ != 0 || version_ != version) {
    has_form_ = false;
    return;
  }
  forms().bytes += form->allocated;
  form_ = std::move(form);
  wanted_ = {};
  previous_ = nullptr;
  next_ = forms().first;
  if (next_ != nullptr) next_->previous_ = this;
  forms().first = this;
}

std::shared_ptr<const Form> OwnMemory::unlink() noexcept {
  if (form_ == nullptr) return nullptr;
  forms().bytes -= form_->allocated;
  (previous_ != nullptr ? previous_->next_ : forms().first) = next_;
  if (next_ != nullptr) next_->previous_ = previous_;
  std::shared_ptr<const Form> form = std::move(form_);
  has_form_ = false;  // the last access: the destructor does not wait for the lock then
  return form;
}

void OwnMemory::drop() noexcept {
  if (!has_form_) return;
  std::shared_ptr<const Form> form;  // freed without the lock
  std::lock_guard<SpinLock> lock(forms().mutex);
  form = unlink();
}

int64_t OwnMemory::kept_bytes() const {
  std::lock_guard<SpinLock> lock(forms().mutex);
  return form_ != nullptr ? form_->allocated : 0;
}

int64_t kept_form_bytes() {
  std::lock_guard<SpinLock> lock(forms().mutex);
  return forms().bytes;
}

std::shared_ptr<void> new_own_memory(size_t bytes) {
  auto* const memory = new OwnMemory(bytes);
  return {memory->data(), Release{memory}};  // which frees it if the count finds no memory
}

OwnMemory* memory_of(const Tensor& t) {
  const Release* const release = std::get_deleter<Release>(t.owner());
  return release != nullptr ? release->memory : nullptr;
}

void drop_kept_forms() noexcept {
  for (bool any = true; any;) {
    std::shared_ptr<const Form> form;  // freed without the lock
    std::lock_guard<SpinLock> lock(forms().mutex);
    if (forms().first != nullptr) form = forms().first->unlink();
    any = form != nullptr;
  }
}

}  // namespace sixloop
