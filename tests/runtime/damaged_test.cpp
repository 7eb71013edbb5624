// Damaged files and settings: each is refused by one line or read; built with sanitizers by the
// tests. Arguments: a sealed file, and a folder for damaged copies.
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "bottomup.h"
#include "bottomup/segmenter.h"
#include "bottomup/settings.h"
#include "runtime/export_file.h"

namespace {

using namespace bottomup;

constexpr int kFlips = 500, kCuts = 100;

const std::string kSettings =
    R"({"name": "t\u00e9st", "architecture": {"name": "none", "feature_dim": 4, "foreground": true,
        "position_scale": null}, "preprocessing": {"resolutions": [32, 40], "patch_overlap": 0.25},
        "clustering": {"split_components": true, "min_area": 4, "bandwidth_deg": 4.5e1}})";

void expect(bool holds, const std::string &what) {
  if (!holds) {
    std::cerr << "failed: " << what << "\n";
    std::exit(1);
  }
}

std::vector<std::string> damaged(const std::string &whole) {
  std::mt19937 random(0);
  const auto below = [&](size_t count) { return random() % count; };
  std::vector<std::string> contents;
  for (int i = 0; i < kFlips; ++i) {
    std::string &content = contents.emplace_back(whole);
    content[below(whole.size())] ^= static_cast<char>(1 + below(255));
  }
  for (int i = 0; i < kCuts; ++i)
    contents.push_back(whole.substr(0, below(whole.size())));
  return contents;
}

/// How many contents are refused, each by a line that says all of `words`.
int refused(const std::vector<std::string> &contents, const std::vector<std::string> &words,
            const std::function<void(const std::string &)> &read) {
  int count = 0;
  for (const std::string &content : contents)
    try {
      read(content);
    } catch (const Error &error) {
      const std::string message = error.what();
      for (const std::string &word : words)
        expect(message.find(word) != std::string::npos, message);
      ++count;
    }
  return count;
}

void write(const std::string &path, const std::string &content) {
  std::ofstream(path, std::ios::binary) << content;
}

void sealed_files(const std::string &whole, const std::string &path) {
  const int count =
      refused(damaged(whole), {path, "export the model again"}, [&](const std::string &content) {
        write(path, content);
        check_seal(path);
      });
  expect(count == kFlips + kCuts, "every damage of a sealed file");
}

void metadata() {
  const std::map<std::string, std::string> whole{{"bottomup_fast", kSettings},
                                                 {"bottomup_fast_version", "9.9"},
                                                 {"layout", "1"},
                                                 {"format", "aoti"},
                                                 {"fixed_resolutions", "64,96"},
                                                 {"runtime", "2.11.0"},
                                                 {"device", "cpu"}};
  for (const auto &[key, value] : whole)
    refused(damaged(value), {"model.pt2: ", "export the model again"},
            [&, key = key](const std::string &content) {
              auto changed = whole;
              changed[key] = content;
              describe_export("model.pt2", "aoti", changed);
            });
  for (const auto &[key, value] : whole)
    expect(refused({key}, {"model.pt2: ", "export the model again"},
                   [&](const std::string &name) {
                     auto changed = whole;
                     changed.erase(name);
                     describe_export("model.pt2", "aoti", changed);
                   }) == 1,
           "metadata without " + key);
}

/// As many features as settings ask for: the image's numbers again and again.
class Repeat : public FeatureExtractor {
public:
  explicit Repeat(const ModelSettings &settings) : dimensions_(settings.architecture.feature_dim) {}

  void extract(const NetworkInput &input, float *features, float *foreground) const override {
    const int64_t pixels = input.height * input.width;
    for (int64_t i = 0; i < dimensions_ * pixels; ++i)
      features[i] = input.image[i % (3 * pixels)] + 0.1f;
    for (int64_t i = 0; foreground && i < pixels; ++i)
      foreground[i] = input.image[i] * 4;
  }

private:
  int64_t dimensions_;
};

/// Settings that are read can be used, too.
void settings(const std::string &path) {
  std::vector<unsigned char> pixels(20 * 24 * 3);
  for (size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<unsigned char>(i / 90 * 37);
  int used = 0;
  const int count = refused(damaged(kSettings), {path}, [&](const std::string &content) {
    write(path, content);
    ModelSettings read = read_settings(path);
    bottomup_segmenter *segmenter = nullptr;
    const auto never = [](void *, const float *, int64_t, int64_t, int64_t, int64_t, float *,
                          float *) { return 1; };
    expect(bottomup_segmenter_create(content.c_str(), never, nullptr, nullptr, &segmenter) ==
               (content.find('\0') == std::string::npos ? BOTTOMUP_OK : BOTTOMUP_INVALID_INPUT),
           bottomup_last_error());
    bottomup_segmenter_free(segmenter);
    if (read.preprocessing.resolutions.back() > 128)
      return;
    const auto network = std::make_shared<Repeat>(read);
    const Segmentation found = Segmenter(read, network).segment({pixels.data(), 20, 24, 3, 8});
    expect(found.labels.size() == 20 * 24, "a label for each pixel");
    ++used;
  });
  expect(count > 200 && used > 0,
         std::to_string(count) + " refused and " + std::to_string(used) + " used");
  for (const std::string &content : damaged(kSettings)) {
    bottomup_segmenter *segmenter = nullptr;
    bottomup_segmenter_create(content.c_str(), nullptr, nullptr, nullptr, &segmenter);
    expect(segmenter == nullptr, "no function, no segmenter");
  }
}

} // namespace

int main(int, char **argv) {
  std::ifstream file(argv[1], std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(file), {});
  const std::string folder = argv[2];
  sealed_files(whole, folder + "/damaged.pt2");
  metadata();
  settings(folder + "/damaged.json");
  std::cout << "ok\n";
}
