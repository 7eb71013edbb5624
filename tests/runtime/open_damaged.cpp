// Damaged copies of a real package, opened through the C interface of the installed library. Each
// is refused by one line that names it. Arguments: the package, and a path for the copies.
#include <bottomup.h>

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <iterator>
#include <random>
#include <string>

namespace {

constexpr int kFlips = 500, kCuts = 50;

void expect_refused(const std::string &path, const std::string &what) {
  bottomup_segmenter *segmenter = nullptr;
  const bottomup_status status = bottomup_segmenter_open(path.c_str(), 1, nullptr, &segmenter);
  const std::string message = bottomup_last_error();
  if (status != BOTTOMUP_INVALID_INPUT || segmenter || message.find(path) == std::string::npos ||
      message.find('\n') != std::string::npos) {
    std::cerr << what << ": status " << status << ", " << message << "\n";
    std::exit(1);
  }
}

/// Writes a byte in place, which is quicker than a whole copy.
void put(std::fstream &file, size_t place, char value) {
  file.seekp(static_cast<std::streamoff>(place)).put(value).flush();
}

} // namespace

int main(int, char **arguments) {
  const std::string path = arguments[2];
  std::ifstream package(arguments[1], std::ios::binary);
  const std::string whole{std::istreambuf_iterator<char>(package), {}};
  std::ofstream(path, std::ios::binary) << whole;
  std::mt19937_64 random(0);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  for (int i = 0; i < kFlips; ++i) {
    const size_t place = random() % whole.size();
    const auto flipped = static_cast<char>(whole[place] ^ (1 << random() % 8));
    put(file, place, flipped);
    expect_refused(path, "a bit of byte " + std::to_string(place));
    put(file, place, whole[place]);
  }
  for (int i = 0; i < kCuts; ++i) {
    const size_t size = random() % whole.size();
    std::ofstream(path, std::ios::binary) << whole.substr(0, size);
    expect_refused(path, "cut to " + std::to_string(size));
  }
  std::cout << "ok\n";
}
