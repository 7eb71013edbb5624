// Calls functions of a family's library in a process of its own, for builds with sanitizers.
//
// Reads requests from the standard input, writes answers to the standard output; what sanitizers
// say goes to the standard error. Arrays are copied to memory of their own size, so that an access
// past an end is seen. See devices.py for the other side.
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <string>
#include <vector>

namespace {

struct Array {
  void *data;
  size_t bytes;
};

[[noreturn]] void stop(const char *reason) {
  std::fprintf(stderr, "server: %s\n", reason);
  std::exit(1);
}

void read_bytes(void *target, size_t bytes) {
  if (std::fread(target, 1, bytes, stdin) != bytes) {
    std::exit(0);
  }
}

template <typename T> T read() {
  T value;
  read_bytes(&value, sizeof(T));
  return value;
}

std::string read_text() {
  std::string text(read<uint64_t>(), '\0');
  read_bytes(text.data(), text.size());
  return text;
}

template <typename T> void write(T value) { std::fwrite(&value, sizeof(T), 1, stdout); }

void *find(void *library, const std::string &name) {
  void *function = dlsym(library, name.c_str());
  if (function == nullptr) {
    stop(("no function " + name).c_str());
  }
  return function;
}

// The System V calling convention on x86-64: six integers and eight numbers of floating point go
// in registers, what is left on the stack, in order.
struct Arguments {
  std::vector<int64_t> integers, stack;
  std::vector<double> floats;

  void add_integer(int64_t value) { (integers.size() < 6 ? integers : stack).push_back(value); }

  void add_float(int64_t bits) {
    if (floats.size() < 8) {
      floats.push_back(std::bit_cast<double>(bits));
    } else {
      stack.push_back(bits);
    }
  }

  int64_t call(void *function) {
    constexpr size_t kStack = 26;
    if (stack.size() > kStack) {
      stop("too many arguments");
    }
    integers.resize(6);
    floats.resize(8);
    stack.resize(kStack);
    const auto &i = integers;
    const auto &f = floats;
    const auto &s = stack;
    using I = int64_t;
    using F = double;
    using Function = I (*)(I, I, I, I, I, I, F, F, F, F, F, F, F, F, I, I, I, I, I, I, I, I, I, I,
                           I, I, I, I, I, I, I, I, I, I, I, I, I, I, I, I);
    return reinterpret_cast<Function>(function)(
        i[0], i[1], i[2], i[3], i[4], i[5], f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7], s[0],
        s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12], s[13], s[14],
        s[15], s[16], s[17], s[18], s[19], s[20], s[21], s[22], s[23], s[24], s[25]);
  }
};

void serve_call(void *library) {
  void *function = find(library, read_text());
  Arguments arguments;
  std::vector<Array> arrays;
  for (char kind; (kind = read<char>()) != '.';) {
    if (kind == 'a') { // an array
      Array array{nullptr, read<uint64_t>()};
      if (posix_memalign(&array.data, 256, array.bytes) != 0) {
        stop("out of memory");
      }
      read_bytes(array.data, array.bytes);
      arrays.push_back(array);
      arguments.add_integer(reinterpret_cast<int64_t>(array.data));
    } else if (kind == 's') { // the same array as an earlier one
      arguments.add_integer(reinterpret_cast<int64_t>(arrays.at(read<uint64_t>()).data));
    } else if (kind == 'i') {
      arguments.add_integer(read<int64_t>());
    } else {
      arguments.add_float(read<int64_t>());
    }
  }
  write(arguments.call(function));
  const std::string report =
      reinterpret_cast<const char *(*)()>(find(library, "cuda_host_report"))();
  write<uint64_t>(report.size());
  std::fwrite(report.data(), 1, report.size(), stdout);
  for (const Array &array : arrays) {
    std::fwrite(array.data, 1, array.bytes, stdout);
    std::free(array.data);
  }
  std::fflush(stdout);
}

} // namespace

int main(int, char **arguments) {
  void *library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    stop(dlerror());
  }
  while (true) {
    const char request = read<char>();
    if (request == 'o') { // an option
      const std::string name = read_text();
      const auto set =
          reinterpret_cast<bool (*)(const char *, int64_t)>(find(library, "cuda_host_set"));
      if (!set(name.c_str(), read<int64_t>())) {
        stop(("no option " + name).c_str());
      }
    } else if (request == 'c') {
      reinterpret_cast<void (*)()>(find(library, "cuda_host_clear"))();
      serve_call(library);
    } else {
      stop("unknown request");
    }
  }
}
