// What a network on a GPU keeps from one image to the next.
#pragma once

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "runtime/cuda/view_plan.h"

namespace bottomup {

/// The values of the keys asked for last. To make another drops the one unused for longest.
template <typename Key, typename Value, size_t most> class Recent {
public:
  template <typename Make> Value &get(const Key &key, const Make &make) {
    const auto found =
        std::ranges::find(entries_, key, [](const Entry &entry) -> auto & { return entry.first; });
    if (found != entries_.end()) {
      std::rotate(entries_.begin(), found, found + 1);
    } else {
      if (entries_.size() == most)
        entries_.pop_back(); // first: its memory may be needed
      entries_.insert(entries_.begin(), {key, make()});
    }
    return *entries_.front().second;
  }

private:
  using Entry = std::pair<Key, std::unique_ptr<Value>>;
  std::vector<Entry> entries_;
};

struct CudaNetwork::State {
  explicit State(int64_t feature_dim) : dimensions(feature_dim), device(current_gpu()) {}

  int64_t dimensions;
  int device;
  std::mutex turn; // for all below
  Stream stream;
  Recent<ViewKey, ViewPlan, 2> plans; // one changes with each image in models that look twice
  Recent<ImageSize, CudaNetworkContext, 9> contexts; // tiles have up to nine sizes
  DeviceMemory memory;                               // of `extract`, grown when needed
};

} // namespace bottomup
