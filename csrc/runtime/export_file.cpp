#include "runtime/export_file.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <sstream>

#include "runtime/sha256.h"

namespace bottomup {
namespace {

constexpr const char *kLayout = "1"; // of inputs, outputs and metadata
constexpr int64_t kMultiple = 32;    // both sides of an input of any size
constexpr size_t kDigest = 64;

std::vector<int64_t> sides_of(const std::string &text, const std::string &path) {
  std::vector<int64_t> sides;
  std::istringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    const auto [stop, error] =
        std::from_chars(item.data(), item.data() + item.size(), sides.emplace_back());
    if (error != std::errc() || stop != item.data() + item.size() || sides.back() < 1)
      throw Error(path + ": metadata: fixed_resolutions are no numbers");
  }
  return sides;
}

} // namespace

ExportDescription describe_export(const std::string &path, const std::string &format,
                                  const std::map<std::string, std::string> &metadata) {
  const auto entry = [&](const std::string &key) {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(path + ": no metadata \"" + key +
                  "\" of `bottomup export`; export the model again");
    return found->second;
  };
  const std::string layout = entry("layout");
  if (layout != kLayout)
    throw Error(path + ": written in layout " + layout + ", this version reads " + kLayout +
                "; export the model again with this version");
  if (entry("format") != format)
    throw Error(path + ": an export to " + entry("format") + ", not to " + format);
  ExportDescription description{parse_settings(entry("bottomup_fast"), path + ": metadata"),
                                sides_of(entry("fixed_resolutions"), path), entry("runtime"),
                                entry("device")};
  description.takes_origin = description.settings.architecture.position_scale.has_value();
  description.settings.preprocessing.mean.fill(0);
  description.settings.preprocessing.std.fill(1);
  return description;
}

void check_seal(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf()))
    throw Error(path + ": no such file, or it cannot be read");
  const std::string content = std::move(text).str();
  const size_t end = content.size() - std::min(content.size(), kDigest);
  const std::string digest = content.substr(end);
  if (digest.size() != kDigest || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw Error(path + ": truncated, or not written by `bottomup export` of this version; export "
                       "the model again");
  if (sha256(std::string_view(content).substr(0, end)) != digest)
    throw Error(path + ": damaged, its checksum does not match; copy it or export the model again");
}

PaddedInput::PaddedInput(const NetworkInput &input, const ExportDescription &description,
                         const std::string &path) {
  const std::vector<int64_t> &sides = description.resolutions;
  if (!sides.empty() && std::max(input.height, input.width) > sides.back())
    throw Error("image: " + std::to_string(input.height) + "x" + std::to_string(input.width) +
                " pixels after scaling, " + path + " takes " + std::to_string(sides.back()) +
                " at most; give resolutions or tile_size that fit, or export anew");
  const auto padded = [&](int64_t side) {
    return sides.size() == 1 ? sides[0] : (side + kMultiple - 1) / kMultiple * kMultiple;
  };
  height = padded(input.height), width = padded(input.width);
  image.resize(3 * height * width);
  float *to = image.data();
  for (int64_t channel = 0; channel < 3; ++channel)
    for (int64_t y = 0; y < height; ++y) {
      const int64_t row = channel * input.height + std::min(y, input.height - 1);
      const float *from = input.image + row * input.width;
      to = std::copy_n(from, input.width, to);
      to = std::fill_n(to, width - input.width, from[input.width - 1]);
    }
}

void crop_output(const float *output, int64_t maps, const PaddedInput &padded,
                 const NetworkInput &input, float *result) {
  for (int64_t map = 0; map < maps; ++map)
    for (int64_t y = 0; y < input.height; ++y)
      result = std::copy_n(output + (map * padded.height + y) * padded.width, input.width, result);
}

} // namespace bottomup
