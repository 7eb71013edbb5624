// Reports in words.
#include <algorithm>
#include <cstring>
#include <cxxabi.h>
#include <dlfcn.h>
#include <sstream>

#include "model/scheduler.h"

namespace cuda_host {
namespace {

// Static functions are in no table that dladdr reads.
std::string name_of_static(const Dl_info &info, const void *address) {
  std::ostringstream command;
  command << "addr2line -f -C -e '" << info.dli_fname << "' 0x" << std::hex
          << static_cast<const char *>(address) - static_cast<const char *>(info.dli_fbase);
  std::string name;
  if (FILE *output = popen(command.str().c_str(), "r")) {
    for (int letter; (letter = std::fgetc(output)) != EOF && letter != '\n';) {
      name += static_cast<char>(letter);
    }
    pclose(output);
  }
  return name;
}

} // namespace

std::string name_of(const void *address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0) {
    return "?";
  }
  if (info.dli_sname == nullptr || info.dli_saddr != address) {
    return name_of_static(info, address);
  }
  int status;
  char *demangled = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
  const std::string name = demangled != nullptr ? demangled : info.dli_sname;
  std::free(demangled);
  return name;
}

std::string describe(uint3 index) {
  std::ostringstream result;
  result << '(' << index.x << ", " << index.y << ", " << index.z << ')';
  return result.str();
}

std::string describe_deadlock() {
  struct Wait {
    const Thread *first;
    int count;
  };
  std::vector<Wait> waits;
  bool in_warp = false, in_other_barrier = false;
  int left = 0;
  for (int number = 0; number < threads_in_block(); ++number) {
    const Thread &thread = thread_of_warp(number / 32, number % 32);
    if (thread.done) {
      ++left;
      continue;
    }
    in_warp |= thread.mask != 0;
    in_other_barrier |= std::strcmp(thread.operation, "__syncthreads") != 0;
    const auto same = std::find_if(waits.begin(), waits.end(), [&](const Wait &wait) {
      return std::strcmp(wait.first->operation, thread.operation) == 0 &&
             wait.first->mask == thread.mask && place(wait.first->where) == place(thread.where);
    });
    if (same == waits.end()) {
      waits.push_back({&thread, 1});
    } else {
      ++same->count;
    }
  }
  std::ostringstream result;
  result << (in_warp            ? "wrong mask or divergent warp"
             : in_other_barrier ? "deadlock"
                                : "divergent barrier");
  for (const Wait &wait : waits) {
    result << "\n  " << wait.count << " threads wait at " << wait.first->operation << ", "
           << place(wait.first->where) << ", the first is " << describe(wait.first->index);
    if (wait.first->mask != 0) {
      result << ", mask " << hexadecimal(wait.first->mask);
    }
  }
  if (left > 0) {
    result << "\n  " << left << " threads have left the kernel";
  }
  return result.str();
}

std::string hexadecimal(unsigned mask) {
  std::ostringstream result;
  result << "0x" << std::hex << mask;
  return result.str();
}

std::string place(Location where) {
  return std::string(where.file_name()) + ":" + std::to_string(where.line());
}

} // namespace cuda_host
