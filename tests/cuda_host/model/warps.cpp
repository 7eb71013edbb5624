// Operations of a warp: lanes bring their operands, the last one computes all results.
#include <algorithm>
#include <bit>
#include <cstring>

#include "common/data_type.h"
#include "model/scheduler.h"

namespace cuda_host {
namespace {

struct Meeting {
  unsigned mask, arrived;
  const char *operation;
  void *place;
};

// Of one warp, those under way; never more than one for each lane.
struct Warp {
  Meeting meetings[32];
  int count;
};
std::vector<Warp> &warps = *new std::vector<Warp>;

unsigned lanes_of(int warp) {
  const int lanes = std::min(32, threads_in_block() - warp * 32);
  return lanes == 32 ? 0xffffffffu : (1u << lanes) - 1;
}

Meeting &join(const char *operation, unsigned mask, Location where) {
  Warp &warp = warps[running->warp];
  for (int i = 0; i < warp.count; ++i) {
    Meeting &meeting = warp.meetings[i];
    if (meeting.mask == mask) {
      if (meeting.operation != operation && std::strcmp(meeting.operation, operation) != 0) {
        fail(std::string("divergent warp: some lanes are at ") + meeting.operation +
                 ", others at " + operation,
             where);
      }
      return meeting;
    }
  }
  Meeting &meeting = warp.meetings[warp.count++];
  meeting = {mask, 0, operation, fresh_place()};
  return meeting;
}

// Waits until all lanes of the mask are here; the last one calls combine(lanes, mask), which may
// write the operands of all. Of these operations only a barrier orders memory.
template <typename Operand, typename Combine>
void meet(const char *operation, unsigned mask, Operand &operand, Location where, Combine combine,
          bool orders_memory = false) {
  Thread &self = *running;
  mask &= lanes_of(self.warp);
  if ((mask >> self.lane & 1) == 0) {
    fail(std::string("wrong mask: ") + operation + " by a lane that its mask " + hexadecimal(mask) +
             " does not name",
         where);
  }
  Meeting &meeting = join(operation, mask, where);
  void *place = meeting.place;
  if (orders_memory) {
    sanitizers::release(place);
  }
  self.operand = &operand;
  meeting.arrived |= 1u << self.lane;
  if (meeting.arrived == mask) {
    Operand *lanes[32] = {};
    Thread *threads[32];
    int count = 0;
    for (unsigned left = mask; left != 0; left &= left - 1) {
      const int lane = std::countr_zero(left);
      Thread &thread = thread_of_warp(self.warp, lane);
      lanes[lane] = static_cast<Operand *>(thread.operand);
      threads[count++] = &thread;
    }
    if (options.order == 1) {
      std::reverse(threads, threads + count);
    }
    combine(lanes, mask);
    Warp &warp = warps[self.warp];
    meeting = warp.meetings[--warp.count];
    resume(threads, count);
  }
  wait(operation, where, mask);
  if (orders_memory) {
    sanitizers::acquire(place);
  }
}

template <typename Function> void for_each_lane(unsigned mask, Function function) {
  for (; mask != 0; mask &= mask - 1) {
    function(std::countr_zero(mask));
  }
}

} // namespace

void reset_warps(int threads) {
  warps.resize((threads + 31) / 32);
  for (Warp &warp : warps) {
    warp.count = 0;
  }
}

void warp_barrier(unsigned mask, Location where) {
  struct Operand {
  } operand;
  meet("__syncwarp", mask, operand, where, [](Operand **, unsigned) {}, true);
}

uint64_t shuffle(Shuffle how, unsigned mask, uint64_t value, int argument, int width,
                 Location where) {
  static constexpr const char *kNames[] = {"__shfl_sync", "__shfl_up_sync", "__shfl_down_sync",
                                           "__shfl_xor_sync"};
  const char *name = kNames[static_cast<int>(how)];
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) {
    fail(std::string(name) + ": width " + std::to_string(width) + " is no power of two up to 32",
         where);
  }
  struct Operand {
    uint64_t value, result;
    int source;
    Location where;
  };
  const int lane = running->lane, first = lane & ~(width - 1);
  int source = lane;
  switch (how) {
  case Shuffle::from:
    source = first + (argument & (width - 1));
    break;
  case Shuffle::up:
    source = lane - argument < first ? lane : lane - argument;
    break;
  case Shuffle::down:
    source = lane + argument >= first + width ? lane : lane + argument;
    break;
  case Shuffle::exclusive_or:
    source = (lane ^ argument) >= first + width ? lane : lane ^ argument;
    break;
  }
  Operand operand{value, 0, source, where};
  // A lane that does not take part gives an undefined value: all ones, which is NaN.
  meet(name, mask, operand, where, [](Operand **lanes, unsigned present) {
    for_each_lane(present, [&](int lane) {
      const Operand *from = lanes[lanes[lane]->source];
      lanes[lane]->result = from != nullptr ? from->value : ~uint64_t{0};
    });
  });
  return operand.result;
}

