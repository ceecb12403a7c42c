#include "cuda/staging.h"

#include <cstring>

#include "cuda/launch.h"

namespace sixloop::cuda {
namespace {

// Arrays begin at multiples of this.
constexpr size_t kAlignment = 256;

size_t padded(int64_t bytes) { return (static_cast<size_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment; }

struct Slot {
  void* pinned = nullptr;
  Tensor there;
  size_t bytes = 0;
  cudaEvent_t copied = nullptr;  // to the GPU: the pinned memory is free
  cudaEvent_t used = nullptr;    // by the kernels: the GPU's memory is free
};

}  // namespace

struct Staging::Impl {
  cudaStream_t stream = nullptr;
  Slot slots[2];
  int next = 0;
  bool begun = false;
};

Staging::Staging() : impl_(std::make_unique<Impl>()) {
  require();
  SIXLOOP_CUDA(cudaStreamCreateWithFlags(&impl_->stream, cudaStreamNonBlocking));
  for (Slot& slot : impl_->slots) {
    SIXLOOP_CUDA(cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming));
    SIXLOOP_CUDA(cudaEventCreateWithFlags(&slot.used, cudaEventDisableTiming));
  }
}

Staging::~Staging() {
  if (!available()) return;  // a forked child
  (void)cudaStreamSynchronize(impl_->stream);
  for (const Slot& slot : impl_->slots) {
    if (slot.pinned != nullptr) (void)cudaFreeHost(slot.pinned);
    (void)cudaEventDestroy(slot.copied);
    (void)cudaEventDestroy(slot.used);
  }
  (void)cudaStreamDestroy(impl_->stream);
  (void)cudaGetLastError();
}

std::vector<Tensor> Staging::upload(const std::vector<Tensor>& arrays) {
  Impl& s = *impl_;
  const cudaStream_t kernels = current_stream();
  // What reads the batch before has been asked for by now.
  if (s.begun) SIXLOOP_CUDA(cudaEventRecord(s.slots[1 - s.next].used, kernels));
  s.begun = true;
  Slot& slot = s.slots[s.next];
  s.next = 1 - s.next;
  size_t bytes = 0;
  for (const Tensor& array : arrays) bytes += padded(array.bytes());
  SIXLOOP_CUDA(cudaEventSynchronize(slot.copied));
  if (bytes > slot.bytes) {
    if (slot.pinned != nullptr) SIXLOOP_CUDA(cudaFreeHost(slot.pinned));
    slot.pinned = nullptr;
    slot.bytes = 0;
    const cudaError_t error = cudaMallocHost(&slot.pinned, bytes);
    if (error == cudaErrorMemoryAllocation) {
      (void)cudaGetLastError();
      throw OutOfMemory("[cuda] out of memory of the CPU that can be pinned: " +
                        size_text(static_cast<int64_t>(bytes)) + " asked for");
    }
    if (error != cudaSuccess) throw_cuda_error(error, "cudaMallocHost", __FILE__, __LINE__);
    slot.there = Tensor::empty({static_cast<int64_t>(bytes)}, DType::uint8, Device::cuda);
    slot.bytes = bytes;
    SIXLOOP_CUDA(cudaEventRecord(slot.used, kernels));  // the allocation is in the order of that stream
  }
  SIXLOOP_CUDA(cudaStreamWaitEvent(s.stream, slot.used, 0));
  std::vector<Tensor> result;
  size_t at = 0;
  for (const Tensor& array : arrays) {
    if (array.bytes() > 0) {
      std::memcpy(static_cast<char*>(slot.pinned) + at, array.raw(), static_cast<size_t>(array.bytes()));
    }
    result.push_back(Tensor::borrow(static_cast<char*>(slot.there.raw()) + at, array.shape(), array.dtype(),
                                    slot.there.owner(), Device::cuda));
    at += padded(array.bytes());
  }
  if (bytes > 0) {
    SIXLOOP_CUDA(cudaMemcpyAsync(slot.there.raw(), slot.pinned, bytes, cudaMemcpyHostToDevice, s.stream));
  }
  SIXLOOP_CUDA(cudaEventRecord(slot.copied, s.stream));
  SIXLOOP_CUDA(cudaStreamWaitEvent(kernels, slot.copied, 0));
  return result;
}

}  // namespace sixloop::cuda
