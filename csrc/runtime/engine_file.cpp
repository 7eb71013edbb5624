#include "runtime/engine_file.h"

#include <algorithm>
#include <cstdint>

#include "runtime/json.h"

namespace bottomup {
namespace {

constexpr size_t kLength = 8; // bytes at the end: the length of the description, little endian

/// Throws what parsing throws, and std::bad_variant_access for other JSON than text by name.
std::map<std::string, std::string> parse_metadata(const std::string &text,
                                                  const std::string &path) {
  std::map<std::string, std::string> metadata;
  const Json json = parse_json(text, path);
  for (const auto &[key, value] : std::get<Json::Object>(json.value))
    metadata[key] = std::get<std::string>(value.value);
  return metadata;
}

/// Cuts the description off.
std::map<std::string, std::string> take_metadata(std::string &content, const std::string &path) {
  const auto foreign = [&] {
    return Error(path + ": not a TensorRT engine of `bottomup export` (no metadata); export the "
                        "model again");
  };
  if (content.size() <= kLength)
    throw foreign();
  uint64_t length = 0;
  for (size_t i = 1; i <= kLength; ++i)
    length = length << 8 | static_cast<unsigned char>(content[content.size() - i]);
  content.resize(content.size() - kLength);
  if (length >= content.size())
    throw foreign();
  const std::string text = content.substr(content.size() - length);
  content.resize(content.size() - length);
  try {
    return parse_metadata(text, path);
  } catch (const Error &) {
    throw foreign();
  } catch (const std::bad_variant_access &) {
    throw foreign();
  }
}

} // namespace

EngineFile read_engine(const std::string &path, const std::string &runtime) {
  std::string content = check_seal(path);
  const auto metadata = take_metadata(content, path);
  EngineFile file{describe_export(path, "tensorrt", metadata), std::move(content)};
  if (file.description.runtime != runtime)
    throw Error(path + ": built by " + file.description.runtime + ", this is " + runtime +
                "; export the model again");
  const std::vector<int64_t> &sides = file.description.resolutions;
  if (sides.empty() || !std::ranges::is_sorted(sides))
    throw Error(path + ": metadata: no ascending fixed_resolutions; export the model again");
  return file;
}

} // namespace bottomup
