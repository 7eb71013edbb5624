#include "runtime/export_file.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>

#include "bottomup.h"
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
      throw Error(path + ": metadata: fixed_resolutions are no numbers; export the model again");
  }
  return sides;
}

ModelSettings settings_of(const std::string &json, const std::string &writer,
                          const std::string &path) {
  try {
    return parse_settings(json, path + ": metadata");
  } catch (const Error &error) {
    throw Error(std::string(error.what()) + "; written by bottomup_fast " + writer + ", this is " +
                BOTTOMUP_VERSION + "; export the model again");
  }
}

} // namespace

ExportDescription describe_export(const std::string &path, const std::string &format,
                                  const std::map<std::string, std::string> &metadata) {
  const auto entry = [&](const std::string &key) {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(path + ": no metadata \"" + key +
                  "\" of `bottomup export`; export the model again");
    if (found->second.find('\0') != std::string::npos) // it would cut off messages
      throw Error(path + ": metadata: \"" + key + "\" is no text; export the model again");
    return found->second;
  };
  const std::string layout = entry("layout");
  if (layout != kLayout)
    throw Error(path + ": written in layout " + layout + ", this version reads " + kLayout +
                "; export the model again with this version");
  if (entry("format") != format)
    throw Error(path + ": an export to " + entry("format") + ", not to " + format +
                "; export the model again");
  ExportDescription description{
      settings_of(entry("bottomup_fast"), entry("bottomup_fast_version"), path),
      sides_of(entry("fixed_resolutions"), path), entry("runtime"), entry("device")};
  description.takes_origin = description.settings.architecture.position_scale.has_value();
  description.settings.preprocessing.mean.fill(0);
  description.settings.preprocessing.std.fill(1);
  return description;
}

std::string check_seal(const std::string &path) {
  std::error_code reason;
  if (!std::filesystem::is_regular_file(path, reason))
    throw Error(path + ": no such file");
  const auto size = static_cast<size_t>(std::filesystem::file_size(path, reason));
  std::string content(reason ? 0 : size, '\0');
  if (reason || !std::ifstream(path, std::ios::binary).read(content.data(), std::ssize(content)))
    throw Error(path + ": cannot be read");
  const size_t end = content.size() - std::min(content.size(), kDigest);
  const std::string digest = content.substr(end);
  if (digest.size() != kDigest || digest.find_first_not_of("0123456789abcdef") != std::string::npos)
    throw Error(path + ": truncated, or not written by `bottomup export` of this version; export "
                       "the model again");
  content.resize(end);
  if (sha256(content) != digest)
    throw Error(path + ": damaged, its checksum does not match; copy it or export the model again");
  return content;
}

ImageSize padded_size(ImageSize size, const ExportDescription &description,
                      const std::string &path) {
  const auto [height, width] = size;
  const std::vector<int64_t> &sides = description.resolutions;
  if (!sides.empty() && std::max(height, width) > sides.back())
    throw Error("image: " + std::to_string(height) + "x" + std::to_string(width) +
                " pixels after scaling, " + path + " takes " + std::to_string(sides.back()) +
                " at most; give resolutions or tile_size that fit, or export anew");
  const auto padded = [&](int64_t side) {
    return sides.size() == 1 ? sides[0] : (side + kMultiple - 1) / kMultiple * kMultiple;
  };
  return {padded(height), padded(width)};
}

} // namespace bottomup