unsigned ballot(const char *operation, unsigned mask, bool predicate, Location where) {
  struct Operand {
    bool predicate;
    unsigned result;
  } operand{predicate, 0};
  meet(operation, mask, operand, where, [](Operand **lanes, unsigned present) {
    unsigned result = 0;
    for_each_lane(present, [&](int lane) { result |= unsigned{lanes[lane]->predicate} << lane; });
    for_each_lane(present, [&](int lane) { lanes[lane]->result = result; });
  });
  return operand.result;
}

unsigned match_any(unsigned mask, uint64_t value, Location where) {
  struct Operand {
    uint64_t value;
    unsigned result;
  } operand{value, 0};
  meet("__match_any_sync", mask, operand, where, [](Operand **lanes, unsigned present) {
    for_each_lane(present, [&](int lane) {
      for_each_lane(present, [&](int other) {
        lanes[lane]->result |= unsigned{lanes[lane]->value == lanes[other]->value} << other;
      });
    });
  });
  return operand.result;
}

int64_t reduce(const char *operation, Reduce how, unsigned mask, int64_t value, Location where) {
  require_capability(operation, 80, where);
  struct Operand {
    int64_t value;
  } operand{value};
  meet(operation, mask, operand, where, [how](Operand **lanes, unsigned present) {
    int64_t result = lanes[std::countr_zero(present)]->value;
    for_each_lane(present & (present - 1), [&](int lane) {
      const int64_t other = lanes[lane]->value;
      switch (how) {
      case Reduce::add:
        result += other;
        break;
      case Reduce::min:
        result = std::min(result, other);
        break;
      case Reduce::max:
        result = std::max(result, other);
        break;
      case Reduce::bit_and:
        result &= other;
        break;
      case Reduce::bit_or:
        result |= other;
        break;
      case Reduce::bit_xor:
        result ^= other;
        break;
      }
    });
    for_each_lane(present, [&](int lane) { lanes[lane]->value = result; });
  });
  return operand.value;
}

unsigned active_lanes() { return 1u << running->lane; }

void multiply(Factors factors, float *sum, const uint32_t *a, const uint32_t *b, Location where) {
  const char *name = factors == Factors::float16 ? "multiply_float16" : "multiply_bfloat16";
  require_capability(name, 80, where);
  if (observe_multiplication != nullptr && running->lane == 0) {
    observe_multiplication();
  }
  struct Operand {
    float *sum;
    const uint32_t *a, *b;
  } operand{sum, a, b};
  const auto widen = [factors](uint32_t pair, int half) {
    const auto bits = static_cast<uint16_t>(pair >> (16 * half));
    return factors == Factors::float16 ? bottomup::to_float(bottomup::Float16{bits})
                                       : bottomup::to_float(bottomup::BFloat16{bits});
  };
  meet(name, 0xffffffffu, operand, where, [&](Operand **lanes, unsigned present) {
    if (present != 0xffffffffu) {
      fail(std::string(name) + ": the warp has no 32 threads", where);
    }
    double left[16][16], right[16][8]; // a by row and k, b by k and column
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, pair = lane % 4 * 2;
      for (int half = 0; half < 2; ++half) {
        for (int i = 0; i < 4; ++i) {
          left[group + i % 2 * 8][pair + i / 2 * 8 + half] = widen(lanes[lane]->a[i], half);
        }
        for (int i = 0; i < 2; ++i) {
          right[pair + i * 8 + half][group] = widen(lanes[lane]->b[i], half);
        }
      }
    }
    double product[16][8];
    for (int row = 0; row < 16; ++row) {
      double sums[8] = {};
      for (int k = 0; k < 16; ++k) {
        for (int column = 0; column < 8; ++column) {
          sums[column] += left[row][k] * right[k][column];
        }
      }
      std::copy_n(sums, 8, product[row]);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, pair = lane % 4 * 2;
      for (int i = 0; i < 4; ++i) {
        float &result = lanes[lane]->sum[i];
        result = static_cast<float>(result + product[group + i / 2 * 8][pair + i % 2]);
      }
    }
  });
}

void distribute_matrices(const char *operation, bool transposed, const uint64_t row[2],
                         uint32_t *result, Location where) {
  struct Operand {
    const uint64_t *row;
    uint32_t *result;
  } operand{row, result};
  meet(operation, 0xffffffffu, operand, where, [&](Operand **lanes, unsigned present) {
    if (present != 0xffffffffu) {
      fail(std::string(operation) + ": the warp has no 32 threads", where);
    }
    uint16_t matrices[4][8][8];
    for (int lane = 0; lane < 32; ++lane) {
      std::memcpy(matrices[lane / 8][lane % 8], lanes[lane]->row, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, pair = lane % 4 * 2;
      for (int i = 0; i < 4; ++i) {
        const auto &matrix = matrices[i];
        const uint16_t low = transposed ? matrix[pair][group] : matrix[group][pair];
        const uint16_t high = transposed ? matrix[pair + 1][group] : matrix[group][pair + 1];
        lanes[lane]->result[i] = low | uint32_t{high} << 16;
      }
    }
  });
}

} // namespace cuda_host
