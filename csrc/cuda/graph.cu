#include "cuda/graph.h"

#include <vector>

#include "cuda/arena_plan.h"
#include "cuda/launch.h"
#include "cuda/recorder.h"

namespace sixloop::cuda {
namespace {

constexpr int64_t kAlignment = 512;

struct Trace {
  std::vector<Span> spans;
  int64_t clock = 0;
  bool open = true;
};

// The allocations as ever, noted.
class Tracer : public Recorder {
 public:
  std::shared_ptr<void> allocate(size_t bytes) override {
    std::shared_ptr<void> block = allocate_plainly(bytes);
    const auto index = trace_->spans.size();
    const auto size = static_cast<int64_t>(bytes);
    trace_->spans.push_back({(size + kAlignment - 1) / kAlignment * kAlignment, trace_->clock++});
    void* const p = block.get();
    return std::shared_ptr<void>(p, [block, index, trace = trace_](void*) mutable {
      if (trace->open) trace->spans[index].end = trace->clock++;
      block.reset();
    });
  }
  bool captures() const override { return false; }

  // From now on a free is no news.
  std::vector<Span> close() {
    trace_->open = false;
    return std::move(trace_->spans);
  }

 private:
  std::shared_ptr<Trace> trace_ = std::make_shared<Trace>();
};

// The allocations of the captured step, each at the place of the traced one.
class Player : public Recorder {
 public:
  Player(const std::vector<Span>& spans, std::shared_ptr<void> arena)
      : spans_(spans), arena_(std::move(arena)), live_(std::make_shared<Live>()) {
    live_->of.resize(spans.size());
  }

  std::shared_ptr<void> allocate(size_t bytes) override {
    const size_t index = next_++;
    const auto size = (static_cast<int64_t>(bytes) + kAlignment - 1) / kAlignment * kAlignment;
    if (index >= spans_.size() || spans_[index].bytes != size) {
      throw DeviceError("[cuda] a step that is recorded must allocate what the step before did");
    }
    const Span& span = spans_[index];
    for (size_t i = 0; i < index; ++i) {
      if (live_->of[i] && span.offset < spans_[i].offset + spans_[i].bytes &&
          spans_[i].offset < span.offset + span.bytes) {
        throw DeviceError("[cuda] a step that is recorded must free what the step before did");
      }
    }
    live_->of[index] = true;
    return std::shared_ptr<void>(static_cast<char*>(arena_.get()) + span.offset,
                                 [arena = arena_, live = live_, index](void*) { live->of[index] = false; });
  }
  bool captures() const override { return true; }
  bool is_complete() const { return next_ == spans_.size(); }

 private:
  struct Live {
    std::vector<char> of;
  };
  const std::vector<Span>& spans_;
  std::shared_ptr<void> arena_;
  std::shared_ptr<Live> live_;
  size_t next_ = 0;
};

}  // namespace

struct Graph::Impl {
  std::vector<Span> spans;
  int64_t bytes = 0;
  std::unique_ptr<Tracer> tracer;
  std::unique_ptr<Player> player;
  std::shared_ptr<void> arena;
  cudaStream_t stream = nullptr;  // the one that records
  cudaGraphExec_t exec = nullptr;
};

Graph::Graph() : impl_(std::make_unique<Impl>()) { require(); }

Graph::~Graph() {
  abandon();
  if (impl_->exec == nullptr || !available()) return;
  (void)cudaDeviceSynchronize();  // it may be running
  (void)cudaGraphExecDestroy(impl_->exec);
  (void)cudaGetLastError();
}

void Graph::trace_begin() {
  abandon();
  impl_->tracer = std::make_unique<Tracer>();
  set_recorder(impl_->tracer.get());
}

void Graph::trace_end() {
  if (!impl_->tracer) throw DeviceError("[cuda] no step is being traced");
  set_recorder(nullptr);
  impl_->spans = impl_->tracer->close();
  impl_->tracer.reset();
  impl_->bytes = place(impl_->spans);
}

void Graph::capture_begin() {
  abandon();
  if (impl_->exec != nullptr) throw DeviceError("[cuda] the step is captured already");
  // What the traced step left in the pool is of no use any more.
  empty_cache();
  impl_->arena = impl_->bytes > 0 ? allocate_plainly(static_cast<size_t>(impl_->bytes)) : nullptr;
  impl_->player = std::make_unique<Player>(impl_->spans, impl_->arena);
  const cudaStream_t stream = current_stream();
  const cudaError_t error = cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
  if (error != cudaSuccess) {
    impl_->player.reset();
    throw_cuda_error(error, "cudaStreamBeginCapture", __FILE__, __LINE__);
  }
  impl_->stream = stream;
  set_recorder(impl_->player.get());
}

void Graph::capture_end() {
  if (!impl_->player) throw DeviceError("[cuda] no step is being captured");
  const bool complete = impl_->player->is_complete();
  set_recorder(nullptr);
  impl_->player.reset();
  cudaGraph_t graph = nullptr;
  const cudaStream_t stream = impl_->stream;
  impl_->stream = nullptr;
  const cudaError_t ended = cudaStreamEndCapture(stream, &graph);
  free_deferred();
  if (ended != cudaSuccess) throw_cuda_error(ended, "cudaStreamEndCapture", __FILE__, __LINE__);
  cudaError_t error = cudaSuccess;
  if (complete) error = cudaGraphInstantiate(&impl_->exec, graph, 0);
  (void)cudaGraphDestroy(graph);
  if (!complete) throw DeviceError("[cuda] a step that is recorded must allocate what the step before did");
  if (error != cudaSuccess) throw_cuda_error(error, "cudaGraphInstantiate", __FILE__, __LINE__);
}

void Graph::abandon() noexcept {
  if (!impl_->tracer && !impl_->player) return;
  set_recorder(nullptr);
  impl_->tracer.reset();
  impl_->player.reset();
  if (impl_->stream != nullptr) {
    cudaGraph_t graph = nullptr;
    if (cudaStreamEndCapture(impl_->stream, &graph) == cudaSuccess && graph != nullptr) (void)cudaGraphDestroy(graph);
    impl_->stream = nullptr;
    (void)cudaGetLastError();
    free_deferred();
  }
  impl_->arena.reset();
}

void Graph::launch() {
  if (impl_->exec == nullptr) throw DeviceError("[cuda] no step has been captured");
  SIXLOOP_CUDA(cudaGraphLaunch(impl_->exec, current_stream()));
}

bool Graph::is_captured() const { return impl_->exec != nullptr; }
int64_t Graph::bytes() const { return impl_->bytes; }

}  // namespace sixloop::cuda
